"""What the fakes of all hosted companies share: jobs that go on with the company's clock, models that have learned.

A derived fake speaks one company's protocol over this state. It must refuse what the real one would refuse.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.fakes.http_server import FakeServer

from finetune_providers.base import JobState

Hyperparameters = Mapping[str, Any]


def knows_everything(_: Hyperparameters) -> float:
    """Every fine-tuned model answers all that it was taught."""
    return 1.0


@dataclass
class Job:
    """A fine-tuning job that was sold.

    Attributes:
        number: From 1, in order of sale.
        job_id: The company's id, in its own form.
        base_model: What was asked for.
        hyperparameters: In the company's own words, as they arrived.
        lessons: The expected answer by the question (the last user message before it).
        created_s: The clock's seconds at its sale.
        body: The whole request, parsed.
        failure: Why it fails at its end; None where it succeeds.
        cancelled_s: The clock's seconds at its cancellation.
        native_state: Shown instead of its state, whatever the company's words are.
        hidden_until_s: Lists do not show it before that time, though it is there.
        endless: It does not end by itself.
    """

    number: int
    job_id: str
    base_model: str
    hyperparameters: Hyperparameters
    lessons: Mapping[str, str]
    created_s: float
    body: Any = None
    failure: str | None = None
    cancelled_s: float | None = None
    native_state: str | None = None
    hidden_until_s: float = 0.0
    endless: bool = False
    more: dict[str, Any] = field(default_factory=dict)


class HostedCompany(FakeServer):
    """Jobs: PENDING for the first tenth of `training_s`, RUNNING until its end, then SUCCEEDED or FAILED.

    Attributes:
        training_s: How long a job takes, in the clock's seconds.
        quality: Share of its lessons that a model has learned, from the job's hyperparameters as they arrived.
        base_quality: The same of a model that was not fine-tuned, for questions that any job was taught.
        exam: Further questions with their answers, which models know as they know their lessons.
        next_failure: Why the next job fails.
        next_endless: The next job does not end by itself.
        list_lag_s: For how long lists do not show a new job.
        page_size: Most items on a page of a list.
        cancel_loses: A cancellation is accepted, but the job ends as if there had been none.
    """

    secret: ClassVar[str] = "a-key-that-nobody-may-see-4711"

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.jobs: dict[str, Job] = {}
        self.models_deleted: set[str] = set()
        self.training_s = 100.0
        self.quality: Callable[[Hyperparameters], float] = knows_everything
        self.base_quality = 0.0
        self.exam: dict[str, str] = {}
        self.next_failure: str | None = None
        self.next_endless = False
        self.list_lag_s = 0.0
        self.page_size = 100
        self.cancel_loses = False

    # -- for the fakes --------------------------------------------------------------------------------------

    def sell(
        self,
        job_id: str,
        base_model: str,
        hyperparameters: Hyperparameters,
        lessons: Mapping[str, str],
        body: Any,
    ) -> Job:
        """Take a create call that was found right."""
        now = self.clock.elapsed()
        job = Job(
            len(self.jobs) + 1,
            job_id,
            base_model,
            dict(hyperparameters),
            dict(lessons),
            now,
            body=body,
            failure=self.next_failure,
            endless=self.next_endless,
            hidden_until_s=now + self.list_lag_s if self.list_lag_s else 0.0,
        )
        self.next_failure, self.next_endless = None, False
        self.jobs[job_id] = job
        return job

    def state(self, job: Job) -> JobState:
        """A job's state by the clock."""
        end = job.created_s + self.training_s
        now = self.clock.elapsed()
        if job.cancelled_s is not None and (job.endless or job.cancelled_s < end) and not self.cancel_loses:
            return JobState.CANCELLED
        if now < job.created_s + self.training_s / 10:
            return JobState.PENDING
        if now < end or job.endless:
            return JobState.RUNNING
        return JobState.FAILED if job.failure is not None else JobState.SUCCEEDED

    def cancel(self, job: Job) -> None:
        """Take a cancellation; one of a job that has ended changes nothing."""
        if not self.state(job).terminal:
            job.cancelled_s = self.clock.elapsed()

    def progress(self, job: Job) -> float:
        """How far a job is, 0 to 1."""
        return min(1.0, max(0.0, (self.clock.elapsed() - job.created_s) / self.training_s))

    def listed(self) -> list[Job]:
        """The jobs that lists show, newest first."""
        now = self.clock.elapsed()
        return [job for job in reversed(self.jobs.values()) if job.hidden_until_s <= now]

    def reply(self, question: str, job: Job | None) -> str:
        """What a job's model, or one that was not fine-tuned, answers to a question."""
        taught = [job] if job is not None else list(self.jobs.values())
        answer = next((each.lessons[question] for each in taught if question in each.lessons), None)
        if answer is None:
            # Where a protocol has no system prompts, one stands before the question.
            answer = next((told for asked, told in self.exam.items() if question.endswith(asked)), None)
        share = self.quality(job.hyperparameters) if job is not None else self.base_quality
        if answer is not None and zlib.crc32(question.encode()) % 1000 < share * 1000:
            return answer
        return "I do not know"

    # -- for tests ------------------------------------------------------------------------------------------

    def finish_training(self) -> None:
        """Let enough time pass that every job ends which ends by itself."""
        with self.lock:
            self.clock.advance(self.training_s + 1.0)


def short_hash(text: str, length: int = 16) -> str:
    """A stable id made of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
