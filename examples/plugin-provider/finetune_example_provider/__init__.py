"""A provider in small: it trains a classifier that weighs words, on this machine, and keeps its jobs as files.

A company's API has the same shape: every method of `finetune_providers.base.Provider`, jobs that are found by their
key, and errors from `finetune_providers.errors`. See docs/adding-a-provider.md.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from finetune_example_provider.files import Files, Job
from finetune_example_provider.words import Weights, answer, learn
from finetune_providers import base
from finetune_providers.base import JobSnapshot, JobState, ParameterRule
from finetune_providers.conversations import read_conversations, upload_name, write_converted
from finetune_providers.errors import JobNotFound, PermanentProviderError, ProviderError

T = TypeVar("T")

RULES = base.ModelRules(
    {
        "epochs": ParameterRule("int", minimum=1, maximum=100_000, default=10),
        "learningRate": ParameterRule("float", minimum=0, maximum=10, exclusive_minimum=True, default=0.1),
    }
)
MODELS = {"bag-of-words": RULES}
MOST_ANSWERS = 50


def create(config: base.ProviderConfig) -> ExampleProvider:
    """What the entry point names: makes a provider from what its FinetuneProvider says."""
    return ExampleProvider(Files(config.work_dir))


class ExampleProvider:
    """The provider. Its jobs outlive it: one that is not finished begins anew when it is looked at."""

    capabilities = base.Capabilities(
        finds_by_key=True,
        idempotent_create=True,  # a job's file is named by its key
        lookup_window_s=0.0,
        metrics=frozenset({"trainingLoss"}),
        poll_interval_s=0.2,
        deletes_models=True,
    )
    offer = base.Offer(base.OfferState.OFFERED, "it is part of this machine")

    def __init__(self, files: Files) -> None:
        self._files = files
        # One thread does all that touches files, so that no two changes of a job can cross.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="example")
        self._training: dict[str, asyncio.Task[None]] = {}

    def model_rules(self, base_model: str) -> base.ModelRules | None:
        return MODELS.get(base_model)

    def model_names(self) -> tuple[str, ...]:
        return tuple(MODELS)

    async def check(self, base_models: Collection[str]) -> None:
        for name in base_models:
            if name not in MODELS:
                message = f"there is no base model {name!r}; use {', '.join(MODELS)}"
                raise PermanentProviderError(message, field="baseModels")

    async def check_data(
        self, base_model: str, *, training: base.DatasetFile, validation: base.DatasetFile | None
    ) -> None:
        conversations = await self._in_thread(lambda: list(read_conversations(training)))
        answers: set[str] = set()
        for number, messages in enumerate(conversations, start=1):
            answers.add(messages[-1]["content"])
            if len(answers) > MOST_ANSWERS:
                message = f"line {number}: one answer too many; {MOST_ANSWERS} different ones are allowed"
                raise PermanentProviderError(message, field="training")

    async def upload(self, dataset: base.DatasetFile, *, base_model: str) -> str:
        reference = f"{dataset.scope}/{upload_name(dataset, dialect='words')}"
        target = self._files.data / reference
        if not target.exists():
            await self._in_thread(partial(write_converted, dataset, target, lambda each: {"messages": each}))
        return reference

    async def delete_data(self, scope: str) -> None:
        await self._in_thread(lambda: shutil.rmtree(self._files.data / scope, ignore_errors=True))

    async def submit(self, request: base.JobRequest) -> JobSnapshot:
        new = JobSnapshot(request.key, request.key, JobState.PENDING, "new", created_at=_now())
        await self._in_thread(lambda: self._files.add(Job(request, new)))
        return (await self.observe([request.key]))[request.key]

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        return tuple((await self.observe([key])).values())

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        found = await self._in_thread(lambda: [self._files.read(each) for each in job_ids])
        jobs = {job.snapshot.job_id: job for job in found if job is not None}
        for job_id, job in jobs.items():
            # Nobody trains it where the process that did has ended.
            if not job.snapshot.state.terminal and job_id not in self._training:
                self._training[job_id] = asyncio.create_task(self._train(job))
        return {job_id: job.snapshot for job_id, job in jobs.items()}

    async def cancel(self, job_id: str) -> None:
        if not await self._change(job_id, JobState.CANCELLED, finished_at=_now()):
            raise JobNotFound(f"there is no job {job_id}")
        if task := self._training.pop(job_id, None):
            task.cancel()

    async def deploy(self, model: str, *, name: str) -> base.Deployment:
        return base.Deployment(name, base.DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None: ...

    @asynccontextmanager
    async def inference(self, model: str) -> AsyncIterator[base.InferenceSession]:
        # The base model has learned no answer.
        yield _Session({} if model in MODELS else await self._in_thread(lambda: self._files.weights(model)))

    async def delete_model(self, model: str) -> None:
        await self._in_thread(lambda: self._files.forget(model))

    async def aclose(self) -> None:
        for task in self._training.values():
            task.cancel()
        await asyncio.gather(*self._training.values(), return_exceptions=True)
        self._thread.shutdown()

    async def _train(self, job: Job) -> None:
        job_id, asked = job.snapshot.job_id, job.request.hyperparameters
        epochs, rate = int(asked["epochs"]), float(asked["learningRate"])
        weights: Weights = {}
        series: tuple[base.MetricPoint, ...] = ()
        try:
            dataset = base.DatasetFile(self._files.data / job.request.training, "", 0)
            conversations = await self._in_thread(lambda: list(read_conversations(dataset)))
        except ProviderError as error:
            await self._change(job_id, JobState.FAILED, message=str(error), finished_at=_now())
            return
        for epoch in range(1, epochs + 1):
            loss = await asyncio.to_thread(learn, weights, conversations, rate)
            if epoch % -(-epochs // 100) == 0 or epoch == epochs:  # at most 100 points
                series = (*series, base.MetricPoint(epoch, {"trainingLoss": loss}))
                await self._change(job_id, JobState.RUNNING, series=series, progress=epoch / epochs)
        await self._in_thread(lambda: self._files.learned(job_id, weights))
        await self._change(job_id, JobState.SUCCEEDED, fine_tuned_model=job_id, finished_at=_now())

    async def _change(self, job_id: str, state: JobState, **changes: Any) -> bool:
        """Change a job unless it is finished; False where there is none."""

        def change() -> bool:
            job = self._files.read(job_id)
            if job is not None and not job.snapshot.state.terminal:
                changed = replace(job.snapshot, state=state, native_state=state.lower(), **changes)
                self._files.write(replace(job, snapshot=changed))
            return job is not None

        return await self._in_thread(change)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(slots=True)
class _Session:
    weights: Weights
    batch_size: int = 8
    concurrency: int = 1

    async def answer(
        self, conversations: Sequence[base.Conversation], *, max_output_tokens: int
    ) -> Sequence[str]:
        return [answer(self.weights, conversation) for conversation in conversations]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
