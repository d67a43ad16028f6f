"""Everything that is checked before a cent is spent."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from finetune_operator.decisions import CostModel
from finetune_operator.decisions.starting import Defaults
from finetune_operator.errors import DatasetUnavailable, InvalidManifest, Problem
from finetune_operator.evaluation import ANYWHERE, FetchedDataset, SourceRules, fetch
from finetune_operator.lifecycle.accounts import Account, Accounts
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.legality import (
    candidate_problems,
    cost_model,
    median_problem,
    space_problems,
    stated_defaults,
)
from finetune_operator.lifecycle.store import Key, NotFound, Store
from finetune_operator.resources import (
    REPORTED_METRICS,
    Candidate,
    DataSource,
    FinetuneSweep,
    FinetuneTrial,
    SweepSpec,
)
from finetune_operator.resources.sweep_status import DatasetHashes
from finetune_providers.errors import PermanentProviderError, TransientProviderError

RECHECK_S = 30.0
LONGEST_RECHECK_S = 600.0


@dataclass(frozen=True, slots=True)
class Admission:
    """The outcome of the checks.

    Attributes:
        problems: What is wrong; nothing is bought while there is any.
        datasets: By the name of the field below `spec.dataset`.
        costs: What trials are expected to cost.
        defaults: What providers take for parameters that are not given.
        deletable: Providers whose fine-tuned models can be deleted.
        checked_at: Monotonic seconds.
        again_after_s: Seconds after which problems are checked again: datasets and credentials get mended
            elsewhere, and nobody tells of it.
    """

    problems: tuple[Problem, ...] = ()
    datasets: Mapping[str, FetchedDataset] = field(default_factory=dict)
    costs: CostModel = field(default_factory=CostModel)
    defaults: Defaults = field(default_factory=dict)
    deletable: frozenset[str] = frozenset()
    checked_at: float = 0.0
    again_after_s: float = RECHECK_S

    @property
    def dataset_hashes(self) -> DatasetHashes:
        """The datasets' content as it was checked."""
        return DatasetHashes(**{name: each.content_hash for name, each in self.datasets.items()})


class Admissions:
    """Checks sweeps in the background and remembers what came out."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        background: BackgroundWork,
        *,
        datasets_dir: Path,
        enqueue: Callable[[Key], None],
        rules: SourceRules = ANYWHERE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check against a store and its accounts; datasets are brought to `datasets_dir`."""
        self._store = store
        self._accounts = accounts
        self._background = background
        self._datasets_dir = datasets_dir
        self._enqueue = enqueue
        self._rules = rules
        self._clock = clock
        self._known: dict[Key, tuple[str, Admission]] = {}
        self._waiting: dict[Key, set[Key]] = {}

    def get(self, key: Key, sweep: FinetuneSweep, *, waiter: Key) -> Admission | None:
        """What the checks said, or None while they go on; the waiter is looked at when they have ended.

        Raises:
            TransientProviderError, StoreUnavailable: The checks could not be made; ask again.
        """
        wanted = _fingerprint(sweep)
        fingerprint, known = self._known.get(key, ("", Admission()))
        expired = known.problems and self._clock() - known.checked_at > known.again_after_s
        if fingerprint == wanted and not expired:
            return known
        name = ("admission", key, wanted)
        outcome: Admission | None = self._background.outcome(name)
        if outcome is not None:
            if fingerprint == wanted and known.problems:
                # Each check reads all datasets, and what has been wrong for long is not mended in a hurry.
                doubled = min(known.again_after_s * 2.0, LONGEST_RECHECK_S)
                outcome = replace(outcome, again_after_s=doubled)
            self._known[key] = (wanted, outcome)
            self._background.forget(name)
            return outcome
        self._waiting.setdefault(key, set()).add(waiter)
        self._background.start(name, lambda: self.check(key.namespace, sweep), then=lambda: self._wake(key))
        return None

    def _wake(self, key: Key) -> None:
        for waiter in self._waiting.pop(key, ()):
            self._enqueue(waiter)

    def checked(self, namespace: str) -> tuple[Key, ...]:
        """The sweeps of a namespace whose checks have an outcome: a changed provider may change it."""
        return tuple(key for key in self._known if key.namespace == namespace)

    def dataset_paths(self) -> tuple[Path, ...]:
        """The files of the datasets of the sweeps whose checks have an outcome."""
        return tuple(
            each.path for _, admission in self._known.values() for each in admission.datasets.values()
        )

    def forget(self, key: Key) -> None:
        """Check the sweep anew when it is asked for next."""
        self._known.pop(key, None)

    async def check(self, namespace: str, sweep: FinetuneSweep) -> Admission:
        """Check the space, the providers and the datasets of a sweep."""
        problems: list[Problem] = []
        accounts: dict[str, Account] = {}
        for index, candidate in enumerate(sweep.spec.candidates):
            account = await self._check_candidate(namespace, sweep.spec, index, candidate, problems)
            if account is not None:
                accounts[candidate.provider_ref.name] = account
        defaults = stated_defaults(sweep.spec, accounts)
        problems += space_problems(sweep, accounts, defaults)
        fetched = await self._check_datasets(namespace, sweep.spec, problems)
        datasets = {name: replace(each, scope=data_scope(sweep)) for name, each in fetched.items()}
        trials = await self._store.list_trials(Key("FinetuneSweep", namespace, sweep.name))
        problems += [*_changed_datasets(sweep, datasets), *_changed_currency(sweep, trials)]
        if not problems:
            problems += await _unfit_datasets(sweep.spec, accounts, datasets)
        costs = cost_model(sweep.spec, accounts, datasets.get("training"), problems)
        return Admission(
            problems=tuple(problems),
            datasets=datasets,
            costs=costs,
            defaults=defaults,
            deletable=frozenset(
                n for n, each in accounts.items() if each.provider.capabilities.deletes_models
            ),
            checked_at=self._clock(),
        )

    async def _check_candidate(
        self, namespace: str, spec: SweepSpec, index: int, candidate: Candidate, problems: list[Problem]
    ) -> Account | None:
        path = f"spec.candidates[{index}]"
        try:
            account = await self._accounts.get(namespace, candidate.provider_ref.name)
        except (NotFound, InvalidManifest, PermanentProviderError) as error:
            missing = isinstance(error, NotFound)
            problems.append(Problem(f"{path}.providerRef", str(error), missing))
            return None
        found = candidate_problems(candidate, path, account.provider)
        metric = spec.objective.metric
        if metric in REPORTED_METRICS and metric not in account.provider.capabilities.metrics:
            message = f"provider {candidate.provider_ref.name} does not report {metric}"
            found.append(Problem("spec.objective.metric", message))
        if (unjudged := median_problem(spec, account, candidate.provider_ref.name)) is not None:
            found.append(unjudged)
        problems += found
        if not found:
            try:
                await account.provider.check(candidate.base_models)
            except PermanentProviderError as error:
                problems.append(_provider_problem(error, path, candidate))
            except TransientProviderError as error:
                # Who mistyped a model that nobody can look up now sees where.
                error.args = (f"{path}.{error.field or 'providerRef'}: {error}",)
                raise
        return account

    async def _check_datasets(
        self, namespace: str, spec: SweepSpec, problems: list[Problem]
    ) -> dict[str, FetchedDataset]:
        sources: dict[str, DataSource | None] = {
            "training": spec.dataset.training,
            "validation": spec.dataset.validation,
            "evaluation": spec.dataset.evaluation,
        }
        datasets: dict[str, FetchedDataset] = {}
        for name, source in sources.items():
            if source is None:
                continue
            path = f"spec.dataset.{name}"
            try:
                datasets[name] = await fetch(
                    source,
                    field=path,
                    into=self._datasets_dir,
                    config_map=lambda name, key: self._config_map_value(namespace, name, key),
                    rules=self._rules,
                )
            except InvalidManifest as error:
                problems += error.problems
            except DatasetUnavailable as error:
                problems.append(Problem(error.field, str(error), missing=True))
        return datasets

    async def _config_map_value(self, namespace: str, name: str, key: str) -> str:
        try:
            return (await self._store.get_config_map(namespace, name))[key]
        except NotFound as error:
            raise LookupError(str(error)) from error


