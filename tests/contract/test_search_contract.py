"""The search methods, each held to the contract that all of them share."""

from typing import ClassVar

from tests.contract.search_contract import SearchMethodContract

from finetune_operator.search import Branch, IntRange, LogUniformRange, Method, SearchSpace, UniformRange


class TestGrid(SearchMethodContract):
    method: ClassVar[Method] = "Grid"
    large: ClassVar[SearchSpace] = SearchSpace(
        (
            Branch(
                "gpt",
                ("mini", "nano"),
                {
                    "epochs": IntRange(1, 4),
                    "learningRate": LogUniformRange(1e-6, 1e-2, steps=1000),
                    "warmup": UniformRange(0.0, 0.2, steps=10),
                },
            ),
            Branch(
                "nova", ("lite",), {"epochs": IntRange(1, 5), "rate": LogUniformRange(1e-6, 1e-4, steps=10)}
            ),
        )
    )


class TestRandom(SearchMethodContract):
    method: ClassVar[Method] = "Random"


class TestBayesian(SearchMethodContract):
    method: ClassVar[Method] = "Bayesian"
