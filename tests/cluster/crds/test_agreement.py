"""The models and the API server agree on manifests that nobody wrote by hand."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import RESOURCE_KINDS, parse_resource
from samples import GOOD
from samples.server import Server

Path = tuple[str | int, ...]

_WORDS = (
    "a A a-b -a a.b a..b a_b 1 1.50 1. 48h 0h 1h1h s3://a S3://a USD usd Minimize Grid accuracy validationLoss Best "
    "cpu True"
)
_TEXTS = ["", " ", "a\n", "\u00e9", "\U0001f600" * 64, "9" * 40, "9" * 41, *_WORDS.split()]
_LONG = ["x" * length for length in (52, 53, 63, 64, 128, 129, 253, 254, 256, 257)]
_WHOLE = [0, 1, -1, 16, 17, 1000, 1001, 10**9, 10**9 + 1, 2**31 - 1, 2**31, 2**53]
_REAL = [0.5, 1e-5, -0.1, 1e9, 1e-320, 1.7e308]
_FORMS = [True, False, [], {}, ["a"], ["a", "a"], [1], {"a": 1}, {"min": 1, "max": 2}, {"values": ["a"]}]
_POOL = [*_TEXTS, *_LONG, *_WHOLE, *_REAL, *_FORMS, *[None] * 8]
_FIELDS = [
    "budget",
    "currency",
    "direction",
    "goal",
    "initialTrials",
    "int",
    "local",
    "logUniform",
    "maxDuration",
    "name",
    "origin",
    "output",
    "prices",
    "search",
    "seed",
    "step",
    "steps",
    "suspend",
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


def _mutated(manifest: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A manifest with one change in its spec or name: a value replaced, or added to a mapping or a list."""
    result = copy.deepcopy(manifest)
    places = [path for path in _places(result) if path[0] == "spec" or path == ("metadata", "name")]
    *parents, last = chance.choice(places)
    here: Any = result
    for part in parents:
        here = here[part]
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
    judgements = set()
    for _ in range(100):
        manifest = _mutated(chance.choice(GOOD).manifest, chance)
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
        judgements.add(bool(ours))
    assert judgements == {True, False}
