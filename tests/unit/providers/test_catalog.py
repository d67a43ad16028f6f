"""What base models take: the catalog's own data, and the models that an account adds."""

from __future__ import annotations

import datetime as dt
import math
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_providers.base import ModelRules, OfferState, ParameterRule, ProviderConfig
from finetune_providers.catalog import Catalog, load_catalog
from finetune_providers.errors import PermanentProviderError
from finetune_providers.registry import known_types

SECTIONS: dict[str, Any] = yaml.safe_load(
    resources.files("finetune_providers").joinpath("base_models.yaml").read_text(encoding="utf-8")
)
ENTRIES = [
    pytest.param(type_name, entry, id=f"{type_name}-{entry['names'][0]}")
    for type_name, section in SECTIONS.items()
    for entry in section["models"]
]

EPOCHS = {"epochs": {"type": "int", "min": 1, "max": 5}}


def catalog_of(models: dict[str, Any] | None = None, *, type_name: str = "Cohere", **changes: Any) -> Catalog:
    """The catalog of an account with models of its own."""
    return load_catalog(ProviderConfig("p", type_name, Path("/nowhere"), models=models or {}, **changes))


def rules_of(entry: dict[str, Any]) -> ModelRules:
    rules = catalog_of({"mine": entry}).rules("mine")
    assert rules is not None
    return rules


# -- the catalog's own data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("type_name", "entry"), ENTRIES)
def test_every_entry_says_where_it_is_written_and_when_it_was_read(
    type_name: str, entry: dict[str, Any]
) -> None:
    assert entry["source"].strip()
    assert dt.date.fromisoformat(entry["date"]) <= dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    assert type_name in known_types()


@pytest.mark.parametrize(("type_name", "entry"), ENTRIES)
def test_every_entry_holds_only_words_that_are_read(type_name: str, entry: dict[str, Any]) -> None:
    assert set(entry) <= {"names", "parameters", "traits", "exclusive", "note", "source", "date"}
    assert "epochs" in entry["parameters"]


@pytest.mark.parametrize(("type_name", "entry"), ENTRIES)
def test_every_model_is_read_with_a_default_that_its_rule_permits(
    type_name: str, entry: dict[str, Any]
) -> None:
    catalog = catalog_of(type_name=type_name)
    for name in entry["names"]:
        rules = catalog.rules(name)
        assert rules is not None
        assert set(rules.parameters) == set(entry["parameters"])
        for parameter, rule in rules.parameters.items():
            assert rule.default is None or rule.permits(rule.default), parameter
            assert all(rule.permits(value) for value in rule.allowed), parameter
            assert rule.describe()


@pytest.mark.parametrize("type_name", SECTIONS)
def test_no_model_is_listed_twice_and_every_offer_has_a_known_state(type_name: str) -> None:
    names = [name for entry in SECTIONS[type_name]["models"] for name in entry["names"]]
    assert len(names) == len(set(names))
    offer = SECTIONS[type_name]["offer"]
    assert set(offer) == {"state", "message", "source", "date"}
    assert OfferState(offer["state"]) is not OfferState.UNKNOWN
    dt.date.fromisoformat(offer["date"])
    told = catalog_of(type_name=type_name).offer
    assert told.state == offer["state"]
    assert offer["source"] in told.message
    assert offer["date"] in told.message


def test_an_offer_does_not_hold_behind_an_endpoint_where_the_catalog_says_so() -> None:
    openai = catalog_of(type_name="OpenAI", endpoint="http://here")
    cohere = catalog_of(type_name="Cohere", endpoint="http://here")
    assert (openai.offer.state, cohere.offer.state) == (OfferState.UNKNOWN, OfferState.CLOSED)


def test_a_type_that_the_catalog_does_not_know_has_the_account_s_models_alone() -> None:
    catalog = catalog_of({"mine": {"parameters": EPOCHS}}, type_name="Acme")
    assert catalog.names() == ("mine",)
    assert catalog.offer.state is OfferState.UNKNOWN


# -- the account's own models ---------------------------------------------------------------------------------


def test_a_model_that_is_like_another_takes_what_that_one_takes_but_for_what_it_says() -> None:
    mine = rules_of(
        {
            "like": "command-r-08-2024",
            "note": "ours",
            "parameters": {"epochs": {"type": "int", "max": 3}, "warmup": {"min": 0}},
            "traits": {"name": "command-x"},
        }
    )
    theirs = catalog_of().rules("command-r-08-2024")
    assert theirs is not None
    assert mine.parameters["learningRate"] == theirs.parameters["learningRate"]
    assert mine.parameters["epochs"] == ParameterRule("int", maximum=3)
    assert mine.parameters["warmup"] == ParameterRule("float", minimum=0)
    assert mine.note == "ours"
    assert mine.traits == {**theirs.traits, "name": "command-x"}


def test_parameters_that_exclude_each_other_are_those_of_the_model_or_of_the_one_that_it_is_like() -> None:
    both = {**EPOCHS, "batchSize": {"type": "int"}}
    entries = {"a": {"parameters": both, "exclusive": [["epochs", "batchSize"]]}, "b": {"like": "a"}}
    for name in entries:
        rules = catalog_of(entries).rules(name)
        assert rules is not None
        assert rules.exclusive == (("epochs", "batchSize"),)
    assert rules_of({"parameters": both}).exclusive == ()


