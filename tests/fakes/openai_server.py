"""OpenAI for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tests.fakes import openai_schema
from tests.fakes.hosted import Job, short_hash
from tests.fakes.http_server import Answer, Request
from tests.fakes.openai_common import MODELS, Json, OpenAICompany

from finetune_providers.base import JobState

_STATES = {
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class OpenAIServer(OpenAICompany):
    """OpenAI at `url + "/v1"`.

    Attributes:
        closed: The organisation may make no new jobs.
        processing_s: How long a file is processed, in the clock's seconds.
        loading_s: How long after its job's end a model is not known yet.
    """

    prefix: ClassVar[str] = "/v1"
    longest_suffix: ClassVar[int] = 64

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.closed = False
        self.processing_s = 0.0
        self.loading_s = 0.0

    def authorize(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.secret}":
            self.refuse(401, "Incorrect API key provided: a-key***.", code="invalid_api_key")

    def request_faults(self, request: Request) -> list[str]:
        return openai_schema.request_faults(request)

    def answer_faults(self, operation: str, body: Any) -> list[str]:
        # A state that a test made up is none of the specification's.
        made_up = {job.native_state for job in self.jobs.values()} - {None}
        return [] if made_up else openai_schema.answer_faults(operation, body)

    def further_routes(self) -> Sequence[tuple[str, str, str, Callable[[Request], Answer]]]:
        return [
            ("models.get", "GET", "/v1/models/(?P<model>[^/]+)", self._get_model),
            ("models.delete", "DELETE", "/v1/models/(?P<model>[^/]+)", self._delete_model),
            ("chat", "POST", "/v1/chat/completions", self._chat),
        ]

    # -- files ----------------------------------------------------------------------------------------------

    def file_state(self, file: Json) -> str:
        age = self.clock.now().timestamp() - file["created_at"]
        return "uploaded" if age < self.processing_s else super().file_state(file)

    def page(self, request: Request, shown: Sequence[Json], *, usual: int = 20) -> Answer:
        answer = super().page(request, shown, usual=usual)
        if request.operation == "files.list":
            ids = [item["id"] for item in answer.body["data"]] or [""]
            answer.body |= {"first_id": ids[0], "last_id": ids[-1]}
        return answer

    def check_job_file(self, file_id: str, param: str) -> None:
        super().check_job_file(file_id, param)
        if self.file_state(self.files[file_id]) == "uploaded":
            # OpenAI's own words, as its users have reported them since 2023.
            message = (
                f"File '{file_id}' is still being processed and is not ready to be used for fine-tuning. "
                "Please try again later."
            )
            self.refuse(400, message)

    # -- jobs -----------------------------------------------------------------------------------------------

    def new_job_id(self) -> str:
        return f"ftjob-{short_hash(str(len(self.jobs) + 1), 24)}"

    def check_marks(self, body: Json) -> None:
        if self.closed:
            self.refuse(403, "You are not allowed to create fine-tuning jobs with this organization")
        metadata = body.get("metadata") or {}
        if len(metadata) > 16 or any(len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
            self.refuse(400, "metadata has too many pairs, or one that is too long", param="metadata")

    def model_of(self, job: Job) -> str:
        return f"ft:{job.base_model}:acme:{job.body.get('suffix', '')}:{job.job_id[-8:]}"

    def shown_job(self, job: Job) -> Json:
        state = self.state(job)
        native = job.native_state or _STATES.get(state)
        if native is None:
            native = "validating_files" if self.progress(job) < 0.05 else "queued"
        good = state is JobState.SUCCEEDED
        total, _ = self.steps(job)
        auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
        error = None
        if state is JobState.FAILED:
            error = {"code": "invalid_training_file", "message": job.failure, "param": "training_file"}
        return {
            "object": "fine_tuning.job",
            "id": job.job_id,
            "model": job.base_model,
            "created_at": self.when(job),
            "finished_at": self.when(job, total) if state.terminal else None,
            "estimated_finish": None if state.terminal else self.when(job, total),
            "fine_tuned_model": self.model_of(job) if good else None,
            "organization_id": "org-acme",
            "result_files": [f"file-{short_hash(job.job_id, 22)}"] if good else [],
            "status": native,
            "training_file": job.body["training_file"],
            "validation_file": job.body.get("validation_file"),
            "hyperparameters": {**auto, **job.hyperparameters},
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {**auto, **job.hyperparameters}},
            },
            "trained_tokens": 50 * job.more["examples"] * int(job.hyperparameters.get("n_epochs", 3))
            if good
            else None,
            "error": error,
            "integrations": [],
            "seed": job.body.get("seed", 0),
            "metadata": job.body.get("metadata"),
        }

    # -- models ---------------------------------------------------------------------------------------------

    def _missing(self, model: str) -> None:
        self.refuse(
            404,
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
            param="model",
        )

    def _get_model(self, request: Request) -> Answer:
        model = request.parts["model"]
        if model not in MODELS and self.trained(model) is None:
            self._missing(model)
        return Answer({"id": model, "object": "model", "created": 1, "owned_by": "acme"})

    def _delete_model(self, request: Request) -> Answer:
        model = request.parts["model"]
        if self.trained(model) is None:
            self._missing(model)
        self.models_deleted.add(model)
        return Answer({"id": model, "object": "model", "deleted": True})

    def _chat(self, request: Request) -> Answer:
        model = request.json["model"]
        job = self.trained(model)
        loading = job is not None and self.clock.elapsed() < job.created_s + self.training_s + self.loading_s
        if loading or (job is None and model not in MODELS):
            self._missing(model)
        return self.completion(request, model, job)
