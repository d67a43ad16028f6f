"""Slots at an account: never too many, and no sweep keeps another out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decisions.builders import a_trial
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.job_slots import JobSlots
from finetune_operator.lifecycle.purchase import SLOT_AGAIN_S
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import TrialPhase
from finetune_providers.errors import AmbiguousProviderError, TransientProviderError

THREE = {"limits": {"maxTrials": 3, "parallelTrials": 3}}


def trial(name: str) -> Key:
    return Key("FinetuneTrial", "ns", name)


def asks(slots: JobSlots, name: str) -> bool:
    sweep, _, index = name.rpartition("-")
    return slots.ask(trial(name), sweep=sweep, index=int(index))


def test_no_more_than_the_limit_get_a_slot_and_the_next_is_woken_when_one_is_free() -> None:
    woken: list[Key] = []
    slots = JobSlots(2, wake=woken.append)
    assert [asks(slots, f"a-{n}") for n in range(4)] == [True, True, False, False]
    assert asks(slots, "a-0"), "who has a slot keeps it"
    assert woken == []
    slots.give_back(trial("a-1"))
    assert woken == [trial("a-2")]
    assert not asks(slots, "a-3"), "it is the turn of a-2"
    assert asks(slots, "a-2")


def test_a_small_sweep_gets_the_next_slot_though_a_large_one_waited_longer() -> None:
    slots = JobSlots(2, wake=lambda _: None)
    assert asks(slots, "large-0")
    assert asks(slots, "large-1")
    assert not any(asks(slots, f"large-{n}") for n in range(2, 50))
    assert not asks(slots, "small-0")
    slots.give_back(trial("large-0"))
    assert not asks(slots, "large-2")
    assert asks(slots, "small-0")


def test_who_waits_no_longer_keeps_nobody_waiting() -> None:
    slots = JobSlots(1, wake=lambda _: None)
    assert asks(slots, "a-0")
    assert not asks(slots, "b-0")
    assert not asks(slots, "c-0")
    slots.give_back(trial("b-0"))  # its sweep is suspended
    slots.give_back(trial("a-0"))
    assert asks(slots, "c-0")


def test_without_a_limit_everybody_gets_a_slot() -> None:
    slots = JobSlots(None, wake=lambda _: None)
    assert all(asks(slots, f"a-{n}") for n in range(100))


@given(
    st.integers(min_value=1, max_value=4),
    st.lists(
        st.tuples(st.sampled_from(["ask", "give"]), st.sampled_from("abc"), st.integers(0, 3)), max_size=60
    ),
)
def test_the_limit_holds_and_a_free_slot_goes_to_somebody(
    limit: int, steps: list[tuple[str, str, int]]
) -> None:
    slots = JobSlots(limit, wake=lambda _: None)
    held: set[str] = set()
    waiting: set[str] = set()
    for what, sweep, index in steps:
        name = f"{sweep}-{index}"
        if what == "give":
            slots.give_back(trial(name))
            held.discard(name)
            waiting.discard(name)
        elif asks(slots, name):
            held.add(name)
            waiting.discard(name)
        else:
            waiting.add(name)
        assert slots.taken == len(held) <= limit
        if waiting and len(held) < limit:
            granted = [each for each in sorted(waiting) if asks(slots, each)]
            assert granted, "a slot is free, several wait, and nobody gets it"
            held |= set(granted)
            waiting -= set(granted)
            assert slots.taken == len(held) <= limit


async def test_trials_beyond_the_account_s_limit_wait_and_say_so(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=2)
    await bench.launched()
    await bench.training(0)
    await bench.training(1)
    assert await bench.look(bench.trial_key(2)) == SLOT_AGAIN_S
    waiting = await bench.trial(2)
    assert (waiting.phase, waiting.status.reason) == (TrialPhase.PENDING, "WaitingForSlot")
    assert "maxConcurrentJobs allows (2)" in str(waiting.status.message)
    assert len(bench.company.purchases) == 2
    bench.company.hold = False
    await bench.evaluated(0)
    await bench.look(bench.trial_key(0))
    await bench.training(2)
    assert len(bench.company.purchases) == 3


async def test_jobs_that_train_count_after_a_restart_before_they_are_looked_at(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    await bench.training(0)
    bench.forget_accounts()
    assert await bench.look(bench.trial_key(1)) == SLOT_AGAIN_S
    assert len(bench.company.purchases) == 1


def test_who_got_a_slot_while_there_was_no_limit_does_not_wait_any_more() -> None:
    slots = JobSlots(1, wake=lambda _: None)
    assert asks(slots, "a-0")
    assert not asks(slots, "a-1")
    slots.limit = None  # a person edits the provider
    assert asks(slots, "a-1")
    slots.limit = 2
    slots.give_back(trial("a-0"))
    assert asks(slots, "a-2"), "a slot is free, and nobody else waits"


def test_who_got_a_job_by_another_operator_does_not_wait_any_more() -> None:
    slots = JobSlots(2, wake=lambda _: None)
    assert asks(slots, "a-0")
    assert asks(slots, "a-1")
    assert not asks(slots, "a-2")
    slots.take_in([(trial("a-2"), a_trial(2, TrialPhase.TRAINING))])
    slots.give_back(trial("a-0"))
    slots.give_back(trial("a-1"))
    assert asks(slots, "a-3"), "a slot is free, and nobody else waits"


async def test_a_trial_that_cannot_get_its_data_there_keeps_nobody_out(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    bench.company.upload_fault = TransientProviderError("the upload takes too long")
    with pytest.raises(TransientProviderError):
        await bench.training(0)
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    assert account.slots.taken == 0
    bench.company.upload_fault = None
    await bench.training(1)


async def test_a_trial_whose_sweep_cannot_be_checked_keeps_nobody_waiting_behind_it(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    await bench.training(0)
    for index in (1, 2):
        assert await bench.look(bench.trial_key(index)) == SLOT_AGAIN_S
    get = bench.context.admissions.get

    def broken(*args: Any, waiter: Key) -> Any:
        if waiter == bench.trial_key(1):
            raise TransientProviderError("another provider of its sweep is down")
        return get(*args, waiter=waiter)

    monkeypatch.setattr(bench.context.admissions, "get", broken)
    with pytest.raises(TransientProviderError):
        await bench.look(bench.trial_key(1))
    bench.company.hold = False
    await bench.evaluated(0)
    await bench.look(bench.trial_key(0))
    await bench.training(2)


async def test_a_create_call_that_broke_off_keeps_its_slot(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()

    def defect() -> None:
        raise RuntimeError("nobody knows what was bought")

    bench.company.on_submit = defect
    with pytest.raises(RuntimeError):
        await bench.training(0)
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    assert account.slots.taken == 1


async def test_a_job_that_was_bought_without_a_turn_counts_from_its_next_look(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    assert (await bench.context.accounts.get(bench.sweep_key.namespace, "acme")).slots.taken == 0
    await bench.edit_trial(0, phase=TrialPhase.SUBMITTING, create=bench.journal("Pending"))
    await bench.look(bench.trial_key(0))
    for _ in range(50):
        await bench.look(bench.trial_key(1))
        await asyncio.sleep(0.001)
    assert bench.company.purchases == []


async def test_a_stalled_trial_keeps_no_slot_and_an_adopted_one_counts_again(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    company = bench.company
    company.hold = True
    company.capabilities = replace(company.capabilities, finds_by_key=False)
    company.after = [AmbiguousProviderError("connection reset")]
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    await bench.until(bench.trial_key(0), lambda: not company.after)
    assert await bench.look(bench.trial_key(1)) == SLOT_AGAIN_S, "the call's outcome is still looked up"
    await bench.look(bench.trial_key(0))
    assert (await bench.trial(0)).phase is TrialPhase.STALLED
    bench.told.clear()
    await bench.look(bench.trial_key(0))
    assert bench.trial_key(1) in bench.told
    await bench.training(1)
    await bench.annotate("1 adopt=job-1")
    await bench.look(bench.trial_key(0))
    await bench.look(bench.trial_key(0))
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    assert account.slots.taken == 2, "two jobs are there, whatever the limit says"
    assert await bench.look(bench.trial_key(2)) == SLOT_AGAIN_S
    company.hold = False
    await bench.evaluated(1)
    await bench.look(bench.trial_key(1))
    assert await bench.look(bench.trial_key(2)) == SLOT_AGAIN_S, "the adopted job holds the only slot"


async def test_a_stalled_trial_holds_no_slot_after_a_restart(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.company.hold = True
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    await bench.edit_trial(
        0, phase=TrialPhase.STALLED, reason="CreateOutcomeUnknown", create=bench.journal("Unknown")
    )
    bench.forget_accounts()
    await bench.training(1)


async def test_a_stalled_trial_whose_job_is_known_keeps_its_slot(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE)
    bench.edit_provider(max_concurrent_jobs=1)
    await bench.launched()
    await bench.edit_trial(
        0, phase=TrialPhase.STALLED, reason="SweepMissing", create=bench.journal("Succeeded")
    )
    bench.forget_accounts()
    assert await bench.look(bench.trial_key(1)) == SLOT_AGAIN_S


async def test_a_stalled_trial_whose_deletion_is_held_up_holds_no_slot_after_a_restart(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**THREE)
    await bench.launched()
    await bench.edit_trial(phase=TrialPhase.STALLED, reason="ReleaseBlocked", create=bench.journal("Unknown"))
    bench.restart()
    account = await bench.context.accounts.get("default", "acme")
    assert account.slots.taken == 0


@given(
    limit=st.integers(1, 3),
    moves=st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 4)), max_size=60),
)
def test_the_slot_goes_to_whom_a_look_at_all_that_wait_would_choose(
    limit: int, moves: list[tuple[bool, str, int]]
) -> None:
    slots = JobSlots(limit, wake=lambda _: None)
    held: set[tuple[str, int]] = set()
    waiting: set[tuple[str, int]] = set()
    served: dict[str, int] = {}

    def order(one: tuple[str, int]) -> tuple[int, int, int, str]:
        sweep, index = one
        return sum(each == sweep for each, _ in held), served.get(sweep, 0), index, sweep

    for turn, (wants, sweep, index) in enumerate(moves, start=1):
        one = (sweep, index)
        if not wants:
            slots.give_back(trial(f"{sweep}-{index}"))
            held.discard(one)
            waiting.discard(one)
            continue
        if one not in held:
            waiting.add(one)
        if one in waiting and len(held) < limit and min(waiting, key=order) == one:
            waiting.remove(one)
            held.add(one)
            served[sweep] = turn
        assert asks(slots, f"{sweep}-{index}") == (one in held)
        assert slots.taken == len(held)
