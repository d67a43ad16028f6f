"""Where a search starts: at points that a person gives and at the best of earlier sweeps, else at the defaults.

The trial with index k takes the k-th of these points, whatever has become of the earlier ones. So a restart, a
deleted trial or a default that has changed since neither repeats a point nor moves the later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from finetune_operator.decisions.costs import CostModel
from finetune_operator.decisions.space import value_in
from finetune_operator.decisions.warm_start import best_earlier
from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources import Candidate, FinetuneSweep, ParameterSpec, SweepSpec
from finetune_operator.resources.search_method import FirstPoint
from finetune_operator.search import ParameterValue, Point, Proposal, SearchSpace, default_point

Defaults: TypeAlias = Mapping[tuple[str, str], Mapping[str, ParameterValue]]
"""What a provider takes for a parameter that is not given, by (candidate, base model) and the parameter's name."""


def first_proposals(
    sweep: FinetuneSweep, space: SearchSpace, defaults: Defaults, costs: CostModel
) -> tuple[Proposal, ...]:
    """The points of the sweep's first trials, in the order of their indices; none where the method begins alone.

    Raises:
        InvalidManifest: As `given_points` does.
    """
    search = sweep.spec.search
    given = given_points(sweep.spec, space, defaults)
    earlier = (each for each in best_earlier(sweep, costs) if each not in given)
    firsts = (
        *(Proposal(each, "first point") for each in given),
        *(Proposal(each, "warm start") for each in earlier),
    )
    if firsts or search.method != "Bayesian":
        return firsts
    point = default_point(space, search.seed, defaults)
    return () if point is None else (Proposal(point, "provider default"),)


def given_points(spec: SweepSpec, space: SearchSpace, defaults: Defaults) -> tuple[Point, ...]:
    """The points of `search.firstPoints`; a parameter that one leaves out has the provider's default.

    Args:
        spec: The sweep as a person wrote it.
        space: Its search space.
        defaults: What the providers take by default.

    Raises:
        InvalidManifest: With a problem for each point that is not in the space, or repeats another.
    """
    problems: list[Problem] = []
    places: dict[Point, str] = {}
    for index, given in enumerate(spec.search.first_points or ()):
        path = f"spec.search.firstPoints[{index}]"
        point = _point(given, spec.candidates, space, defaults, path=path, problems=problems)
        if point is not None and places.setdefault(point, path) != path:
            problems.append(Problem(path, f"is the same point as {places[point]}; no point is tried twice"))
    if problems:
        raise InvalidManifest(tuple(problems))
    return tuple(places)


def allowed_values(spec: ParameterSpec) -> str:
    """What a parameter may be, as a person reads it: 'a whole number from 1 to 4'."""
    if spec.int is not None:
        step = f" in steps of {spec.int.step}" if spec.int.step > 1 else ""
        return f"a whole number from {spec.int.min} to {spec.int.max}{step}"
    real = spec.uniform or spec.log_uniform
    if real is not None:
        steps = f" in {real.steps} steps" if real.steps is not None else ""
        return f"a number from {real.min:g} to {real.max:g}{steps}"
    return f"one of {', '.join(spec.values or ())}"


def _point(
    given: FirstPoint,
    candidates: tuple[Candidate, ...],
    space: SearchSpace,
    defaults: Defaults,
    *,
    path: str,
    problems: list[Problem],
) -> Point | None:
    candidate = next((each for each in candidates if each.name == given.candidate), None)
    if candidate is None:
        names = ", ".join(each.name for each in candidates)
        problems.append(
            Problem(f"{path}.candidate", f"{given.candidate!r} is no candidate; there are {names}")
        )
        return None
    base_model, wrong = _base_model(given, candidate)
    if wrong:
        problems.append(Problem(f"{path}.baseModel", wrong))
        return None
    branch = next(each for each in space.branches if each.name == candidate.name)
    found = [
        Problem(
            f"{path}.parameters.{name}", f"candidate {candidate.name} has {', '.join(branch.parameters)} only"
        )
        for name in sorted(given.parameters.keys() - branch.parameters.keys())
    ]
    stated = defaults.get((candidate.name, base_model), {})
    values: dict[str, ParameterValue] = {}
    for name, parameter in branch.parameters.items():
        value = given.parameters.get(name, stated.get(name))
        typed = None if value is None else value_in(parameter, value)
        if typed is not None:
            values[name] = typed
            continue
        wrong = _why_unusable(given, name, value, base_model)
        allowed = allowed_values(candidate.parameters[name])
        found.append(Problem(f"{path}.parameters.{name}", f"{wrong}; give {allowed}"))
    problems += found
    return None if found else Point(candidate.name, base_model, values)


def _why_unusable(given: FirstPoint, name: str, value: ParameterValue | None, base_model: str) -> str:
    if name in given.parameters:
        return f"{value!r} lies outside the search space"
    if value is None:
        return f"is left out, and no default of {base_model} is known"
    return f"is left out, and the default of {base_model}, {value!r}, lies outside the search space"


def _base_model(given: FirstPoint, candidate: Candidate) -> tuple[str, str]:
    """The point's base model, and what is wrong with it; nothing mostly."""
    models = candidate.base_models
    if given.base_model is None:
        wrong = f"is needed where a candidate has several; {candidate.name} has {', '.join(models)}"
        return models[0], "" if len(models) == 1 else wrong
    wrong = f"{given.base_model!r} is no base model of candidate {candidate.name}; it has {', '.join(models)}"
    return given.base_model, "" if given.base_model in models else wrong
