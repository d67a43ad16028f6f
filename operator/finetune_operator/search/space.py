"""The search space: a union of branches, each with its own base models and its own parameters.

Nothing depends on the order in which branches, base models or parameters were written: all are kept sorted.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finetune_operator.search.errors import InvalidSpace
from finetune_operator.search.parameters import Parameter
from finetune_operator.search.points import Point
from finetune_operator.search.values import ParameterValue


@dataclass(frozen=True, slots=True)
class Branch:
    """One candidate of a sweep: base models that share their parameters.

    Attributes:
        name: Name of the candidate.
        base_models: Kept sorted; at least one.
        parameters: By name, kept sorted; none at all when only base models are compared.
    """

    name: str
    base_models: tuple[str, ...]
    parameters: Mapping[str, Parameter] = field(hash=False)

    def __post_init__(self) -> None:
        if not self.base_models:
            raise InvalidSpace(".baseModels", "names no base model; at least one is needed")
        for position, model in enumerate(self.base_models):
            if model in self.base_models[:position]:
                raise InvalidSpace(f".baseModels[{position}]", f"{model!r} is listed twice")
        object.__setattr__(self, "base_models", tuple(sorted(self.base_models)))
        object.__setattr__(self, "parameters", dict(sorted(self.parameters.items())))

    @property
    def arms(self) -> "tuple[Arm, ...]":
        """The branch, once with each base model."""
        return tuple(Arm(self, model) for model in self.base_models)

    @property
    def size(self) -> int | None:
        """Number of points, None if a parameter is continuous."""
        combinations = self.arms[0].size
        return None if combinations is None else combinations * len(self.base_models)


@dataclass(frozen=True, slots=True)
class Arm:
    """A branch with one of its base models: what remains are values for the parameters."""

    branch: Branch
    base_model: str

    @property
    def size(self) -> int | None:
        """Number of combinations of parameter values, None if a parameter is continuous."""
        product = 1
        for parameter in self.branch.parameters.values():
            if parameter.size is None:
                return None
            product *= parameter.size
        return product

    def point(self, values: Sequence[ParameterValue]) -> Point:
        """The point with these values, in the order of the sorted parameter names."""
        names = self.branch.parameters
        return Point(self.branch.name, self.base_model, dict(zip(names, values, strict=True)))

    def point_at(self, index: int) -> Point:
        """The combination with this index, below `size`; the first parameter by name varies fastest."""
        values: list[ParameterValue] = []
        for parameter in self.branch.parameters.values():
            index, own = divmod(index, parameter.size or 1)
            values.append(parameter.value_at(own))
        return self.point(values)

    def index_of(self, point: Point) -> int:
        """The index of a point that a finite arm contains."""
        index, weight = 0, 1
        for name, parameter in self.branch.parameters.items():
            index += weight * parameter.index_of(point.parameters[name])
            weight *= parameter.size or 1
        return index

    def contains(self, point: Point) -> bool:
        """Whether the point has this candidate, this base model, and a fitting value for each parameter."""
        own = self.branch.parameters
        return (
            point.candidate == self.branch.name
            and point.base_model == self.base_model
            and point.parameters.keys() == own.keys()
            and all(own[name].contains(value) for name, value in point.parameters.items())
        )


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A union of branches, kept sorted by name.

    Attributes:
        branches: At least one; names differ.
        arms: Every base model of every branch: the ways to begin a point.
    """

    branches: tuple[Branch, ...]
    arms: tuple[Arm, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.branches:
            raise InvalidSpace("candidates", "lists no candidate; at least one is needed")
        ordered = tuple(sorted(self.branches, key=lambda branch: branch.name))
        for before, branch in itertools.pairwise(ordered):
            if before.name == branch.name:
                raise InvalidSpace("candidates", f"the name {branch.name!r} is given twice")
        object.__setattr__(self, "branches", ordered)
        object.__setattr__(self, "arms", tuple(arm for branch in ordered for arm in branch.arms))

    @property
    def size(self) -> int | None:
        """Number of points, None if a parameter is continuous."""
        total = 0
        for branch in self.branches:
            if branch.size is None:
                return None
            total += branch.size
        return total

    def arm_of(self, point: Point) -> Arm | None:
        """The arm that contains the point, None if the point is outside the space."""
        return next((arm for arm in self.arms if arm.contains(point)), None)

    def contains(self, point: Point) -> bool:
        """Whether the point belongs to the space."""
        return self.arm_of(point) is not None
