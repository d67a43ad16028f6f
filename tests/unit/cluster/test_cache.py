"""What memory makes of events that come late, twice, in any order or not at all."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.cluster import cache as cache_module
from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import Listing, Raw
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import API_VERSION, FinetuneProvider, FinetuneTrial

SWEEP = Key("FinetuneSweep", "team", "support")


def trial_key(index: int) -> Key:
    return SWEEP.sibling("FinetuneTrial", f"support-{index}")


def trial(index: int = 0, *, version: int, uid: str = "u0", **spec: Any) -> Raw:
    """A trial as a watch brings it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "FinetuneTrial",
        "metadata": {
            "name": f"support-{index}",
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
        },
        "spec": {
            "sweepRef": {"name": "support"},
            "index": index,
            "candidate": "small",
            "providerRef": {"name": "local"},
            "baseModel": "smollm2-135m",
            "hyperparameters": {"epochs": 1},
            "runKey": "key-support-0",
            **spec,
        },
    }


def version(cache: ObjectCache, key: Key) -> int | None:
    raw = cache.raw(key)
    return None if raw is None else int(raw["metadata"]["resourceVersion"])


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


@pytest.fixture
def heard(cache: ObjectCache) -> list[Key]:
    keys: list[Key] = []
    cache.subscribe(keys.append)
    return keys


@given(order=st.permutations(range(1, 8)))
def test_whatever_the_order_of_events_the_newest_version_stays(order: list[int]) -> None:
    cache = ObjectCache()
    for each in order:
        cache.put("FinetuneTrial", trial(version=each))
    assert version(cache, trial_key(0)) == 7


@given(order=st.permutations(range(6)))
def test_whatever_the_order_of_events_a_deleted_object_stays_deleted(order: list[int]) -> None:
    # Created, changed, deleted, and made anew under its old name: the new one is left, whatever comes when.
    events = [("put", 1, "old"), ("put", 3, "old"), ("drop", 4, "old"), ("put", 5, "new"), ("put", 8, "new")]
    cache = ObjectCache()
    for position in order:
        if position < len(events):
            action, at, uid = events[position]
            getattr(cache, action)("FinetuneTrial", trial(version=at, uid=uid))
    assert version(cache, trial_key(0)) == 8
    cache.drop("FinetuneTrial", trial(version=9, uid="new"))
    for _, at, uid in events:
        cache.put("FinetuneTrial", trial(version=at, uid=uid))
    assert version(cache, trial_key(0)) is None


def test_versions_are_compared_as_numbers(cache: ObjectCache) -> None:
    cache.put("FinetuneTrial", trial(version=99))
    assert cache.put("FinetuneTrial", trial(version=100))
    assert not cache.put("FinetuneTrial", trial(version=99))
    assert version(cache, trial_key(0)) == 100


def test_a_listener_hears_of_news_only(cache: ObjectCache, heard: list[Key]) -> None:
    cache.put("FinetuneTrial", trial(version=2))
    assert heard == [trial_key(0), SWEEP]
    cache.put("FinetuneTrial", trial(version=2))
    cache.put("FinetuneTrial", trial(version=1))
    assert heard == [trial_key(0), SWEEP]
    cache.drop("FinetuneTrial", trial(version=3))
    cache.drop("FinetuneTrial", trial(version=3))
    assert heard == [trial_key(0), SWEEP] * 2


def test_trials_are_found_by_their_sweep(cache: ObjectCache) -> None:
    for index in range(3):
        cache.put("FinetuneTrial", trial(index, version=index + 1, uid=f"u{index}"))
    cache.put("FinetuneTrial", trial(7, version=9, uid="u7", sweepRef={"name": "other"}))
    cache.drop("FinetuneTrial", trial(1, version=10, uid="u1"))
    assert {each.spec.index for each in cache.trials_of(SWEEP)} == {0, 2}
    assert [each.spec.index for each in cache.trials_of(SWEEP.sibling("FinetuneSweep", "other"))] == [7]
    assert list(cache.trials_of(Key("FinetuneSweep", "elsewhere", "support"))) == []


def test_a_trial_made_anew_for_another_sweep_leaves_the_first_ones_index(cache: ObjectCache) -> None:
    cache.put("FinetuneTrial", trial(version=1))
    cache.put("FinetuneTrial", trial(version=5, uid="new", sweepRef={"name": "other"}))
    assert list(cache.trials_of(SWEEP)) == []


