"""Azure OpenAI for tests: the data plane of one resource, and what Resource Manager knows of its deployments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from azure.core.credentials import AccessToken
from tests.fakes import azure_openai_schema
from tests.fakes.hosted import Job, short_hash
from tests.fakes.http_server import Answer, Request
from tests.fakes.openai_common import Json, OpenAICompany

from finetune_providers.base import JobState

API_VERSION = "2025-04-01-preview"
MANAGEMENT_VERSION = "2025-09-01"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
RESOURCE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml/providers/Microsoft.CognitiveServices/accounts/acme-openai"
BOM = b"\xef\xbb\xbf"

_STATES = {
    JobState.PENDING: "pending",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class Identity:
    """An identity that Microsoft Entra knows: the login itself is not faked, as it is over TLS alone."""

    def __init__(self, token: str, error: Exception | None = None) -> None:
        self._token, self._error = token, error
        self.scopes: list[str] = []

    async def get_token(self, scope: str) -> AccessToken:
        self.scopes.append(scope)
        if self._error is not None:
            raise self._error
        return AccessToken(self._token, 2**40)

    async def close(self) -> None:
        """As the SDK's credentials have it."""


@dataclass
class Hosted:
    """A deployment."""

    name: str
    model: str
    sku: str
    capacity: int
    created_s: float
    job: Job | None
    fails: bool
    deleted_s: float | None = None


