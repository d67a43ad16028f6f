"""The real API server on the sample manifests: what it accepts, what it refuses and what it says."""

import json
from pathlib import Path

import pytest
from kubernetes import client

from controlplane.fixtures import Kubectl
from finetune_operator.resources import (
    GROUP,
    RESOURCE_KINDS,
    VERSION,
    FinetuneTrial,
    load_yaml,
    parse_resource,
)
from samples import BAD, GOOD, Sample, names_field
from samples.server import Server, refusals, sample

_WITH_NULLS = "sweep-nulls-are-not-given"


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_good_manifest_is_accepted_and_filled_as_the_models_fill_it(good: Sample, server: Server) -> None:
    kind = RESOURCE_KINDS[good.manifest["kind"]]
    made = server.create(good.manifest, dry_run=True)
    assert parse_resource(kind, made).spec == parse_resource(kind, good.manifest).spec
    # Nothing that the models fill in is missing in what the server keeps: the defaults are the same ones.
    filled = parse_resource(kind, good.manifest).to_dict()["spec"]
    given = good.manifest["spec"]
    assert made["spec"] == {
        name: each for name, each in filled.items() if each not in ([], {}) or name in given
    }


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_manifest_is_refused_at_the_field_with_what_is_allowed(bad: Sample, server: Server) -> None:
    with pytest.raises(client.ApiException) as refused:
        server.create(bad.manifest, dry_run=True)
    assert refused.value.status in {400, 422}
    named = [path for path in refusals(refused.value) if names_field(path, bad.field)]
    assert named, str(refused.value.body)
    assert bad.server in json.loads(str(refused.value.body))["message"]


@pytest.mark.parametrize("side", ["client", "server"])
def test_applied_manifests_show_no_difference(side: str, kubectl: Kubectl, namespace: str) -> None:
    chosen = [good for good in GOOD if side == "client" or str(good) != _WITH_NULLS]
    files = [f"--filename={good.path}" for good in chosen]
    options = [*files, f"--server-side={'true' if side == 'server' else 'false'}", f"--namespace={namespace}"]
    assert len(kubectl("apply", *options).stdout.splitlines()) == len(chosen)
    assert kubectl("diff", *options).stdout == ""
    kubectl("apply", *options)
    generations = "jsonpath={range .items[*]}{.metadata.generation}{'\\n'}{end}"
    made = kubectl("get", "finetune", f"--namespace={namespace}", "--output", generations).stdout.split()
    assert made == ["1"] * len(chosen)


def test_null_is_the_one_thing_that_server_side_apply_reads_otherwise(kubectl: Kubectl, place: str) -> None:
    file = next(good.path for good in GOOD if str(good) == _WITH_NULLS)
    options = (f"--filename={file}", f"--namespace={place}", "--dry-run=server")
    assert kubectl("apply", *options).returncode == 0
    refused = kubectl("apply", "--server-side", *options, check=False)
    assert "spec.limits.budget in body must be of type object" in refused.stderr


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "parameter-two-forms",
            "spec.candidates[0].parameters[epochs]: Invalid value: "
            "give exactly one of int, uniform, logUniform or values",
        ),
        (
            "duration-days",
            'spec.limits.maxDuration: Invalid value: "2d": must be a duration such as 48h, 90m or 1h30m',
        ),
        (
            "grid-without-steps",
            "spec.candidates: Invalid value: search.method Grid needs steps on every uniform and logUniform range",
        ),
        (
            "metric-unknown",
            'spec.objective.metric: Unsupported value: "perplexity": supported values: "accuracy", "exactMatch"',
        ),
        (
            "unknown-field-in-parameter",
            'strict decoding error: unknown field "spec.candidates[0].parameters.epochs.itn"',
        ),
    ],
)
def test_person_is_told_by_kubectl_apply(name: str, line: str, kubectl: Kubectl, place: str) -> None:
    bad = next(each for each in BAD if str(each) == name)
    refused = kubectl("apply", f"--filename={bad.path}", f"--namespace={place}", check=False)
    assert refused.returncode == 1
    assert line in refused.stderr


def test_hyperparameters_come_back_as_they_were_given(server: Server) -> None:
    given = {
        "a": 1,
        "b": 1e-5,
        "c": 3.141592653589793,
        "d": "1e-5",
        "e": "4",
        "f": 5e-324,
        "g": -(2**62),
        "h": "",
    }
    manifest = sample("trial", name="typed-0")
    manifest["spec"]["hyperparameters"] = given
    kept = server.create(manifest)["spec"]["hyperparameters"]
    assert kept == given
    assert {key: type(value) for key, value in kept.items()} == {
        key: type(value) for key, value in given.items()
    }


def test_real_number_without_a_fraction_comes_back_equal(server: Server) -> None:
    manifest = sample("trial", name="whole-0")
    manifest["spec"]["hyperparameters"] = {"learningRateMultiplier": 2.0}
    trial = parse_resource(FinetuneTrial, manifest)
    assert parse_resource(FinetuneTrial, server.create(manifest)).spec == trial.spec


def test_every_field_is_explained_by_kubectl(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "finetunesweep.spec.candidates.parameters.logUniform.min").stdout
    assert "FIELD: min <number>" in explained
    assert "such as 1e-5" in " ".join(explained.split())
    assert "hyperparameters <map[string]" in kubectl("explain", "finetunetrial.spec.hyperparameters").stdout


def test_scalars_are_read_as_kubectl_reads_them(kubectl: Kubectl, tmp_path: Path) -> None:
    scalars = """[1e-5, 1E-3, -1.5e-2, .2, 5., 4, +4, 4.0, "1e-5", '4', amazon.nova-lite-v1:0, 2026-01-01, 1:30,
      1:30.5, 1e5h, e5, 1e, ., true, ~, 1_000, 1_0.5, 0x10, 010, 08, 0o10, -0b11, yes, no, On, off, y, N, "y", True,
      tRUE, null, NULL, +.5, 1.e3, 0.0, 00, -0, 1e5, +1e5, =, <<, "", v1.2.3, 1.2.3, 12e, "null"]"""
    file = tmp_path / "scalars.yaml"
    file.write_text(
        f"apiVersion: {GROUP}/{VERSION}\nkind: FinetuneTrial\nmetadata: {{name: a}}\nspec:\n  values: {scalars}\n",
        encoding="utf-8",
    )
    read = kubectl("create", "--dry-run=client", "--output=json", f"--filename={file}").stdout
    ours, theirs = (
        load_yaml(file.read_text(encoding="utf-8"))["spec"]["values"],
        json.loads(read)["spec"]["values"],
    )
    assert ours == theirs
    # JSON does not tell 4.0 from 4; everything else has the same type.
    kinds = [(float if type(each) is int else type(each)) for each in ours]
    assert kinds == [(float if type(each) is int else type(each)) for each in theirs]
