"""What a sweep would do, found out without buying anything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

from finetune_operator.cli.forecast import Estimator, Forecast, forecast
from finetune_operator.cli.options import STATE_FOLDERS
from finetune_operator.cli.seams import Seams
from finetune_operator.decisions import CostModel, build_space
from finetune_operator.decisions.proposing import propose_after
from finetune_operator.decisions.starting import Defaults, first_proposals
from finetune_operator.decisions.stopping import trials_to_propose
from finetune_operator.decisions.warm_start import prior_of
from finetune_operator.errors import Problem
from finetune_operator.evaluation import FetchedDataset
from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.accounts import Accounts, ProviderFactory
from finetune_operator.lifecycle.admission import Admission, Admissions
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.warm_starting import WarmStartNotReady, learn_from_earlier
from finetune_operator.resources import FinetuneSweep
from finetune_operator.search import Proposal

FIRST_TRIALS = 6


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that would be launched.

    Attributes:
        proposal: Its point, and the rule that chose it.
        cost: What it is expected to cost; None where the price is unknown.
    """

    proposal: Proposal
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep would do.

    Attributes:
        sweep: The sweep.
        problems: What is wrong with it; the rest is empty then.
        space_size: Points of the search space; None where it is unbounded.
        first_trials: The first trials, which do not depend on any score.
        datasets: By the name of the field below `spec.dataset`.
        currency: Of all costs.
        missing_prices: Of what no price in that currency is given, such as "training MODEL at provider NAME".
        forecast: What it may come to; None where it is wrong.
        waits_for: What an earlier sweep that it is to learn from is missing; "" where there is nothing to wait for.
    """

    sweep: FinetuneSweep
    problems: tuple[Problem, ...] = ()
    space_size: int | None = None
    first_trials: tuple[PlannedTrial, ...] = ()
    datasets: Mapping[str, FetchedDataset] = field(default_factory=dict)
    currency: str = "USD"
    missing_prices: tuple[str, ...] = ()
    forecast: Forecast | None = None
    waits_for: str = ""


async def make_plan(manifests: Sequence[Any], seams: Seams) -> Plan:
    """Check a sweep as the operator would and propose its first trials.

    Raises:
        InvalidManifest: The documents cannot be read.
        TransientProviderError: A provider could not be asked.
    """
    with (
        tempfile.TemporaryDirectory(prefix="finetune-plan-") as folder,
        FolderStore.open(Path(folder) / "state", manifests, clock=seams.clock) as store,
    ):
        store.beside = STATE_FOLDERS
        sweep = store.sweep
        admission = await _check(store, seams.make_provider)
        if admission.problems:
            return Plan(sweep, problems=admission.problems)
        waits_for = ""
        try:
            hashes = admission.dataset_hashes
            sweep = await learn_from_earlier(store, store.sweep_key, sweep, trials=(), datasets=hashes)
        except WarmStartNotReady as error:
            waits_for = str(error)
    space = build_space(sweep.spec)
    first = _first_trials(sweep, admission.costs, admission.defaults)
    return Plan(
        sweep,
        space_size=space.size,
        first_trials=first,
        datasets=admission.datasets,
        currency=admission.costs.currency,
        missing_prices=tuple(_missing_prices(sweep, admission.costs)),
        forecast=forecast(
            space,
            sweep.spec,
            Estimator(admission.costs, admission.defaults),
            first=[each.proposal.point for each in first],
        ),
        waits_for=waits_for,
    )


async def _check(store: FolderStore, make_provider: ProviderFactory) -> Admission:
    background = BackgroundWork()
    accounts = Accounts(store, store.work_dir, make_provider, changed=lambda _: None)
    admissions = Admissions(
        store, accounts, background, datasets_dir=store.work_dir / "datasets", enqueue=lambda _: None
    )
    try:
        return await admissions.check(store.sweep_key.namespace, store.sweep)
    finally:
        await background.close()
        await accounts.close()


def _missing_prices(sweep: FinetuneSweep, costs: CostModel) -> Iterator[str]:
    for candidate in sweep.spec.candidates:
        for base_model in candidate.base_models:
            price = costs.prices.get((candidate.name, base_model))
            where = f"{base_model} at provider {candidate.provider_ref.name}"
            if price is None:
                yield f"training {where}"
            elif price.served and price.serving_per_hour is None:
                yield f"serving {where}"


def _first_trials(sweep: FinetuneSweep, costs: CostModel, defaults: Defaults) -> tuple[PlannedTrial, ...]:
    search, space = sweep.spec.search, build_space(sweep.spec)
    starts = first_proposals(sweep, space, defaults, costs)
    wanted = min(FIRST_TRIALS, trials_to_propose(sweep, ()))  # repeats (confirm) have points of their own
    if search.method == "Bayesian" and search.initial_trials is not None:
        # What comes after them depends on their scores.
        wanted = min(wanted, max(search.initial_trials, len(starts)))
    proposals = propose_after(sweep, space, (), starts=starts, prior=prior_of(sweep, costs), count=wanted)
    # Where earlier sweeps make the initial design short, the model has its say: on scores that are still to come.
    known = takewhile(lambda each: each.origin != "expected improvement", proposals)
    return tuple(PlannedTrial(each, costs.estimate(each.point)) for each in tuple(known) or proposals[:1])
