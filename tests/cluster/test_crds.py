"""The real API server on our three kinds: what it accepts, what it refuses and how, what may be edited."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from controlplane.access import create_namespace, delete_namespace
from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane
from finetune_operator.resources import (
    GROUP,
    RESOURCE_KINDS,
    VERSION,
    FinetuneSweep,
    FinetuneTrial,
    load_yaml,
    parse_resource,
)
from samples import BAD, GOOD, Sample, names_field

Manifest = dict[str, Any]

_WITH_NULLS = "sweep-nulls-are-not-given"
_PLURALS = {kind: f"{kind.lower()}s" for kind in RESOURCE_KINDS}


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane) -> Iterator[str]:
    """One namespace for the tests that keep out of each other's way."""
    name = create_namespace(control_plane, "crds")
    yield name
    delete_namespace(control_plane, name)


def as_sent(value: Any) -> Any:
    """A value as kubectl sends it: 4.0 of YAML is 4 in its JSON."""
    if isinstance(value, dict):
        return {key: as_sent(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_sent(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Server:
    """The API server by its own messages."""

    def __init__(self, api: client.CustomObjectsApi, place: str) -> None:
        self._api = api
        self._place = place

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Manifest:
        """Creates an object and refuses unknown fields, as kubectl does."""
        options = {"dry_run": "All"} if dry_run else {}
        plural = _PLURALS[manifest["kind"]]
        made: Manifest = self._api.create_namespaced_custom_object(
            GROUP, VERSION, self._place, plural, as_sent(manifest), field_validation="Strict", **options
        )
        return made

    def merge(
        self, manifest: Mapping[str, Any], patch: Mapping[str, Any], *, status: bool = False
    ) -> Manifest:
        """Merges a patch into an object or into its status."""
        name, plural = manifest["metadata"]["name"], _PLURALS[manifest["kind"]]
        call = (
            self._api.patch_namespaced_custom_object_status
            if status
            else self._api.patch_namespaced_custom_object
        )
        made: Manifest = call(GROUP, VERSION, self._place, plural, name, patch)
        return made


@pytest.fixture(scope="module")
def server(kubeconfig: Path, place: str) -> Iterator[Server]:
    with config.new_client_from_config(str(kubeconfig)) as api_client:
        yield Server(client.CustomObjectsApi(api_client), place)


def sample(stem: str, **metadata: Any) -> Manifest:
    """A good sample under another name."""
    manifest = copy.deepcopy(next(each.manifest for each in GOOD if str(each) == stem))
    manifest["metadata"] = {**manifest["metadata"], **metadata}
    return manifest


def refusals(error: client.ApiException) -> dict[str, str]:
    """The API server's reasons by field; an unknown field and a `not` stand in the message alone."""
    status = json.loads(str(error.body))
    causes = status.get("details", {}).get("causes", [])
    found = {cause["field"]: cause["message"] for cause in causes if cause["field"] != "<nil>"}
    if not found:
        found = {status["message"].split('"')[-2]: status["message"]}
    return found


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_good_manifest_is_accepted_and_filled_as_the_models_fill_it(good: Sample, server: Server) -> None:
    kind = RESOURCE_KINDS[good.manifest["kind"]]
    made = server.create(good.manifest, dry_run=True)
    assert parse_resource(kind, made).spec == parse_resource(kind, good.manifest).spec
    # Nothing that the models fill in is missing in what the server keeps: the defaults are the same ones.
    filled = parse_resource(kind, good.manifest).to_dict()["spec"]
    assert made["spec"] == {name: value for name, value in filled.items() if value != []}


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


@pytest.mark.parametrize(
    "patch",
    [
        {"limits": {"maxTrials": 9}},
        {"limits": {"parallelTrials": 2, "maxFailedTrials": 0}},
        {"limits": {"maxDuration": "1h"}},
        {"limits": {"budget": {"maxCost": "10.50"}}},
        {"limits": {"budget": None}},
        {"suspend": True},
        {"deletionPolicy": "Orphan"},
        {"keepModels": "Best"},
        {"output": {"configMap": "best-model"}},
        {"output": None},
    ],
    ids=json.dumps,
)
def test_what_does_not_decide_the_search_may_be_edited(
    patch: Manifest, server: Server, edited: Manifest
) -> None:
    spec = server.merge(edited, {"spec": patch})["spec"]
    assert spec == merged(spec, patch)


def merged(value: Any, patch: Any) -> Any:
    """A value with a merge-patch in it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    result.update({key: merged(result.get(key), each) for key, each in patch.items()})
    return {key: each for key, each in result.items() if each is not None}


@pytest.fixture(scope="module")
def edited(server: Server) -> Manifest:
    """A sweep that the tests of editing share."""
    return server.create(sample("sweep-union-of-candidates", name="edited"))


_CANDIDATES = sample("sweep-union-of-candidates")["spec"]["candidates"]


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        ("objective", {"objective": {"goal": 0.9}}),
        ("objective", {"objective": {"direction": None}}),
        ("dataset", {"dataset": {"training": {"uri": "s3://acme/other.jsonl"}}}),
        ("dataset", {"dataset": {"validation": None}}),
        ("candidates", {"candidates": _CANDIDATES[:1]}),
        (
            "candidates",
            {"candidates": [*_CANDIDATES, {**_CANDIDATES[0], "name": "more", "baseModels": ["x"]}]},
        ),
        ("search", {"search": {"seed": 8}}),
        ("search", {"search": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_decides_the_search_is_immutable(
    field: str, patch: Manifest, server: Server, edited: Manifest
) -> None:
    with pytest.raises(client.ApiException) as refused:
        server.merge(edited, {"spec": patch})
    assert refusals(refused.value) == {
        f"spec.{field}": (
            f"Forbidden: spec.{field} is immutable once the sweep exists: make a new sweep under another name"
        )
    }


def test_order_of_candidates_and_base_models_means_nothing_to_the_server(
    server: Server, edited: Manifest
) -> None:
    reordered = [
        {**candidate, "baseModels": candidate["baseModels"][::-1]} for candidate in reversed(_CANDIDATES)
    ]
    assert (
        server.merge(edited, {"spec": {"candidates": reordered}})["spec"]["candidates"][0]["name"] == "nova"
    )


def test_type_of_a_provider_is_immutable_and_its_limits_are_not(server: Server) -> None:
    provider = server.create(sample("provider-openai", name="edited"))
    assert server.merge(provider, {"spec": {"maxConcurrentJobs": 5}})["spec"]["maxConcurrentJobs"] == 5
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {"type": "Bedrock"}})
    assert refusals(refused.value)["spec.type"].startswith("Forbidden: spec.type is immutable")


@pytest.mark.parametrize(
    "patch",
    [
        {"seed": 9},
        {"estimatedCost": None},
        {"hyperparameters": {"epochs": 4}},
        {"hyperparameters": {"learningRate": 2e-5}},
        {"hyperparameters": {"batchSize": 8}},
        {"hyperparameters": {"epochs": None, "rank": 3}},
        {"hyperparameters": {"more": "x"}},
    ],
    ids=json.dumps,
)
def test_trial_is_one_purchase(patch: Manifest, server: Server, bought: Manifest) -> None:
    with pytest.raises(client.ApiException) as refused:
        server.merge(bought, {"spec": patch})
    assert refusals(refused.value) == {"spec": "Forbidden: a trial is one purchase: its spec is immutable"}


@pytest.fixture(scope="module")
def bought(server: Server) -> Manifest:
    """A trial that the tests of its immutability share."""
    return server.create(sample("trial", name="bought-0"))


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


def test_sweep_that_nobody_has_seen_is_of_generation_minus_one(server: Server) -> None:
    manifest = sample("sweep-minimal", name="unseen")
    made = server.create({**manifest, "status": {"observedGeneration": 1, "phase": "Succeeded"}})
    assert made["metadata"]["generation"] == 1
    assert made["status"] == {"observedGeneration": -1}
    seen = server.merge(made, {"status": {"phase": "Pending"}}, status=True)
    assert seen["status"] == {"observedGeneration": -1, "phase": "Pending"}


def test_whole_status_of_the_models_is_kept(server: Server) -> None:
    made = server.create(sample("sweep-minimal", name="reported"))
    status = _SWEEP_STATUS | {
        "trials": dict.fromkeys(
            ["total", "pending", "running", "done", "succeeded", "failed", "cancelled", "stalled"], 2
        ),
        "baselines": [{"provider": "local", "baseModel": "m", "score": 0.25}],
        "cost": {"reserved": "1.50", "spent": "12.40", "currency": "USD"},
        "spaceSize": "unbounded",
        "lastIndex": 3,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-02T00:00:00Z",
    }
    seen = server.merge(made, {"status": status}, status=True)
    assert seen["status"] == status
    assert parse_resource(FinetuneSweep, seen).to_dict()["status"] == status


_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "LimitReached",
    "message": "All 24 trials have ended.",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
_SWEEP_STATUS: Manifest = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "conditions": [_CONDITION],
    "trials": {"done": 24},
    "bestScore": "0.9417",
    "spent": "148.02 USD",
    "best": {
        "trial": "columns-7",
        "candidate": "nova",
        "provider": "bedrock-us",
        "baseModel": "amazon.nova-lite-v1:0",
        "fineTunedModel": "ft:nova:7",
        "score": 0.9417,
        "baseScore": 0.5,
        "hyperparameters": {"epochs": 3, "learningRate": 2e-05, "scheduler": "cosine"},
    },
}


def columns(table: str) -> dict[str, str]:
    """The one row of a table by its heading; columns stand at least three spaces apart."""
    heading, row = table.splitlines()
    names = list(re.finditer(r"\S+(?: \S+)*", heading))
    ends = [*(name.start() for name in names[1:]), len(row)]
    return {name[0]: row[name.start() : end].strip() for name, end in zip(names, ends, strict=True)}


def test_sweep_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("sweep-union-of-candidates", name="columns"))
    server.merge(made, {"status": _SWEEP_STATUS}, status=True)
    row = columns(kubectl("get", "finetunesweeps", "columns", f"--namespace={place}").stdout)
    assert row.pop("AGE")
    assert list(row.items()) == [
        ("NAME", "columns"),
        ("PHASE", "Succeeded"),
        ("DONE", "24"),
        ("MAX", "24"),
        ("BEST", "0.9417"),
        ("SPENT", "148.02 USD"),
        ("MODEL", "ft:nova:7"),
    ]
    wide = columns(kubectl("get", "fts", "columns", f"--namespace={place}", "--output=wide").stdout)
    assert wide["REASON"] == "LimitReached"


def test_trial_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("trial", name="columns-7"))
    status = {
        "observedGeneration": 1,
        "phase": "Succeeded",
        "reason": "Evaluated",
        "message": "200 examples were answered.",
        "create": {"attempt": 1, "state": "Succeeded", "key": "k", "externalId": "ftjob-7"},
        "cancel": {"reason": "Median", "message": "worse than the median"},
        "fineTunedModel": "ft:nova:7",
        "score": 0.9417,
        "scoreText": "0.9417",
        "metrics": {"accuracy": 0.9417, "validationLoss": 1},
        "series": [{"step": 0, "values": {"validationLoss": 2.5}}],
        "cost": "1.25",
    }
    seen = server.merge(made, {"status": status}, status=True)
    assert seen["status"] == status
    row = columns(kubectl("get", "ftt", "columns-7", f"--namespace={place}").stdout)
    assert row.pop("AGE")
    assert list(row.items()) == [
        ("NAME", "columns-7"),
        ("SWEEP", "support-intents"),
        ("PHASE", "Succeeded"),
        ("SCORE", "0.9417"),
        ("COST", "1.25"),
        ("REASON", "Evaluated"),
    ]
    wide = columns(kubectl("get", "ftt", "columns-7", f"--namespace={place}", "--output=wide").stdout)
    assert wide["BASE MODEL"] == "gpt-4.1-mini-2025-04-14"
    assert wide["JOB"] == "ftjob-7"
    assert wide["MODEL"] == "ft:nova:7"


def test_provider_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("provider-openai", name="columns"))
    accepted = {**_CONDITION, "type": "Accepted", "status": "False", "reason": "SecretMissing"}
    server.merge(made, {"status": {"observedGeneration": 1, "conditions": [accepted]}}, status=True)
    row = columns(kubectl("get", "ftp", "columns", f"--namespace={place}", "--output=wide").stdout)
    assert row.pop("AGE")
    assert row == {"NAME": "columns", "TYPE": "OpenAI", "READY": "False", "REASON": "SecretMissing"}


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
