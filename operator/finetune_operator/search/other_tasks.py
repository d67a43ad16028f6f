"""Trials of other tasks in the model of a search.

Scores of another task (other data, or another metric) are brought to the search's scale, and each such task has a
column of its own beside the encoded point: 0 at this search's points, `TASK_DISTANCE` at its own. How far apart the
column puts two tasks is a length scale, fitted like those of the parameters. So a task that agrees with what is seen
here is learnt from, and one that does not soon counts for nothing.

Source: the idea is that of multi-task Gaussian processes (Bonilla, Chai & Williams, NIPS 2007), here with a
stationary kernel over the tasks in place of a free covariance, which few trials could not determine.
"""

import numpy as np

from finetune_operator.search.encoding import Encoder, Matrix
from finetune_operator.search.prior import Prior

# With the prior's median length, two tasks begin with a correlation of about 0.66.
TASK_DISTANCE = 0.5
# Another task's scores are brought to the scale of this many trials of one's own at least.
FEWEST_OWN = 2
# A collapsed score, in deviations from its task's mean: it must not hide the differences between the others.
_LOWEST = -3.0


class OtherTasks:
    """The other tasks as rows beside a search's own; of none of them there is nothing to add.

    Args:
        prior: What is known from earlier searches.
        encoder: Encodes the points.
    """

    def __init__(self, prior: Prior, encoder: Encoder) -> None:
        self._encoder = encoder
        self._rows = [encoder.encode([point for point, _ in task]) for task in prior.others]
        self._scores = [np.array([score for _, score in task], dtype=float) for task in prior.others]

    def widened(self, rows: Matrix) -> Matrix:
        """The search's own rows, shape (n, d), with the tasks' columns, shape (n, d + tasks)."""
        return np.hstack([rows, np.zeros((len(rows), len(self._rows)))])

    def rows(self) -> Matrix:
        """The other tasks' rows, shape (m, d + tasks)."""
        parts = [np.empty((0, self._encoder.columns + len(self._rows)))]
        for task, rows in enumerate(self._rows):
            wide = self.widened(rows)
            wide[:, rows.shape[1] + task] = TASK_DISTANCE
            parts.append(wide)
        return np.concatenate(parts)

    def targets(self, own: Matrix) -> Matrix:
        """The other tasks' scores on the scale of `own`, shape (m,): the same mean and deviation."""
        if not self._scores:
            return np.empty(0)
        return np.concatenate(
            [float(own.mean()) + float(own.std()) * _standardised(each) for each in self._scores]
        )


def _standardised(scores: Matrix) -> Matrix:
    deviation = float(scores.std())
    if deviation <= 1e-12 * float(np.abs(scores).max()):
        return np.zeros_like(scores)
    return np.asarray(np.maximum((scores - scores.mean()) / deviation, _LOWEST))
