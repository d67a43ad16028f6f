"""An account's lane: so many trials in calls of its provider, and the others are woken in turn."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from finetune_operator.lifecycle.accounts import LANE_WIDTH, Account
from finetune_operator.lifecycle.store import Key


def trial(index: int) -> Key:
    return Key("FinetuneTrial", "ns", f"a-{index}")


def an_account(woken: list[Key]) -> Account:
    nothing = cast("Any", None)
    return Account(nothing, nothing, nothing, "", 0.0, nothing, wake=woken.append)


def test_who_finds_no_place_is_woken_when_one_is_free_and_the_first_comes_first() -> None:
    woken: list[Key] = []
    account = an_account(woken)
    inside = [ExitStack() for _ in range(LANE_WIDTH)]
    assert all(each.enter_context(account.lane(trial(n))) for n, each in enumerate(inside))
    for late in (20, 21, 20):
        with account.lane(trial(late)) as free:
            assert not free
    assert woken == []
    inside[0].close()
    assert woken == [trial(20)]
    with account.lane(trial(20)) as free:
        assert free
    assert woken == [trial(20), trial(21)]
    for each in inside:
        each.close()
    assert woken == [trial(20), trial(21)], "nobody is woken twice"


def test_a_place_is_free_again_whatever_happened_in_it() -> None:
    account = an_account([])
    for _ in range(3 * LANE_WIDTH):
        try:
            with account.lane(trial(0)):
                raise RuntimeError
        except RuntimeError:
            pass
    assert account.busy == 0
