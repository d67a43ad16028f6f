"""What the operator writes into a sweep's status."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finetune_operator.resources.common import Condition, Lenient, Money, Timestamp


class TrialCounts(Lenient):
    """Trials by what became of them; `done` counts all that ended."""

    total: int = 0
    pending: int = 0
    running: int = 0
    done: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stalled: int = 0


class BestTrial(Lenient):
    """The best trial so far.

    `value` is the score with the cost counted in; `mean_score` that of the trial and its `repeats`.
    """

    trial: str
    candidate: str
    provider: str
    base_model: str
    fine_tuned_model: str | None = None
    score: float
    base_score: float | None = None
    value: float | None = None
    cost: Money | None = None
    mean_score: float | None = None
    repeats: int | None = None
    hyperparameters: dict[str, int | float | str] = Field(default_factory=dict)


class Baseline(Lenient):
    """What a base model scores without fine-tuning; measured once."""

    provider: str
    base_model: str
    score: float | None = None
    message: str | None = None


class SweepCost(Lenient):
    """Money of the sweep: reserved for trials that run, spent on those that ended or are gone.

    `per_trial` is what each trial costs, by its index; what a trial that was deleted cost is known from here alone.
    `saved` is what trials that were stopped early left of their estimates; `exceeded` the highest `maxCost` that was
    exceeded, for which trials that train are cancelled where there are any.
    """

    reserved: Money | None = None
    spent: Money | None = None
    currency: str = "USD"
    per_trial: tuple[Money, ...] = ()
    saved: Money | None = None
    exceeded: Money | None = None


class DatasetHashes(Lenient):
    """SHA-256 of each dataset's content as it was when the sweep was accepted, hexadecimal."""

    training: str | None = None
    validation: str | None = None
    evaluation: str | None = None


class EarlierObservation(Lenient):
    """A trial of an earlier sweep, as a point of this sweep's space."""

    candidate: str
    base_model: str
    parameters: dict[str, int | float | str] = Field(default_factory=dict)
    score: float


class EarlierSweep(Lenient):
    """What was learnt from a sweep of `spec.warmStart`; `same_data` says that its scores can be compared."""

    sweep: str
    uid: str | None = None
    same_data: bool | None = None
    observations: tuple[EarlierObservation, ...] = ()


class MadeRepeats(Lenient):
    """The repeats of one trial by their numbers, those that were deleted since included."""

    trial: int
    repeats: tuple[int, ...] = ()


class SweepStatus(Lenient):
    """What the operator knows of the sweep; all but hashes, baselines and deleted trials comes from the trials.

    `data_scopes` are the names of all that was uploaded, those of trials that are gone included.
    """

    observed_generation: int = -1
    phase: Literal["Pending", "Searching", "Suspended", "Finishing", "Succeeded", "Failed"] | None = None
    conditions: tuple[Condition, ...] = ()
    trials: TrialCounts = TrialCounts()
    best: BestTrial | None = None
    best_score: str | None = None
    baselines: tuple[Baseline, ...] = ()
    datasets: DatasetHashes | None = None
    data_scopes: tuple[str, ...] = ()
    cost: SweepCost | None = None
    warm_start: tuple[EarlierSweep, ...] = ()
    repeats: tuple[MadeRepeats, ...] | None = None
    spent: str | None = None
    space_size: str | None = None
    last_index: int = -1
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None

    @property
    def finished(self) -> bool:
        """Whether the sweep has ended; an edit may have it go on."""
        return self.phase in {"Succeeded", "Failed"}

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, if it is there."""
        return next((each for each in self.conditions if each.type == kind), None)
