"""Google AI Studio: the Gemini API's tuned models, over its REST API.

Not over Google's SDK: google-genai drops the training data from its request from version 1.47 on.

A tuned model is job and model in one, under an id that the caller chooses: it is derived from the purchase's key, so
that the same key cannot make two. Its data travels with the create call. There is no cancelled state and no call to
cancel: a job is stopped by deleting its tuned model, of which Google then keeps nothing. So what was deleted is
written down here, before it is.

Source: google-ai-generativelanguage 0.12.1 (tuned_model.proto, and the paths of its REST transport) and
ai.google.dev/gemini-api/docs/model-tuning in copies of 2024 and 2025.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    JobState,
    ProviderConfig,
)
from finetune_providers.calls import Calls
from finetune_providers.catalog import Catalog, load_catalog
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    UnexpectedResponse,
)
from finetune_providers.google_ai_studio.chat import ChatSession
from finetune_providers.google_ai_studio.datasets import Datasets
from finetune_providers.google_ai_studio.rest import COMPANY, AlreadyExists, Rest, explain
from finetune_providers.google_ai_studio.tuned_models import TunedModels
from finetune_providers.google_ai_studio.wire import (
    check_pairs,
    id_in_name,
    model_path,
    take,
    tuned_model,
    tuned_model_id,
)
from finetune_providers.hosted import FromCatalog, poll_interval_s
from finetune_providers.tombstones import Tombstones

Json = Mapping[str, Any]

ENDPOINT = "https://generativelanguage.googleapis.com"
SECRET_KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The first of them that the Secret has counts, as with Google's SDK."""


def create(config: ProviderConfig, *, session: aiohttp.ClientSession | None = None) -> GoogleAIStudio:
    """The provider of one API key.

    Args:
        config: `credentials` holds GOOGLE_API_KEY or GEMINI_API_KEY.
        session: Makes the requests, instead of one of its own.

    Raises:
        PermanentProviderError: Something is missing or wrong, with `field` below spec.
    """
    key = next((config.credentials[name].strip() for name in SECRET_KEYS if config.credentials.get(name)), "")
    if not (key and key.isascii() and key.isprintable()):
        raise PermanentProviderError(
            f"GoogleAIStudio needs an API key: have spec.credentialsSecretRef name a Secret with the key "
            f"{' or '.join(reversed(SECRET_KEYS))}",
            field="spec.credentialsSecretRef",
        )
    return GoogleAIStudio(
        load_catalog(config),
        Calls(explain, requests_per_minute=config.requests_per_minute, secrets=[key]),
        rest=Rest(config.endpoint or ENDPOINT, key, session=session),
        work_dir=config.work_dir,
        poll_interval_s=poll_interval_s(config.options),
    )


