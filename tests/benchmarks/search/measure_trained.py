"""Measures the `trained` tables: LoRA adapters, really trained on small pretrained networks.

Each base model is a network of one hidden layer, pretrained on one half of a data set of scikit-learn whose
inputs were turned round by a random rotation; the adapters fine-tune it on a quarter without the rotation, and
the score is that of the last quarter: accuracy, or the explained variance of a regression. All learning
rates and repetitions are trained at once, as the leading axis of every array, with Adam at a constant rate, so
that the scores after each epoch are those of a training of so many epochs.

    python -m tests.benchmarks.search.measure_trained          measure all tables, a few minutes
    python -m tests.benchmarks.search.measure_trained wine     one of them
"""

import sys
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from tests.benchmarks.search.table_files import TABLES, save_table

Array = NDArray[np.float64]
DATASETS: dict[str, Literal["development", "held-out"]] = {
    "wine": "development",
    "diabetes": "development",
    "digits": "held-out",
    "cancer": "held-out",
}
MODELS = ("narrow", "odd", "wide")
_WIDTHS = {"narrow": 16, "odd": 48, "wide": 96}
_PRETRAINING = {"narrow": 200, "odd": 8, "wide": 60}
AXES: dict[str, list[Any]] = {
    "batchSize": [1, 2, 4, 8, 16, 32],
    "learningRate": [round(1e-5 * 10 ** (step / 3), 12) for step in range(13)],
    "loraRank": [1, 2, 4, 8, 16, 32, 64],
}
EPOCHS = 10
REPETITIONS = 3
_MOST_ROWS = 160  # Of the fine-tuning data; batches of one are slow.


def data(name: str) -> tuple[Array, Array, bool]:
    """Inputs (n, d), targets (n, k), and whether these are classes."""
    loaders = {
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
        "digits": datasets.load_digits,
        "cancer": datasets.load_breast_cancer,
    }
    inputs, targets = loaders[name](return_X_y=True)
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs = StandardScaler().fit_transform(inputs)[order]
    targets = targets[order]
    if name == "diabetes":
        return inputs, ((targets - targets.mean()) / targets.std())[:, None], False
    return inputs, np.eye(int(targets.max()) + 1)[targets], True


def pretrained(model: str, inputs: Array, targets: Array, classes: bool) -> list[Array]:
    """Weights and biases (W1, b1, W2, b2) of a base model."""
    kind = MLPClassifier if classes else MLPRegressor
    network = kind(
        hidden_layer_sizes=(_WIDTHS[model],),
        max_iter=_PRETRAINING[model],
        n_iter_no_change=1000,
        random_state=1,
    )
    labels = targets.argmax(1) if classes else targets[:, 0]
    network.fit(inputs, labels)
    w2, b2 = network.coefs_[1], network.intercepts_[1]
    if classes and targets.shape[1] == 2:  # scikit-learn has one output for two classes.
        w2, b2 = np.hstack([-w2 / 2, w2 / 2]), np.concatenate([-b2 / 2, b2 / 2])
    return [network.coefs_[0], network.intercepts_[0], w2, b2]


