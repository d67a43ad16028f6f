"""Test functions of the optimisation literature, scaled to [0, 1] in each parameter; more is better.

They are smooth, continuous and have their best points anywhere, at ends of ranges too (`corner`, which is ours):
methods are tuned on them, and nothing is claimed on them.

Source: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments, https://www.sfu.ca/~ssurjano/,
accessed 2026-11-24: definitions and the values of the best points.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.search.problem import Problem

from finetune_operator.search import Branch, Point, SearchSpace, UniformRange

Place: TypeAlias = NDArray[np.float64]

_HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN_3 = (
    np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]]),
    1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
)
_HARTMANN_6 = (
    np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    ),
    1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
)
_ACKLEY_BEST = np.array([0.3, 0.75, 0.2, 0.6, 0.85])
_CORNER_BEST, _CORNER_WEIGHTS = np.array([0.97, 0.05, 0.9, 0.5]), np.array([3.0, 1.0, 0.5, 0.1])


def _hartmann(constants: tuple[Place, Place]) -> Callable[[Place], float]:
    steep, centres = constants
    return lambda x: float((_HARTMANN_WEIGHTS * np.exp(-(steep * (x - centres) ** 2).sum(axis=1))).sum())


def _branin(x: Place) -> float:
    a, b = 15 * x[0] - 5, 15 * x[1]
    bend = (b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
    return -float(bend + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


def _camel(x: Place) -> float:
    a, b = 4 * x[0] - 2, 2 * x[1] - 1
    return -float((4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2)


def _ackley(x: Place) -> float:
    z = 4 * (x - _ACKLEY_BEST)
    ripples = math.exp(float(np.cos(2 * math.pi * z).mean()))
    return 20 * math.exp(-0.2 * math.sqrt(float((z**2).mean()))) + ripples - 20 - math.e


def _rosenbrock(x: Place) -> float:
    z = 4 * x - 2
    # Its logarithm, or nothing but the steep walls would be seen.
    return -math.log1p(float((100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum()))


def _levy(x: Place) -> float:
    w = 1 + (20 * x - 11) / 4
    first, last = math.sin(math.pi * w[0]) ** 2, (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return -float(first + ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum() + last)


def _styblinski_tang(x: Place) -> float:
    z = 10 * x - 5
    return -float((z**4 - 16 * z**2 + 5 * z).sum()) / 2


def _corner(x: Place) -> float:
    return -float((_CORNER_WEIGHTS * (x - _CORNER_BEST) ** 2).sum())


# Name: the function, its parameters, its highest value, the deviation of the noise that a search sees.
FUNCTIONS: dict[str, tuple[Callable[[Place], float], int, float, float]] = {
    "functions/branin": (_branin, 2, -0.397887, 0.0),
    "functions/camel": (_camel, 2, 1.0316, 0.0),
    "functions/hartmann3": (_hartmann(_HARTMANN_3), 3, 3.86278, 0.0),
    "functions/hartmann6": (_hartmann(_HARTMANN_6), 6, 3.32237, 0.0),
    "functions/ackley5": (_ackley, 5, 0.0, 0.2),
    "functions/rosenbrock4": (_rosenbrock, 4, 0.0, 0.2),
    "functions/levy4": (_levy, 4, 0.0, 1.0),
    "functions/styblinski5": (_styblinski_tang, 5, 5 * 39.16617, 5.0),
    "functions/corner4": (_corner, 4, 0.0, 0.05),
}


def function_problem(name: str) -> Problem:
    """A test function: `functions/branin`, for example."""
    function, parameters, best, noise = FUNCTIONS[name]
    names = [f"x{number}" for number in range(parameters)]
    ranges = {own: UniformRange(0.0, 1.0) for own in names}

    def truth(point: Point) -> float:
        return function(np.array([point.parameters[own] for own in names], dtype=float))

    return Problem(
        name=name,
        group="functions",
        split="development",
        space=SearchSpace((Branch("only", ("function",), ranges),)),
        truth=truth,
        observe=lambda point, generator: truth(point) + noise * float(generator.standard_normal()),
        best=best,
    )
