"""Whatever text a provider or a model gives, it comes back from the files as it was."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
from tests.contract.store_contract import MANIFESTS, a_trial
from tests.unit.folder.conftest import NOW, Open

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import TrialStatus
from finetune_operator.resources.trial import SeriesPoint

TRICKY = (
    "1e5",
    "1_000",
    "0x1f",
    "null",
    "~",
    "yes",
    "2026-03-01",
    "=",
    "<<",
    "- a",
    "a: b",
    "#",
    "...",
    "---",
    "",
)
TEXTS = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    message=TEXTS,
    score=NUMBERS,
    metrics=st.dictionaries(TEXTS, NUMBERS, max_size=4),
    hyperparameters=st.dictionaries(TEXTS, st.one_of(TEXTS, NUMBERS, st.integers()), max_size=4),
    output=st.dictionaries(TEXTS, TEXTS, max_size=4),
)
async def test_what_is_written_is_what_is_read(
    message: str,
    score: float,
    metrics: dict[str, float],
    hyperparameters: dict[str, Any],
    output: dict[str, str],
) -> None:
    wanted = a_trial(0, namespace="default")
    spec = wanted.spec.model_copy(update={"hyperparameters": hyperparameters})
    status = TrialStatus(message=message, score=score, metrics=metrics)
    with tempfile.TemporaryDirectory() as folder:
        with FolderStore.open(Path(folder) / "state", MANIFESTS, clock=lambda: NOW) as store:
            created = await store.create_trial(wanted.model_copy(update={"spec": spec}), owner=store.sweep)
            written = await store.write_trial_status(created, status)
            await store.write_output(store.sweep, "the-model", output)
        with FolderStore.open(Path(folder) / "state", MANIFESTS, clock=lambda: NOW) as store:
            (found,) = await store.list_trials(store.sweep_key)
            assert await store.get_config_map("default", "the-model") == output
    assert found == written
    assert found.status == status
    assert found.spec == spec


async def test_a_loss_that_is_no_number_is_kept_and_not_written_again(open_store: Open) -> None:
    store = open_store()
    trial = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    point = SeriesPoint(step=1, values={"trainingLoss": math.nan, "validationLoss": math.inf})
    written = await store.write_trial_status(trial, TrialStatus(series=(point,)))
    again = await store.write_trial_status(written, TrialStatus(series=(point,)))
    assert again.metadata.resource_version == written.metadata.resource_version
    store.close()
    found = await open_store().get_trial(Key("FinetuneTrial", "default", trial.name))
    assert found is not None
    values = found.status.series[0].values
    assert math.isnan(values["trainingLoss"])
    assert values["validationLoss"] == math.inf
