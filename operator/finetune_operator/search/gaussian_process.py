"""The model of the scores: a Gaussian process with priors on its hyperparameters.

Notation:

    X       encoded points, shape (n, d), each column in [0, 1]
    y       scores, shape (n,), centred and scaled to a deviation of 1; more is better
    c       amplitude: prior variance of the score
    l       length scales, shape (d,): how far one must go along a column for scores to be unrelated
    s2      noise: variance between two trials at the same point
    K       covariance of y: c Matern_3/2(X, X; l) + s2 I, shape (n, n)
    theta   (log c, log l, log s2), shape (d + 2,)

Hyperparameters are those of the highest posterior density,

    log p(y | X, theta) + sum_i log Normal(theta_i; m_i, v_i^2),

with log-normal priors: l has median 0.7 and deviation 0.7 of its logarithm, s2 0.01 and 1.2, c 1 and 1.
Without them a few trials make the likelihood explain everything by a single column, or by noise alone.

Sources: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1 and equation 5.8
for the likelihood; the priors are the project's own, from a comparison on tuning problems.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from finetune_operator.search.encoding import Matrix

# (median, deviation of the logarithm) by the name that scikit-learn gives to a hyperparameter.
PRIORS = {"constant_value": (1.0, 1.0), "length_scale": (0.7, 0.7), "noise_level": (0.01, 1.2)}
# Far out in the priors' tails: there so that nothing overflows, not to bind.
_BOUNDS = (1e-5, 1e4)


class MapGaussianProcess(GaussianProcessRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's Gaussian process with the hyperparameters of the highest posterior density."""

    def log_marginal_likelihood(
        self,
        theta: Any = None,
        eval_gradient: bool = False,
        clone_kernel: bool = True,
    ) -> Any:
        """The log likelihood plus the log prior, up to a constant, of `theta`, shape (d + 2,).

        With `eval_gradient` a pair of that and its gradient, shape (d + 2,); without `theta` the fit's value.
        """
        likelihood = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return likelihood
        medians, deviations = self._priors()
        distance = (np.asarray(theta) - medians) / deviations
        prior = -0.5 * float(distance @ distance)
        if eval_gradient:
            return likelihood[0] + prior, likelihood[1] - distance / deviations
        return likelihood + prior

    def _priors(self) -> tuple[Matrix, Matrix]:
        medians: list[float] = []
        deviations: list[float] = []
        for hyperparameter in self.kernel_.hyperparameters:
            median, deviation = PRIORS[hyperparameter.name.split("__")[-1]]
            medians += [math.log(median)] * hyperparameter.n_elements
            deviations += [deviation] * hyperparameter.n_elements
        return np.array(medians), np.array(deviations)


class ScoreModel:
    """What the scores so far say about any other point.

    Attributes:
        rows: X, shape (n, d).
        targets: y, shape (n,).
    """

    def __init__(self, rows: Matrix, targets: Matrix, process: MapGaussianProcess) -> None:
        self.rows = rows
        self.targets = targets
        self._process = process.fit(rows, targets)

    @classmethod
    def fitted(cls, rows: Matrix, scores: Matrix) -> "ScoreModel":
        """The model with the hyperparameters that suit the scores best.

        Args:
            rows: X, shape (n, d), n at least 1.
            scores: In their own units, more is better, shape (n,).
        """
        lengths = np.full(rows.shape[1], PRIORS["length_scale"][0])
        noise = WhiteKernel(PRIORS["noise_level"][0], _BOUNDS)
        kernel = ConstantKernel(1.0, _BOUNDS) * Matern(lengths, _BOUNDS, nu=1.5) + noise
        process = MapGaussianProcess(kernel, alpha=0.0, optimizer=_climb)
        return cls(rows, _standardised(scores), process)

    def with_pending(self, rows: Matrix) -> "ScoreModel":
        """The model after a trial at each row has scored exactly what is expected of it.

        Nothing is learnt about the scores, but the uncertainty there goes, and with it the wish to try the
        same place again. Hyperparameters stay as they are.
        """
        if not len(rows):
            return self
        process = MapGaussianProcess(self._process.kernel_, alpha=0.0, optimizer=None)
        targets = np.concatenate([self.targets, self._process.predict(rows)])
        return ScoreModel(np.concatenate([self.rows, rows]), targets, process)

    @property
    def noise(self) -> float:
        """s2: variance between two trials at the same point, in the scaled units of `targets`."""
        return float(self._process.kernel_.k2.noise_level)

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Mean and deviation of the noise-free score at rows, shape (m, d); both scaled, shape (m,)."""
        mean, deviation = self._process.predict(rows, return_std=True)
        return mean, np.sqrt(np.maximum(deviation**2 - self.noise, 1e-12))


def _standardised(scores: Matrix) -> Matrix:
    centred = scores - scores.mean()
    deviation = float(centred.std())
    # Below this the differences are what floating point left of equal scores.
    if deviation <= 1e-12 * float(np.abs(scores).max(initial=0.0)):
        return np.zeros_like(scores)
    return np.asarray(centred / deviation)


def _climb(
    objective: Callable[[Matrix], tuple[float, Matrix]], start: Matrix, bounds: Matrix
) -> tuple[Matrix, float]:
    """Minimise from one start; stopping early is no reason to warn, any point on the way is usable."""
    result = minimize(
        objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 60, "ftol": 1e-6}
    )
    return result.x, float(result.fun)
