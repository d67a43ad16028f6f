"""Points of a search space, and what is known about them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from finetune_operator.search.values import FrozenParameters, ParameterValue, identity

Direction: TypeAlias = Literal["Maximize", "Minimize"]
ObservationState: TypeAlias = Literal["Finished", "Failed", "Pending"]
Origin: TypeAlias = Literal[
    "first point",
    "provider default",
    "warm start",
    "grid",
    "random",
    "initial design",
    "expected improvement",
    "exploration",
    "confirmation",
]


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One configuration: a candidate, one of its base models, and a value for each of its parameters.

    Two points are equal when their `key` is: the order of parameters, `2` against `2.0`, and differences
    past the twelfth significant digit do not matter.

    Attributes:
        candidate: Name of the branch that the point belongs to.
        base_model: One of that branch's base models.
        parameters: Values by parameter name; kept sorted by name and immutable.
        key: Canonical text of all of this.
    """

    candidate: str
    base_model: str
    parameters: Mapping[str, ParameterValue]
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        frozen = FrozenParameters(self.parameters)
        object.__setattr__(self, "parameters", frozen)
        values = [[name, identity(value)] for name, value in frozen.items()]
        object.__setattr__(self, "key", json.dumps([self.candidate, self.base_model, values]))

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Point) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about one trial's point.

    Attributes:
        point: The trial's configuration.
        state: `Pending` while nobody knows the outcome. A trial that was stopped or cancelled without a score
            is `Failed`.
        score: The objective, in its own units; read only when `Finished`. A finished trial without a finite
            score counts as failed.
    """

    point: Point
    state: ObservationState
    score: float | None = None

    @property
    def finite_score(self) -> float | None:
        """The score, or None if the trial is not finished or its score is missing, NaN or infinite."""
        if self.state != "Finished" or self.score is None or not math.isfinite(self.score):
            return None
        return float(self.score)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point to try next, and which rule chose it."""

    point: Point
    origin: Origin


@dataclass(frozen=True, slots=True)
class History:
    """All observations in canonical order: the order in which they arrived is forgotten.

    Attributes:
        finished: Points with their scores, turned round where the objective is minimised: more is better.
        failed: Points without a score, unless the same point has also finished.
        pending: Points whose outcome is open.
        keys: Keys of every point above; none of them is proposed again.
        length: Number of observations; picks the random numbers of the next proposal.
    """

    finished: tuple[tuple[Point, float], ...]
    failed: tuple[Point, ...]
    pending: tuple[Point, ...]
    keys: frozenset[str]
    length: int

    @classmethod
    def of(cls, observations: Iterable[Observation], direction: Direction) -> "History":
        """Sort out `observations`; scores are negated when `direction` is `Minimize`."""
        sign = 1.0 if direction == "Maximize" else -1.0
        finished: list[tuple[Point, float]] = []
        failed: dict[str, Point] = {}
        pending: dict[str, Point] = {}
        keys: list[str] = []
        for observation in observations:
            point, score = observation.point, observation.finite_score
            keys.append(point.key)
            if score is not None:
                finished.append((point, sign * score))
            elif observation.state == "Pending":
                pending[point.key] = point
            else:
                failed[point.key] = point
        finished.sort(key=lambda entry: (entry[0].key, entry[1]))
        scored = {point.key for point, _ in finished}
        return cls(
            finished=tuple(finished),
            failed=tuple(failed[key] for key in sorted(failed) if key not in scored),
            pending=tuple(pending[key] for key in sorted(pending)),
            keys=frozenset(keys),
            length=len(keys),
        )

    @property
    def points(self) -> tuple[Point, ...]:
        """Every point, some of them more than once."""
        return (*(point for point, _ in self.finished), *self.failed, *self.pending)

    def with_pending(self, point: Point) -> "History":
        """This history after one more trial was started at `point`."""
        pending = sorted({*self.pending, point}, key=lambda other: other.key)
        return History(
            finished=self.finished,
            failed=self.failed,
            pending=tuple(pending),
            keys=self.keys | {point.key},
            length=self.length + 1,
        )
