"""What a sweep learns from earlier ones: written into its status once, so that it outlives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from finetune_operator.decisions.best import usable_score, worth
from finetune_operator.decisions.costs import CostModel
from finetune_operator.decisions.space import value_in
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.resources.sweep import GENERATED_METRICS
from finetune_operator.resources.sweep_status import DatasetHashes, EarlierObservation, EarlierSweep
from finetune_operator.search import Arm, ParameterValue, Point, PriorObservation, SearchSpace

MOST_KEPT = 60
"""Observations of all earlier sweeps together."""

MOST_BYTES = 6_000
"""Of all that is kept, as JSON: the status has much else to hold."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Earlier:
    """A finished sweep with its trials."""

    sweep: FinetuneSweep
    trials: tuple[FinetuneTrial, ...]


def learn(
    sweep: FinetuneSweep, space: SearchSpace, earlier: Sequence[Earlier], *, datasets: DatasetHashes
) -> tuple[EarlierSweep, ...]:
    """What of earlier sweeps can be of use for a new one.

    A trial counts where it succeeded and its point, with the parameters that the new space knows, lies in it. Of
    many the best and a spread over the others are kept.

    Args:
        sweep: The new sweep.
        space: Its search space.
        earlier: The earlier sweeps; their order means nothing.
        datasets: Hashes of the new sweep's data.

    Returns:
        One entry for each earlier sweep, by name; without observations where none fits.
    """
    ordered = sorted(earlier, key=lambda each: each.sweep.name)
    found = [_observations(sweep, space, each) for each in ordered]
    shares = max(1, sum(bool(each) for each in found))
    entries: list[EarlierSweep] = []
    for each, observations in zip(ordered, found, strict=True):
        entries.append(
            EarlierSweep(
                sweep=each.sweep.name,
                uid=each.sweep.metadata.uid,
                same_data=_same_task(sweep, each.sweep, datasets),
                observations=_kept(observations, MOST_KEPT // shares, MOST_BYTES // shares),
            )
        )
    return tuple(entries)


def prior_of(sweep: FinetuneSweep, costs: CostModel) -> tuple[PriorObservation, ...]:
    """What the search may know of earlier sweeps; costs are counted in as they are for the sweep's own trials."""
    return tuple(
        PriorObservation(
            point := _as_point(seen),
            worth(sweep.spec.objective, seen.score, costs.estimate(point) or Decimal(0)),
            task="" if each.same_data else each.sweep,
        )
        for each in sweep.status.warm_start
        for seen in each.observations
    )


def best_earlier(sweep: FinetuneSweep, costs: CostModel) -> tuple[Point, ...]:
    """The points of earlier sweeps that are tried first, the best first.

    Up to three of the same data, of other data the best one; together at most a quarter of the trials, and one at
    least: they are there to be improved on.
    """
    sign = -1.0 if sweep.spec.objective.sense == "Maximize" else 1.0
    ranked = sorted(prior_of(sweep, costs), key=lambda seen: (sign * seen.score, seen.point.key))
    same = [seen.point for seen in ranked if not seen.task][:3]
    others = [next((seen for seen in ranked if seen.task == task), None) for task in _other_tasks(sweep)]
    points = dict.fromkeys([*same, *(seen.point for seen in others if seen is not None)])
    most = max(1, min(3, sweep.spec.limits.max_trials // 4))
    return tuple(points)[:most]


def note_of_learning(sweep: FinetuneSweep) -> str:
    """What came of the wish to learn from earlier sweeps, to be put behind a message; nothing where there is none."""
    entries = sweep.status.warm_start
    if not entries:
        return ""
    useful = [f"{len(each.observations)} trials of {each.sweep}" for each in entries if each.observations]
    if useful:
        return f"; {', '.join(useful)} were learnt from"
    names = ", ".join(each.sweep for each in entries)
    return f"; it started cold: no succeeded trial of {names} lies in its search space"


def _other_tasks(sweep: FinetuneSweep) -> Iterator[str]:
    return (each.sweep for each in sweep.status.warm_start if not each.same_data)


def _as_point(seen: EarlierObservation) -> Point:
    return Point(seen.candidate, seen.base_model, seen.parameters)


def _same_task(sweep: FinetuneSweep, earlier: FinetuneSweep, datasets: DatasetHashes) -> bool:
    """Whether scores can be compared: the same training data, and measured alike on the same examples."""
    metric, known = sweep.spec.objective.metric, earlier.status.datasets
    if known is None or metric != earlier.spec.objective.metric or known.training != datasets.training:
        return False
    if metric not in GENERATED_METRICS:
        return known.validation == datasets.validation
    there, here = earlier.spec.dataset.evaluation, sweep.spec.dataset.evaluation
    # A cut-off answer scores less, and of a larger file the seed draws the examples.
    return (
        known.evaluation == datasets.evaluation
        and there is not None
        and here is not None
        and (there.max_examples, there.max_output_tokens) == (here.max_examples, here.max_output_tokens)
        and earlier.spec.search.seed == sweep.spec.search.seed
    )


def _observations(
    sweep: FinetuneSweep, space: SearchSpace, earlier: Earlier
) -> tuple[EarlierObservation, ...]:
    """What fits, the best first; several trials at one point count as their mean."""
    turned = 1.0 if sweep.spec.objective.sense == earlier.sweep.spec.objective.sense else -1.0
    scores: dict[Point, list[float]] = {}
    for trial in earlier.trials:
        score, point = usable_score(trial), _mapped(trial, sweep, space)
        if score is not None and point is not None and trial.belongs_to(earlier.sweep):
            scores.setdefault(point, []).append(turned * score)
    sign = -1.0 if sweep.spec.objective.sense == "Maximize" else 1.0
    means = {point: sum(found) / len(found) for point, found in scores.items()}
    ranked = sorted(means.items(), key=lambda pair: (sign * pair[1], pair[0].key))
    return tuple(
        EarlierObservation(
            candidate=point.candidate,
            base_model=point.base_model,
            parameters=dict(point.parameters),
            score=float(f"{score:.{_DIGITS}g}"),
        )
        for point, score in ranked
    )


def _mapped(trial: FinetuneTrial, sweep: FinetuneSweep, space: SearchSpace) -> Point | None:
    """The trial's point in this space: at the same provider if it is searched there, else at another."""
    providers = {each.name: each.provider_ref.name for each in sweep.spec.candidates}
    arms = [arm for arm in space.arms if arm.base_model == trial.spec.base_model]
    arms.sort(key=lambda arm: providers[arm.branch.name] != trial.spec.provider_ref.name)
    points = (_in_arm(arm, trial.spec.hyperparameters) for arm in arms)
    return next((point for point in points if point is not None), None)


def _in_arm(arm: Arm, given: Mapping[str, ParameterValue]) -> Point | None:
    values: dict[str, ParameterValue] = {}
    for name, parameter in arm.branch.parameters.items():
        value = value_in(parameter, given[name]) if name in given else None
        if value is None:
            return None
        values[name] = value
    return Point(arm.branch.name, arm.base_model, values)


def _kept(
    ranked: tuple[EarlierObservation, ...], most: int, most_bytes: int
) -> tuple[EarlierObservation, ...]:
    """The best two thirds of what may be kept, and of the others as many as fit, evenly over their ranks."""
    size = max((len(json.dumps(each.to_dict())) + 1 for each in ranked), default=1)
    most = max(1, min(most, most_bytes // size))
    if len(ranked) <= most:
        return ranked
    best = -(-2 * most // 3)
    rest, wanted = ranked[best:], most - best
    spread = [rest[(2 * place + 1) * len(rest) // (2 * wanted)] for place in range(wanted)]
    return (*ranked[:best], *spread)
