"""The one entry to the search: what should be tried next?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from finetune_operator.search.availability import Availability
from finetune_operator.search.errors import InvalidSpace, SearchSpaceExhausted
from finetune_operator.search.grid import next_grid_point
from finetune_operator.search.points import Direction, History, Observation, Origin, Point, Proposal
from finetune_operator.search.prior import Prior, PriorObservation
from finetune_operator.search.random_search import next_random_point
from finetune_operator.search.space import SearchSpace
from finetune_operator.search.values import ParameterValue

Method: TypeAlias = Literal["Grid", "Random", "Bayesian"]
_Rule: TypeAlias = Callable[[Availability], Proposal | None]


def propose(  # noqa: PLR0913 - all of them by keyword, and a caller mostly needs four
    space: SearchSpace,
    *,
    method: Method,
    seed: int,
    history: Sequence[Observation],
    direction: Direction = "Maximize",
    initial_trials: int | None = None,
    prior: Sequence[PriorObservation] = (),
    first_points: Sequence[Point] = (),
    allow: Callable[[Point], bool] | None = None,
    count: int = 1,
) -> tuple[Proposal, ...]:
    """Propose the next points to try.

    A pure function: the same arguments give the same answer, in any process and whatever the order of
    `history`, of the branches or of their parameters. It keeps nothing between calls, so a caller who writes
    down each trial with its outcome can stop and go on at any time. A point of the history is never proposed
    again. Proposing `count` points is the same as proposing one after another, with the earlier ones pending.

    Args:
        space: Where to look.
        method: `Grid` goes through all points, `Random` draws them, `Bayesian` learns from the scores.
        seed: Any whole number; `Grid` does not need it.
        history: All trials so far, the pending and failed ones too.
        direction: Whether a higher or a lower score is better.
        initial_trials: How many trials `Bayesian` spreads over the space before it models the scores; 6 if
            None, and fewer where `prior` has scores that can be compared.
        prior: Finished trials of earlier searches, which `Bayesian` learns from. They count neither as tried nor
            towards `initial_trials`.
        first_points: Proposed before anything else, in this order: a known good configuration, for example.
        allow: Tells whether a point may be proposed, where the space's shape cannot say so: memory that a
            model needs at a batch size, for example. A search that meets only refused points gives up after
            20,000 of them, as if the space were exhausted.
        count: How many points are wanted, at least 1.

    Returns:
        `count` proposals, fewer if the space has fewer points left, never none. Each says by which rule it
        was chosen.

    Raises:
        SearchSpaceExhausted: If no point is left.
        InvalidSpace: If the method cannot search this space, or a first point lies outside it.
        ValueError: If `count` or `initial_trials` is below 1.

    Example:
        >>> from finetune_operator.search import Branch, IntRange, Observation, SearchSpace, Values
        >>> parameters = {"epochs": IntRange(1, 3), "batchSize": Values(("8", "16"))}
        >>> space = SearchSpace((Branch("nova", ("nova-lite", "nova-micro"), parameters),))
        >>> space.size
        12
        >>> history = []
        >>> for _ in range(2):
        ...     (proposal,) = propose(space, method="Grid", seed=0, history=history)
        ...     print(proposal.point.base_model, dict(proposal.point.parameters))
        ...     history.append(Observation(proposal.point, "Finished", score=0.7))
        nova-lite {'batchSize': 8, 'epochs': 1}
        nova-micro {'batchSize': 8, 'epochs': 1}
        >>> proposals = propose(space, method="Random", seed=7, history=history, count=2)
        >>> [proposal.origin for proposal in proposals]
        ['random', 'random']
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    if initial_trials is not None and initial_trials < 1:
        raise ValueError(f"initial_trials is {initial_trials}; it must be at least 1")
    check_method(space, method)
    for position, point in enumerate(first_points):
        if not space.contains(point):
            raise InvalidSpace(f"firstPoints[{position}]", f"{point} lies outside the search space")
    known = History.of(history, direction)
    rule = _rule(
        space, method, seed, known, initial_trials=initial_trials, prior=Prior.of(prior, space, direction)
    )
    proposals: list[Proposal] = []
    while len(proposals) < count:
        available = Availability(known, allow)
        proposal = _first_point(first_points, available) or rule(available)
        if proposal is None:
            break
        proposals.append(proposal)
        known = known.with_pending(proposal.point)
    if not proposals:
        raise SearchSpaceExhausted(_exhausted(space, known))
    return tuple(proposals)


def check_method(space: SearchSpace, method: Method) -> None:
    """Refuse a space that a method cannot search.

    Raises:
        InvalidSpace: If a grid is wanted and a real range has no `steps`; with the path of that parameter.
    """
    if method != "Grid":
        return
    for branch in space.branches:
        for name, parameter in branch.parameters.items():
            if parameter.size is None:
                try:
                    parameter.grid_values()
                except InvalidSpace as error:
                    raise error.under(f"candidates[{branch.name}].parameters.{name}") from error


def default_point(
    space: SearchSpace, seed: int, defaults: Mapping[tuple[str, str], Mapping[str, ParameterValue]]
) -> Point | None:
    """Where a `Bayesian` search would begin, with what is stated in place of the centre.

    Args:
        space: The space.
        seed: Seed of the search.
        defaults: By (candidate, base model), values that parameters have where nobody gives one. A value that the
            space does not have is not used.

    Returns:
        The point; None where no default of its parameters is stated, or none lies in the space.
    """
    from finetune_operator.search.initial_design import initial_points

    centre = next(initial_points(space, seed, 1))
    own = defaults.get((centre.candidate, centre.base_model), {})
    branch = next(branch for branch in space.branches if branch.name == centre.candidate)
    usable = {
        name: own[name] for name, parameter in branch.parameters.items() if parameter.contains(own.get(name))
    }
    if not usable:
        return None
    return Point(centre.candidate, centre.base_model, {**centre.parameters, **usable})


def space_size(space: SearchSpace) -> int | None:
    """Number of points of the space, None if a parameter is continuous."""
    return space.size


def _rule(
    space: SearchSpace, method: Method, seed: int, known: History, *, initial_trials: int | None, prior: Prior
) -> _Rule:
    if method == "Bayesian":
        # Numerical libraries take a second to load, which the other methods need not wait for.
        from finetune_operator.search.bayesian import BayesianSearch

        return BayesianSearch(
            space, seed=seed, history=known, initial_trials=initial_trials, prior=prior
        ).next
    if method == "Grid":
        return lambda available: _named(next_grid_point(space, available), "grid")
    return lambda available: _named(next_random_point(space, available, seed), "random")


def _first_point(first_points: Sequence[Point], available: Availability) -> Proposal | None:
    return _named(next(filter(available, first_points), None), "first point")


def _named(point: Point | None, origin: Origin) -> Proposal | None:
    return None if point is None else Proposal(point, origin)


def _exhausted(space: SearchSpace, known: History) -> str:
    size = "continuous" if space.size is None else f"of {space.size} points"
    return (
        f"no point is left in the search space ({size}, {len(known.keys)} tried or pending): "
        "lower maxTrials, or make a new sweep with a wider space"
    )
