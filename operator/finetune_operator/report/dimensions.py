"""The axes of the plots: what differs between the trials of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from finetune_operator.report.words import number_text
from finetune_operator.resources import FinetuneSweep, FinetuneTrial

Value = int | float | str
Scale = Literal["linear", "log", "whole", "choice"]

MODEL = "base model"
_WORST_FIRST: tuple[Scale, ...] = ("choice", "linear", "whole", "log")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One axis.

    Attributes:
        key: Name of the column in the plots' data. Names that people chose do not name columns.
        name: As it is shown.
        scale: How its values are spread.
        low: Least value; 0 for choices.
        high: Greatest value; the last choice's place for choices.
        choices: The values of a choice in the manifest's order, as they are shown.
    """

    key: str
    name: str
    scale: Scale
    low: float
    high: float
    choices: tuple[str, ...] = ()

    def number(self, value: Value) -> float:
        """A value as a number: a choice's place, a real number itself."""
        if self.scale == "choice":
            return float(self.choices.index(number_text(value)))
        return float(value)

    def position(self, value: Value) -> float:
        """Where on the axis a value lies, 0 to 1."""
        number, low, high = self.number(value), self.low, self.high
        if self.scale == "log":
            number, low, high = math.log(number), math.log(low), math.log(high)
        return 0.5 if high == low else (number - low) / (high - low)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions and labels that tell the axis: all choices of a few, else both ends and the middle."""
        if self.scale == "choice":
            step = -(-len(self.choices) // 8)
            return tuple((self.position(each), each) for each in self.choices[::step])
        if self.high == self.low:
            return ((0.5, number_text(self.low)),)
        middle = math.sqrt(self.low * self.high) if self.scale == "log" else (self.low + self.high) / 2
        if self.scale == "whole":
            middle = round(middle)
        values = sorted({self.low, middle, self.high})
        return tuple((self.position(value), f"{value:.3g}") for value in values)


def dimensions_of(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> tuple[Dimension, ...]:
    """The base model, where there are several, and each hyperparameter of which trials have several values."""
    found: list[Dimension] = []
    models = [model_of(sweep, trial) for trial in trials]
    if len(set(models)) > 1:
        found.append(_choice("model", MODEL, models))
    names = sorted({name for trial in trials for name in trial.spec.hyperparameters})
    for place, name in enumerate(names):
        values = [t.spec.hyperparameters[name] for t in trials if name in t.spec.hyperparameters]
        if len({number_text(value) for value in values}) > 1:
            found.append(_dimension(sweep, f"p{place}", name, values))
    return tuple(found)


def model_of(sweep: FinetuneSweep, trial: FinetuneTrial) -> str:
    """What was fine-tuned, with its candidate in front where there are several."""
    spec = trial.spec
    return spec.base_model if len(sweep.spec.candidates) == 1 else f"{spec.candidate}/{spec.base_model}"


def value_of(dimension: Dimension, sweep: FinetuneSweep, trial: FinetuneTrial) -> Value | None:
    """A trial's value on an axis; None where its candidate has no such hyperparameter."""
    if dimension.key == "model":
        return model_of(sweep, trial)
    return trial.spec.hyperparameters.get(dimension.name)


def _dimension(sweep: FinetuneSweep, key: str, name: str, values: Sequence[Value]) -> Dimension:
    scale = _scale(sweep, name)
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if scale == "choice" or len(numbers) < len(values):
        return _choice(key, name, [number_text(each) for each in (*_listed(sweep, name), *_ordered(values))])
    if scale == "log" and min(numbers) <= 0:
        scale = "linear"
    return Dimension(key, name, scale, min(numbers), max(numbers))


def _choice(key: str, name: str, values: Iterable[str]) -> Dimension:
    choices = tuple(dict.fromkeys(values))
    return Dimension(key, name, "choice", 0.0, float(len(choices) - 1), choices)


def _scale(sweep: FinetuneSweep, name: str) -> Scale:
    """The scale on which every candidate's values can be shown."""
    found: set[Scale] = set()
    for candidate in sweep.spec.candidates:
        if (spec := candidate.parameters.get(name)) is not None:
            known: Scale = "linear" if spec.uniform else "whole" if spec.int else "choice"
            found.add("log" if spec.log_uniform else known)
    if "log" in found and "choice" not in found:
        return "log"
    return next((scale for scale in _WORST_FIRST if scale in found), "choice")


def _listed(sweep: FinetuneSweep, name: str) -> list[str]:
    """The values that the manifest lists, in its order; of several lists, one after the other."""
    specs = [candidate.parameters.get(name) for candidate in sweep.spec.candidates]
    return [_as_shown(value) for spec in specs if spec is not None for value in spec.values or ()]


def _as_shown(text: str) -> str:
    """A listed value as a trial's value of it is shown: `1e-5` of the manifest is the number 1e-05 there."""
    for kind in (int, float):
        try:
            return number_text(kind(text))
        except ValueError:
            continue
    return text


def _ordered(values: Sequence[Value]) -> list[Value]:
    numbers = sorted({value for value in values if not isinstance(value, str)})
    return [*numbers, *sorted({value for value in values if isinstance(value, str)})]
