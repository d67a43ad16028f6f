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
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from finetune_operator.search.encoding import Matrix

# (median, deviation of the logarithm) by the name that scikit-learn gives to a hyperparameter.
PRIORS = {"constant_value": (1.0, 1.0), "length_scale": (0.7, 0.7), "noise_level": (0.01, 1.2)}
# Far out in the priors' tails, so that nothing overflows and the covariance can be inverted.
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

    def best_theta(self) -> Matrix:
        """The hyperparameters of the highest density for the data of the last fit, shape (d + 2,).

        The climb starts from the kernel's own and may stop early: any point on its way is usable. That, and
        that a bound may be reached, are why it is not left to scikit-learn, which warns of both.
        """

        def depth(theta: Matrix) -> tuple[float, Matrix]:
            height, slope = self.log_marginal_likelihood(theta, eval_gradient=True)
            return -height, -slope

        start, bounds, options = self.kernel_.theta, self.kernel_.bounds, {"maxiter": 60, "ftol": 1e-6}
        climb = minimize(depth, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
        return np.asarray(climb.x)

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

    Args:
        rows: X, shape (n, d), n at least 1.
        targets: y, shape (n,).
        kernel: The covariance with its hyperparameters.

    Attributes:
        rows: X.
        targets: y.
    """

    def __init__(self, rows: Matrix, targets: Matrix, kernel: Kernel) -> None:
        self.rows = rows
        self.targets = targets
        self._process = MapGaussianProcess(kernel, alpha=0.0, optimizer=None).fit(rows, targets)

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
        start = cls(rows, _standardised(scores), kernel)
        return cls(rows, start.targets, kernel.clone_with_theta(start._process.best_theta()))

    def with_pending(self, rows: Matrix) -> "ScoreModel":
        """The model after a trial at each row has scored exactly what is expected of it.

        Nothing is learnt about the scores, but the uncertainty there goes, and with it the wish to try the
        same place again. Hyperparameters stay as they are.
        """
        if not len(rows):
            return self
        targets = np.concatenate([self.targets, self._process.predict(rows)])
        return ScoreModel(np.concatenate([self.rows, rows]), targets, self._process.kernel_)

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
    if deviation <= 1e-12 * float(np.abs(scores).max()):
        return np.zeros_like(scores)
    return np.asarray(centred / deviation)
