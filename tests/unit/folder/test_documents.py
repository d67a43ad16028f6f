"""Reading the documents of a person's files."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS, SWEEP_MANIFEST

from finetune_operator.errors import InvalidManifest
from finetune_operator.folder import read_documents


def problems_of(*manifests: Any) -> list[str]:
    """What is wrong with the documents, as a person reads it."""
    with pytest.raises(InvalidManifest) as caught:
        read_documents(manifests)
    return [str(problem) for problem in caught.value.problems]


def a_secret(**blocks: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, **blocks}


def test_everything_shares_the_sweeps_namespace() -> None:
    sweep = {**SWEEP_MANIFEST, "metadata": {"name": "support", "namespace": "ml"}}
    documents = read_documents((sweep, *MANIFESTS[1:]))
    assert documents.namespace == "ml"
    assert documents.providers["local"].metadata.namespace == "ml"
    assert read_documents(MANIFESTS).namespace == "default"


def test_a_list_is_its_items() -> None:
    documents = read_documents(({"apiVersion": "v1", "kind": "List", "items": list(MANIFESTS)},))
    assert documents.sweep.name == "support"
    assert set(documents.config_maps) == {"support-data"}


def test_a_secret_is_given_as_text_or_in_base64() -> None:
    encoded = base64.b64encode("pä:ss".encode()).decode()
    secret = a_secret(data={"a": encoded, "b": encoded}, stringData={"b": "plain"})
    documents = read_documents((*MANIFESTS[:2], secret))
    assert documents.secrets == {"keys": {"a": "pä:ss", "b": "plain"}}
    assert "plain" not in repr(documents)


def test_a_status_in_a_manifest_is_dropped() -> None:
    status = {"phase": "Succeeded", "observedGeneration": 7}
    assert read_documents(({**SWEEP_MANIFEST, "status": status},)).sweep.status.phase is None


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        ((), ["exactly one FinetuneSweep is needed, 0 were given"]),
        (
            (SWEEP_MANIFEST, {**SWEEP_MANIFEST, "metadata": {"name": "other"}}),
            ["exactly one FinetuneSweep is needed, 2 were given"],
        ),
        (
            (SWEEP_MANIFEST, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}),
            ["kind: 'Pod' has no place here; allowed are FinetuneSweep, FinetuneProvider, ConfigMap, Secret"],
        ),
        (
            (SWEEP_MANIFEST, MANIFESTS[1], MANIFESTS[1]),
            ["FinetuneProvider/local metadata.name: is given twice"],
        ),
        (
            (SWEEP_MANIFEST, {"apiVersion": "v1", "kind": "ConfigMap"}),
            ["ConfigMap/? metadata.name: is required"],
        ),
        (
            (SWEEP_MANIFEST, {**MANIFESTS[3], "apiVersion": "v2"}),
            ["ConfigMap/support-data apiVersion: must be v1"],
        ),
        (
            (SWEEP_MANIFEST, {**MANIFESTS[1], "spec": {"type": "local"}}),
            ["FinetuneProvider/local spec.type: must be "],
        ),
        (
            (SWEEP_MANIFEST, {**MANIFESTS[3], "metadata": {"name": "../data"}}),
            ["ConfigMap/../data metadata.name: '../data' is not a name: lower-case letters, digits"],
        ),
        (
            ({**SWEEP_MANIFEST, "metadata": {"name": "support", "namespace": "../ml"}},),
            ["FinetuneSweep/support metadata.namespace: '../ml' is not a name"],
        ),
        (
            (SWEEP_MANIFEST, {**MANIFESTS[1], "metadata": {"name": "local", "namespace": "ml"}}),
            [
                "FinetuneProvider/local metadata.namespace: is ml, but the sweep's is default: all documents "
                "share one namespace"
            ],
        ),
    ],
)
def test_what_is_wrong_is_said(manifests: tuple[Any, ...], expected: list[str]) -> None:
    found = problems_of(*manifests)
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_all_problems_are_said_at_once() -> None:
    spec = {**SWEEP_MANIFEST["spec"], "limits": {"maxTrials": 0}, "supsend": True}
    found = problems_of({**SWEEP_MANIFEST, "spec": spec}, {**MANIFESTS[1], "spec": {}}, a_secret(data=["x"]))
    fields = [text.partition(":")[0] for text in found]
    assert fields == [
        "spec.limits.maxTrials",
        "spec.supsend",
        "FinetuneProvider/local spec.type",
        "Secret/keys data",
    ]


def test_a_document_that_is_no_mapping_is_refused() -> None:
    assert "must be a mapping" in problems_of(SWEEP_MANIFEST, "just text")[0]


@pytest.mark.parametrize(
    "secret",
    [
        a_secret(data={"token": "hunter2-is-not-base64"}),
        a_secret(data={"token": base64.b64encode(b"\xff\xfehunter2").decode()}),
        a_secret(stringData={"token": ["hunter2"]}),
    ],
)
def test_a_wrong_secret_is_refused_without_showing_it(secret: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest) as caught:
        read_documents((SWEEP_MANIFEST, secret))
    assert "token" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__ or error.__context__
