"""What the fakes of OpenAI and of Azure OpenAI share: files, jobs, metrics and answers of one API."""

from __future__ import annotations

import email
import email.policy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from tests.fakes import openai_schema
from tests.fakes.hosted import HostedCompany, Job, short_hash
from tests.fakes.http_server import Answer, Refusal, Request, Route

from finetune_providers.base import JobState

Json = dict[str, Any]
MODELS = (
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano-2025-04-14",
    "gpt-4o-2024-08-06",
    "gpt-4o-mini-2024-07-18",
)


class OpenAICompany(HostedCompany):
    """A company with this API. Every request and every answer is held against a schema.

    Attributes:
        violations: What did not hold; a test that ends with any has failed.
        files: By their id, as they are shown.
        contents: By the file's id.
        filtered: Questions that the content filter holds back.
        broken_files: Names of files that turn out to be unusable.
    """

    prefix: ClassVar[str]
    least_examples: ClassVar[int] = 10
    longest_suffix: ClassVar[int]
    oldest_events_first: ClassVar[bool] = False

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.violations: list[str] = []
        self.files: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}
        self.filtered: set[str] = set()
        self.broken_files: set[str] = set()
        self._param: str | None = None

    def routes(self) -> Sequence[Route]:
        at = self.prefix
        job = rf"{at}/fine_tuning/jobs/(?P<job>[^/]+)"
        table: Sequence[tuple[str, str, str, Callable[[Request], Answer]]] = [
            ("files.create", "POST", f"{at}/files", self._create_file),
            ("files.list", "GET", f"{at}/files", self._list_files),
            ("files.get", "GET", rf"{at}/files/(?P<file>[^/]+)", self._get_file),
            ("files.delete", "DELETE", rf"{at}/files/(?P<file>[^/]+)", self._delete_file),
            ("jobs.create", "POST", f"{at}/fine_tuning/jobs", self._create_job),
            ("jobs.list", "GET", f"{at}/fine_tuning/jobs", self._list_jobs),
            ("jobs.cancel", "POST", f"{job}/cancel", self._cancel_job),
            ("jobs.events", "GET", f"{job}/events", self._list_events),
            ("jobs.checkpoints", "GET", f"{job}/checkpoints", self._list_checkpoints),
            ("jobs.get", "GET", job, self._get_job),
            *self.further_routes(),
        ]
        return [
            Route(name, method, path, self.checked(name, handler)) for name, method, path, handler in table
        ]

    # -- what differs ---------------------------------------------------------------------------------------

    def further_routes(self) -> Sequence[tuple[str, str, str, Callable[[Request], Answer]]]:
        """Models, answers, deployments."""
        raise NotImplementedError

    def request_faults(self, request: Request) -> list[str]:
        """What is wrong with a request."""
        raise NotImplementedError

    def answer_faults(self, operation: str, body: Any) -> list[str]:
        """What is wrong with an answer."""
        raise NotImplementedError

    def new_job_id(self) -> str:
        """An id in the company's form."""
        raise NotImplementedError

    def shown_job(self, job: Job) -> Json:
        """A job as the company shows it."""
        raise NotImplementedError

    def check_marks(self, body: Json) -> None:
        """Refuse what must not be in a create call."""
        raise NotImplementedError

    def file_state(self, file: Json) -> str:
        """A file's state in the company's words."""
        return "error" if file["filename"] in self.broken_files else "processed"

    created: ClassVar[int] = 200

    # -- schema ---------------------------------------------------------------------------------------------

    def checked(self, operation: str, handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        """A handler between whose request and answer nothing passes that the schema does not know."""

        def handle(request: Request) -> Answer:
            faults = self.request_faults(request)
            if faults:
                self.refuse(400, f"Invalid request: {'; '.join(faults)}", code="invalid_request")
            answer = handler(request)
            wrong = self.answer_faults(operation, answer.body)
            if wrong:
                self.violations.append(f"{operation}: {'; '.join(wrong)}")
                return self.error(500, f"the fake is wrong: {wrong}")
            return answer

        return handle

    def refuse(self, status: int, message: str, *, code: str = "", param: str | None = None) -> NoReturn:
        """Refuse a request, saying what is wrong with what."""
        self._param = param
        raise Refusal(status, message, code=code)

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        param, self._param = self._param, None
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = {"error": {"message": message, "type": kind, "param": param, "code": code or None}}
        return Answer(body, status)

    # -- lists ----------------------------------------------------------------------------------------------

    def page(self, request: Request, shown: Sequence[Json], *, usual: int = 20) -> Answer:
        """A page of a list, beginning after the item that the request names."""
        after = request.one("after")
        start = next((i + 1 for i, item in enumerate(shown) if item["id"] == after), 0)
        if after and not start:
            self.refuse(400, f"No such object: {after}", param="after")
        size = min(int(request.one("limit") or usual), self.page_size)
        part = list(shown[start : start + size])
        return Answer({"object": "list", "data": part, "has_more": start + size < len(shown)})

    # -- files ----------------------------------------------------------------------------------------------

    def _create_file(self, request: Request) -> Answer:
        form = parse_form(request)
        if set(form) != {"file", "purpose"} or form["purpose"][1] != b"fine-tune":
            self.refuse(400, f"file and purpose fine-tune are needed, not {sorted(form)}", param="purpose")
        name, content = form["file"]
        self.check_content(content)
        number = len(self.files) + len(self.requests)
        file_id = f"file-{short_hash(f'{name}{number}', 22)}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(self.clock.now().timestamp()),
            "filename": name,
            "purpose": "fine-tune",
        }
        return Answer(self.shown_file(file_id), self.created)

    def check_content(self, content: bytes) -> None:
        """Refuse what is no training data."""
        try:
            lines = [json.loads(line) for line in lines_of(content)]
        except ValueError as error:
            self.refuse(400, f"The file is no JSON Lines: {error}", param="file")
        for number, line in enumerate(lines, start=1):
            faults = (
                openai_schema.messages_faults(line["messages"])
                if isinstance(line, dict) and set(line) == {"messages"}
                else ["messages are needed, and nothing else"]
            )
            if faults:
                self.refuse(400, f"Line {number} has an invalid format: {faults}", param="file")

    def shown_file(self, file_id: str) -> Json:
        """A file as the company shows it."""
        file = self.files[file_id]
        return {**file, "status": self.file_state(file)}

    def _list_files(self, request: Request) -> Answer:
        purpose = request.one("purpose")
        shown = [self.shown_file(file_id) for file_id in reversed(self.files)]
        return self.page(request, [file for file in shown if purpose in {"", file["purpose"]}], usual=10_000)

    def _file(self, request: Request) -> str:
        file_id = request.parts["file"]
        if file_id not in self.files:
            self.refuse(404, f"No such File object: {file_id}", param="id")
        return file_id

    def _get_file(self, request: Request) -> Answer:
        return Answer(self.shown_file(self._file(request)))

    def _delete_file(self, request: Request) -> Answer:
        file_id = self._file(request)
        del self.files[file_id]
        return Answer({"id": file_id, "object": "file", "deleted": True})

    # -- jobs -----------------------------------------------------------------------------------------------

    def _create_job(self, request: Request) -> Answer:
        body = request.json
        if body["model"] not in MODELS:
            self.refuse(
                404, f"The model {body['model']} does not exist", code="model_not_found", param="model"
            )
        for part in ("training_file", "validation_file"):
            if body.get(part) is not None:
                self.check_job_file(body[part], part)
        wanted = body["method"]["supervised"]["hyperparameters"]
        self._check_ranges(wanted)
        self.check_marks(body)
        if len(body.get("suffix", "")) > self.longest_suffix:
            self.refuse(400, f"suffix is longer than {self.longest_suffix}", param="suffix")
        if not 0 <= body.get("seed", 0) < 2**31:
            self.refuse(400, "seed is out of range", param="seed")
        examples = parse_examples(self.contents[body["training_file"]])
        if len(examples) < self.least_examples and self.next_failure is None:
            self.next_failure = (
                f"Training file has {len(examples)} example(s), but must have at least {self.least_examples}"
            )
        job = self.sell(self.new_job_id(), body["model"], wanted, lessons_of(examples), body)
        job.more["examples"] = len(examples)
        return Answer(self.shown_job(job), self.created)

    def check_job_file(self, file_id: str, param: str) -> None:
        """Refuse a job over a file that is not usable."""
        if file_id not in self.files:
            self.refuse(400, f"invalid {param}: {file_id}", param=param)
        if self.file_state(self.files[file_id]) == "error":
            self.refuse(400, f"File '{file_id}' is in the error state", param=param)

    def _check_ranges(self, wanted: Mapping[str, Any]) -> None:
        ranges = {"n_epochs": (1, 50), "batch_size": (1, 256), "learning_rate_multiplier": (1e-300, math.inf)}
        for name, (low, high) in ranges.items():
            if name in wanted and wanted[name] != "auto" and not low <= wanted[name] <= high:
                self.refuse(
                    400,
                    f"Invalid {name}: {wanted[name]} is not from {low} to {high}",
                    param=f"method.supervised.hyperparameters.{name}",
                )

    def _list_jobs(self, request: Request) -> Answer:
        wanted = {
            name[9:-1]: values[0] for name, values in request.query.items() if name.startswith("metadata[")
        }
        shown = [
            self.shown_job(job)
            for job in self.listed()
            if wanted.items() <= (job.body.get("metadata") or {}).items()
        ]
        return self.page(request, shown)

    def job(self, request: Request) -> Job:
        """The job that a request names."""
        job = self.jobs.get(request.parts["job"])
        if job is None:
            self.refuse(404, f"Could not find fine tune: {request.parts['job']}", code="fine_tune_not_found")
        return job

    def _get_job(self, request: Request) -> Answer:
        return Answer(self.shown_job(self.job(request)))

    def _cancel_job(self, request: Request) -> Answer:
        job = self.job(request)
        if self.state(job).terminal:
            self.refuse(400, f"Job {job.job_id} has already ended and cannot be cancelled")
        self.cancel(job)
        return Answer(self.shown_job(job))

    # -- metrics --------------------------------------------------------------------------------------------

    def steps(self, job: Job) -> tuple[int, int]:
        """Steps in all, and steps of one epoch."""
        batch = job.hyperparameters.get("batch_size", 1)
        an_epoch = math.ceil(job.more["examples"] / (1 if batch == "auto" else batch))
        epochs = job.hyperparameters.get("n_epochs", 3)
        return an_epoch * (3 if epochs == "auto" else epochs), an_epoch

    def losses(self, job: Job, step: int) -> Json:
        """What training reports after so many steps."""
        total, _ = self.steps(job)
        end = 1.5 - self.quality(job.hyperparameters)
        loss = end + 2.0 * (1 - step / total)
        values = {"train_loss": loss, "train_mean_token_accuracy": 1 / (1 + loss)}
        if job.body.get("validation_file"):
            values |= {"valid_loss": loss + 0.3, "valid_mean_token_accuracy": 1 / (1.3 + loss)}
        return values

    def _list_events(self, request: Request) -> Answer:
        job = self.job(request)
        total, _ = self.steps(job)
        done = int(total * self.progress(job))
        events = [self.event(job, 0, "message", "Created fine-tuning job", {})]
        events += [
            self.event(job, step, "metrics", f"Step {step}/{total}", {"step": step, **self.losses(job, step)})
            for step in range(1, done + 1)
        ]
        return self.page(request, events if self.oldest_events_first else events[::-1])

    def event(self, job: Job, step: int, kind: str, message: str, data: Json) -> Json:
        """One event of a job."""
        return {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{short_hash(f'{job.job_id}{step}', 24)}",
            "created_at": self.when(job, step),
            "level": "info",
            "message": message,
            "type": kind,
            "data": data,
        }

    def _list_checkpoints(self, request: Request) -> Answer:
        job = self.job(request)
        total, an_epoch = self.steps(job)
        ends = list(range(an_epoch, total + 1, an_epoch))[-3:]
        if self.state(job) is not JobState.SUCCEEDED:
            ends = []
        return self.page(request, [self.checkpoint(job, step) for step in ends[::-1]], usual=10)

    def checkpoint(self, job: Job, step: int) -> Json:
        """One checkpoint of a job."""
        metrics: Json = {"step": step, **self.losses(job, step)}
        if job.body.get("validation_file"):
            loss = metrics["train_loss"] + 0.1
            metrics |= {"full_valid_loss": loss, "full_valid_mean_token_accuracy": 1 / (1 + loss)}
        return {
            "object": "fine_tuning.job.checkpoint",
            "id": f"ftckpt_{short_hash(f'{job.job_id}{step}', 24)}",
            "created_at": self.when(job, step),
            "fine_tuned_model_checkpoint": f"{self.model_of(job)}:ckpt-step-{step}",
            "fine_tuning_job_id": job.job_id,
            "metrics": metrics,
            "step_number": step,
        }

    def when(self, job: Job, step: int = 0) -> int:
        """The time at a step of a job; of its sale, at step 0."""
        total, _ = self.steps(job)
        passed = job.created_s + self.training_s * step / total - self.clock.elapsed()
        return int(self.clock.now().timestamp() + passed)

    # -- models ---------------------------------------------------------------------------------------------

    def model_of(self, job: Job) -> str:
        """The name of a job's model."""
        raise NotImplementedError

    def trained(self, model: str) -> Job | None:
        """The job that made a model which is there."""
        return next(
            (
                job
                for job in self.jobs.values()
                if self.model_of(job) == model
                and self.state(job) is JobState.SUCCEEDED
                and model not in self.models_deleted
            ),
            None,
        )

    def completion(self, request: Request, model: str, job: Job | None) -> Answer:
        """What a model answers."""
        body = request.json
        question = [each["content"] for each in body["messages"] if each["role"] == "user"][-1]
        filtered = question in self.filtered
        text = None if filtered else self.reply(question, job)
        choice = {
            "index": 0,
            "finish_reason": "content_filter" if filtered else "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": text, "refusal": None},
        }
        used = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        return Answer(
            {
                "id": f"chatcmpl-{short_hash(question, 24)}",
                "object": "chat.completion",
                "created": int(self.clock.now().timestamp()),
                "model": model,
                "choices": [choice],
                "usage": used,
            }
        )


def parse_form(request: Request) -> dict[str, tuple[str, bytes]]:
    """The parts of a multipart form: file name and content by the part's name."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    form = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        form[str(name)] = (part.get_filename() or "", content)
    return form


def lines_of(content: bytes) -> list[str]:
    """The lines of a file; `str.splitlines` would also part a text at characters such as U+2028."""
    return [line for line in content.decode("utf-8-sig").split("\n") if line]


def parse_examples(content: bytes) -> list[list[Json]]:
    """The conversations of a file."""
    return [json.loads(line)["messages"] for line in lines_of(content)]


def lessons_of(examples: Sequence[Sequence[Json]]) -> dict[str, str]:
    """The last answer of each conversation, by the question before it."""
    lessons = {}
    for messages in examples:
        questions = [each["content"] for each in messages if each["role"] == "user"]
        if questions:
            lessons[questions[-1]] = messages[-1]["content"]
    return lessons
