"""The search space that a manifest describes."""

from __future__ import annotations

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources import Candidate, FinetuneTrial, ParameterSpec, SweepSpec
from finetune_operator.search import (
    Branch,
    IntRange,
    InvalidSpace,
    LogUniformRange,
    Parameter,
    ParameterValue,
    Point,
    SearchSpace,
    UniformRange,
    Values,
    check_method,
)


def build_space(spec: SweepSpec) -> SearchSpace:
    """The union of the candidates' spaces.

    Raises:
        InvalidManifest: With a problem for each parameter that makes no sense.
    """
    problems: list[Problem] = []
    branches = [_branch(candidate, index, problems) for index, candidate in enumerate(spec.candidates)]
    if problems:
        raise InvalidManifest(tuple(problems))
    try:
        space = SearchSpace(tuple(branch for branch in branches if branch is not None))
        check_method(space, spec.search.method)
    except InvalidSpace as error:
        raise InvalidManifest((Problem(f"spec.{error.field}", error.message),)) from error
    return space


def point_of(trial: FinetuneTrial) -> Point:
    """The point of the space that a trial stands for."""
    return Point(trial.spec.candidate, trial.spec.base_model, trial.spec.hyperparameters)


def value_in(parameter: Parameter, value: ParameterValue) -> ParameterValue | None:
    """A value as the parameter has it, None where it does not: of listed values, `"8"` is 8 and 8 is `"8"`."""
    if not isinstance(parameter, Values):
        return value if parameter.contains(value) else None
    if isinstance(value, str) != parameter.categorical:
        try:
            (value,) = (str(value),) if parameter.categorical else Values((value,)).items
        except InvalidSpace:
            return None
    return value if parameter.contains(value) else None


def _branch(candidate: Candidate, index: int, problems: list[Problem]) -> Branch | None:
    parameters: dict[str, Parameter] = {}
    for name, spec in candidate.parameters.items():
        try:
            parameters[name] = _parameter(spec)
        except InvalidSpace as error:
            path = f"spec.candidates[{index}].parameters.{name}"
            problems.append(Problem(path + error.field, error.message))
    try:
        return Branch(candidate.name, candidate.base_models, parameters)
    except InvalidSpace as error:
        problems.append(Problem(f"spec.candidates[{index}]{error.field}", error.message))
        return None


def _parameter(spec: ParameterSpec) -> Parameter:
    if spec.int is not None:
        return IntRange(spec.int.min, spec.int.max, step=spec.int.step)
    if spec.log_uniform is not None:
        return LogUniformRange(spec.log_uniform.min, spec.log_uniform.max, steps=spec.log_uniform.steps)
    if spec.uniform is not None:
        return UniformRange(spec.uniform.min, spec.uniform.max, steps=spec.uniform.steps)
    return Values(spec.values or ())
