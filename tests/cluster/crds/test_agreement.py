"""The models and the API server agree on manifests that nobody wrote by hand."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kubernetes import client

from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import RESOURCE_KINDS, parse_resource
from samples import GOOD
from samples.hostile import can_be_sent, drawn, spoiled
from samples.schemas import crd_schema, nodes
from samples.server import Server

Path = tuple[str | int, ...]

_SEEDED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)

_WORDS = (
    "a A a-b -a a.b a..b a_b 1 1.50 1. 48h 0h 1h1h s3://a S3://a USD usd Minimize Grid accuracy validationLoss Best "
    "cpu True int string Local Bedrock AzureOpenAI Standard standard us-east-1 1e-5 .5 1e400 +8 2026-02-31 2026-2-1"
)
_ADDRESSES = (
    "http://h https://h/ https://h:1/v1// https://h:/ https://h:123456 https://u:p@h https://u@h/v1 https://h/a@b "
    "https://h?q https://h/v1?q=1 https://h#f https://h/\u00e9 https://[::1]:8080/v1 https://[::1 HTTP://h https:// "
    "https://-h https://h_1.example https://h/%20 https://h/a'b gs://a-b/c s3://a/ s3://A s3://a?b s3:// gcs://a"
)
_NAMES = (
    "arn:aws:iam::123456789012:role/a arn:aws-us-gov:iam::123456789012:role/a/b arn:aws:iam::12:role/a arn:aws:iam "
    "arn:aws:kms:us-east-1:123456789012:key/a-1 arn:aws:kms::123456789012:key/a a. (a) proj_1 a:b 2025-04-01-preview "
    "00000000-0000-0000-0000-00000000000A 00000000-0000-0000-0000-00000000000 2026-11-24 2026-13-01 2026-00-10"
)
_TEXTS = ["", " ", "a\n", "\u00e9", "\U0001f600" * 64, "9" * 40, "9" * 41]
_TEXTS += [
    *_WORDS.split(),
    *_ADDRESSES.split(),
    *_NAMES.split(),
    "https://h/a b",
    "https://h\n",
    "2026-11-24\n",
]
_LONG = ["x" * length for length in (52, 53, 63, 64, 128, 129, 253, 254, 256, 257, 512, 513, 1024, 1025)]
_LONG += ["https://h/" + "x" * length for length in (2038, 2039)]
_WHOLE = [0, 1, -1, 16, 17, 1000, 1001, 10**9, 10**9 + 1, 2**31 - 1, 2**31, 2**53]
_REAL = [0.5, 1e-5, -0.1, 1e9, 1e-320, 1.7e308]
_FORMS = [True, False, [], {}, ["a"], ["a", "a"], [1], {"a": 1}, {"min": 1, "max": 2}, {"values": ["a"]}]
_FORMS += [{"epochs": {}}, {"a_b": {}}, {"1a": "a"}, {"a.b-c": "a"}, {"above": 0, "min": 1}, {"like": "a"}]
_FORMS += [{"roleArn": "arn:aws:iam::123456789012:role/a"}, {"storage": "https://h"}, ["1", "2"], ["1", "1"]]
_MAPS = {"options", "parameters", "traits"}
_POOL = [*_TEXTS, *_LONG, *_WHOLE, *_REAL, *_FORMS, *[None] * 8]
_FIELDS = [
    "above",
    "asOf",
    "azureOpenAI",
    "bedrock",
    "budget",
    "currency",
    "customerKmsKey",
    "dataUri",
    "default",
    "deploymentCapacity",
    "direction",
    "endpoint",
    "endpoints",
    "goal",
    "initialTrials",
    "int",
    "keepData",
    "like",
    "local",
    "logUniform",
    "login",
    "max",
    "maxDuration",
    "min",
    "models",
    "name",
    "note",
    "options",
    "origin",
    "output",
    "parameters",
    "prices",
    "project",
    "region",
    "requestsPerMinute",
    "search",
    "seed",
    "servingPerHour",
    "source",
    "step",
    "steps",
    "storage",
    "suspend",
    "traits",
    "type",
    "uri",
    "validation",
    "values",
]


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _mutated(manifest: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A manifest with one change in its spec or name: a value replaced, or added to a mapping or a list."""
    result = copy.deepcopy(manifest)
    places = [path for path in _places(result) if path[0] == "spec" or path == ("metadata", "name")]
    *parents, last = chance.choice(places)
    here = _at(result, tuple(parents))
    value, action = copy.deepcopy(chance.choice(_POOL)), chance.random()
    if not isinstance(here[last], dict | list) or action < 0.4:
        here[last] = value
    elif isinstance(here[last], dict):
        here[last][chance.choice(_FIELDS)] = value
    else:
        here[last].append(copy.deepcopy(here[last][0]) if here[last] and action < 0.7 else value)
    return result


