"""Objects that nobody asks for are packed, and are the same when somebody does."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from finetune_operator.cluster import cache as cache_module
from finetune_operator.cluster.cache import ObjectCache, key_of
from finetune_operator.cluster.client import Raw
from finetune_operator.cluster.entries import Parsed, Recent
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import API_VERSION, FinetuneTrial


def trial(index: int, *, version: int = 1, provider: str = "acme", **status: Any) -> Raw:
    return {
        "apiVersion": API_VERSION,
        "kind": "FinetuneTrial",
        "metadata": {
            "name": f"support-{index}",
            "namespace": "team",
            "uid": f"u{index}",
            "resourceVersion": str(version),
            "labels": {"say": "ä ☃"},
        },
        "spec": {
            "sweepRef": {"name": "support"},
            "index": index,
            "candidate": "small",
            "providerRef": {"name": provider},
            "baseModel": "m",
            "hyperparameters": {"learningRate": 1e-05},
            "runKey": "key-support",
        },
        "status": status,
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ObjectCache:
    """A memory that keeps one object whole, and two as they were read."""
    monkeypatch.setattr(cache_module, "_WHOLE", 1)
    monkeypatch.setattr(cache_module, "_READ", 2)
    return ObjectCache()


def test_what_was_packed_is_as_it_came(small: ObjectCache) -> None:
    originals = [trial(index, phase="Succeeded", score=0.1 + index) for index in range(5)]
    for each in originals:
        small.put("FinetuneTrial", copy.deepcopy(each))
    for each in [*originals, *originals[::-1]]:
        assert small.raw(key_of("FinetuneTrial", each)) == each
        read = small.read(key_of("FinetuneTrial", each), FinetuneTrial)
        assert read is not None
        assert read.status.score == each["status"]["score"]


def test_a_change_after_packing_replaces_it(small: ObjectCache) -> None:
    for index in range(3):
        small.put("FinetuneTrial", trial(index, phase="Training"))
    small.put("FinetuneTrial", trial(0, version=2, phase="Succeeded"))
    assert [
        each.phase for each in sorted(small.trials_of(key(0).sibling("FinetuneSweep", "support")), key=_index)
    ] == [
        "Succeeded",
        "Training",
        "Training",
    ]


def test_who_wrote_which_field_is_not_kept() -> None:
    cache = ObjectCache()
    written = trial(0)
    written["metadata"]["managedFields"] = [{"manager": "finetune-operator"}]
    cache.put("FinetuneTrial", written)
    assert cache.raw(key(0)) == trial(0)
    assert "managedFields" in written["metadata"], "it belongs to who gave it"


def test_a_fact_is_asked_once_a_version_however_often_it_is_packed(small: ObjectCache) -> None:
    asked: list[str] = []

    def phase(resource: Parsed) -> str:
        assert isinstance(resource, FinetuneTrial)
        asked.append(resource.name)
        return str(resource.phase)

    for index in range(4):
        small.put("FinetuneTrial", trial(index, phase="Training"))
    for _ in range(2):
        assert [small.fact(key(index), phase) for index in range(4)] == ["Training"] * 4
    assert len(asked) == 4
    small.put("FinetuneTrial", trial(2, version=2, phase="Failed"))
    assert small.fact(key(2), phase) == "Failed"
    assert len(asked) == 5
    small.drop("FinetuneTrial", trial(2, version=3))
    assert small.fact(key(2), phase) is None


def test_an_object_is_read_once_for_all_that_is_asked_of_every_one(
    small: ObjectCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Key] = []
    real = cache_module.parsed
    monkeypatch.setattr(
        cache_module, "parsed", lambda kind, raw, *, key: read.append(key) or real(kind, raw, key=key)
    )

    def phase(resource: Parsed) -> str:
        return str(resource.phase) if isinstance(resource, FinetuneTrial) else ""

    def over(resource: Parsed) -> bool:
        return isinstance(resource, FinetuneTrial) and resource.terminal

    small.expect(phase)
    small.expect(over)
    for index in range(4):
        small.put("FinetuneTrial", trial(index, phase="Succeeded"))
    small.answer_expected(key(0))
    for index in range(4):
        assert (small.fact(key(index), over), small.fact(key(index), phase)) == (True, "Succeeded")
    assert read == [key(index) for index in range(4)]


def test_what_cannot_be_read_does_not_keep_others_from_being_listed(small: ObjectCache) -> None:
    small.expect(lambda resource: True)
    broken = trial(9)
    broken["spec"]["index"] = "nine"
    small.put("FinetuneTrial", broken)
    small.answer_expected(key(9))


def test_a_version_is_known_from_then_on_and_so_are_older_ones() -> None:
    cache = ObjectCache()
    assert not cache.knows("FinetuneTrial", trial(1, version=5))
    cache.put("FinetuneTrial", trial(1, version=5))
    assert [cache.knows("FinetuneTrial", trial(1, version=version)) for version in (4, 5, 6)] == [
        True,
        True,
        False,
    ]
    assert not cache.knows("FinetuneTrial", trial(2, version=5))


def test_what_cannot_be_read_has_no_facts_and_is_said_once(
    small: ObjectCache, caplog: pytest.LogCaptureFixture
) -> None:
    broken = trial(9)
    broken["spec"]["index"] = "nine"
    small.put("FinetuneTrial", broken)
    for index in range(4):
        small.put("FinetuneTrial", trial(index))
    for _ in range(2):
        with pytest.raises(InvalidManifest):
            small.fact(key(9), lambda resource: True)
    assert len(caplog.records) == 1


def test_trials_are_found_by_their_provider_but_for_those_that_are_over() -> None:
    cache = ObjectCache()
    for index, (provider, phase) in enumerate(
        [("acme", "Training"), ("acme", "Succeeded"), ("other", "Training")]
    ):
        cache.put("FinetuneTrial", trial(index, provider=provider, phase=phase))
    account = key(0).sibling("FinetuneProvider", "acme")

    def over(resource: Parsed) -> bool:
        return isinstance(resource, FinetuneTrial) and resource.terminal

    assert [each.name for each in cache.account_trials(account, but=over)] == ["support-0"]
    cache.drop("FinetuneTrial", trial(0, version=2))
    assert list(cache.account_trials(account, but=over)) == []


def test_who_was_not_used_for_longest_falls_out() -> None:
    dropped: list[Key] = []
    recent = Recent(2, dropped.append)
    for index in (0, 1, 0, 2):
        recent.use(key(index))
    assert dropped == [key(1)]
    recent.discard(key(0))
    recent.use(key(3))
    assert dropped == [key(1)]


def key(index: int) -> Key:
    return Key("FinetuneTrial", "team", f"support-{index}")


def _index(each: FinetuneTrial) -> int:
    return each.spec.index
