"""A Secret that is replaced by one of another organisation: what was bought is held, and goes on with the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.fakes.company import Company, CompanyProvider
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.elsewhere import JOB_NOT_SHOWN, LOOK_AGAIN_S
from finetune_operator.lifecycle.resolution import open_question
from finetune_operator.resources import TrialPhase
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.trial import CancelRequest
from finetune_providers.base import Provider, ProviderConfig
from finetune_providers.errors import JobNotFound

ONE = {"limits": {"maxTrials": 1}}
TWO = {"limits": {"maxTrials": 2, "parallelTrials": 2}}


class Organisations:
    """Two organisations of one company; the key in the Secret says whose jobs are shown."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.key = "ours"
        self.theirs = Company()
        self._edits = 100
        bench.edit_provider(credentials_secret_ref=NameRef(name="acme"))

        async def secret(namespace: str, name: str) -> Mapping[str, str]:
            return {"key": self.key}

        monkeypatch.setattr(bench.store, "get_secret", secret)
        self._patch()

    def _patch(self) -> None:
        self.bench.context.accounts._make_provider = self._make

    def _make(self, config: ProviderConfig) -> Provider:
        ours = config.credentials["key"] == "ours"
        return CompanyProvider(self.bench.company if ours else self.theirs)

    def use(self, key: str) -> None:
        """A person puts another key into the Secret, and it is read."""
        self.key = key
        self._edits += 1
        self.bench.edit_provider(requests_per_minute=self._edits)

    def restart(self) -> None:
        self.bench.restart()
        self._patch()


async def _phase(bench: Bench, phase: TrialPhase, index: int = 0) -> None:
    async def so() -> bool:
        return (await bench.trial(index)).phase is phase

    await bench.until(bench.trial_key(index), so)


async def _trains(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> tuple[Bench, Organisations]:
    bench = await make_bench(**ONE)
    organisations = Organisations(bench, monkeypatch)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    return bench, organisations


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_job_of_another_organisation_is_held_and_goes_on_with_the_right_key(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    organisations.use("theirs")
    if restarted:
        organisations.restart()
    await _phase(bench, TrialPhase.STALLED)
    trial = await bench.trial()
    assert trial.status.reason == JOB_NOT_SHOWN
    message = trial.status.message or ""
    assert "job job-1 is not shown to the key that FinetuneProvider acme has now" in message
    assert f"finetune resolve {trial.name} abandon" in message
    assert open_question(trial)
    version = trial.metadata.resource_version
    for _ in range(5):
        assert await bench.look(bench.trial_key()) == LOOK_AGAIN_S
    assert (await bench.trial()).metadata.resource_version == version
    organisations.use("ours")
    bench.company.hold = False
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED
    assert len(bench.company.purchases) == 1
    assert organisations.theirs.purchases == []


async def test_nothing_is_launched_while_jobs_are_held(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**TWO)
    organisations = Organisations(bench, monkeypatch)
    bench.company.hold = True
    await bench.launched()
    await bench.training(0)
    await bench.training(1)
    bench.edit_sweep(limits=bench.store.sweep.spec.limits.model_copy(update={"max_trials": 4}))
    organisations.use("theirs")
    await _phase(bench, TrialPhase.STALLED, 0)
    await _phase(bench, TrialPhase.STALLED, 1)
    await bench.annotate("1 abandon", 1)
    await bench.evaluated(1)

    def stalled() -> bool:
        condition = bench.store.sweep.status.condition("Stalled")
        return condition is not None and condition.reason == JOB_NOT_SHOWN

    await bench.until(bench.sweep_key, stalled)
    assert len(await bench.store.list_trials(bench.sweep_key)) == 2
    assert organisations.theirs.purchases == []


async def test_a_person_may_give_a_held_job_up_and_it_stays_paid(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    organisations.use("theirs")
    await _phase(bench, TrialPhase.STALLED)
    await bench.annotate("1 abandon")
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "Abandoned")
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    cost = bench.store.sweep.status.cost
    assert cost is not None
    assert cost.spent


async def test_a_job_that_is_gone_with_this_machine_s_disk_is_waited_for_by_nobody(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    bench.company.capabilities = replace(bench.company.capabilities, lookup_window_s=0.0)
    bench.company.jobs.clear()
    organisations.restart()
    await bench.evaluated()
    assert (await bench.trial()).status.reason == "JobVanished"


async def test_an_answer_of_before_does_not_adopt_the_job_that_is_not_shown(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    await bench.annotate("1 adopt=job-1")
    organisations.use("theirs")
    await _phase(bench, TrialPhase.STALLED)
    assert await bench.look(bench.trial_key()) == LOOK_AGAIN_S
    assert (await bench.trial()).phase is TrialPhase.STALLED


async def test_a_model_of_another_organisation_is_held_and_evaluated_with_the_right_key(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    bench.company.hold = False
    await _phase(bench, TrialPhase.EVALUATING)
    organisations.use("theirs")
    organisations.theirs.inference_fault = JobNotFound("there is no such model")
    organisations.restart()
    await _phase(bench, TrialPhase.STALLED)
    assert (await bench.trial()).status.reason == JOB_NOT_SHOWN
    organisations.use("ours")
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_cancelled_trial_whose_job_is_not_shown_says_that_it_may_go_on(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    organisations.use("theirs")
    await bench.edit_trial(cancel=CancelRequest(reason="DeadlineExceeded", message="the sweep ended"))
    await bench.evaluated()
    assert "another organisation's and the job goes on there" in ((await bench.trial()).status.message or "")


async def test_a_deleted_trial_whose_job_is_not_shown_says_so(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, organisations = await _trains(make_bench, monkeypatch)
    organisations.use("theirs")
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    (message,) = bench.events("Released")
    assert "job-1 is not shown by its provider" in message
