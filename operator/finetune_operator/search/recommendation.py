"""Which of the finished trials is the best, if scores are noisy?

The one with the highest observed score is partly the luckiest one: among several good trials, noise decides.
The model of the scores sees a trial's neighbours too, and expects less of a peak that none of them shares. Where
it finds no noise, what it expects at a trial is what was observed there.
"""

from collections.abc import Collection, Sequence

from finetune_operator.search.points import Direction, History, Observation
from finetune_operator.search.space import SearchSpace


def recommend(
    space: SearchSpace,
    observations: Sequence[Observation],
    direction: Direction = "Maximize",
    *,
    among: Collection[int] | None = None,
) -> int | None:
    """Choose the finished trial whose expected score is the best.

    A pure function of what is known, whatever the order of `observations`; of equally good trials it takes the one
    with the better observed score.

    Args:
        space: Where the trials lie. Trials outside it are not modelled; they are chosen only if all are outside,
            by their observed scores.
        observations: All trials so far; those without a finite score count as bad places, and are not chosen.
        direction: Whether a higher or a lower score is better.
        among: Positions of the trials that may be chosen; all are learnt from. None for all.

    Returns:
        The position in `observations`; None if no trial that may be chosen has a score.

    Example:
        >>> from finetune_operator.search import Branch, IntRange, Point
        >>> space = SearchSpace((Branch("nova", ("lite",), {"epochs": IntRange(1, 9)}),))
        >>> points = [Point("nova", "lite", {"epochs": epochs}) for epochs in (3, 4, 5)]
        >>> scores = [0.70, 0.80, 0.75]
        >>> recommend(space, [Observation(point, "Finished", s) for point, s in zip(points, scores, strict=True)])
        1
    """
    # Numerical libraries take a second to load, which the other functions of this package need not wait for.
    from finetune_operator.search.bayesian import expected_scores

    sign = 1.0 if direction == "Maximize" else -1.0
    scored = [
        (position, entry.point, sign * entry.finite_score)
        for position, entry in enumerate(observations)
        if entry.finite_score is not None and (among is None or position in among)
    ]
    if not scored:
        return None
    expected = expected_scores(space, History.of(observations, direction))
    known = [entry for entry in scored if entry[1].key in expected] or scored
    best = max(known, key=lambda entry: (expected.get(entry[1].key, 0.0), entry[2], entry[1].key))
    return best[0]
