"""Jobs as Bedrock shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from finetune_providers.base import JobSnapshot, JobState
from finetune_providers.bedrock.aws import CONTROL, Answer, Aws, inner, moment_of, text_of
from finetune_providers.bedrock.errors import Invalid
from finetune_providers.errors import JobNotFound
from finetune_providers.paging import PageTokens
from finetune_providers.redaction import clean

_STATES = {
    "InProgress": JobState.RUNNING,
    "Stopping": JobState.RUNNING,
    "Stopped": JobState.CANCELLED,
    "Completed": JobState.SUCCEEDED,
    "Failed": JobState.FAILED,
}
NATIVE_STATES = frozenset(_STATES)


class Jobs:
    """The jobs of one account."""

    def __init__(self, aws: Aws, secrets: tuple[str, ...]) -> None:
        """Read them; no message of a job shows one of the secrets."""
        self._aws, self._secrets = aws, secrets

    async def named(self, identifier: str) -> Answer | None:
        """The job of a name or an ARN; None where there is none."""
        try:
            return await self._aws.read(CONTROL, "get_model_customization_job", jobIdentifier=identifier)
        except (JobNotFound, Invalid):  # an ARN of another region or account is refused
            return None

    async def pages(self, **parameters: Any) -> AsyncIterator[Answer]:
        """The list of jobs, the latest first; an UnexpectedResponse where it has no end."""
        more: dict[str, str] = {}
        tokens = PageTokens("Bedrock's list of jobs")
        while True:
            page = await self._aws.read(
                CONTROL,
                "list_model_customization_jobs",
                maxResults=100,
                sortBy="CreationTime",
                sortOrder="Descending",
                **parameters,
                **more,
            )
            yield page
            if not page.get("nextToken"):
                return
            more = {"nextToken": tokens.follow(text_of(page, "nextToken"))}

    def snapshot(self, job: Answer, *, arn: str) -> JobSnapshot:
        """A job from a list or by itself; `arn` is what the fine-tuned model is called there."""
        native = text_of(job, "status")
        state = _STATES.get(native, JobState.RUNNING)
        details = job.get("statusDetails") or {}
        if native == "InProgress" and inner(details, "trainingDetails", "status") == "NotStarted":
            state = JobState.PENDING
        ended = moment_of(job, "endTime") or moment_of(job, "lastModifiedTime")
        return JobSnapshot(
            job_id=text_of(job, "jobArn"),
            key=text_of(job, "jobName"),
            state=state,
            native_state=native,
            message=clean(str(job.get("failureMessage") or ""), self._secrets),
            fine_tuned_model=job.get(arn) if state is JobState.SUCCEEDED else None,
            created_at=moment_of(job, "creationTime"),
            finished_at=ended if state.terminal else None,
        )


def is_bought_with(key: str, job: Answer) -> bool:
    """Whether a job is the one that a key bought."""
    return job.get("jobName") == key and job.get("clientRequestToken", key) == key
