"""How much each hyperparameter mattered: permutation importance of a random forest on trials it was not shown.

Source: Breiman 2001, Random Forests, section 10 (importance by permutation); held-out data instead of the
out-of-bag samples, because a forest explains even noise in what it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_operator.report.dimensions import Dimension
from finetune_operator.report.rows import TrialRow

MIN_TRIALS = 10
"""Fewer scored trials say nothing about several hyperparameters."""

FOLDS = 5
TREES = 100
SHUFFLES = 5

METHOD = (
    "A random forest learns the score from four fifths of the scored trials and predicts the rest, five times over. "
    "A bar is how much greater its mean error gets, in units of the score, when the values of one hyperparameter "
    "are shuffled among the trials that it predicts; the line is one standard deviation over shuffles and folds."
)


@dataclass(frozen=True, slots=True)
class Importance:
    """How much one hyperparameter mattered.

    Attributes:
        name: The hyperparameter.
        value: Growth of the mean absolute error when its values are shuffled, in units of the score.
        deviation: Standard deviation of that over shuffles and folds.
        trials: How many scored trials have the hyperparameter.
    """

    name: str
    value: float
    deviation: float
    trials: int


@dataclass(frozen=True, slots=True)
class Importances:
    """What can be said.

    Attributes:
        found: Greatest first.
        notes: What could not be judged, and how far the rest can be trusted, as sentences.
    """

    found: tuple[Importance, ...]
    notes: tuple[str, ...]


def importances(rows: Sequence[TrialRow], dimensions: Sequence[Dimension]) -> Importances:
    """How much each dimension mattered for the score. Blocking: seconds for 1,000 trials.

    A hyperparameter that only some candidates have is judged among their trials alone: a made-up value for the
    others would tell the forest which candidate it looks at.
    """
    scored = [row for row in rows if row.score is not None]
    groups: dict[tuple[int, ...], list[Dimension]] = {}
    for dimension in dimensions:
        owners = tuple(place for place, row in enumerate(scored) if row.values[dimension.key] is not None)
        groups.setdefault(owners, []).append(dimension)
    found: list[Importance] = []
    notes: list[str] = []
    for owners, judged in groups.items():
        members = [scored[place] for place in owners]
        if refusal := _too_little(members, judged):
            notes.append(refusal)
            continue
        known = [each for each in dimensions if all(row.values[each.key] is not None for row in members)]
        values, trust = _forest(members, known, judged)
        found += values
        notes.append(trust)
    found.sort(key=lambda each: (-each.value, each.name))
    return Importances(tuple(found), tuple(notes))


def _too_little(members: Sequence[TrialRow], judged: Sequence[Dimension]) -> str:
    names = ", ".join(each.name for each in judged)
    if len(members) < MIN_TRIALS:
        have = f"{len(members)} scored trial{'' if len(members) == 1 else 's'}"
        return f"{names}: not judged, {have} of at least {MIN_TRIALS} that it takes."
    if len({row.score for row in members}) == 1:
        return f"{names}: not judged, all {len(members)} trials have the same score."
    return ""


def _forest(
    members: Sequence[TrialRow], known: Sequence[Dimension], judged: Sequence[Dimension]
) -> tuple[list[Importance], str]:
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    x = np.array([[_position(each, row) for each in known] for row in members])
    y = np.array([row.score for row in members], dtype=float)
    # Small leaves fit the few trials of a typical sweep; the fixed seed makes two reports of it the same.
    forest = RandomForestRegressor(n_estimators=TREES, min_samples_leaf=2, random_state=0, n_jobs=1)
    drops: list[Any] = []
    predicted = np.empty_like(y)
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(x):
        forest.fit(x[train], y[train])
        predicted[test] = forest.predict(x[test])
        drops.append(
            permutation_importance(
                forest,
                x[test],
                y[test],
                scoring="neg_mean_absolute_error",
                n_repeats=SHUFFLES,
                random_state=0,
            ).importances
        )
    over_all = np.concatenate(drops, axis=1)
    explained = 1.0 - float(np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))
    places = {each.key: place for place, each in enumerate(known)}
    found = [
        Importance(
            each.name,
            float(over_all[places[each.key]].mean()),
            float(over_all[places[each.key]].std()),
            len(members),
        )
        for each in judged
    ]
    return found, _trust(judged, explained, len(members))


def _position(dimension: Dimension, row: TrialRow) -> float:
    value = row.values[dimension.key]
    return 0.0 if value is None else dimension.position(value)


def _trust(judged: Sequence[Dimension], explained: float, trials: int) -> str:
    names = ", ".join(each.name for each in judged)
    if explained <= 0:
        return (
            f"{names} ({trials} trials): not to be trusted, the forest predicts unseen trials no better than "
            "their mean does."
        )
    doubt = "; a hint rather than a finding" if explained < 0.3 else ""
    share = f"{100 * explained:.0f} %"
    return f"{names} ({trials} trials): the forest explains {share} of the variance of unseen trials{doubt}."