def test_an_object_is_read_once_a_version(cache: ObjectCache) -> None:
    cache.put("FinetuneTrial", trial(version=1))
    first = cache.read(trial_key(0), FinetuneTrial)
    assert first is not None
    assert cache.read(trial_key(0), FinetuneTrial) is first
    cache.put("FinetuneTrial", trial(version=2))
    second = cache.read(trial_key(0), FinetuneTrial)
    assert second is not None
    assert second.metadata.resource_version == "2"


def test_a_trial_that_cannot_be_read_is_left_out_and_mentioned_once(
    cache: ObjectCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("FinetuneTrial", trial(0, version=1))
    cache.put("FinetuneTrial", trial(1, version=2, uid="u1", baseModel=7))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [each.spec.index for each in cache.trials_of(SWEEP)] == [0]
            assert list(cache.unreadable_of(SWEEP)) == ["support-1"]
    (line,) = caplog.messages
    assert line.startswith("FinetuneTrial team/support-1 cannot be read: spec.baseModel: ")
    with pytest.raises(InvalidManifest, match=r"spec\.baseModel"):
        cache.read(trial_key(1), FinetuneTrial)


@pytest.mark.parametrize("reference", [None, {}, {"name": 7}, "support"])
def test_a_trial_that_names_no_sweep_belongs_to_none(cache: ObjectCache, reference: object) -> None:
    cache.put("FinetuneTrial", trial(version=1, sweepRef=reference))
    cache.drop("FinetuneTrial", trial(version=2, sweepRef=reference))
    assert version(cache, trial_key(0)) is None


def test_a_listing_brings_what_was_missed_and_drops_what_is_gone(
    cache: ObjectCache, heard: list[Key]
) -> None:
    cache.put("FinetuneTrial", trial(0, version=1))
    cache.put("FinetuneTrial", trial(1, version=2, uid="u1"))
    cache.put("FinetuneTrial", trial(2, version=30, uid="u2"))
    heard.clear()
    listing = Listing((trial(0, version=5), trial(3, version=6, uid="u3")), version=20)
    assert cache.reconcile("FinetuneTrial", listing, namespace="team") == 3
    # The second one is not in the list; the third is newer than the list.
    assert [version(cache, trial_key(index)) for index in range(4)] == [5, None, 30, 6]
    assert set(heard) == {trial_key(0), trial_key(1), trial_key(3), SWEEP}


def test_a_listing_of_one_namespace_and_kind_says_nothing_of_others(cache: ObjectCache) -> None:
    cache.put("FinetuneTrial", trial(version=1))
    cache.reconcile("FinetuneTrial", Listing((), version=9), namespace="elsewhere")
    cache.reconcile("FinetuneSweep", Listing((), version=9), namespace=None)
    assert version(cache, trial_key(0)) == 1
    cache.reconcile("FinetuneTrial", Listing((), version=9), namespace=None)
    assert version(cache, trial_key(0)) is None


def test_a_late_event_does_not_bring_back_what_a_listing_did_not_have(cache: ObjectCache) -> None:
    cache.put("FinetuneTrial", trial(version=1))
    cache.reconcile("FinetuneTrial", Listing((), version=9), namespace="team")
    assert not cache.put("FinetuneTrial", trial(version=12, uid="u0"))
    assert not cache.put("FinetuneTrial", trial(version=8, uid="another"))
    assert cache.put("FinetuneTrial", trial(version=13, uid="another"))


def test_memory_of_deletions_is_bounded(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_TOMBSTONES", 2)
    for index in range(3):
        cache.drop("FinetuneTrial", trial(index, version=index + 1, uid=f"u{index}"))
    assert cache.put("FinetuneTrial", trial(0, version=9, uid="u0"))
    assert not cache.put("FinetuneTrial", trial(2, version=9, uid="u2"))


def test_a_provider_belongs_to_no_sweep(cache: ObjectCache, heard: list[Key]) -> None:
    raw = trial(version=1) | {"kind": "FinetuneProvider", "spec": {"type": "Local"}}
    cache.put("FinetuneProvider", raw)
    key = SWEEP.sibling("FinetuneProvider", "support-0")
    assert heard == [key]
    provider = cache.read(key, FinetuneProvider)
    assert provider is not None
    assert provider.spec.type == "Local"
