"""What every hosted provider promises beyond `ProviderContract`, held against a server that speaks its protocol.

A subclass gives the fixtures `server` (a running HostedCompany), `connect` (makes a provider over a server, as a
restarted operator does) and `base_model`, `quick`, and says in `operations` what its server calls things.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from tests.contract.hostile_answers import HostileAnswersContract
from tests.contract.provider_contract import (
    ANSWERS,
    DEPLOYMENT,
    KEY,
    NewProvider,
    ProviderContract,
    Serve,
    Settle,
    conversation,
)
from tests.fakes import http_server
from tests.fakes.hosted import HostedCompany
from tests.fakes.http_server import DONE_THEN_DROPPED, DROPPED, MALFORMED, Fault, done_then, refused

from finetune_providers.base import (
    DatasetFile,
    DeploymentState,
    JobRequest,
    JobSnapshot,
    JobState,
    ParameterValue,
    Provider,
    RunningMetrics,
)
from finetune_providers.errors import (
    AmbiguousProviderError,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
)

Connect = Callable[[HostedCompany], Provider]


@dataclass(frozen=True)
class Operations:
    """What a provider's server calls its operations.

    Attributes:
        create: Buys a job.
        observe: What `observe` asks first.
        cancel: Stops a job.
        answer: Has a model answer.
        upload: Takes a dataset; empty where datasets travel with the job.
        deploy: Puts a model on machines; empty where that is not needed.
    """

    create: str
    observe: str
    cancel: str
    answer: str
    upload: str = ""
    deploy: str = ""


class HostedContract(HostileAnswersContract, ProviderContract):
    """A provider over HTTP, with everything that goes wrong there."""

    operations: Operations

    @pytest.fixture
    async def new_provider(self, server: HostedCompany, connect: Connect) -> AsyncIterator[NewProvider]:
        made: list[Provider] = []

        def new() -> Provider:
            made.append(connect(server))
            return made[-1]

        yield new
        for provider in made:
            await provider.aclose()

    @pytest.fixture
    def endless(self, quick: Mapping[str, ParameterValue]) -> Mapping[str, ParameterValue]:
        return quick  # time stands still until a test moves it

    @pytest.fixture
    def settle(self, server: HostedCompany) -> Settle:
        async def settle(provider: Provider, job_id: str) -> JobSnapshot:
            server.finish_training()
            return (await provider.observe([job_id]))[job_id]

        return settle

    @pytest.fixture
    def serve(self, server: HostedCompany) -> Serve:
        async def serve(provider: Provider, model: str) -> str:
            if not provider.capabilities.needs_deployment:
                return model
            first = await provider.deploy(model, name=DEPLOYMENT)
            assert first.state is DeploymentState.CREATING
            server.clock.advance(3600)
            active = await provider.deploy(model, name=DEPLOYMENT)
            assert active.state is DeploymentState.ACTIVE, active
            return active.model

        return serve

    # -- metrics on the way ---------------------------------------------------------------------------------------

    async def test_a_running_job_tells_its_metrics_where_the_provider_says_so(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        live = provider.capabilities.live_metrics
        assert live <= provider.capabilities.metrics
        job = await provider.submit(request_quick)
        server.clock.advance(server.training_s * 0.9)
        running = (await provider.observe([job.job_id]))[job.job_id]
        assert running.state is JobState.RUNNING
        series = running.series
        if isinstance(provider, RunningMetrics):
            assert live
            series = await provider.running_series(job.job_id)
        assert {name for point in series for name in point.values} == live
        steps = [point.step for point in series]
        assert steps == sorted(set(steps))
        server.finish_training()
        done = (await provider.observe([job.job_id]))[job.job_id]
        assert done.state is JobState.SUCCEEDED
        assert not steps or done.series[-1].step >= steps[-1]

    # -- the create call: once, and every outcome told apart ------------------------------------------------

    @pytest.mark.parametrize("status", [400, 401, 403, 422])
    async def test_a_refused_create_call_is_permanent_and_buys_nothing(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, status: int
    ) -> None:
        server.fault(self.operations.create, refused(status))
        with pytest.raises(PermanentProviderError):
            await provider.submit(request_quick)
        assert server.count(self.operations.create) == 1
        assert not server.jobs

    @pytest.mark.parametrize(("retry_after", "seconds"), [("17", 17.0), (None, None)])
    async def test_a_create_call_beyond_a_quota_waits(
        self,
        server: HostedCompany,
        provider: Provider,
        request_quick: JobRequest,
        retry_after: str | None,
        seconds: float | None,
    ) -> None:
        server.fault(self.operations.create, refused(429, retry_after=retry_after))
        with pytest.raises(QuotaExceeded) as caught:
            await provider.submit(request_quick)
        assert caught.value.retry_after_s == seconds
        assert server.count(self.operations.create) == 1
        assert not server.jobs

    @pytest.mark.parametrize(
        "fault",
        [done_then(500), done_then(502), done_then(503), done_then(504), DONE_THEN_DROPPED, MALFORMED],
        ids=["500", "502", "503", "504", "dropped", "malformed"],
    )
    async def test_a_create_call_without_a_clear_answer_is_ambiguous_and_its_job_is_found(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, fault: Fault
    ) -> None:
        server.fault(self.operations.create, fault)
        with pytest.raises(AmbiguousProviderError):
            await provider.submit(request_quick)
        assert server.count(self.operations.create) == 1
        assert len(server.jobs) == 1
        (found,) = await provider.find(request_quick.key)
        assert found.job_id in server.jobs
        assert found.key == request_quick.key

    async def test_a_broken_connection_before_anything_happened_is_ambiguous_too(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        server.fault(self.operations.create, DROPPED)
        with pytest.raises(AmbiguousProviderError):
            await provider.submit(request_quick)
        assert server.count(self.operations.create) == 1
        assert await provider.find(request_quick.key) == ()

    # -- reading --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("fault", [refused(500), refused(503), DROPPED], ids=["500", "503", "dropped"])
    async def test_a_failure_to_look_passes(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, fault: Fault
    ) -> None:
        job = await provider.submit(request_quick)
        server.always(self.operations.observe, fault)
        with pytest.raises(TransientProviderError):
            await provider.observe([job.job_id])
        server.always(self.operations.observe, None)
        assert set(await provider.observe([job.job_id])) == {job.job_id}

    async def test_a_rate_limit_on_looking_says_how_long_to_wait(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        job = await provider.submit(request_quick)
        server.always(self.operations.observe, refused(429, retry_after="0.2"))
        with pytest.raises(TransientProviderError) as caught:
            await provider.observe([job.job_id])
        assert caught.value.retry_after_s == pytest.approx(0.2)
        server.always(self.operations.observe, None)
        assert set(await provider.observe([job.job_id])) == {job.job_id}

    async def test_an_answer_that_is_not_understood_is_no_news_of_a_job(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        job = await provider.submit(request_quick)
        server.always(self.operations.observe, MALFORMED)
        with pytest.raises(ProviderError) as caught:
            await provider.observe([job.job_id])
        assert not isinstance(caught.value, PermanentProviderError)

    async def test_jobs_are_seen_across_the_pages_of_a_list(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        server.page_size = 2
        keys = [f"ft-{number:020x}-a1" for number in range(5)]
        jobs = [await provider.submit(replace(request_quick, key=key)) for key in keys]
        seen = await provider.observe([job.job_id for job in jobs])
        assert set(seen) == {job.job_id for job in jobs}
        for key, job in zip(keys, jobs, strict=True):
            assert [found.job_id for found in await provider.find(key)] == [job.job_id]

    async def test_a_job_goes_from_pending_over_running_to_its_end(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        job = await provider.submit(request_quick)
        states = [job.state]
        for _ in range(3):
            server.clock.advance(server.training_s * 0.45)
            states.append((await provider.observe([job.job_id]))[job.job_id].state)
        assert states[-1] is JobState.SUCCEEDED
        assert states[1:3] == [JobState.RUNNING, JobState.RUNNING]
        assert states[0] in {JobState.PENDING, JobState.RUNNING}

    async def test_an_unknown_state_counts_as_running_and_is_told(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest
    ) -> None:
        known = provider.capabilities.native_states
        job = await provider.submit(request_quick)
        assert job.native_state in known
        server.jobs[job.job_id].native_state = "PONDERING"
        snapshot = (await provider.observe([job.job_id]))[job.job_id]
        assert snapshot.state is JobState.RUNNING
        assert "PONDERING" in snapshot.native_state
        assert snapshot.native_state not in known
        server.jobs[job.job_id].native_state = None
        for _ in range(3):
            assert (await provider.observe([job.job_id]))[job.job_id].native_state in known
            server.clock.advance(server.training_s * 0.45)
        assert (await provider.observe([job.job_id]))[job.job_id].native_state in known

    async def test_a_job_that_fails_says_why(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        server.next_failure = "the training file has too few tokens"
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        assert done.state is JobState.FAILED
        assert "too few tokens" in done.message
        assert done.fine_tuned_model is None

    async def test_a_cancellation_that_comes_too_late_leaves_a_finished_model(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        job = await provider.submit(request_quick)
        server.cancel_loses = True
        await provider.cancel(job.job_id)
        done = await settle(provider, job.job_id)
        assert done.state is JobState.SUCCEEDED
        assert done.fine_tuned_model

    # -- data, answers, deployments -------------------------------------------------------------------------

    async def test_an_upload_is_found_again_after_a_crash(
        self, server: HostedCompany, new_provider: NewProvider, base_model: str, training: DatasetFile
    ) -> None:
        first = await new_provider().upload(training, base_model=base_model)
        uploads = server.count(self.operations.upload)
        assert await new_provider().upload(training, base_model=base_model) == first
        assert server.count(self.operations.upload) == uploads

    async def test_a_failed_upload_can_be_tried_again(
        self, server: HostedCompany, provider: Provider, base_model: str, training: DatasetFile
    ) -> None:
        if not self.operations.upload:
            assert await provider.upload(training, base_model=base_model)  # nothing is sent that could fail
            return
        server.always(self.operations.upload, refused(503))
        with pytest.raises(TransientProviderError):
            await provider.upload(training, base_model=base_model)
        server.always(self.operations.upload, None)
        assert await provider.upload(training, base_model=base_model)

    async def test_a_model_that_cannot_answer_now_may_be_asked_again(
        self,
        server: HostedCompany,
        provider: Provider,
        request_quick: JobRequest,
        settle: Settle,
        serve: Serve,
    ) -> None:
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        model = await serve(provider, done.fine_tuned_model or "")
        async with provider.inference(model) as session:
            server.always(self.operations.answer, refused(429, retry_after="0.1"))
            with pytest.raises(TransientProviderError):
                await session.answer([conversation("red")], max_output_tokens=4)
            server.always(self.operations.answer, None)
            (text,) = await session.answer([conversation("red")], max_output_tokens=4)
        assert text == ANSWERS["red"]

    async def test_a_model_that_needs_machines_is_put_there_once_and_taken_away(
        self,
        server: HostedCompany,
        provider: Provider,
        new_provider: NewProvider,
        request_quick: JobRequest,
        settle: Settle,
        serve: Serve,
    ) -> None:
        job = await provider.submit(request_quick)
        model = (await settle(provider, job.job_id)).fine_tuned_model or ""
        reference = await serve(provider, model)
        again = await new_provider().deploy(model, name=DEPLOYMENT)
        assert (again.state, again.model) == (DeploymentState.ACTIVE, reference)
        await new_provider().undeploy(DEPLOYMENT)
        await provider.undeploy(DEPLOYMENT)

    # -- secrets --------------------------------------------------------------------------------------------

    async def test_no_secret_is_in_an_error_a_log_or_a_repr(
        self,
        server: HostedCompany,
        provider: Provider,
        request_quick: JobRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        told = [repr(provider), str(provider)]
        for operation, call in {
            self.operations.create: lambda: provider.submit(request_quick),
            self.operations.observe: lambda: provider.observe(["any"]),
        }.items():
            server.always(operation, Fault(status=401, code=f"wrong key {server.secret}"))
            with pytest.raises(ProviderError) as caught:
                await call()
            error: BaseException | None = caught.value
            while error is not None:
                told += [str(error), repr(error)]
                error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        assert not [text for text in (*told, caplog.text) if server.secret in text]

    async def test_many_looks_at_once_are_made_side_by_side(
        self,
        server: HostedCompany,
        provider: Provider,
        request_quick: JobRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        job = await provider.submit(request_quick)
        together: list[bool] = []
        four = threading.Barrier(4)

        def until_four_are_there(_: float) -> None:
            with suppress(threading.BrokenBarrierError):
                four.wait(20.0)
            together.append(not four.broken)

        monkeypatch.setattr(
            http_server, "time", SimpleNamespace(sleep=until_four_are_there, monotonic=time.monotonic)
        )
        server.fault(self.operations.observe, *[Fault(takes_effect=True, delay_s=0.2, status=500)] * 4)
        server.always(self.operations.observe, Fault(status=500))
        looks = [provider.observe([job.job_id]) for _ in range(4)]
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        assert all(isinstance(each, TransientProviderError) for each in outcomes)
        assert together == [True] * 4

    def test_keys_of_purchases_fit(self) -> None:
        assert len(KEY) == len("ft-") + 20 + len("-a1")
