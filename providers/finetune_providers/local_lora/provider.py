"""The provider `Local`: the contract, over the job folders. Everything that blocks happens in threads."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    ModelRules,
    Offer,
    OfferState,
    ProviderConfig,
)
from finetune_providers.errors import JobNotFound, PermanentProviderError, QuotaExceeded
from finetune_providers.local_lora import models
from finetune_providers.local_lora.jobs import JobFolder, create_job, job_id_of
from finetune_providers.local_lora.launcher import child_environment
from finetune_providers.local_lora.options import (
    RULES,
    check_hyperparameters,
    default_slots,
    parse_options,
)
from finetune_providers.local_lora.processes import signal_trainer
from finetune_providers.local_lora.scheduler import Scheduler
from finetune_providers.local_lora.session import open_session

_CANCEL_GRACE_S = 5.0
_PAUSE_GRACE_S = 20.0
_LOOK_S = 0.05


def create(config: ProviderConfig) -> LocalProvider:
    """Make the provider for one account; makes its folders.

    Raises:
        PermanentProviderError: An option is wrong or `work_dir` cannot be written.
    """
    return LocalProvider(config)


class LocalProvider:
    """LoRA fine-tuning on this machine; see `finetune_providers.base.Provider` for the promises."""

    def __init__(self, config: ProviderConfig) -> None:
        self._options = parse_options(config.options)
        self._token = config.credentials.get("HF_TOKEN")
        self._root = config.work_dir.expanduser().absolute()
        self._jobs = self._root / "jobs"
        self._datasets = self._root / "datasets"
        try:
            for folder in (self._jobs, self._datasets):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermanentProviderError(
                f"the work folder {self._root} cannot be written: {error.strerror}", field="spec.type"
            ) from error
        self._environment = child_environment(self._options, config.credentials)
        slots = config.max_concurrent_jobs or default_slots(self._options)
        self._scheduler = Scheduler(self._jobs, slots, environment=self._environment)
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            finds_by_key=True,
            idempotent_create=True,
            lookup_window_s=0.0,
            metrics=frozenset({"trainingLoss", "validationLoss", "validationTokenAccuracy"}),
            poll_interval_s=2.0,
            deletes_models=True,
            live_metrics=frozenset({"trainingLoss", "validationLoss", "validationTokenAccuracy"}),
        )

    @property
    def offer(self) -> Offer:
        return Offer(OfferState.OFFERED, "models are trained on this machine")

    def model_rules(self, base_model: str) -> ModelRules | None:
        return RULES if base_model.strip() else None

    def model_names(self) -> tuple[str, ...]:
        return ()

    async def check(self, base_models: Collection[str]) -> None:
        models.check_packages()
        for name in base_models:
            source = await asyncio.to_thread(models.find_model, name)
            if source.kind is models.SourceKind.HUB:
                await asyncio.to_thread(models.check_hub, source.location, token=self._token)

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Any dataset in the canonical form will do."""

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        return await asyncio.to_thread(self._store, dataset)

    def _store(self, dataset: DatasetFile) -> str:
        """Copy the file under its hash; a copy, because a link would change when somebody edits the original."""
        try:
            content = dataset.path.read_bytes()
        except OSError as error:
            raise PermanentProviderError(
                f"dataset {dataset.path} cannot be read: {error.strerror}", field="dataset"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != dataset.content_hash:
            raise PermanentProviderError(
                f"dataset {dataset.path} has changed since it was checked; start again with the new content",
                field="dataset",
            )
        folder = self._datasets / dataset.scope
        folder.mkdir(exist_ok=True)
        target = folder / f"{found}.jsonl"
        if not target.exists():
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(target)
        return str(target)

    async def delete_data(self, scope: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._datasets / scope, ignore_errors=True)

    async def submit(self, request: JobRequest) -> JobSnapshot:
        check_hyperparameters(request.hyperparameters)
        for path in filter(None, (request.training, request.validation)):
            if not await asyncio.to_thread(Path(path).is_file):
                raise PermanentProviderError(f"there is no uploaded dataset {path}", field="dataset")
        job = await asyncio.to_thread(self._create, request)
        await self._tick()
        return await asyncio.to_thread(job.snapshot)

    def _create(self, request: JobRequest) -> JobFolder:
        defaults = {name: rule.default for name, rule in RULES.parameters.items() if rule.default is not None}
        try:
            return create_job(self._jobs, request, options=self._options, defaults=defaults)
        except OSError as error:
            message = f"the job's folder under {self._jobs} cannot be written: {error.strerror}"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise QuotaExceeded(message, retry_after_s=60) from error
            raise PermanentProviderError(message) from error

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        job = self._scheduler.job(job_id_of(key))
        if job is None:
            return ()
        snapshot = await asyncio.to_thread(job.snapshot)
        if snapshot.key is None:  # its file is damaged; the folder's name says whose it is
            return (replace(snapshot, key=key),)
        return (snapshot,) if snapshot.key == key else ()

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        await self._tick()
        return await asyncio.to_thread(self._snapshots, tuple(job_ids))

    def _snapshots(self, job_ids: Collection[str]) -> dict[str, JobSnapshot]:
        jobs = ((job_id, self._scheduler.job(job_id)) for job_id in job_ids)
        return {job_id: job.snapshot() for job_id, job in jobs if job is not None}

    async def _tick(self) -> None:
        if not self._closed:
            await asyncio.to_thread(self._scheduler.tick)

    async def cancel(self, job_id: str) -> None:
        job = self._scheduler.job(job_id)
        if job is None:
            raise JobNotFound(f"there is no local job {job_id!r}")
        if (await asyncio.to_thread(job.status)).terminal:
            return
        job.request_cancel()
        await self._stop([job], grace_s=_CANCEL_GRACE_S)
        await asyncio.to_thread(self._scheduler.settle, job)
        await self._tick()

    async def _stop(self, jobs: Collection[JobFolder], *, grace_s: float) -> None:
        """End trainers: ask, then insist. Returns once their locks are free."""
        alive = [job for job in jobs if job.alive]
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _CANCEL_GRACE_S)):
            for job in alive:
                signal_trainer(job, number)
            deadline = time.monotonic() + patience_s
            while alive and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_S)
                alive = [job for job in alive if job.alive]

    async def deploy(self, model: str, *, name: str) -> Deployment:
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """Nothing is deployed: a model answers from its files."""

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        adapter = _folder_of(model)
        if adapter is not None and (adapter / "adapter_config.json").is_file():
            target = {"adapter": str(adapter)}
        elif adapter is not None and adapter.is_relative_to(self._jobs):
            raise JobNotFound(f"the fine-tuned model {model} is gone")
        else:
            target = {"base_model": model}
        request = {**target, "device": self._options.device, "threads": self._options.threads}
        return open_session(request, environment=self._environment, logs=self._root / "answers")

    async def delete_model(self, model: str) -> None:
        await asyncio.to_thread(self._delete, model)

    def _delete(self, model: str) -> None:
        adapter = _folder_of(model)
        job = None if adapter is None else self._scheduler.job(adapter.parent.name)
        if adapter is None or adapter != self._jobs / adapter.parent.name / "adapter":
            raise PermanentProviderError(
                f"{model!r} is no fine-tuned model of this provider; nothing was deleted"
            )
        if job is not None:
            shutil.rmtree(job.adapter, ignore_errors=True)

    async def aclose(self) -> None:
        """Pause this account's trainers: they save a checkpoint, and the next provider goes on from it."""
        self._closed = True
        # A tick whose caller was cancelled goes on in its thread: what it starts must be seen here.
        await asyncio.to_thread(self._scheduler.close)
        jobs = await asyncio.to_thread(lambda: list(self._scheduler.unfinished()))
        await self._stop(jobs, grace_s=_PAUSE_GRACE_S)
        for job in jobs:
            await asyncio.to_thread(self._scheduler.settle, job)


def _folder_of(model: str) -> Path | None:
    """The folder that a `file://` URI or an absolute path names, without '..'; None for any other text."""
    path = unquote(urlsplit(model).path) if model.startswith("file://") else model
    if not path.startswith("/"):
        return None
    return Path(os.path.normpath(path))
