"""The model of the scores: a Gaussian process with priors on its hyperparameters.

Notation:

    X       encoded points, shape (n, d), each column about as wide as [0, 1]
    y       scores, shape (n,), centred and scaled to a deviation of 1; more is better
    c       amplitude: prior variance of the score
    l       length scales, shape (d,): how far one must go along a column for scores to be unrelated
    s2      noise: variance between two trials at the same point
    r       distance of two points, sqrt(sum_j (x_j - x'_j)^2 / l_j^2)
    k(r)    Matern correlation with nu = 3/2: (1 + sqrt(3) r) exp(-sqrt(3) r)
    m(x)    trend: what is expected before there are scores; f(x) its features, with coefficients Normal(0, 1)
    K       covariance of y: c k(r) + f(x) f(x')^T + s2 I, shape (n, n)
    theta   (log c, log l, log s2), shape (d + 2,)

Hyperparameters are those of the highest posterior density,

    log p(y | X, theta) + sum_i log Normal(theta_i; m_i, v_i^2),

with log-normal priors. Without these a few trials make the likelihood explain everything by a single column, or by
noise alone. The mean of the trend is subtracted from y and added to predictions.

Written out rather than taken from a library, since it is the search's inner loop: scikit-learn's general kernels
take twice the time for the same numbers.

Sources: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1, equation 4.17 for the
kernel and equation 5.9 for the gradient; the priors are the project's own, from a comparison on tuning problems.
"""

import math

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from finetune_operator.search.encoding import Matrix
from finetune_operator.search.trend import Flat, Trend

# Median and deviation of the logarithm.
AMPLITUDE = (1.0, 1.0)
LENGTH = (0.7, 0.7)
NOISE = (0.01, 1.2)
# Far out in the priors' tails, so that nothing overflows and the covariance can be inverted.
_BOUNDS = (math.log(1e-5), math.log(1e4))
# What keeps the covariance invertible where a score is believed to be free of noise.
_JITTER = 1e-10
# More trials than this hardly change the hyperparameters, and each step of their fit takes their cube.
_MOST_FITTED = 120
_FLAT = Flat()


