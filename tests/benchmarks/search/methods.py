"""The search methods that are compared, behind one small protocol.

Competitors are given the space as their users would write it: logarithmic ranges as such, lists of numbers by
their rank, texts as categories, and a candidate's own parameters only where that candidate is chosen, if the
library can say so.
"""

import hashlib
import inspect
import random
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import finetune_operator.search as search_package
from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    Parameter,
    Point,
    SearchSpace,
    UniformRange,
    Values,
    propose,
)


class Searcher(Protocol):
    """Proposes points one at a time; several may be pending."""

    def ask(self) -> Point:
        """The next point to try."""

    def tell(self, point: Point, score: float | None) -> None:
        """The score of a point that was asked for, None if the trial failed; more is better."""


class Ours:
    """Our own `propose`, which is told everything anew each time."""

    def __init__(self, space: SearchSpace, seed: int, **options: Any) -> None:
        self.space = space
        self.seed = seed
        self.options = {"method": "Bayesian", **options}
        self.known: dict[str, Observation] = {}

    def ask(self) -> Point:
        (proposal,) = propose(self.space, seed=self.seed, history=list(self.known.values()), **self.options)
        assert proposal.point.key not in self.known, f"proposed twice: {proposal.point}"
        self.known[proposal.point.key] = Observation(proposal.point, "Pending")
        return proposal.point

    def tell(self, point: Point, score: float | None) -> None:
        state = "Failed" if score is None else "Finished"
        self.known[point.key] = Observation(point, state, score)


def random_search(space: SearchSpace, seed: int) -> Searcher:
    """Our random search."""
    return Ours(space, seed, method="Random")


def grid_search(space: SearchSpace, seed: int) -> Searcher:
    """Our grid search over the coarse grid that a person would write for about 30 trials."""
    return Ours(coarse(space), seed, method="Grid")


def coarse(space: SearchSpace, most: int = 32) -> SearchSpace:
    """Each parameter at a few values, learning rates first, so that there are at most `most` points in all."""
    levels = {(branch.name, name): 1 for branch in space.branches for name in branch.parameters}

    def total() -> int:
        count = 0
        for branch in space.branches:
            product = len(branch.base_models)
            for name in branch.parameters:
                product *= levels[branch.name, name]
            count += product
        return count

    for wanted in (2, 3, 4):
        for key in sorted(levels, key=lambda key: ("earning" not in key[1] and "lr" not in key[1], key)):
            parameter = next(branch for branch in space.branches if branch.name == key[0]).parameters[key[1]]
            before = levels[key]
            levels[key] = min(wanted, parameter.size or wanted)
            if total() > most:
                levels[key] = before
    return SearchSpace(
        tuple(
            Branch(
                branch.name,
                branch.base_models,
                {name: _at_levels(own, levels[branch.name, name]) for name, own in branch.parameters.items()},
            )
            for branch in space.branches
        )
    )


def _at_levels(parameter: Parameter, levels: int) -> Parameter:
    if isinstance(parameter, Values) and parameter.categorical:
        return Values(tuple(str(value) for value in parameter.items[:levels]))
    places = [(level + 0.5) / levels for level in range(levels)]
    return Values(tuple(dict.fromkeys(repr(parameter.decode((place,))) for place in places)))


