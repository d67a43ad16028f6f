"""All problems of the bench by name."""

from collections.abc import Callable

from tests.benchmarks.search import branch_problems, function_problems, measure_trained, table_problems
from tests.benchmarks.search.problem import Problem
from tests.benchmarks.search.table_files import TABLES

MAKERS: dict[str, Callable[[str], Problem]] = {
    **{f"HPOBench/{name}": table_problems.published for name in table_problems.HPO_BENCH},
    **{f"HPOlib/{name}": table_problems.published for name in table_problems.HPO_LIB},
    **{f"trained/{name}": table_problems.trained for name in measure_trained.DATASETS},
    "local/lora": table_problems.local,
    **dict.fromkeys(branch_problems.BRANCHES, branch_problems.branch_problem),
    **dict.fromkeys(function_problems.FUNCTIONS, function_problems.function_problem),
}
_FILES = {
    "local/lora": "local_lora.npz",
    **{f"trained/{name}": f"trained_{name}.npz" for name in measure_trained.DATASETS},
}


def available() -> list[str]:
    """Names of the problems whose tables are there."""
    return [name for name in MAKERS if name not in _FILES or (TABLES / _FILES[name]).exists()]


def make(name: str) -> Problem:
    """The problem with this name."""
    return MAKERS[name](name)