class ScoreModel:
    """What the scores so far say about any other point.

    Args:
        rows: X, shape (n, d), n at least 1.
        targets: y, shape (n,).
        theta: The hyperparameters, shape (d + 2,).
        trend: What is expected before there are scores.

    Attributes:
        rows: X.
        targets: y.
        theta: The hyperparameters.
    """

    def __init__(self, rows: Matrix, targets: Matrix, theta: Matrix, *, trend: Trend = _FLAT) -> None:
        self.rows = rows
        self.targets = targets
        self.theta = theta
        self._trend = trend
        self._features = trend.features(rows)
        covariance = self._covariance(rows) + (self.noise + _JITTER) * np.eye(len(rows))
        self._factor = cho_factor(covariance, lower=True, check_finite=False)
        self._weights = cho_solve(self._factor, targets - trend.mean(rows), check_finite=False)

    @classmethod
    def fitted(cls, rows: Matrix, scores: Matrix, *, trend: Trend = _FLAT) -> "ScoreModel":
        """The model with the hyperparameters that suit the scores best.

        Args:
            rows: X, shape (n, d), n at least 1.
            scores: In their own units, more is better, shape (n,).
            trend: See the class.
        """
        targets = _standardised(scores)
        # Evenly from the best trial to the worst.
        kept = np.argsort(-targets, kind="stable")[:: math.ceil(len(targets) / _MOST_FITTED)]
        features = trend.features(rows[kept])
        left = targets[kept] - trend.mean(rows[kept])
        theta = best_theta(rows[kept], left, known=features @ features.T)
        return cls(rows, targets, theta, trend=trend)

    def with_pending(self, rows: Matrix) -> "ScoreModel":
        """The model after a trial at each row has scored exactly what is expected of it.

        Nothing is learnt about the scores, but the uncertainty there goes, and with it the wish to try the
        same place again. Hyperparameters stay as they are.
        """
        if not len(rows):
            return self
        targets = np.concatenate([self.targets, self.predict(rows)[0]])
        return ScoreModel(np.concatenate([self.rows, rows]), targets, self.theta, trend=self._trend)

    @property
    def lengths(self) -> Matrix:
        """l, shape (d,)."""
        return np.asarray(np.exp(self.theta[1:-1]))

    @property
    def noise(self) -> float:
        """s2: variance between two trials at the same point, in the scaled units of `targets`."""
        return math.exp(self.theta[-1])

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Mean and deviation of the noise-free score at rows, shape (m, d); both scaled, shape (m,)."""
        covariance = self._covariance(rows)
        half = solve_triangular(self._factor[0], covariance, lower=True, check_finite=False)
        before = math.exp(self.theta[0]) + (self._trend.features(rows) ** 2).sum(axis=1)
        variance = before - np.einsum("nm,nm->m", half, half)
        return self._trend.mean(rows) + covariance.T @ self._weights, np.sqrt(np.maximum(variance, 1e-12))

    def _covariance(self, rows: Matrix) -> Matrix:
        """c k(r) + f(x) f(x')^T between X and rows (m, d), shape (n, m)."""
        own, other = self.rows / self.lengths, rows / self.lengths
        squares = (own**2).sum(1)[:, None] + (other**2).sum(1) - 2.0 * own @ other.T
        near = math.exp(self.theta[0]) * _correlation(np.sqrt(np.maximum(squares, 0.0)))[0]
        return near + self._features @ self._trend.features(rows).T


def best_theta(rows: Matrix, targets: Matrix, *, known: Matrix | None = None) -> Matrix:
    """The hyperparameters of the highest posterior density, shape (d + 2,).

    The climb starts from the priors' medians and may stop early: any point on its way is usable.

    Args:
        rows: X, shape (n, d).
        targets: y, less the trend's mean, shape (n,).
        known: What the covariance has whatever theta is, shape (n, n).
    """
    squares = (rows.T[:, :, None] - rows.T[:, None, :]) ** 2
    start, _ = priors(rows.shape[1])
    climb = minimize(
        negative_log_density,
        start,
        args=(squares, targets, np.zeros((len(rows), len(rows))) if known is None else known),
        method="L-BFGS-B",
        jac=True,
        bounds=[_BOUNDS] * len(start),
        options={"maxiter": 60, "ftol": 1e-6},
    )
    return np.asarray(climb.x)


def priors(columns: int) -> tuple[Matrix, Matrix]:
    """Medians and deviations of theta, shape (d + 2,) each."""
    each = [AMPLITUDE, *[LENGTH] * columns, NOISE]
    return np.log([median for median, _ in each]), np.array([deviation for _, deviation in each])


def negative_log_density(
    theta: Matrix, squares: Matrix, targets: Matrix, known: Matrix
) -> tuple[float, Matrix]:
    """Minus the log posterior density of theta up to a constant, and its gradient.

    Args:
        theta: Shape (d + 2,).
        squares: Squared differences in each column, shape (d, n, n).
        targets: y, less the trend's mean, shape (n,).
        known: What the covariance has whatever theta is, shape (n, n).
    """
    amplitude, noise, weights = math.exp(theta[0]), math.exp(theta[-1]), np.exp(-2.0 * theta[1:-1])
    correlation, slope = _correlation(np.sqrt(np.tensordot(weights, squares, 1)))
    identity = np.eye(len(targets))
    covariance = amplitude * correlation + known + (noise + _JITTER) * identity
    factor = cho_factor(covariance, lower=True, check_finite=False)
    alpha = cho_solve(factor, targets, check_finite=False)
    height = 0.5 * float(targets @ alpha) + float(np.log(np.diag(factor[0])).sum())
    # Half of tr((K^-1 - alpha alpha^T) dK/dtheta_i), for each i.
    outer = 0.5 * (cho_solve(factor, identity, check_finite=False) - np.outer(alpha, alpha))
    gradient = np.empty_like(theta)
    gradient[0] = amplitude * float((outer * correlation).sum())
    gradient[1:-1] = amplitude * weights * np.tensordot(squares, outer * slope, axes=((1, 2), (0, 1)))
    gradient[-1] = noise * float(np.trace(outer))
    medians, deviations = priors(len(weights))
    distance = (theta - medians) / deviations
    return height + 0.5 * float(distance @ distance), gradient + distance / deviations


def _correlation(distance: Matrix) -> tuple[Matrix, Matrix]:
    """k(r), and -k'(r) / r, of which the gradient is made."""
    scaled = math.sqrt(3.0) * distance
    falling = np.exp(-scaled)
    return (1.0 + scaled) * falling, 3.0 * falling


def _standardised(scores: Matrix) -> Matrix:
    centred = scores - scores.mean()
    deviation = float(centred.std())
    # Below this the differences are what floating point left of equal scores.
    if deviation <= 1e-12 * float(np.abs(scores).max()):
        return np.zeros_like(scores)
    return np.asarray(centred / deviation)
