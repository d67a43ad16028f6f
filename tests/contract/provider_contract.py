"""What every provider promises; a provider's tests inherit all of it and say only how to reach the provider.

A subclass gives these fixtures:

- `new_provider`: makes a provider over the same account each time, as a restarted operator does.
- `base_model`: a model that can be fine-tuned.
- `quick`: hyperparameters of a job that ends soon.
- `endless`: hyperparameters of a job that does not end while a test lasts.

It may replace `settle`, which waits for a job's end, and `serve`, which waits for a deployment, where time has to be
moved by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.patience import PATIENCE_S

from finetune_providers.base import (
    DatasetFile,
    DeploymentState,
    JobRequest,
    JobSnapshot,
    JobState,
    Message,
    ParameterValue,
    Provider,
)
from finetune_providers.errors import JobNotFound, PermanentProviderError, ProviderError

NewProvider = Callable[[], Provider]
Settle = Callable[[Provider, str], Awaitable[JobSnapshot]]
Serve = Callable[[Provider, str], Awaitable[str]]

KEY = "ft-0123456789abcdef0123-a1"
ANOTHER_KEY = "ft-00112233445566778899-a1"
DEPLOYMENT = "ft-0123456789abcdef0123-serve"

ANSWERS = {"red": "warm", "blue": "cold", "orange": "warm", "grey": "cold", "pink": "warm", "white": "cold"}


def conversation(word: str) -> list[Message]:
    """A prompt about one word."""
    return [{"role": "user", "content": f"is {word} warm or cold"}]


def write_dataset(path: Path, *, repeat: int = 1, scope: str = "fts-0123456789abcdef") -> DatasetFile:
    """A small dataset in the canonical form."""
    rows = [
        json.dumps({"messages": [*conversation(word), {"role": "assistant", "content": answer}]})
        for word, answer in ANSWERS.items()
    ] * repeat
    content = "".join(f"{row}\n" for row in rows).encode()
    path.write_bytes(content)
    return DatasetFile(path, hashlib.sha256(content).hexdigest(), len(rows), scope)


async def settle_by_polling(provider: Provider, job_id: str) -> JobSnapshot:
    """Observe until the job has ended.

    Raises:
        TimeoutError: It has not in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        snapshot = (await provider.observe([job_id]))[job_id]
        if snapshot.state.terminal:
            return snapshot
        await asyncio.sleep(0.05)
    raise TimeoutError(f"job {job_id} has not ended")


async def serve_by_polling(provider: Provider, model: str) -> str:
    """Deploy a fine-tuned model where that is needed, and say what `inference` takes.

    Raises:
        TimeoutError: It is not active in time.
    """
    if not provider.capabilities.needs_deployment:
        return model
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        deployment = await provider.deploy(model, name=DEPLOYMENT)
        if deployment.state is DeploymentState.ACTIVE:
            return deployment.model
        assert deployment.state is DeploymentState.CREATING, deployment
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{model} is not served")