class Optuna:
    """A sampler of Optuna.

    Args:
        space: The space.
        make: Makes the sampler.
        flat: Whether all candidates' parameters are asked for each time. Optuna's Gaussian process draws at
            random what not every trial has.
    """

    def __init__(self, space: SearchSpace, make: Callable[[], Any], *, flat: bool = False) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self.flat = flat
        self.failed = optuna.trial.TrialState.FAIL
        self.study = optuna.create_study(direction="maximize", sampler=make())
        self.asked: dict[int, tuple[Any, Point]] = {}

    def ask(self) -> Point:
        trial = self.study.ask()
        if self.flat:
            return self._kept(trial, self._ask_all(trial))
        branches = {branch.name: branch for branch in self.space.branches}
        branch = branches[_pick(trial, "candidate", list(branches))]
        model = _pick(trial, f"{branch.name}/baseModel", list(branch.base_models))
        values = {
            name: self._value(trial, self._label(branch, name), own)
            for name, own in branch.parameters.items()
        }
        return self._kept(trial, Point(branch.name, model, values))

    def _ask_all(self, trial: Any) -> Point:
        arms = {f"{arm.branch.name}/{arm.base_model}": arm for arm in self.space.arms}
        arm = arms[_pick(trial, "arm", list(arms))]
        drawn = {
            (branch.name, name): self._value(trial, self._label(branch, name), own)
            for branch in self.space.branches
            for name, own in branch.parameters.items()
        }
        return Point(
            arm.branch.name,
            arm.base_model,
            {name: drawn[arm.branch.name, name] for name in arm.branch.parameters},
        )

    def _kept(self, trial: Any, point: Point) -> Point:
        self.asked[id(point)] = (trial, point)
        return point

    def tell(self, point: Point, score: float | None) -> None:
        trial, _ = self.asked.pop(id(point))
        if score is None:
            self.study.tell(trial, state=self.failed)
        else:
            self.study.tell(trial, score)

    def _label(self, branch: Branch, name: str) -> str:
        # What is the same for all candidates is one parameter.
        same = {repr(other.parameters[name]) for other in self.space.branches if name in other.parameters}
        return name if len(same) == 1 else f"{branch.name}/{name}"

    @staticmethod
    def _value(trial: Any, label: str, parameter: Parameter) -> Any:
        if parameter.size == 1:
            return parameter.grid_values()[0]
        if isinstance(parameter, IntRange):
            if parameter.step == 1:
                return trial.suggest_int(label, parameter.min, parameter.max, log=parameter.log)
            return parameter.value_at(trial.suggest_int(label, 0, parameter.size - 1))
        if isinstance(parameter, Values) and parameter.categorical:
            return trial.suggest_categorical(label, list(parameter.items))
        if parameter.size is not None:
            return parameter.grid_values()[trial.suggest_int(label, 0, parameter.size - 1)]
        log = isinstance(parameter, LogUniformRange)
        return trial.suggest_float(label, parameter.min, parameter.max, log=log)


def _pick(trial: Any, label: str, choices: list[str]) -> str:
    return str(trial.suggest_categorical(label, choices)) if len(choices) > 1 else choices[0]


def optuna_tpe(space: SearchSpace, seed: int) -> Searcher:
    """Optuna's default."""
    import optuna

    return Optuna(space, lambda: optuna.samplers.TPESampler(seed=seed))


def optuna_tpe_multivariate(space: SearchSpace, seed: int) -> Searcher:
    """TPE that models parameters together, by group of those that occur together, with a constant liar."""
    import warnings

    import optuna

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    return Optuna(space, make)


def optuna_gp(space: SearchSpace, seed: int) -> Searcher:
    """Optuna's Gaussian process, after as many random trials as we have in our design; its default is 10."""
    import warnings

    import optuna
    import torch

    torch.set_num_threads(1)

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=6, deterministic_objective=False)

    return Optuna(space, make, flat=True)


class Skopt:
    """scikit-optimize's Gaussian process; one trial at a time."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        from skopt import Optimizer
        from skopt.space import Categorical, Integer, Real

        self.space = space
        self.arms = {f"{arm.branch.name}/{arm.base_model}": arm for arm in space.arms}
        dimensions: list[Any] = [Categorical(list(self.arms))] if len(self.arms) > 1 else []
        self.labels: list[tuple[str, str]] = []
        for branch in space.branches:
            for name, own in branch.parameters.items():
                if own.size == 1:
                    continue
                self.labels.append((branch.name, name))
                if isinstance(own, Values) and own.categorical:
                    dimensions.append(Categorical(list(own.items)))
                elif own.size is not None:
                    dimensions.append(Integer(0, own.size - 1))
                else:
                    log = isinstance(own, LogUniformRange)
                    dimensions.append(Real(own.min, own.max, prior="log-uniform" if log else "uniform"))
        self.optimizer = Optimizer(dimensions, random_state=seed, n_initial_points=6)
        self.asked: dict[int, tuple[list[Any], Point]] = {}
        self.worst = 0.0

    def ask(self) -> Point:
        place = self.optimizer.ask()
        values = list(place)
        arm = self.arms[values.pop(0)] if len(self.arms) > 1 else next(iter(self.arms.values()))
        drawn = dict(zip(self.labels, values, strict=True))
        parameters = {
            name: own.grid_values()[0] if own.size == 1 else _from_skopt(own, drawn[arm.branch.name, name])
            for name, own in arm.branch.parameters.items()
        }
        point = Point(arm.branch.name, arm.base_model, parameters)
        self.asked[id(point)] = (place, point)
        return point

    def tell(self, point: Point, score: float | None) -> None:
        place, _ = self.asked.pop(id(point))
        loss = self.worst if score is None else -score
        self.worst = max(self.worst, loss)
        self.optimizer.tell(place, loss)


def _from_skopt(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Values) and parameter.categorical:
        return str(value)
    return parameter.grid_values()[int(value)] if parameter.size is not None else float(value)


class Hyperopt:
    """hyperopt's TPE; what is pending is known to it as running."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        import hyperopt

        self.hyperopt = hyperopt
        self.generator = random.Random(seed)
        choices = [
            {
                "branch": branch.name,
                "model": _choice(f"{branch.name}/model", list(branch.base_models)),
                **_own(branch),
            }
            for branch in space.branches
        ]
        self.branches = {branch.name: branch for branch in space.branches}
        self.domain = hyperopt.Domain(lambda values: 0.0, _choice("candidate", choices))
        self.trials = hyperopt.Trials()
        self.asked: dict[int, tuple[Any, Point]] = {}

    def ask(self) -> Point:
        (number,) = self.trials.new_trial_ids(1)
        self.trials.refresh()
        (document,) = self.hyperopt.tpe.suggest(
            [number], self.domain, self.trials, self.generator.randrange(2**31)
        )
        document["state"] = self.hyperopt.JOB_STATE_RUNNING
        self.trials.insert_trial_docs([document])
        self.trials.refresh()
        plain = {name: found[0] for name, found in document["misc"]["vals"].items() if found}
        values = self.hyperopt.space_eval(self.domain.expr, plain)
        branch = self.branches[values["branch"]]
        parameters = {
            name: _from_hyperopt(own, values[f"p/{name}"]) for name, own in branch.parameters.items()
        }
        point = Point(branch.name, values["model"], parameters)
        self.asked[id(point)] = (number, point)
        return point

    def tell(self, point: Point, score: float | None) -> None:
        number, _ = self.asked.pop(id(point))
        document = next(entry for entry in self.trials._dynamic_trials if entry["tid"] == number)
        document["state"] = self.hyperopt.JOB_STATE_DONE
        document["result"] = {"status": "fail"} if score is None else {"status": "ok", "loss": -score}
        self.trials.refresh()


