"""Reading a manifest: what is told about it, and that nothing but InvalidManifest comes out."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.scenario_contract import sweep_with

from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import (
    RESOURCE_KINDS,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    parse_resource,
)
from finetune_operator.resources.sweep import parse_duration
from samples import GOOD

Path = tuple[str | int, ...]

MINIMAL = next(sample.manifest for sample in GOOD if str(sample) == "sweep-minimal")


def told(manifest: Any, kind: type[FinetuneSweep] = FinetuneSweep) -> dict[str, str]:
    with pytest.raises(InvalidManifest) as refused:
        parse_resource(kind, manifest)
    return {problem.field: problem.message for problem in refused.value.problems}


def changed(manifest: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A manifest with another value at one place."""
    result = copy.deepcopy(manifest)
    here: Any = result
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return result


def test_several_mistakes_are_told_at_once_in_the_order_of_the_manifest() -> None:
    manifest = changed(MINIMAL, ("spec", "limits"), {"maxTrials": 0, "parallelTrials": "2", "budgte": {}})
    manifest["spec"]["objective"]["metric"] = "accurracy"
    assert list(told(manifest).items()) == [
        (
            "spec.objective.metric",
            "must be one of accuracy, exactMatch, macroF1, rougeL, tokenF1, validationLoss, "
            "validationTokenAccuracy, not accurracy",
        ),
        ("spec.limits.maxTrials", "must be at least 1, not 0"),
        ("spec.limits.parallelTrials", "must be a whole number, written without quotes"),
        ("spec.limits.budgte", "unknown field: did you mean budget?"),
    ]


def test_list_with_a_wrong_item_is_not_called_too_short_as_well() -> None:
    assert list(told(changed(MINIMAL, ("spec", "candidates", 0, "name"), 7))) == ["spec.candidates[0].name"]


def test_second_place_of_a_base_model_names_the_first() -> None:
    second = {**MINIMAL["spec"]["candidates"][0], "name": "again"}
    manifest = changed(MINIMAL, ("spec", "candidates"), [MINIMAL["spec"]["candidates"][0], second])
    assert told(manifest)["spec.candidates[1].baseModels"].endswith("smollm2-135m is in small already")


def test_name_in_snake_case_is_not_taken_for_the_field() -> None:
    manifest = changed(MINIMAL, ("spec", "keep_models"), "Best")
    assert told(manifest) == {"spec.keep_models": "unknown field: did you mean keepModels?"}


@pytest.mark.parametrize(
    "raw", [None, [], "kind: FinetuneSweep", 7, {}, {"apiVersion": "v1"}, {"apiVersion": []}]
)
def test_what_is_no_manifest_of_ours_is_refused(raw: Any) -> None:
    assert told(raw)


def test_manifest_of_another_kind_is_refused() -> None:
    assert told({**MINIMAL, "kind": "FinetuneTrial"})["kind"] == "must be FinetuneSweep, not FinetuneTrial"


def test_manifest_that_contains_itself_is_refused() -> None:
    manifest = copy.deepcopy(MINIMAL)
    manifest["spec"]["search"] = manifest["spec"]
    assert told(manifest)


def test_secret_looking_text_is_not_repeated() -> None:
    long_value = "sk-" + "a" * 60
    assert long_value not in str(told(changed(MINIMAL, ("spec", "search"), {"method": long_value})))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, True, "1e-5", None, [1]])
def test_only_a_finite_number_is_a_bound(number: Any) -> None:
    manifest = changed(
        MINIMAL, ("spec", "candidates", 0, "parameters", "learningRate", "logUniform", "min"), number
    )
    assert list(told(manifest)) == ["spec.candidates[0].parameters.learningRate.logUniform.min"]


def test_name_of_a_sweep_leaves_room_for_its_trials_label() -> None:
    assert parse_resource(FinetuneSweep, changed(MINIMAL, ("metadata", "name"), "n" * 52))
    assert told(changed(MINIMAL, ("metadata", "name"), "n" * 53)) == {
        "metadata.name": "must be at most 52 characters long"
    }


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("48h", timedelta(hours=48)),
        ("1h30m", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("1s", timedelta(seconds=1)),
    ],
)
def test_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "0s", "1d", "1", "h", "30m1h", "48h\n", "\u0664h", "-1h", "1.5h", "1000000h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


def test_time_of_another_zone_is_written_in_utc() -> None:
    manifest = {**MINIMAL, "status": {"startedAt": "2026-01-01T02:00:00+02:00"}}
    sweep = parse_resource(FinetuneSweep, manifest)
    assert sweep.status.started_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert sweep.to_dict()["status"]["startedAt"] == "2026-01-01T00:00:00Z"


def test_money_with_endless_digits_is_written_so_that_it_can_be_read() -> None:
    raw = next(sample.manifest for sample in GOOD if str(sample) == "trial-minimal")
    trial = parse_resource(FinetuneTrial, raw)
    spec = trial.spec.model_copy(update={"estimated_cost": Decimal(1) / Decimal(3) / Decimal(10) ** 15})
    written = trial.model_copy(update={"spec": spec}).to_dict()
    assert parse_resource(FinetuneTrial, written).spec.estimated_cost is not None


def test_hyperparameters_keep_their_types() -> None:
    raw = next(sample.manifest for sample in GOOD if str(sample) == "trial")
    hyperparameters = parse_resource(FinetuneTrial, raw).to_dict()["spec"]["hyperparameters"]
    assert hyperparameters == raw["spec"]["hyperparameters"]
    assert {type(value) for value in hyperparameters.values()} == {int, float, str}


def test_status_of_a_newer_version_does_not_hide_the_resource() -> None:
    raw = next(sample.manifest for sample in GOOD if str(sample) == "provider-minimal")
    provider = parse_resource(
        FinetuneProvider, {**raw, "status": {"observedGeneration": 3, "quota": {"left": 1}}}
    )
    assert provider.status.observed_generation == 3


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a manifest below its root."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=4)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
_DELETED = object()


@given(data=st.data())
def test_no_mutation_of_a_manifest_raises_anything_but_invalid_manifest(data: st.DataObject) -> None:
    manifest = copy.deepcopy(data.draw(st.sampled_from(GOOD)).manifest)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(places(manifest))))
        here: Any = manifest
        for part in parents:
            here = here[part]
        value = data.draw(
            _VALUES
            | st.just(_DELETED)
            | st.builds(lambda key, inner=here[last]: {key: inner}, st.text(max_size=8))
        )
        if value is _DELETED:
            del here[last]
        else:
            here[last] = value
        if not manifest:
            break
    kind = RESOURCE_KINDS[data.draw(st.sampled_from(sorted(RESOURCE_KINDS)))]
    try:
        resource = parse_resource(kind, manifest)
    except InvalidManifest as refused:
        problems = refused.problems
    else:
        assert parse_resource(kind, resource.to_dict()) == resource
        return
    assert problems
    assert all(problem.message for problem in problems)


def test_a_uri_that_is_wrong_is_not_shown_as_its_query_may_be_a_secret() -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_resource(FinetuneSweep, sweep_with(dataset__training={"uri": "https:/h/x?sig=S3CRET"}))
    assert "S3CRET" not in str(caught.value)
    assert "spec.dataset.training.uri" in str(caught.value)