class ProviderContract:
    """The promises of `finetune_providers.base.Provider`."""

    @pytest.fixture
    def provider(self, new_provider: NewProvider) -> Provider:
        return new_provider()

    @pytest.fixture
    def settle(self) -> Settle:
        return settle_by_polling

    @pytest.fixture
    def serve(self) -> Serve:
        return serve_by_polling

    @pytest.fixture
    def training(self, tmp_path: Path) -> DatasetFile:
        return write_dataset(tmp_path / "train.jsonl", repeat=4)

    @pytest.fixture
    def validation(self, tmp_path: Path) -> DatasetFile:
        return write_dataset(tmp_path / "valid.jsonl")

    @pytest.fixture
    async def request_quick(
        self,
        provider: Provider,
        base_model: str,
        quick: Mapping[str, ParameterValue],
        training: DatasetFile,
        validation: DatasetFile,
    ) -> JobRequest:
        return JobRequest(
            key=KEY,
            base_model=base_model,
            hyperparameters=quick,
            training=await provider.upload(training, base_model=base_model),
            validation=await provider.upload(validation, base_model=base_model),
            labels={"sweep": "sweep", "trial": "sweep-0"},
        )

    @pytest.fixture
    async def request_endless(
        self,
        provider: Provider,
        base_model: str,
        endless: Mapping[str, ParameterValue],
        training: DatasetFile,
    ) -> JobRequest:
        return JobRequest(
            key=ANOTHER_KEY,
            base_model=base_model,
            hyperparameters=endless,
            training=await provider.upload(training, base_model=base_model),
        )

    def test_every_default_is_within_its_own_rule(self, provider: Provider, base_model: str) -> None:
        rules = provider.model_rules(base_model)
        assert rules is not None
        assert "epochs" in rules.parameters
        for name, rule in rules.parameters.items():
            assert rule.default is None or rule.permits(rule.default), name

    async def test_check_accepts_a_model_that_can_be_fine_tuned(
        self, provider: Provider, base_model: str
    ) -> None:
        await provider.check([base_model])

    async def test_check_refuses_a_model_that_does_not_exist(self, provider: Provider) -> None:
        with pytest.raises(PermanentProviderError, match="no such model"):
            await provider.check(["no such model"])

    async def test_datasets_within_the_limits_are_accepted(
        self, provider: Provider, base_model: str, training: DatasetFile, validation: DatasetFile
    ) -> None:
        await provider.check_data(base_model, training=training, validation=validation)

    async def test_same_content_is_uploaded_once(
        self, provider: Provider, base_model: str, training: DatasetFile, validation: DatasetFile
    ) -> None:
        first = await provider.upload(training, base_model=base_model)
        assert await provider.upload(training, base_model=base_model) == first
        assert await provider.upload(validation, base_model=base_model) != first

    async def test_a_scope_s_uploads_are_deleted_together_and_no_others(
        self, provider: Provider, base_model: str, training: DatasetFile
    ) -> None:
        elsewhere = replace(training, scope="fts-fedcba9876543210")
        await provider.upload(training, base_model=base_model)
        kept = await provider.upload(elsewhere, base_model=base_model)
        await provider.delete_data(training.scope)
        await provider.delete_data(training.scope)
        assert await provider.upload(elsewhere, base_model=base_model) == kept
        again = await provider.upload(training, base_model=base_model)
        assert await provider.upload(training, base_model=base_model) == again

    async def test_a_job_ends_with_a_model_and_its_metrics(
        self, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        job = await provider.submit(request_quick)
        assert not job.state.terminal
        assert job.key in {None, request_quick.key}
        done = await settle(provider, job.job_id)
        assert done.state is JobState.SUCCEEDED, done.message
        assert done.fine_tuned_model
        assert done.finished_at is not None
        assert done.finished_at.tzinfo is not None
        steps = [point.step for point in done.series]
        assert steps == sorted(set(steps))
        assert len(steps) <= 100
        names = {name for point in done.series for name in point.values}
        assert names <= provider.capabilities.metrics

    async def test_the_same_key_buys_one_job_where_the_provider_says_so(
        self, provider: Provider, request_endless: JobRequest
    ) -> None:
        jobs = await asyncio.gather(*(provider.submit(request_endless) for _ in range(4)))
        bought = {job.job_id for job in jobs}
        # What does not tell a repeated call from a new one must not say that it does.
        assert len(bought) == (1 if provider.capabilities.idempotent_create else 4)
        assert {job.job_id for job in await provider.find(request_endless.key)} == bought

    async def test_a_job_is_found_by_its_key_after_a_restart(
        self, provider: Provider, new_provider: NewProvider, request_endless: JobRequest
    ) -> None:
        job = await provider.submit(request_endless)
        (found,) = await new_provider().find(request_endless.key)
        assert found.job_id == job.job_id
        assert found.key == request_endless.key

    async def test_nothing_is_found_under_a_key_that_bought_nothing(
        self, provider: Provider, request_endless: JobRequest
    ) -> None:
        await provider.submit(request_endless)
        assert await provider.find(ANOTHER_KEY.replace("-a1", "-a2")) == ()

    async def test_observe_leaves_out_jobs_that_do_not_exist(
        self, provider: Provider, request_endless: JobRequest
    ) -> None:
        job = await provider.submit(request_endless)
        assert set(await provider.observe([job.job_id, "no-such-job"])) == {job.job_id}
        assert await provider.observe([]) == {}

    async def test_a_cancelled_job_ends_and_stays_cancelled(
        self, provider: Provider, new_provider: NewProvider, request_endless: JobRequest, settle: Settle
    ) -> None:
        job = await provider.submit(request_endless)
        await provider.cancel(job.job_id)
        ended = await settle(provider, job.job_id)
        assert ended.state is JobState.CANCELLED
        assert ended.fine_tuned_model is None
        await provider.cancel(job.job_id)
        later = await new_provider().observe([job.job_id])
        assert later[job.job_id].state is JobState.CANCELLED

    async def test_cancelling_a_finished_job_leaves_it_as_it_is(
        self, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        await provider.cancel(job.job_id)
        assert (await provider.observe([job.job_id]))[job.job_id] == done

    async def test_cancelling_a_job_that_does_not_exist_says_so(self, provider: Provider) -> None:
        with pytest.raises(JobNotFound, match="no-such-job"):
            await provider.cancel("no-such-job")

    async def test_a_fine_tuned_model_answers_every_conversation_in_order(
        self, provider: Provider, request_quick: JobRequest, settle: Settle, serve: Serve
    ) -> None:
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        assert done.fine_tuned_model is not None
        model = await serve(provider, done.fine_tuned_model)
        async with provider.inference(model) as session:
            assert session.batch_size >= 1
            assert session.concurrency >= 1
            conversations = [conversation(word) for word in ANSWERS]
            texts = await session.answer(conversations[: session.batch_size], max_output_tokens=4)
        assert list(texts) == list(ANSWERS.values())[: session.batch_size]
        await provider.undeploy(DEPLOYMENT)
        await provider.undeploy(DEPLOYMENT)

    async def test_a_deleted_model_no_longer_answers_and_may_be_deleted_again(
        self, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        assert provider.capabilities.deletes_models
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        assert done.fine_tuned_model is not None
        await provider.delete_model(done.fine_tuned_model)
        await provider.delete_model(done.fine_tuned_model)
        with pytest.raises(ProviderError):
            async with provider.inference(done.fine_tuned_model) as session:
                await session.answer([conversation("red")], max_output_tokens=4)

    async def test_work_survives_the_operator(
        self, provider: Provider, new_provider: NewProvider, request_quick: JobRequest, settle: Settle
    ) -> None:
        job = await provider.submit(request_quick)
        await provider.aclose()
        done = await settle(new_provider(), job.job_id)
        assert done.state is JobState.SUCCEEDED, done.message