async def _unfit_datasets(
    spec: SweepSpec, accounts: Mapping[str, Account], datasets: Mapping[str, FetchedDataset]
) -> list[Problem]:
    """What of the datasets a provider would refuse, once for the models that refuse it alike."""
    problems: dict[Problem, None] = {}
    for candidate in spec.candidates:
        name = candidate.provider_ref.name
        for base_model in candidate.base_models:
            try:
                await accounts[name].provider.check_data(
                    base_model, training=datasets["training"], validation=datasets.get("validation")
                )
            except PermanentProviderError as error:
                problem = Problem(f"spec.dataset.{error.field or 'training'}", f"provider {name}: {error}")
                problems[problem] = None
    return list(problems)


def data_scope(sweep: FinetuneSweep) -> str:
    """Under which name a sweep's datasets lie at providers."""
    identity = sweep.metadata.uid or f"{sweep.metadata.namespace}/{sweep.name}"
    return f"fts-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _provider_problem(error: PermanentProviderError, path: str, candidate: Candidate) -> Problem:
    """What a provider has against a candidate, or what is wrong with its FinetuneProvider itself."""
    if error.field.startswith("spec."):
        where = f"FinetuneProvider {candidate.provider_ref.name} {error.field}"
        return Problem(f"{path}.providerRef", f"{where}: {error}")
    return Problem(f"{path}.{error.field or 'baseModels'}", str(error))


def _changed_datasets(sweep: FinetuneSweep, datasets: Mapping[str, FetchedDataset]) -> list[Problem]:
    """The datasets that are no longer what the sweep began with."""
    began = {} if sweep.status.datasets is None else sweep.status.datasets.to_dict()
    message = (
        "its content has changed since the sweep began, so that scores could not be compared; bring the old "
        "content back, or make a new sweep under another name"
    )
    return [
        Problem(f"spec.dataset.{name}", message)
        for name, dataset in datasets.items()
        if name in began and began[name] != dataset.content_hash
    ]


def _changed_currency(sweep: FinetuneSweep, trials: Collection[FinetuneTrial]) -> list[Problem]:
    """Money of two currencies cannot be added up; the trials know theirs though a restore has lost the status."""
    cost, wanted = sweep.status.cost, sweep.spec.limits.currency
    counted = {each.spec.currency for each in trials if each.spec.estimated_cost or each.status.cost}
    if cost is not None and (cost.spent or cost.reserved):
        counted.add(cost.currency)
    if not (others := sorted(counted - {wanted, None}, key=str)):
        return []
    message = (
        f"what its trials cost was counted in {others[0]} so far and cannot be counted on in {wanted}; give "
        f"the budget in {others[0]}, or make a new sweep under another name"
    )
    return [Problem("spec.limits.budget.currency", message)]


def _fingerprint(sweep: FinetuneSweep) -> str:
    """What the outcome depends on: not on limits that only bound the number of trials."""
    spec = sweep.spec
    budget = None if spec.limits.budget is None else spec.limits.budget.currency
    parts = [each.to_dict() for each in (spec.objective, spec.dataset, spec.search, *spec.candidates)]
    median = spec.early_stopping is not None and spec.early_stopping.median is not None
    return json.dumps([sweep.metadata.uid, parts, budget, median], sort_keys=True)