def test_the_order_of_models_that_are_like_each_other_does_not_matter() -> None:
    entries = {
        "c": {"like": "b"},
        "b": {"like": "a", "note": "second"},
        "a": {"parameters": EPOCHS},
    }
    assert catalog_of(entries).models == catalog_of(dict(reversed(entries.items()))).models
    rules = catalog_of(entries).rules("c")
    assert rules is not None
    assert (rules.note, set(rules.parameters)) == ("second", {"epochs"})


def test_a_model_of_the_catalog_can_be_changed_by_an_entry_that_is_like_it() -> None:
    entries = {
        "command-r-08-2024": {
            "like": "command-r-08-2024",
            "parameters": {"epochs": {"type": "int", "max": 2}},
        },
        "mine": {"like": "command-r-08-2024"},
    }
    catalog = catalog_of(entries)
    for name in entries:
        rules = catalog.rules(name)
        assert rules is not None
        assert rules.parameters["epochs"].maximum == 2
        assert "learningRate" in rules.parameters


def test_a_note_and_traits_that_nobody_knows_are_passed_on() -> None:
    mine = rules_of({"parameters": EPOCHS, "traits": {"of": "tomorrow"}})
    assert (mine.note, mine.traits) == ("", {"of": "tomorrow"})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "must be a mapping with like, note, parameters, traits"),
        ({}, "give like, or the parameters"),
        ({"parameters": {}}, "give like, or the parameters"),
        ({"like": "nothing"}, "like: 'nothing' is not known; known: command-r-08-2024"),
        ({"like": "mine"}, "like: 'mine' is not known"),
        ({"like": ["command-r-08-2024"]}, "like: ['command-r-08-2024'] is not known"),
        ({"paramters": EPOCHS}, "paramters is not known; known: like"),
        ({"parameters": ["epochs"]}, "parameters must be a mapping"),
        ({"parameters": {"epochs": 3}}, "parameters.epochs must be a mapping with type"),
        (
            {"parameters": {"epochs": {"minimum": 3}}},
            "parameters.epochs.minimum is not known; known: type, min",
        ),
        ({"parameters": {"epochs": {"type": "whole"}}}, "parameters.epochs.type must be one of int, float"),
        ({"parameters": {"epochs": {"min": "few"}}}, "parameters.epochs.min: 'few' is no float"),
        ({"parameters": {"epochs": {"max": True}}}, "parameters.epochs.max: True is no float"),
        ({"parameters": {"epochs": {"max": math.inf}}}, "parameters.epochs.max: inf is no float"),
        (
            {"parameters": {"epochs": {"min": 1, "above": 1}}},
            "parameters.epochs: give min or above, not both",
        ),
        ({"parameters": {"epochs": {"min": 3, "max": 2}}}, "parameters.epochs.max must not be below min"),
        ({"parameters": {"epochs": {"above": 3, "max": 2}}}, "parameters.epochs.max must not be below above"),
        (
            {"parameters": {"epochs": {"type": "int", "values": "12"}}},
            "parameters.epochs.values must be a list",
        ),
        (
            {"parameters": {"epochs": {"type": "int", "values": [1.5]}}},
            "parameters.epochs.values: 1.5 is no int",
        ),
        (
            {"parameters": {"epochs": {"type": "int", "default": 2.5}}},
            "parameters.epochs.default: 2.5 is no int",
        ),
        (
            {"parameters": {"epochs": {"type": "int", "default": "x"}}},
            "parameters.epochs.default: 'x' is no int",
        ),
        ({"parameters": {"epochs": {"default": math.nan}}}, "parameters.epochs.default: nan is no float"),
        (
            {"parameters": {"epochs": {"max": 2, "default": 3}}},
            "parameters.epochs.default: 3 is not a float up to 2",
        ),
        (
            {"parameters": {"kind": {"type": "string", "min": 1}}},
            "parameters.kind: a string has no min; give values",
        ),
        ({"parameters": EPOCHS, "traits": {"name": 7}}, "traits.name must be text"),
        ({"parameters": EPOCHS, "traits": "x"}, "traits must be a mapping"),
        (
            {"parameters": EPOCHS, "exclusive": "epochs"},
            "exclusive must be a list of lists of its parameters: epochs",
        ),
        ({"parameters": EPOCHS, "exclusive": ["epochs"]}, "exclusive must be a list of lists"),
        ({"parameters": EPOCHS, "exclusive": [["epochs", "other"]]}, "exclusive must be a list of lists"),
    ],
)
def test_a_model_that_is_written_wrongly_is_refused_with_what_is_wrong(entry: Any, message: str) -> None:
    with pytest.raises(PermanentProviderError) as caught:
        catalog_of({"mine": entry})
    assert str(caught.value).startswith("base model 'mine' is described wrongly: ")
    assert message in str(caught.value)
    assert caught.value.field == "spec.models"


def test_models_that_are_like_each_other_in_a_circle_are_refused() -> None:
    with pytest.raises(PermanentProviderError, match="like each other: a, b"):
        catalog_of({"a": {"like": "b"}, "b": {"like": "a"}, "c": {"parameters": EPOCHS}})