def _choice(label: str, choices: list[Any]) -> Any:
    from hyperopt import hp

    return hp.choice(label, choices) if len(choices) > 1 else choices[0]


def _own(branch: Branch) -> dict[str, Any]:
    from math import log

    from hyperopt import hp

    expressions: dict[str, Any] = {}
    for name, own in branch.parameters.items():
        label, key = f"{branch.name}/{name}", f"p/{name}"
        if own.size == 1:
            expressions[key] = own.grid_values()[0]
        elif isinstance(own, Values) and own.categorical:
            expressions[key] = hp.choice(label, list(own.items))
        elif own.size is not None:
            expressions[key] = hp.quniform(label, -0.5, own.size - 0.5, 1)
        elif isinstance(own, LogUniformRange):
            expressions[key] = hp.loguniform(label, log(own.min), log(own.max))
        else:
            assert isinstance(own, UniformRange)
            expressions[key] = hp.uniform(label, own.min, own.max)
    return expressions


def _from_hyperopt(parameter: Parameter, value: Any) -> Any:
    if parameter.size is None:
        return min(max(float(value), parameter.min), parameter.max)
    if parameter.size == 1 or (isinstance(parameter, Values) and parameter.categorical):
        return value
    return parameter.grid_values()[min(max(round(value), 0), parameter.size - 1)]


METHODS: dict[str, Callable[[SearchSpace, int], Searcher]] = {
    "ours": Ours,
    "random": random_search,
    "grid": grid_search,
    "optuna-tpe": optuna_tpe,
    "optuna-tpe-mv": optuna_tpe_multivariate,
    "hyperopt": Hyperopt,
    "optuna-gp": optuna_gp,
    "skopt": Skopt,
}
TITLES = {
    "ours": "**ours (Bayesian)**",
    "random": "ours (Random)",
    "grid": "ours (Grid, about 30 points)",
    "optuna-tpe": "Optuna TPE",
    "optuna-tpe-mv": "Optuna TPE, multivariate, grouped, constant liar",
    "hyperopt": "hyperopt TPE",
    "optuna-gp": "Optuna GPSampler",
    "skopt": "scikit-optimize GP",
}
SLOW = ("optuna-gp", "skopt")
SEQUENTIAL_ONLY = ("skopt",)


def version_of(method: str) -> str:
    """Changes when what a method proposes may: for ours with the sources, for others with their package."""
    if method == "ours":
        folder = Path(search_package.__file__).parent
        text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
    if method in ("random", "grid"):
        return "1"
    package = {"o": "optuna", "h": "hyperopt", "s": "scikit-optimize"}[method[0]]
    text = metadata.version(package) + inspect.getsource(METHODS[method])
    text += inspect.getsource(Optuna) if package == "optuna" else ""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
