"""Whatever a manifest holds, the models accept it or refuse it as an InvalidManifest, in no time.

`make bench-manifests` judges 10,000 of them; without HOSTILE_MANIFESTS it is a seeded thousand.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from finetune_operator.decisions import build_space
from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import RESOURCE_KINDS, FinetuneSweep, parse_resource
from samples.hostile import HOSTILE, drawn, spoiled

NUMBER = int(os.environ.get("HOSTILE_MANIFESTS", "1000"))
LONGEST_S = 2.0
hostile = settings(
    max_examples=NUMBER * 3 // 4,
    derandomize="HOSTILE_MANIFESTS" not in os.environ,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

LONGEST = 1000

judged = {"accepted": 0, "refused": 0}


def judge(kind: str, manifest: Any) -> None:
    began = time.process_time()
    try:
        resource = parse_resource(RESOURCE_KINDS[kind], manifest)
        json.dumps(resource.to_dict(), allow_nan=False)
        if isinstance(resource, FinetuneSweep):
            build_space(resource.spec)
    except InvalidManifest as refused:
        judged["refused"] += 1
        problems = [str(problem) for problem in refused.problems]
        # They are written into a status and a log.
        wrong = [text[:99] for text in problems if len(text) > LONGEST or not can_be_written(text)]
    else:
        judged["accepted"] += 1
        problems, wrong = ["none"], []
    assert problems
    assert wrong == []
    assert time.process_time() - began < LONGEST_S


def can_be_written(text: str) -> bool:
    return not any(0xD800 <= ord(each) < 0xE000 for each in text)


@settings(hostile, max_examples=NUMBER // 4)
@given(data=st.data())
def test_manifest_that_is_drawn_from_the_schema_is_judged(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(RESOURCE_KINDS)))
    judge(kind, data.draw(drawn(kind)))


@hostile
@given(spoiled())
def test_good_manifest_that_was_spoiled_is_judged(manifest: dict[str, Any]) -> None:
    judge(str(manifest["kind"]), manifest)


@pytest.mark.parametrize("kind", RESOURCE_KINDS)
@settings(hostile, max_examples=60)
@given(value=HOSTILE)
def test_what_is_no_manifest_at_all_is_refused(kind: str, value: Any) -> None:
    known = {"apiVersion": "finetune-operator.dev/v1alpha1", "kind": kind}
    for manifest in (value, {"spec": value}, {**known, "metadata": value}, {**known, "spec": value}):
        with pytest.raises(InvalidManifest):
            parse_resource(RESOURCE_KINDS[kind], manifest)


def test_some_were_accepted_and_most_refused() -> None:
    """Last in this file: what nothing passes, or everything, proves little."""
    if sum(judged.values()) < NUMBER // 2:
        pytest.skip("the tests above ran in another process, or not at all")
    print(f"{judged['accepted']} accepted, {judged['refused']} refused")
    assert judged["accepted"] >= NUMBER // 100
    assert judged["refused"] >= NUMBER // 4
