"""What is expected of a point before there are scores: people put their ranges round what they believe in.

Notation:

    z_j     place of a point in the range of parameter j: -1 at its lower end, 0 in the middle, 1 at its upper end;
            0 for parameters without an order
    p       pull, 1 while there are few trials, then falling
    a_j, b_j  unknown coefficients, each Normal(0, 1)
    w       spread of the unknown part, `_OPENNESS`

A score is expected to be, in deviations of the scores,

    sum_j (-p + w a_j) z_j^2 + w b_j z_j

plus what the Gaussian process adds. So the middle is where a search begins to look, and a few scores that speak for
an end of a range are enough to turn it there. The coefficients are integrated out: they add w^2 (z^2 z'^2 + z z') to
the covariance.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 2.7, explicit basis functions
with a Gaussian prior; which ones, and the two numbers, are the project's own, from a comparison on tuning problems.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from finetune_operator.search.encoding import Encoder, Matrix

# While there are few trials a parameter at an end of its range is expected to cost a deviation of the scores; after
# this many trials less and less, as 1 / n. Without it the first trials after the design go to corners.
_TRUSTED_TRIALS = 6
_OPENNESS = 0.5


class Trend(Protocol):
    """What is expected of rows before there are scores, in deviations of the scores."""

    def mean(self, rows: Matrix) -> Matrix:
        """What is expected at rows (m, d), shape (m,)."""

    def features(self, rows: Matrix) -> Matrix:
        """What is multiplied with the unknown coefficients, shape (m, number of coefficients)."""


class Flat:
    """Nothing is expected anywhere."""

    def mean(self, rows: Matrix) -> Matrix:
        """Zeros, shape (m,)."""
        return np.zeros(len(rows))

    def features(self, rows: Matrix) -> Matrix:
        """None, shape (m, 0)."""
        return np.zeros((len(rows), 0))


@dataclass(frozen=True, slots=True)
class TowardsTheMiddle:
    """A bowl round the middle of the ranges, of unknown depth and tilt.

    Attributes:
        encoder: Encodes the space; rows may have more columns than it has.
        trials: Number of scores the model has.
    """

    encoder: Encoder
    trials: int

    def mean(self, rows: Matrix) -> Matrix:
        """-p sum_j z_j^2, shape (m,)."""
        pull = min(1.0, _TRUSTED_TRIALS / max(1, self.trials))
        return np.asarray(-pull * (self._places(rows) ** 2).sum(axis=1))

    def features(self, rows: Matrix) -> Matrix:
        """w z_j^2 and w z_j, shape (m, 2 x columns of the encoder)."""
        places = self._places(rows)
        return np.asarray(_OPENNESS * np.hstack([places**2, places]))

    def _places(self, rows: Matrix) -> Matrix:
        return self.encoder.places(rows[:, : self.encoder.columns])
