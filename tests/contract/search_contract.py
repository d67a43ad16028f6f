"""What every search method promises; a method's tests inherit all of it by naming the method."""

import json
import math
from collections.abc import Iterator
from typing import ClassVar

import pytest

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Method,
    Observation,
    Parameter,
    Point,
    Proposal,
    SearchSpace,
    SearchSpaceExhausted,
    UniformRange,
    Values,
    propose,
)

SMALL = SearchSpace(
    (
        Branch("gpt", ("mini", "nano"), {"epochs": IntRange(1, 3), "batchSize": Values(("4", "auto"))}),
        Branch("nova", ("lite",), {"rate": LogUniformRange(1e-6, 1e-4, steps=3), "epochs": IntRange(2, 4)}),
        Branch("plain", ("base",), {}),
    )
)
SMALL_SIZE = 2 * 3 * 2 + 3 * 3 + 1


def score_of(point: Point) -> float:
    """A made-up objective, distinct for most points."""
    numbers = [value for value in point.parameters.values() if not isinstance(value, str)]
    return len(point.base_model) / 10 + sum(math.sin(3 * number) for number in numbers)


class SearchMethodContract:
    """Inherit and set `method`; set `large` too where the method needs a finite space."""

    method: ClassVar[Method]
    large: ClassVar[SearchSpace] = SearchSpace(
        (
            Branch(
                "gpt",
                ("mini", "nano"),
                {
                    "epochs": IntRange(1, 4),
                    "learningRate": LogUniformRange(1e-6, 1e-2),
                    "warmup": UniformRange(0.0, 0.2),
                },
            ),
            Branch(
                "nova", ("lite",), {"epochs": IntRange(1, 5), "learningRate": LogUniformRange(1e-6, 1e-4)}
            ),
        )
    )

    def next(
        self, space: SearchSpace, history: list[Observation], seed: int = 3, count: int = 1
    ) -> list[Point]:
        proposals = propose(space, method=self.method, seed=seed, history=history, count=count)
        return [proposal.point for proposal in proposals]

    def sweep(self, space: SearchSpace, trials: int, seed: int = 3) -> list[Observation]:
        """A sweep that finishes each trial, but fails every fifth."""
        history: list[Observation] = []
        for index in range(trials):
            (point,) = self.next(space, history, seed)
            failed = index % 5 == 4
            history.append(
                Observation(point, "Failed") if failed else Observation(point, "Finished", score_of(point))
            )
        return history

    @pytest.fixture
    def history(self) -> list[Observation]:
        return self.sweep(self.large, 9)

    def test_same_arguments_give_the_same_points(self, history: list[Observation]) -> None:
        assert self.next(self.large, history, count=3) == self.next(self.large, list(history), count=3)

    def test_points_are_inside_the_space(self, history: list[Observation]) -> None:
        assert len(history) == 9
        assert all(self.large.contains(observation.point) for observation in history)

    def test_each_point_is_a_branch_with_exactly_its_own_parameters(self, history: list[Observation]) -> None:
        own = {branch.name: branch.parameters.keys() for branch in self.large.branches}
        assert {entry.point.candidate for entry in history} == {"gpt", "nova"}
        assert all(entry.point.parameters.keys() == own[entry.point.candidate] for entry in history)

    def test_no_point_is_proposed_twice(self, history: list[Observation]) -> None:
        points = [entry.point for entry in history] + self.next(self.large, history, count=6)
        assert len(set(points)) == 15

    def test_pending_trial_is_not_proposed_again(self) -> None:
        (first,) = self.next(SMALL, [])
        rest = self.next(SMALL, [Observation(first, "Pending")], count=SMALL_SIZE)
        assert first not in rest
        assert len(rest) == SMALL_SIZE - 1

    def test_finite_space_is_used_up_exactly(self) -> None:
        history = self.sweep(SMALL, SMALL_SIZE)
        assert len({entry.point for entry in history}) == SMALL.size == SMALL_SIZE
        with pytest.raises(SearchSpaceExhausted, match=f"of {SMALL_SIZE} points, {SMALL_SIZE} tried"):
            self.next(SMALL, history)

    def test_fewer_points_than_asked_are_given_when_the_space_runs_out(self) -> None:
        history = self.sweep(SMALL, SMALL_SIZE - 2)
        assert len(self.next(SMALL, history, count=5)) == 2

    def test_many_points_at_once_are_those_proposed_one_after_another(
        self, history: list[Observation]
    ) -> None:
        together = self.next(self.large, history, count=4)
        known = list(history)
        for _ in range(4):
            (point,) = self.next(self.large, known)
            known.append(Observation(point, "Pending"))
        assert together == [entry.point for entry in known[-4:]]

    def test_order_of_the_history_does_not_matter(self, history: list[Observation]) -> None:
        assert self.next(self.large, history) == self.next(self.large, history[::-1])
        assert self.next(self.large, history) == self.next(self.large, sorted(history, key=_by_score))

    def test_order_of_candidates_models_and_parameters_does_not_matter(
        self, history: list[Observation]
    ) -> None:
        turned = SearchSpace(tuple(_turned(branch) for branch in self.large.branches[::-1]))
        assert self.next(self.large, history, count=2) == self.next(turned, history, count=2)

    def test_restart_from_written_records_goes_on_the_same_way(self, history: list[Observation]) -> None:
        assert self.next(self.large, history) == self.next(
            self.large, [_rewritten(entry) for entry in history]
        )

    @pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
    def test_finished_trial_without_a_finite_score_counts_as_failed(
        self, history: list[Observation], score: float | None
    ) -> None:
        broken = [
            Observation(entry.point, "Finished", score) if entry.state == "Failed" else entry
            for entry in history
        ]
        assert self.next(self.large, broken) == self.next(self.large, history)

    @pytest.mark.parametrize(
        "scores",
        [
            pytest.param([None] * 12, id="all failed"),
            pytest.param([0.5] * 12, id="all equal"),
            pytest.param([0.0] * 12, id="all zero"),
            pytest.param([0.5] + [None] * 11, id="one finished"),
            pytest.param([0.5] * 6 + [1e9] * 6, id="high outliers"),
            pytest.param([0.5] * 10 + [-1e9, 1e-9], id="low outlier"),
            pytest.param([1e308, -1e308] * 6, id="largest floats"),
        ],
    )
    def test_odd_scores_do_not_stop_the_search(self, scores: list[float | None]) -> None:
        points = self.next(self.large, [], count=len(scores))
        history = [Observation(point, "Finished", score) for point, score in zip(points, scores, strict=True)]
        assert not set(points) & set(self.next(self.large, history, count=2))

    def test_observations_from_outside_the_space_are_harmless(self, history: list[Observation]) -> None:
        strangers = [
            Observation(Point("gone", "mini", {"epochs": 1}), "Finished", 0.9),
            Observation(Point("gpt", "gone", {"epochs": 1}), "Pending"),
            Observation(Point("gpt", "mini", {"epochs": 100, "other": "x"}), "Failed"),
        ]
        points = self.next(self.large, [*history, *strangers], count=2)
        assert all(self.large.contains(point) for point in points)

    def test_first_points_come_first_and_once(self) -> None:
        wanted = self.next(self.large, [], count=6)[3:5]
        proposals = self._with_first_points(wanted, [], count=4)
        assert [proposal.point for proposal in proposals[:2]] == wanted
        assert {proposal.origin for proposal in proposals[:2]} == {"first point"}
        assert len({proposal.point for proposal in proposals}) == 4
        (again,) = self._with_first_points(wanted, [Observation(wanted[0], "Failed")], count=1)
        assert again.point == wanted[1]

    def test_refused_points_are_not_proposed(self, history: list[Observation]) -> None:
        def allow(point: Point) -> bool:
            return point.base_model == "lite" and point.parameters["epochs"] != 3

        proposals = propose(self.large, method=self.method, seed=1, history=history, allow=allow, count=5)
        assert len(proposals) == 5
        assert all(allow(proposal.point) for proposal in proposals)

    def test_finite_space_is_used_up_exactly_but_for_refused_points(self) -> None:
        def allow(point: Point) -> bool:
            return point.parameters.get("epochs") != 3

        proposals = propose(SMALL, method=self.method, seed=1, history=[], allow=allow, count=99)
        assert len(proposals) == SMALL_SIZE - 4 - 3

    def test_search_ends_when_everything_is_refused(self) -> None:
        with pytest.raises(SearchSpaceExhausted):
            propose(self.large, method=self.method, seed=1, history=[], allow=lambda _: False)

    def test_trials_with_equal_configuration_are_all_taken_in(self, history: list[Observation]) -> None:
        repeated = [*history, *(Observation(entry.point, "Finished", 0.1) for entry in history[:3])]
        repeated.append(Observation(history[0].point, "Pending"))
        assert not {entry.point for entry in repeated} & set(self.next(self.large, repeated, count=2))

    def test_space_of_a_single_point_gives_it_once(self) -> None:
        space = SearchSpace((Branch("only", ("base",), {"epochs": IntRange(2, 2)}),))
        assert self.next(space, [], count=3) == [Point("only", "base", {"epochs": 2})]

    def _with_first_points(
        self, first_points: list[Point], history: list[Observation], count: int
    ) -> tuple[Proposal, ...]:
        return propose(
            self.large,
            method=self.method,
            seed=3,
            history=history,
            first_points=first_points,
            count=count,
        )


def _turned(branch: Branch) -> Branch:
    parameters: Iterator[tuple[str, Parameter]] = reversed(branch.parameters.items())
    return Branch(branch.name, branch.base_models[::-1], dict(parameters))


def _by_score(observation: Observation) -> tuple[float, str]:
    return (observation.finite_score or 0.0, observation.point.base_model)


def _rewritten(observation: Observation) -> Observation:
    """As it comes back from a status: through JSON, where a server may write 2.0 as 2 and sorts keys anew."""
    point = observation.point
    parameters = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in reversed(list(point.parameters.items()))
    }
    record = json.dumps([point.candidate, point.base_model, parameters, observation.state, observation.score])
    candidate, base_model, values, state, score = json.loads(record)
    return Observation(Point(candidate, base_model, values), state, score)