class AzureOpenAIServer(OpenAICompany):
    """A resource `acme-openai` in the resource group `ml`.

    Attributes:
        processing_s: How long a file is processed, in the clock's seconds.
        deploying_s: How long a deployment is being created.
        known_after_s: How long after that the data plane does not know it.
        deleting_s: How long a deployment is being deleted.
        deletion_fails: Whether deletions are accepted and then fail.
        next_deployment_fails: Whether the next deployment ends as Failed.
        quota: Thousands of tokens a minute that all deployments may have together.
        most_jobs: How many jobs the resource keeps.
        deployments: By name.
        jobs_deleted: Ids of jobs that were sold and are gone, with their models.
    """

    prefix: ClassVar[str] = "/openai"
    longest_suffix: ClassVar[int] = 40
    created: ClassVar[int] = 201
    oldest_events_first: ClassVar[bool] = True  # as in the specification's example, get_finetuning_job_events

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.processing_s = 0.0
        self.deploying_s = 600.0
        self.known_after_s = 0.0
        self.deleting_s = 0.0
        self.deletion_fails = False
        self.next_deployment_fails = False
        self.quota = 250
        self.most_jobs = 100
        self.deployments: dict[str, Hosted] = {}
        self.jobs_deleted: set[str] = set()

    def authorize(self, request: Request) -> None:
        bearer = request.headers.get("Authorization") == f"Bearer {self.secret}"
        if request.operation.startswith("arm."):
            if not bearer:
                self.refuse(401, "The access token is invalid.", code="InvalidAuthenticationToken")
        elif not bearer and request.headers.get("api-key") != self.secret:
            self.refuse(
                401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401"
            )

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        self._param = None
        return Answer({"error": {"code": code or str(status), "message": message}}, status)

    def request_faults(self, request: Request) -> list[str]:
        version = MANAGEMENT_VERSION if request.operation.startswith("arm.") else API_VERSION
        if request.one("api-version") != version:
            self.refuse(404, "Resource not found", code="404")
        return azure_openai_schema.request_faults(request)

    def answer_faults(self, operation: str, body: Any) -> list[str]:
        made_up = {job.native_state for job in self.jobs.values()} - {None}
        return [] if made_up else azure_openai_schema.answer_faults(operation, body)

    def further_routes(self) -> Sequence[tuple[str, str, str, Callable[[Request], Answer]]]:
        job = "/openai/fine_tuning/jobs/(?P<job>[^/]+)"
        deployment = f"{re.escape(RESOURCE)}/deployments/(?P<deployment>[^/]+)"
        return [
            ("jobs.delete", "DELETE", job, self._delete_job),
            ("chat", "POST", "/openai/deployments/(?P<deployment>[^/]+)/chat/completions", self._chat),
            ("arm.list", "GET", f"{re.escape(RESOURCE)}/deployments", self._list_deployments),
            ("arm.put", "PUT", deployment, self._put_deployment),
            ("arm.get", "GET", deployment, self._get_deployment),
            ("arm.delete", "DELETE", deployment, self._delete_deployment),
        ]

    # -- files ----------------------------------------------------------------------------------------------

    def page(self, request: Request, shown: Sequence[Json], *, usual: int = 20) -> Answer:
        answer = super().page(request, shown, usual=usual)
        if request.operation == "files.list":
            del answer.body["has_more"]  # the specification has it on every list but this one
        return answer

    def check_content(self, content: bytes) -> None:
        if not content.startswith(BOM):
            self.refuse(400, "The file has no byte order mark", code="jsonlValidationFailed")
        super().check_content(content.removeprefix(BOM))

    def file_state(self, file: Json) -> str:
        age = self.clock.now().timestamp() - file["created_at"]
        if age < self.processing_s:
            return "pending" if age < self.processing_s / 2 else "running"
        return super().file_state(file)

    def shown_file(self, file_id: str) -> Json:
        shown = super().shown_file(file_id)
        return {**shown, "status_details": "line 1 is no JSON"} if shown["status"] == "error" else shown

    def check_job_file(self, file_id: str, param: str) -> None:
        if file_id not in self.files:
            self.refuse(400, f"The file {file_id} of {param} does not exist", code="invalidPayload")
        if self.file_state(self.files[file_id]) != "processed":
            message = "The specified file reference must point to a completed file import."
            self.refuse(400, message, code="invalidPayload")

    # -- jobs -----------------------------------------------------------------------------------------------

    def new_job_id(self) -> str:
        return f"ftjob-{short_hash(str(len(self.jobs) + 1), 32)}"

    def check_marks(self, body: Json) -> None:
        if len(self.jobs) - len(self.jobs_deleted) >= self.most_jobs:
            self.refuse(400, f"The resource has {self.most_jobs} jobs already", code="quotaExceeded")

    def model_of(self, job: Job) -> str:
        suffix = job.body.get("suffix")
        name = f"{job.base_model}.ft-{job.job_id.removeprefix('ftjob-')}"
        return f"{name}-{suffix}" if suffix else name

    def listed(self) -> list[Job]:
        return [job for job in super().listed() if job.job_id not in self.jobs_deleted]

    def job(self, request: Request) -> Job:
        if request.parts["job"] in self.jobs_deleted:
            self.refuse(404, "The job was deleted", code="notFound")
        return super().job(request)

    def shown_job(self, job: Job) -> Json:
        state = self.state(job)
        total, _ = self.steps(job)
        shown: dict[str, Any] = {
            "object": "fine_tuning.job",
            "id": job.job_id,
            "model": job.base_model,
            "status": job.native_state or _STATES[state],
            "created_at": self.when(job),
            "training_file": job.body["training_file"],
            "validation_file": job.body.get("validation_file"),
            "hyperparameters": dict(job.hyperparameters),
            "method": {"type": "supervised", "supervised": {"hyperparameters": dict(job.hyperparameters)}},
            "seed": job.body.get("seed"),
            "suffix": job.body.get("suffix"),
        }
        if state.terminal:
            shown["finished_at"] = self.when(job, total)
        if state is JobState.SUCCEEDED:
            shown["fine_tuned_model"] = self.model_of(job)
            shown["trained_tokens"] = 50 * job.more["examples"] * int(job.hyperparameters.get("n_epochs", 3))
            shown["result_files"] = [f"file-{short_hash(job.job_id, 32)}"]
        if state is JobState.FAILED:
            shown["error"] = {"code": "invalidPayload", "message": job.failure}
        return {
            name: value for name, value in shown.items() if value is not None
        }  # Azure leaves out what is null

    def _delete_job(self, request: Request) -> Answer:
        job = self.job(request)
        if not self.state(job).terminal:
            self.refuse(409, "A job that is active cannot be deleted", code="conflict")
        self.jobs_deleted.add(job.job_id)
        self.models_deleted.add(self.model_of(job))
        return Answer(None, 204)

    # -- deployments ----------------------------------------------------------------------------------------

    def hosted(self, name: str) -> Hosted | None:
        """A deployment that is there; those of the developer tier end after a day."""
        found = self.deployments.get(name)
        if (
            found is not None
            and found.sku == "developertier"
            and self.clock.elapsed() - found.created_s > 86_400
        ):
            return None
        if (
            found is not None
            and found.deleted_s is not None
            and self.clock.elapsed() >= found.deleted_s + self.deleting_s
        ):
            if not self.deletion_fails:
                return None
            found.deleted_s = None
        return found

    def deployment_state(self, hosted: Hosted) -> str:
        """In the words of Resource Manager."""
        if hosted.deleted_s is not None:
            return "Deleting"
        if self.clock.elapsed() - hosted.created_s < self.deploying_s:
            return "Creating"
        return "Failed" if hosted.fails else "Succeeded"

    def _shown_deployment(self, hosted: Hosted) -> Json:
        return {
            "id": f"{RESOURCE}/deployments/{hosted.name}",
            "name": hosted.name,
            "type": "Microsoft.CognitiveServices/accounts/deployments",
            "sku": {"name": hosted.sku, "capacity": hosted.capacity},
            "etag": '"b4b4"',
            "properties": {
                "model": {"format": "OpenAI", "name": hosted.model, "version": "1"},
                "provisioningState": self.deployment_state(hosted),
                "currentCapacity": hosted.capacity,
                "capabilities": {"chatCompletion": "true"},
            },
        }

    def _list_deployments(self, request: Request) -> Answer:
        there = [hosted for name in self.deployments if (hosted := self.hosted(name)) is not None]
        return Answer({"value": [self._shown_deployment(hosted) for hosted in there]})

    def _get_deployment(self, request: Request) -> Answer:
        hosted = self.hosted(request.parts["deployment"])
        if hosted is None:
            self.refuse(404, "The deployment was not found", code="ResourceNotFound")
        return Answer(self._shown_deployment(hosted))

    def _put_deployment(self, request: Request) -> Answer:
        name, body = request.parts["deployment"], request.json
        sku, model = body["sku"]["name"], body["properties"]["model"]
        there = self.hosted(name)
        if there is not None and there.model == model["name"]:
            return Answer(self._shown_deployment(there), 200)
        job = self._check_deployment(name, sku, body["sku"].get("capacity", 1), model)
        hosted = Hosted(
            name,
            model["name"],
            sku,
            body["sku"].get("capacity", 1),
            self.clock.elapsed(),
            job,
            self.next_deployment_fails,
        )
        self.next_deployment_fails = False
        self.deployments[name] = hosted
        return Answer(self._shown_deployment(hosted), 201)

    def _check_deployment(self, name: str, sku: str, capacity: int, model: Mapping[str, str]) -> Job:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,63}", name):
            self.refuse(400, "The deployment's name is invalid", code="InvalidResourceName")
        if sku not in {"standard", "developertier", "globalstandard"}:
            self.refuse(400, f"The specified SKU '{sku}' is not supported", code="InvalidResourceProperties")
        job = self.trained(model["name"])
        if job is None or (model["format"], model["version"]) != ("OpenAI", "1"):
            self.refuse(400, f"The model {model} is not supported", code="DeploymentModelNotSupported")
        if sku == "developertier" and job.base_model.startswith("gpt-4o"):
            self.refuse(
                400,
                "The specified SKU 'developertier' is not supported for this model",
                code="InvalidResourceProperties",
            )
        used = sum(each.capacity for each in map(self.hosted, self.deployments) if each is not None)
        if used + capacity > self.quota:
            self.refuse(
                400, f"{capacity} new capacity is more than what is available", code="InsufficientQuota"
            )
        return job

    def _delete_deployment(self, request: Request) -> Answer:
        hosted = self.hosted(request.parts["deployment"])
        if hosted is None:
            return Answer(None, 204)
        if self.deployment_state(hosted) in {"Creating", "Deleting"}:
            self.refuse(409, "Another operation is in progress on the deployment", code="RequestConflict")
        hosted.deleted_s = self.clock.elapsed()
        return Answer(None, 202)

    # -- answers --------------------------------------------------------------------------------------------

    def _chat(self, request: Request) -> Answer:
        hosted = self.hosted(request.parts["deployment"])
        ready = hosted is not None and self.deployment_state(hosted) == "Succeeded"
        if ready and hosted is not None:
            ready = self.clock.elapsed() - hosted.created_s >= self.deploying_s + self.known_after_s
        if hosted is None or not ready:
            self.refuse(
                404, "The API deployment for this resource does not exist.", code="DeploymentNotFound"
            )
        question = [each["content"] for each in request.json["messages"] if each["role"] == "user"][-1]
        if question in self.filtered:
            self.refuse(400, "The prompt was held back by the content policy", code="content_filter")
        return self.completion(request, hosted.model, hosted.job)