class Adapters:
    """LoRA adapters on both layers of one base model, S of them side by side."""

    def __init__(self, base: list[Array], rank: int, count: int, generator: np.random.Generator) -> None:
        self._base = base
        w1, _, w2, _ = base
        self.values = [
            generator.normal(0, 1 / np.sqrt(w1.shape[0]), (count, w1.shape[0], rank)),
            np.zeros((count, rank, w1.shape[1])),
            generator.normal(0, 1 / np.sqrt(w2.shape[0]), (count, w2.shape[0], rank)),
            np.zeros((count, rank, w2.shape[1])),
        ]
        self._scale = 2.0 / np.sqrt(rank)
        self._first = [np.zeros_like(value) for value in self.values]
        self._second = [np.zeros_like(value) for value in self.values]
        self._steps = 0

    def forward(self, inputs: Array) -> tuple[Array, Array]:
        """Hidden values (S, n, h) and outputs (S, n, k) of inputs (n, d) or (S, n, d)."""
        w1, b1, w2, b2 = self._base
        a1, c1, a2, c2 = self.values
        hidden = np.maximum(inputs @ w1 + b1 + self._scale * (inputs @ a1) @ c1, 0.0)
        return hidden, hidden @ w2 + b2 + self._scale * (hidden @ a2) @ c2

    def step(self, inputs: Array, targets: Array, rates: Array, classes: bool) -> None:
        """One step of Adam on inputs (S, n, d), each of the S with its own rate (S,)."""
        a1, c1, a2, c2 = self.values
        hidden, outputs = self.forward(inputs)
        slope = (softmax(outputs) if classes else outputs) - targets
        slope /= inputs.shape[1]
        low2 = hidden @ a2
        back = slope @ c2.swapaxes(1, 2)
        gradients = [
            None,
            None,
            self._scale * hidden.swapaxes(1, 2) @ back,
            self._scale * low2.swapaxes(1, 2) @ slope,
        ]
        down = (slope @ self._base[2].T + self._scale * back @ a2.swapaxes(1, 2)) * (hidden > 0)
        back = down @ c1.swapaxes(1, 2)
        gradients[0] = self._scale * inputs.swapaxes(1, 2) @ back
        gradients[1] = self._scale * (inputs @ a1).swapaxes(1, 2) @ down
        self._steps += 1
        correction = np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        for value, gradient, first, second in zip(
            self.values, gradients, self._first, self._second, strict=True
        ):
            first[:] += 0.1 * (gradient - first)
            second[:] += 0.001 * (gradient**2 - second)
            value[:] -= (rates * correction)[:, None, None] * first / (np.sqrt(second) + 1e-8)


def softmax(outputs: Array) -> Array:
    """Probabilities of classes on the last axis."""
    shifted = np.exp(outputs - outputs.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def score(outputs: Array, targets: Array, classes: bool) -> Array:
    """Accuracy or explained variance, at least -1, shape (S,)."""
    if classes:
        return np.asarray((outputs.argmax(-1) == targets.argmax(-1)).mean(-1))
    lost = ((outputs - targets) ** 2).mean((1, 2)) / targets.var()
    return np.asarray(np.maximum(1.0 - np.nan_to_num(lost, nan=9.0, posinf=9.0), -1.0))


def sweep(base: list[Array], parts: tuple[Array, ...], classes: bool, batch: int, rank: int) -> Array:
    """Scores of all epochs, rates and repetitions, shape (epochs, rates, repetitions)."""
    train_x, train_y, test_x, test_y = parts
    rates = np.repeat(AXES["learningRate"], REPETITIONS)
    generator = np.random.default_rng(batch * 1000 + rank)
    adapters = Adapters(base, rank, len(rates), generator)
    found = []
    for _ in range(EPOCHS):
        orders = np.array([generator.permutation(len(train_x)) for _ in range(REPETITIONS)])
        orders = np.tile(orders, (len(rates) // REPETITIONS, 1))
        for start in range(0, len(train_x), batch):
            rows = orders[:, start : start + batch]
            adapters.step(train_x[rows], train_y[rows], rates, classes)
        found.append(score(adapters.forward(test_x)[1], test_y, classes).reshape(-1, REPETITIONS))
    return np.array(found)


def measure(name: str) -> Array:
    """The table, shape (models, batch sizes, epochs, learning rates, ranks, repetitions)."""
    inputs, targets, classes = data(name)
    half, quarter = len(inputs) // 2, 3 * len(inputs) // 4
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(inputs.shape[1],) * 2))[0]
    mixed = 0.5 * inputs + 0.5 * inputs @ turn
    train = slice(half, min(quarter, half + _MOST_ROWS))
    parts = (inputs[train], targets[train], inputs[quarter:], targets[quarter:])
    table = []
    for model in MODELS:
        base = pretrained(model, mixed[:half], targets[:half], classes)
        rows = [
            [sweep(base, parts, classes, batch, rank) for rank in AXES["loraRank"]]
            for batch in AXES["batchSize"]
        ]
        table.append(np.moveaxis(np.array(rows), 1, 3))
    return np.array(table)


def main(names: list[str]) -> None:
    """Measure and write."""
    for name in names or DATASETS:
        began = time.monotonic()
        values = measure(name)
        save_table(TABLES / f"trained_{name}.npz", values)
        best, worst = values.mean(-1).max(), values.mean(-1).min()
        print(
            f"{name}: {values.size} cells, {worst:.3f} to {best:.3f}, {time.monotonic() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
