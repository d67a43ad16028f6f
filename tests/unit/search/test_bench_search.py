"""The bench of search quality judges as it says; its competitors are not installed here."""

from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.search import problems
from tests.benchmarks.search.arena import Sweep, sweep
from tests.benchmarks.search.branch_problems import BRANCHES
from tests.benchmarks.search.floor import floors, of_group, regret_of_every_point
from tests.benchmarks.search.function_problems import FUNCTIONS
from tests.benchmarks.search.methods import coarse
from tests.benchmarks.search.problem import Problem
from tests.benchmarks.search.store import Store
from tests.benchmarks.search.summary import compare
from tests.benchmarks.search.table_files import load_table, save_table
from tests.benchmarks.search.table_problems import table_problem

from finetune_operator.search import Values

PROBLEM = problems.make("branches/two")


def of_regret(regret: float) -> Sweep:
    return Sweep([regret] * 30, [regret / 2] * 3, [0.0] * 30, 0)


@pytest.mark.parametrize("name", ["branches/two", *FUNCTIONS])
def test_no_random_point_is_better_than_the_best(name: str) -> None:
    problem = problems.make(name)
    regrets = [problem.regret(point) for point in problem.draws]
    assert min(regrets) >= -1e-3
    assert np.median(regrets) == pytest.approx(1.0)


def test_sweep_without_a_score_is_as_good_as_a_random_point() -> None:
    assert PROBLEM.regret(None) == 1.0


def test_every_method_sees_the_same_noise() -> None:
    point = PROBLEM.draws[0]
    assert PROBLEM.observed(point, 1) == PROBLEM.observed(point, 1) != PROBLEM.observed(point, 2)


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_sweep_is_judged_after_each_trial_and_is_the_same_again(mode: str) -> None:
    found = sweep(PROBLEM, "ours", mode, 3, trials=10)
    assert (len(found.regrets), len(found.recommended), found.repeats) == (10, 1, 0)
    assert sweep(PROBLEM, "ours", mode, 3, trials=10).regrets == found.regrets


def test_grid_that_is_used_up_keeps_its_best() -> None:
    found = sweep(PROBLEM, "grid", "parallel", 0, trials=40)
    assert len(found.regrets) == 40
    assert found.regrets[-1] == found.regrets[-3]


@pytest.mark.parametrize("name", list(BRANCHES))
def test_coarse_grid_is_one_that_a_sweep_can_afford(name: str) -> None:
    assert 8 <= (coarse(problems.make(name).space).size or 0) <= 32


def test_kept_sweep_is_found_again_and_a_line_cut_off_is_not(tmp_path: Path) -> None:
    Store(PROBLEM, tmp_path).put("random", "sequential", 0, of_regret(0.5))
    Store(PROBLEM, tmp_path).put("random", "sequential", 1, of_regret(0.6))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text("utf-8")[:-9], "utf-8")
    assert Store(PROBLEM, tmp_path).get("random", "sequential", 0) == of_regret(0.5)
    store = Store(PROBLEM, tmp_path)
    assert store.get("random", "sequential", 1) is None
    store.put("random", "sequential", 2, of_regret(0.7))
    assert Store(PROBLEM, tmp_path).get("random", "sequential", 2) == of_regret(0.7)
    assert Store(PROBLEM, tmp_path).get("ours", "sequential", 0) is None


def test_ratio_is_of_means_over_the_same_pairs() -> None:
    results = {("p", "ours", "sequential", seed): of_regret(0.1 * (seed + 1)) for seed in range(3)}
    results |= {("p", "random", "sequential", seed): of_regret(0.4) for seed in range(2)}
    found = compare(results, ["p"], "random", "sequential", 20)
    assert found is not None
    assert (found.pairs, found.wins) == (2, 1.0)
    assert found.ratio == pytest.approx(0.4 / 0.15)
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(4.0)
    recommended = compare(results, ["p"], "ours", "sequential", 20, recommended=True)
    assert recommended is not None
    assert recommended.ratio == pytest.approx(2.0)
    assert compare(results, ["q"], "random", "sequential", 20) is None


def test_table_comes_back_to_its_65535th_part(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    save_table(tmp_path / "a.npz", values)
    assert np.abs(load_table(tmp_path / "a.npz") - values).max() <= (values.max() - values.min()) / 65_535


def table(name: str, *scores: tuple[float, float]) -> Problem:
    """A problem of one parameter, each of whose values shows one of two scores."""
    return table_problem(
        name,
        group="tables",
        split="held-out",
        models=("m",),
        parameters={"size": Values(tuple(str(value) for value in range(len(scores))))},
        values=np.array([scores]),
    )


def test_who_tries_every_point_may_take_a_lucky_one() -> None:
    # Truly 0.5, 0.8 and 0.7, the median; the last one shows 0.9 at times.
    found = regret_of_every_point(table("lucky", (0.5, 0.5), (0.8, 0.8), (0.5, 0.9)), range(40))
    assert found is not None
    assert {round(regret, 6) for regret in found} == {0.0, 1.0}


def test_of_points_that_show_the_same_any_one_is_taken() -> None:
    # Truly 0.5, 0.3 and 0.1; the first two show 0.5 at times.
    found = regret_of_every_point(table("tied", (0.5, 0.5), (0.5, 0.1), (0.1, 0.1)), range(40))
    assert found is not None
    assert {round(regret, 6) for regret in found} == {0.0, 0.5}


def test_group_has_a_floor_only_if_all_its_problems_have_one(tmp_path: Path) -> None:
    tables = [table("a", (0.5, 0.5), (0.8, 0.8), (0.7, 0.7)), table("b", (0.5, 0.5), (0.5, 0.1), (0.1, 0.1))]
    found = floors([*tables, PROBLEM], range(40), compute=True, folder=tmp_path)
    assert found["a"] == 0.0
    assert of_group(found, ["a", "b"]) == pytest.approx(found["b"] / 2)
    assert of_group(found, ["a", PROBLEM.name]) is None


def test_floor_is_kept_for_its_seeds(tmp_path: Path) -> None:
    problem = table("b", (0.5, 0.5), (0.5, 0.1), (0.1, 0.1))
    computed = floors([problem], range(40), compute=True, folder=tmp_path)
    assert floors([problem], range(40), compute=False, folder=tmp_path) == computed
    assert floors([problem], range(30), compute=False, folder=tmp_path) == {}
