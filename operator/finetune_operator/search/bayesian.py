"""Bayesian search: model the scores, and try what is expected to improve on the best most.

First an initial design, then at each step a Gaussian process of the scores so far (`gaussian_process`) judges
a list of points (`candidate_rows`). Trials that are pending count as having scored what the model expects.
Failed trials, and scores that collapsed, count as bad but not abysmal, so that one diverged training does not
hide the differences between good ones.

Where next to everything that the model sees is noise, as on a plateau where most learning rates fail alike, there is
nothing to follow: every other trial then goes where nothing was tried.

The acquisition is `ExpectedImprovement` of the package bayesian-optimization. The package's own loop is not
used: it has no logarithmic scale, proposes points twice, and forgets pending trials.
"""

from itertools import islice

import numpy as np
from bayes_opt.acquisition import ExpectedImprovement
from numpy.typing import NDArray
from scipy.spatial import KDTree

from finetune_operator.search.availability import Availability, seed_for
from finetune_operator.search.candidate_rows import Batch, candidate_batches
from finetune_operator.search.encoding import Encoder, Matrix, point_of
from finetune_operator.search.gaussian_process import ScoreModel
from finetune_operator.search.initial_design import DEFAULT_TRIALS, initial_points
from finetune_operator.search.other_tasks import FEWEST_OWN, OtherTasks
from finetune_operator.search.points import History, Origin, Point, Proposal
from finetune_operator.search.prior import NO_PRIOR, Prior
from finetune_operator.search.random_search import next_random_point
from finetune_operator.search.space import SearchSpace
from finetune_operator.search.trend import TowardsTheMiddle

# Continuous values that lie this near to a tried one, as a share of their range, are not worth a trial. Where nothing
# else varies, thirty trials come closer to each other; not to pending ones, whose scores will tell whether it pays.
_CLOSENESS = 0.02
_CLOSENESS_ALONE = 0.005
# With more than this share of the scores' variance taken for noise, the model has found nothing to follow.
_MOSTLY_NOISE = 0.6
# The moves of this many best points are judged.
_BEST_POINTS = 4
# More trials than this make the model slow and hardly better.
_MOST_MODELLED = 250
# How many of the most promising points are looked at before the rest of the space is.
_MOST_LOOKED_AT = 2_000


