"""What stands in the way of a sweep's next trial is told, does not keep the operator busy, and may go."""

from __future__ import annotations

import pytest
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.counting import COUNTS_WITHIN_S
from finetune_operator.lifecycle.obstacles import FIRST_AGAIN_S, LONGEST_AGAIN_S, NOT_SEEN_YET_S
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import API_VERSION, FinetuneTrial, ObjectMeta, TrialSpec
from finetune_operator.resources.common import NameRef


async def _stranger(bench: Bench, index: int = 0) -> FinetuneTrial:
    """A trial that somebody made by hand for another sweep, under the name of this one's."""
    sweep = await bench.sweep()
    spec = TrialSpec(
        sweep_ref=NameRef(name="somebody-else"),
        index=7,
        candidate="small",
        provider_ref=NameRef(name="acme"),
        base_model="tiny-1",
        hyperparameters={"epochs": 1},
        run_key="key-made-by-hand",
    )
    metadata = ObjectMeta(name=bench.trial_key(index).name)
    trial = FinetuneTrial(api_version=API_VERSION, metadata=metadata, spec=spec)
    return await bench.store.create_trial(trial, owner=sweep)


def _stalled(bench: Bench) -> tuple[str, str] | None:
    stalled = bench.store.sweep.status.condition("Stalled")
    return None if stalled is None else (stalled.reason, stalled.message)


async def test_a_name_that_is_taken_is_told_of_and_tried_again_until_it_is_free(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    stranger = await _stranger(bench)
    await bench.until(bench.sweep_key, lambda: _stalled(bench))
    reason, message = _stalled(bench) or ("", "")
    assert reason == "TrialNameTaken"
    assert f"would be named {stranger.name}, but a FinetuneTrial of that name is there" in message
    assert "names FinetuneSweep somebody-else and index 7" in message
    assert bench.company.jobs == {}
    await bench.store.remove_finalizer(stranger)
    await bench.store.delete_trial(await bench.trial())
    bench.later(LONGEST_AGAIN_S)
    await bench.launched()
    assert (await bench.trial()).spec.run_key != "key-made-by-hand"
    await bench.look(bench.sweep_key)
    assert _stalled(bench) is None
    await bench.evaluated()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)


async def test_a_name_that_stays_taken_is_tried_at_most_once_a_minute(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await _stranger(bench)
    await bench.until(bench.sweep_key, lambda: _stalled(bench))
    version = (await bench.sweep()).metadata.resource_version
    looks, waited_s = 0, 0.0
    while waited_s < 3600:
        again_s = await bench.look(bench.sweep_key)
        assert again_s is not None
        assert again_s > 0
        bench.later(again_s)
        waited_s += again_s
        looks += 1
    assert looks < 2 * 3600 / LONGEST_AGAIN_S + 20
    assert (await bench.sweep()).metadata.resource_version == version


async def test_a_taken_name_leaves_other_trials_to_their_sweep(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "parallelTrials": 2})
    await _stranger(bench, 1)
    await bench.until(bench.sweep_key, lambda: _stalled(bench))
    assert "1 trial goes on meanwhile" in (_stalled(bench) or ("", ""))[1]
    await bench.evaluated(0)
    for _ in range(int(COUNTS_WITHIN_S)):
        await bench.look(bench.sweep_key)
        bench.later(2.0)
    assert (await bench.sweep()).status.trials.succeeded == 1
    assert _stalled(bench) is not None


async def test_a_trial_that_memory_is_late_to_show_is_no_cause_for_alarm(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await _stranger(bench)

    async def nothing(key: Key) -> None:
        return None

    monkeypatch.setattr(bench.store, "get_trial", nothing)
    await bench.until(bench.sweep_key, lambda: bench.context.taken_names)
    bench.later(NOT_SEEN_YET_S / 2)
    await bench.look(bench.sweep_key)
    await bench.look(bench.sweep_key)
    assert _stalled(bench) is None
    bench.later(NOT_SEEN_YET_S)
    await bench.look(bench.sweep_key)
    await bench.look(bench.sweep_key)
    assert "cannot read" in (_stalled(bench) or ("", ""))[1]


async def test_a_sweep_with_trials_that_cannot_be_read_buys_nothing_and_does_not_end(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(limits={"maxTrials": 3, "parallelTrials": 2})
    bench.company.hold = True
    await bench.launched()
    list_trials, hidden = bench.store.list_trials, bench.trial_key(0).name

    async def readable(key: Key) -> tuple[FinetuneTrial, ...]:
        return tuple(each for each in await list_trials(key) if each.name != hidden)

    async def unreadable(key: Key) -> tuple[str, ...]:
        return (hidden,)

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "list_trials", readable)
        patch.setattr(bench.store, "unreadable_trials", unreadable)
        await bench.until(bench.sweep_key, lambda: _stalled(bench))
        reason, message = _stalled(bench) or ("", "")
        assert reason == "TrialsUnreadable"
        assert message.startswith(f"1 trial of this sweep cannot be read: {hidden}. ")
        for _ in range(3):
            bench.later(FIRST_AGAIN_S)
            await bench.look(bench.sweep_key)
        assert len(await list_trials(bench.sweep_key)) == 2
    await bench.look(bench.sweep_key)
    assert _stalled(bench) is None