@pytest.mark.parametrize("seed", range(4))
def test_models_and_server_agree_on_changed_manifests(seed: int, server: Server) -> None:
    chance = random.Random(seed)
    judgements = {_both_refuse(_mutated(chance.choice(GOOD).manifest, chance), server) for _ in range(100)}
    assert judgements == {True, False}


@pytest.mark.parametrize("kind", RESOURCE_KINDS)
@settings(_SEEDED, max_examples=60)
@given(data=st.data())
def test_models_and_server_agree_on_hostile_manifests_of_the_schema(
    kind: str, data: st.DataObject, server: Server
) -> None:
    manifest = data.draw(drawn(kind).filter(can_be_sent))
    manifest.pop("status", None)  # of which the server says nothing when an object is made
    _both_refuse(manifest, server)


@settings(_SEEDED, max_examples=250)
@given(manifest=spoiled().filter(can_be_sent))
def test_models_and_server_agree_on_good_manifests_that_were_spoiled(
    manifest: dict[str, Any], server: Server
) -> None:
    manifest.pop("status", None)
    if isinstance(manifest.get("metadata"), dict):
        # Kubernetes' own fields, of which the models read a part: whatever else is there, they let pass.
        manifest["metadata"] = {key: each for key, each in manifest["metadata"].items() if key != "nameTwo"}
    _both_refuse(manifest, server)


def _both_refuse(manifest: dict[str, Any], server: Server) -> bool:
    """Whether a manifest is refused; the models and the server have to agree on it."""
    ours = theirs = ""
    try:
        parse_resource(RESOURCE_KINDS[manifest["kind"]], manifest)
    except InvalidManifest as refused:
        ours = str(refused)
    try:
        server.create(manifest, dry_run=True)
    except client.ApiException as refused:
        theirs = str(refused.body)
    assert bool(ours) == bool(theirs), (
        f"{manifest}\nmodels: {ours or 'accepted'}\nserver: {theirs or 'accepted'}"
    )
    return bool(ours)


_PROVIDERS = {str(good): good.manifest for good in GOOD if good.manifest["kind"] == "FinetuneProvider"}
_LEAVES = sorted(
    {
        (stem, path)
        for stem, manifest in _PROVIDERS.items()
        for path in _places(manifest)
        if path[0] == "spec" and not isinstance(_at(manifest, path), dict | list)
    },
    key=str,
)


def test_samples_fill_every_field_of_a_provider() -> None:
    def name(path: Path) -> tuple[str | int, ...]:
        return tuple(
            "*" if isinstance(part, int) or before in _MAPS else part
            for before, part in zip(("", *path), path, strict=False)
        )

    filled = {name(path)[1:] for _, path in _LEAVES}
    schema = crd_schema("FinetuneProvider")["properties"]["spec"]
    fields = {
        tuple(path.replace("[]", ".*").split("."))
        for path, node in nodes(schema)
        if node["type"] not in {"object", "array"}
    }
    assert filled == fields


@pytest.mark.parametrize(
    ("stem", "path"),
    _LEAVES,
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else value,
)
def test_models_and_server_agree_on_every_field_of_a_provider(stem: str, path: Path, server: Server) -> None:
    chance = random.Random(f"{stem}{path}")
    own = _ADDRESSES if "://" in str(_at(_PROVIDERS[stem], path)) else _NAMES
    for value in [*chance.sample(own.split(), 8), *chance.sample(_POOL, 16)]:
        manifest = copy.deepcopy(_PROVIDERS[stem])
        _at(manifest, path[:-1])[path[-1]] = value
        _both_refuse(manifest, server)