class BayesianSearch:
    """Bayesian search over one space from one state of knowledge.

    Args:
        space: The space.
        seed: Seed of every random choice.
        history: What is finished and failed; pending trials are passed to `next`.
        initial_trials: Trials before the model is asked; if None `DEFAULT_TRIALS`, less what `prior` tells.
        prior: What is known from earlier searches.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        history: History,
        initial_trials: int | None,
        prior: Prior = NO_PRIOR,
    ) -> None:
        self._space = space
        self._seed = seed
        spread = max(0, DEFAULT_TRIALS - len(prior.comparable))
        self._initial_trials = spread if initial_trials is None else initial_trials
        self._encoder = Encoder(space)
        own = [(point, score) for point, score in history.finished if space.contains(point)]
        self._trials = len(own) + sum(space.contains(point) for point in history.failed)
        # Too few scores of one's own do not tell on which scale other tasks' scores are to be read.
        used = Prior(prior.comparable, prior.others if len(own) >= FEWEST_OWN else ())
        self._tasks = OtherTasks(used, self._encoder)
        finished = [*own, *prior.comparable]
        self._finished = [point for point, _ in finished]
        self._failed = [point for point in history.failed if space.contains(point)]
        self._scores = np.array([score for _, score in finished], dtype=float)
        self._model: ScoreModel | None = None

    def next(self, available: Availability) -> Proposal | None:
        """The next point to try, None if none is available.

        Args:
            available: Tells which points may be proposed; its history is the one given at the start, perhaps
                with more pending trials.
        """
        pending = [point for point in available.history.pending if self._space.contains(point)]
        known = self._trials + len(pending)
        if known < self._initial_trials:
            design = self._from_design(available, known, "initial design")
        elif self._finished:
            design = self._from_model(available, pending)
        else:
            design = self._from_design(available, known, "exploration")
        return design or self._from_anywhere(available)

    def expected(self) -> dict[str, float]:
        """The expected noise-free score at each finished point of the space by its key, scaled; more is better."""
        if not self._finished:
            return {}
        mean, _ = self._fitted().predict(self._rows(self._finished))
        return {point.key: float(value) for point, value in zip(self._finished, mean, strict=True)}

    def _from_design(self, available: Availability, known: int, origin: Origin) -> Proposal | None:
        # A few more than are known, since in a small space some come up twice.
        points = initial_points(self._space, self._seed, known + DEFAULT_TRIALS)
        # Its first point, the centre, stands for a default: only who has tried nothing yet begins there.
        later = islice(points, min(known, 1), None)
        return next((Proposal(point, origin) for point in later if available(point)), None)

    def _from_anywhere(self, available: Availability) -> Proposal | None:
        point = next_random_point(self._space, available, self._seed)
        return None if point is None else Proposal(point, "exploration")

    def _from_model(self, available: Availability, pending: list[Point]) -> Proposal | None:
        model = self._fitted().with_pending(self._rows(pending))
        expected, _ = self._fitted().predict(self._rows(self._finished))
        best = [self._finished[index] for index in np.argsort(-expected, kind="stable")]
        generator = np.random.default_rng(seed_for(self._seed, "candidates", available.history.length))
        batches = candidate_batches(self._encoder, list(dict.fromkeys(best))[:_BEST_POINTS], generator)
        rows = self._tasks.widened(np.concatenate([batch.rows for batch in batches]))
        incumbents = self._rows([*self._finished, *self._failed, *pending])
        worth = _expected_improvement(model, incumbents, rows)
        origin: Origin = "expected improvement"
        lost = model.noise > _MOSTLY_NOISE and (self._trials + len(pending)) % 2 == 0
        if lost or not float(worth.max()) > 0.0:
            worth, origin = _distance_to_nearest(incumbents, rows), "exploration"
        near = self._near(len(model.rows) - len(pending), len(pending))
        for index in np.argsort(-worth, kind="stable")[:_MOST_LOOKED_AT]:
            if (np.abs(model.rows - rows[index]) <= near).all(axis=1).any():
                continue
            point = _point_at(batches, int(index))
            if available(point):
                return Proposal(point, origin)
        return None

    def _near(self, known: int, pending: int) -> Matrix:
        """How near is too near to each row of the model in each column, shape (known + pending, d)."""
        parameters = [each for branch in self._space.branches for each in branch.parameters.items()]
        alone = len({name for name, parameter in parameters if parameter.size != 1}) == 1
        shares = (_CLOSENESS_ALONE if alone else _CLOSENESS, _CLOSENESS)
        limits = np.array([self._encoder.closeness(share) for share in shares])
        return self._tasks.widened(limits).repeat((known, pending), axis=0)

    def _fitted(self) -> ScoreModel:
        """The model of what is finished and failed, which more pending trials do not change."""
        if self._model is None:
            self._model = self._fit()
        return self._model

    def _fit(self) -> ScoreModel:
        # Scaled first, so that no score is too large to reckon with.
        scores = self._scores / (float(np.abs(self._scores).max()) or 1.0)
        floor = _floor(scores)
        scores = np.concatenate([np.maximum(scores, floor), np.full(len(self._failed), floor)])
        rows = self._rows([*self._finished, *self._failed])
        kept = _most_telling(scores, seed_for(self._seed, "modelled", 0))
        known = np.concatenate([scores[kept], self._tasks.targets(scores[: len(self._finished)])])
        trend = TowardsTheMiddle(self._encoder, len(scores) + len(known) - len(kept))
        return ScoreModel.fitted(np.concatenate([rows[kept], self._tasks.rows()]), known, trend=trend)

    def _rows(self, points: list[Point]) -> Matrix:
        return self._tasks.widened(self._encoder.encode(points))


def expected_scores(space: SearchSpace, history: History) -> dict[str, float]:
    """What the model expects at each finished point of the space by its key, scaled; more is better."""
    return BayesianSearch(space, seed=0, history=history, initial_trials=None).expected()


def _expected_improvement(model: ScoreModel, incumbents: Matrix, rows: Matrix) -> Matrix:
    """Expected improvement at rows (m, d) on the best expected score of incumbents, shape (m,).

    The best *expected* score, since the best observed one owes part of its rank to luck.
    """
    incumbent, _ = model.predict(incumbents)
    mean, deviation = model.predict(rows)
    acquisition = ExpectedImprovement(xi=0.0)
    acquisition.y_max = float(incumbent.max())  # type: ignore[assignment]  # typed as None there
    return np.asarray(acquisition.base_acq(mean, deviation), dtype=float)


def _distance_to_nearest(tried: Matrix, rows: Matrix) -> Matrix:
    """How far rows (m, d) are from the nearest tried one, in the column in which they differ most; shape (m,)."""
    return np.asarray(KDTree(tried).query(rows, p=np.inf)[0], dtype=float)


def _floor(scores: Matrix) -> float:
    """What a failed or collapsed trial counts as: twice as far below the median as the best is above it."""
    median, best = float(np.median(scores)), float(scores.max())
    if best > median:
        return median - 2.0 * (best - median)
    # At least half of the scores are the best one: the next best stands in for the median.
    worse = scores[scores < best]
    return float(worse.max()) - 2.0 * (best - float(worse.max())) if len(worse) else best - 1.0


def _most_telling(scores: Matrix, seed: int) -> NDArray[np.int64]:
    """Indices of the trials to model: all, or the best half of the limit and a random half of the others."""
    if len(scores) <= _MOST_MODELLED:
        return np.arange(len(scores))
    order = np.argsort(-scores, kind="stable")
    best, others = order[: _MOST_MODELLED // 2], order[_MOST_MODELLED // 2 :]
    chosen = np.random.default_rng(seed).choice(others, _MOST_MODELLED - len(best), replace=False)
    return np.sort(np.concatenate([best, chosen]))


def _point_at(batches: list[Batch], index: int) -> Point:
    """The point in this row of all batches put together."""
    for batch in batches:
        if index < len(batch.rows):
            return point_of(batch.arm, [float(draw) for draw in batch.draws[index]])
        index -= len(batch.rows)
    raise IndexError(index)
