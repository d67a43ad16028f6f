"""Names that fit into labels, and events that the API server takes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.cluster.manifests import event_manifest
from finetune_operator.resources import API_VERSION, FinetuneTrial, ObjectMeta, TrialSpec
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.labels import label_value


def a_trial(name: str) -> FinetuneTrial:
    spec = TrialSpec(
        sweep_ref=NameRef(name="support"),
        index=0,
        candidate="small",
        provider_ref=NameRef(name="local"),
        base_model="smollm2-135m",
        hyperparameters={},
        run_key="key-support-0",
    )
    return FinetuneTrial(api_version=API_VERSION, metadata=ObjectMeta(name=name, namespace="team"), spec=spec)


@given(name=st.text("ab-.", min_size=1, max_size=251).map(lambda middle: f"a{middle}z"))
def test_every_name_fits_into_a_label(name: str) -> None:
    value = label_value(name)
    assert len(value) <= 63
    assert value[0].isalnum()
    assert value[-1].isalnum()
    assert (value == name) == (len(name) <= 63)


def test_long_names_that_begin_alike_have_labels_that_differ() -> None:
    assert label_value("a" * 100 + "1") != label_value("a" * 100 + "2")


def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    now = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    trial = a_trial("t")
    # A sweep's name may be as long as Kubernetes allows.
    long = trial.model_copy(update={"metadata": trial.metadata.model_copy(update={"name": "t" * 253})})
    event = event_manifest(long, "Failed", "m" * 5000, warning=True, now=now, instance="pod-1")
    assert len(event["message"]) == 1024
    assert event["message"].endswith("…")
    # The server appends five characters to make a name of at most 253.
    assert len(event["metadata"]["generateName"]) <= 248
    assert event["type"] == "Warning"
    assert event["lastTimestamp"] == "2026-03-01T12:30:15Z"
