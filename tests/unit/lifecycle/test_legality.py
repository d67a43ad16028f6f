"""What a candidate may ask of a base model, by the rules of its provider."""

from __future__ import annotations

from typing import Any

from tests.fakes.company import RULES, Company, CompanyProvider

from finetune_operator.lifecycle.legality import candidate_problems
from finetune_operator.resources import Candidate
from finetune_providers.base import ModelRules, ParameterRule


class Exclusive(CompanyProvider):
    """Takes a learning rate or a multiplier of it."""

    def model_rules(self, base_model: str) -> ModelRules | None:
        multiplier = {"learningRateMultiplier": ParameterRule("float", minimum=0)}
        parameters = {**RULES.parameters, **multiplier}
        return ModelRules(parameters, exclusive=(("learningRate", "learningRateMultiplier"),))


def problems(provider: CompanyProvider, base_model: str = "tiny-1", **parameters: Any) -> list[str]:
    candidate = Candidate.model_validate(
        {
            "name": "small",
            "providerRef": {"name": "acme"},
            "baseModels": [base_model],
            "parameters": parameters,
        }
    )
    return [str(each) for each in candidate_problems(candidate, "spec.candidates[0]", provider)]


RATE = {"logUniform": {"min": 1e-5, "max": 1e-2}}


def test_parameters_that_exclude_each_other_are_refused_together_and_taken_alone() -> None:
    provider = Exclusive(Company())
    assert problems(provider, learningRate=RATE) == []
    assert problems(provider, learningRateMultiplier=RATE) == []
    (problem,) = problems(provider, learningRate=RATE, learningRateMultiplier=RATE)
    assert problem.startswith("spec.candidates[0].parameters.learningRateMultiplier")
    assert "leave learningRateMultiplier out" in problem


def test_an_unknown_base_model_is_told_of_with_those_that_are_known() -> None:
    (problem,) = problems(CompanyProvider(Company()), base_model="unknown-1", epochs={"values": ["1"]})
    assert "spec.candidates[0].baseModels[0]" in problem
    assert "it knows tiny-1, tiny-2" in problem
    assert "spec.models of the FinetuneProvider" in problem


def test_a_parameter_that_is_not_taken_is_told_of_with_those_that_are() -> None:
    (problem,) = problems(CompanyProvider(Company()), loraRank={"values": ["4", "8"]})
    assert "spec.candidates[0].parameters.loraRank" in problem
    assert "batchSize, epochs, learningRate" in problem


def test_a_wide_range_of_a_listed_parameter_is_refused_without_counting_through_it() -> None:
    wide = {"int": {"min": 4, "max": 1_000_000_000, "step": 4}}
    found = problems(CompanyProvider(Company()), batchSize=wide)
    assert 0 < len(found) <= 4
    assert "12 is not allowed for tiny-1: batchSize is one of 4, 8, 16" in found[0]
