"""The models accept the good sample manifests and refuse the bad ones; the API server does the same elsewhere."""

import pytest

from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import RESOURCE_KINDS, dump_yaml, load_yaml, parse_resource
from samples import BAD, GOOD, Sample, names_field

_NOISE = (
    "pydantic",
    "Input should",
    "should have at least",
    "should match",
    "after validation",
    "Value error",
    "tuple",
)


def test_there_are_samples_of_every_kind() -> None:
    assert {sample.manifest["kind"] for sample in GOOD} == set(RESOURCE_KINDS)
    assert {sample.manifest["kind"] for sample in BAD} == set(RESOURCE_KINDS)


@pytest.mark.parametrize("sample", GOOD, ids=str)
def test_good_manifest_comes_back_as_it_was_read(sample: Sample) -> None:
    kind = RESOURCE_KINDS[sample.manifest["kind"]]
    resource = parse_resource(kind, sample.manifest)
    assert parse_resource(kind, resource.to_dict()) == resource
    assert parse_resource(kind, load_yaml(dump_yaml(resource.to_dict()))) == resource


@pytest.mark.parametrize("sample", BAD, ids=str)
def test_bad_manifest_is_refused_at_the_field_with_what_is_allowed(sample: Sample) -> None:
    with pytest.raises(InvalidManifest) as refused:
        parse_resource(RESOURCE_KINDS[sample.manifest["kind"]], sample.manifest)
    problems = {problem.field: problem.message for problem in refused.value.problems}
    assert sample.field in problems
    assert sample.says in problems[sample.field]


@pytest.mark.parametrize("sample", BAD, ids=str)
def test_message_is_written_for_a_person_and_tells_nothing_twice(sample: Sample) -> None:
    with pytest.raises(InvalidManifest) as refused:
        parse_resource(RESOURCE_KINDS[sample.manifest["kind"]], sample.manifest)
    problems = refused.value.problems
    assert len({problem.field for problem in problems}) == len(problems)
    # One rule is broken; only a list may have several wrong items.
    parents = {problem.field.rpartition("[")[0] or problem.field for problem in problems}
    assert len(parents) == 1
    assert not [noise for problem in problems for noise in _NOISE if noise in problem.message]


def test_path_of_the_server_is_matched_by_field_and_by_what_holds_it() -> None:
    field = "spec.candidates[0].parameters.epochs.int"
    assert names_field("spec.candidates[0].parameters[epochs].int", field)
    assert names_field("spec.candidates[0].parameters", field)
    assert not names_field("spec.candidates[1].parameters", field)
    assert not names_field("spec.candidates[0].parameters[epoch]", field)
    assert not names_field("spec", field)