class GoogleAIStudio(FromCatalog):
    """The Provider of Google AI Studio."""

    def __init__(
        self, catalog: Catalog, calls: Calls, *, rest: Rest, work_dir: Path, poll_interval_s: float
    ) -> None:
        """Use `create`."""
        super().__init__(catalog)
        self._calls, self._rest = calls, rest
        self._datasets = Datasets(work_dir / "datasets")
        self._deleted = Tombstones(work_dir / "deleted", named_by_key=False)
        self._poll_interval_s = poll_interval_s
        self._tuned_models = TunedModels(calls, rest)

    @property
    def capabilities(self) -> Capabilities:
        """What it offers. Validation data is not looked at, so that there is no metric of it."""
        return Capabilities(
            finds_by_key=True,
            idempotent_create=True,
            lookup_window_s=None,
            metrics=frozenset({"trainingLoss"}),
            poll_interval_s=self._poll_interval_s,
            deletes_models=True,
            native_states=frozenset({"CREATING", "ACTIVE", "FAILED", "DELETED"}),
            live_metrics=frozenset({"trainingLoss"}),
            appears_within_s=300.0,
        )

    async def check(self, base_models: Collection[str]) -> None:
        """Ask for a list of tuned models, which needs the key, and for each base model whether it can be tuned."""
        for name in base_models:
            if self._catalog.rules(name) is None:
                known = ", ".join(self.model_names())
                message = (
                    f"base model {name!r} is not known; known: {known}. "
                    "Is it another one: add it to spec.models of the FinetuneProvider"
                )
                raise PermanentProviderError(message, field="baseModels")
        await self._get("tunedModels", query={"pageSize": "1"})
        for name in base_models:
            try:
                model = await self._get(model_path(name))
            except JobNotFound as error:
                raise PermanentProviderError(
                    f"base model {name!r} is gone: {error}", field="baseModels"
                ) from None
            if "createTunedModel" not in take(model, "supportedGenerationMethods", list, []):
                raise PermanentProviderError(
                    f"{COMPANY} does not tune base model {name!r}; name another one, or use VertexAI",
                    field="baseModels",
                )

    # -- data: on this machine until a create call takes it along -------------------------------------------

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Check that the training data can be said in pairs of texts. Validation data is not used."""
        rules = self._catalog.rules(base_model)
        await self._calls.in_thread(check_pairs, training, {} if rules is None else rules.traits)

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        return await self._calls.in_thread(self._datasets.keep, dataset)

    async def delete_data(self, scope: str) -> None:
        await self._calls.in_thread(self._datasets.delete, scope)

    # -- jobs -----------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        """Create a tuned model, or say what became of the one that the same key made."""
        job_id = tuned_model_id(request.key)
        if await self._record(job_id) is not None and (found := await self.find(request.key)):
            return found[0]  # Google has forgotten what was deleted, and would make it again
        body = await self._calls.in_thread(tuned_model, request, self._datasets.path(request.training))

        async def post() -> JobSnapshot:
            operation = await self._rest.send(
                "POST", "tunedModels", query={"tunedModelId": job_id}, body=body
            )
            if not take(operation, "name", str, "").startswith(f"tunedModels/{job_id}/operations/"):
                raise UnexpectedResponse(
                    f"{COMPANY}: the answer to a create call names no operation of {job_id}"
                )
            return JobSnapshot(job_id, request.key, JobState.PENDING, "CREATING")

        try:
            return await self._calls.create(post)
        except AlreadyExists:
            return await self._first(job_id, request.key)
        except JobNotFound as error:
            raise PermanentProviderError(str(error), field="baseModels") from None

    async def _first(self, job_id: str, key: str) -> JobSnapshot:
        """The job that an earlier create call with the same key has made."""
        try:
            resource = await self._tuned_models.get(job_id)
            job = None if resource is None else await self._tuned_models.job(resource)
        except ProviderError as error:
            raise AmbiguousProviderError(f"tuned model {job_id} is there, but unreadable: {error}") from None
        if job is None:
            raise AmbiguousProviderError(f"tuned model {job_id} is there, but is not shown")
        if job.key != key:
            raise PermanentProviderError(f"there is a tuned model {job_id} already that is not this trial's")
        return job

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """The tuned model of the key's id, if it is there or was deleted from here, and is described by the key."""
        job_id = tuned_model_id(key)
        resource = await self._tuned_models.get(job_id)
        job = await self._record(job_id) if resource is None else await self._tuned_models.job(resource)
        return () if job is None or job.key != key else (job,)

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """Look the jobs up in the list, and those that it does not show one by one."""
        wanted = {id_in_name(job_id): job_id for job_id in job_ids}
        seen: dict[str, JobSnapshot] = {}
        if wanted:
            async for resource in self._tuned_models.listed():
                name = id_in_name(take(resource, "name", str, ""))
                if name in wanted:
                    seen[wanted[name]] = await self._tuned_models.job(resource)
                if len(seen) == len(wanted):
                    break
        for name, job_id in wanted.items():
            if job_id not in seen:
                found = await self._tuned_models.get(name)
                job = await self._record(name) if found is None else await self._tuned_models.job(found)
                if job is not None:
                    seen[job_id] = job
        return seen

    async def cancel(self, job_id: str) -> None:
        """Delete the tuned model, unless it is finished.

        One that is finished between the look and the deletion is deleted all the same: Google offers no condition.
        """
        resource = await self._tuned_models.get(id_in_name(job_id))
        if resource is None:
            if await self._record(id_in_name(job_id)) is not None:
                return
            raise JobNotFound(f"{COMPANY} has no tuned model {job_id}")
        job = await self._tuned_models.job(resource)
        if not job.state.terminal:
            await self._delete(job)

    async def delete_model(self, model: str) -> None:
        """Delete a tuned model; that its job was bought stays known here."""
        if not model.startswith("tunedModels/"):
            raise PermanentProviderError(f"{model!r} is no fine-tuned model; one is named tunedModels/<id>")
        resource = await self._tuned_models.get(id_in_name(model))
        if resource is not None:
            await self._delete(await self._tuned_models.job(resource))

    async def _delete(self, job: JobSnapshot) -> None:
        """Write down what a job was, and delete its tuned model: after that, nobody else knows."""
        if not job.state.terminal:
            now = datetime.now(UTC).replace(microsecond=0)
            job = replace(job, state=JobState.CANCELLED, native_state="DELETED", finished_at=now)
        await self._calls.in_thread(self._deleted.write, job)
        await self._tuned_models.delete(job.job_id)

    # -- answers --------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """Nothing is needed: a tuned model answers by itself."""
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """Nothing was deployed."""

    @asynccontextmanager
    async def inference(self, model: str) -> AsyncIterator[InferenceSession]:
        """Ask a tuned or a base model."""
        yield ChatSession(self._calls, self._rest, f"{model_path(model)}:generateContent")

    async def aclose(self) -> None:
        """End connections and threads."""
        await self._rest.aclose()
        self._calls.close()

    # -- reading --------------------------------------------------------------------------------------------

    async def _record(self, job_id: str) -> JobSnapshot | None:
        return await self._calls.in_thread(self._deleted.of_job, job_id)

    async def _get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        return await self._calls.read(lambda: self._rest.send("GET", path, query=query))
