"""What the reconcilers share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from finetune_operator.decisions import Obstacle
from finetune_operator.lifecycle.accounts import Accounts
from finetune_operator.lifecycle.admission import Admissions
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.lifecycle.uploads import Uploads
from finetune_operator.resources import SweepStatus

RELEASE_WITHIN_S = 24 * 3600.0
QUICK_S = 5.0
CHECKS_SAID_AFTER_S = 5.0
LAUNCHED_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """Where a trial is, for a person who watches.

    Attributes:
        stage: Queued, Training, Evaluating or another word for what goes on.
        fraction: 0 to 1, where it is known.
        message: More about it.
    """

    stage: str
    fraction: float | None = None
    message: str = ""


@dataclass(slots=True)
class Patience:
    """What this process has seen of one evaluation.

    Attributes:
        since: When it was first looked at.
        answered_at: When the model last answered something new.
        done: How many answers there were then.
        waits_for_turn: Whether other evaluations of the account go first.
        waited: For how long others went first since the last answer.
        error: Why it was last tried again.
    """

    since: datetime
    answered_at: datetime | None = None
    done: int | None = None
    waits_for_turn: bool = False
    waited: timedelta = timedelta(0)
    error: str = ""

    def answered(self, done: int, now: datetime) -> None:
        """So many answers are there; the first count is of those that were known before."""
        if self.done is not None and done > self.done:
            self.answered_at, self.error, self.waited = now, "", timedelta(0)
        self.done = max(done, self.done or 0)


@dataclass(slots=True)
class Launches:
    """Trials that a sweep has launched.

    Attributes:
        untold: What is to be told of those of which no event tells yet; the trials themselves would take memory for
            ten minutes.
        told_at: When one was posted last, in monotonic seconds.
        launched_at: When the last one was created, in monotonic seconds.
    """

    untold: list[str] = field(default_factory=list)
    told_at: float | None = None
    launched_at: float = float("-inf")


@dataclass(slots=True)
class TakenName:
    """A name that a sweep's next trial is to have, and that another object has.

    Attributes:
        name: That name.
        since: When that was first found, in monotonic seconds.
        again_at: When the creation is tried again, in monotonic seconds.
        obstacle: What is told of it; None while it may pass in a moment.
    """

    name: str
    since: float
    again_at: float
    obstacle: Obstacle | None = None


@dataclass(slots=True)
class Context:
    """The reconcilers' hands: everything they act through.

    Attributes:
        store: Where resources are kept.
        accounts: Providers in use.
        admissions: Checks of sweeps.
        background: Work that takes minutes.
        uploads: Datasets at providers.
        work_dir: Folder for datasets and answers.
        now: The time, timezone-aware.
        enqueue: Have a key looked at.
        reference_grace_s: For how long a new sweep may wait for what it refers to, in seconds.
        release_within_s: For how long a deleted trial waits for what cannot be ended at its provider, in seconds.
        evaluating: Progress of evaluations that go on.
        patience: What was seen of evaluations that go on.
        deploying: Since when deployments have been seen that are not active yet, by their trial.
        said_held_at: When deleted trials last said what they wait for.
        doubted: Since when this process looks for a job by its key, in monotonic seconds, by the trial.
        monotonic: Seconds that no clock's correction changes.
        quick_s: For how long a model may answer before a write says that it does, in seconds.
        quick_since: Since when models are asked of whose trials nothing is written yet, in monotonic seconds.
        counts_due: When sweeps at the latest say how many trials are at work, in monotonic seconds.
        checks_said_after_s: For how long a sweep is checked before a write says so, in seconds.
        checking_since: Since when sweeps are checked that say nothing of it yet, in monotonic seconds.
        launched_within_s: For how long a new phase or condition may wait for trials that were launched with it to be at
            work, which most of them are by then, in seconds.
        unwritten: Statuses of sweeps that wait to be written, with the UIDs of their sweeps.
        metrics_wanted: Whether the libraries of the metrics were asked for.
        launches: Trials that sweeps have launched, for their events.
        taken_names: Names of sweeps' next trials that others have.
        output_problems: Why a sweep's output could not be written; for its next look only, then it is tried again.
    """

    store: Store
    accounts: Accounts
    admissions: Admissions
    background: BackgroundWork
    uploads: Uploads
    work_dir: Path
    now: Callable[[], datetime]
    enqueue: Callable[[Key], None]
    reference_grace_s: float = 0.0
    release_within_s: float = RELEASE_WITHIN_S
    evaluating: dict[Key, TrialProgress] = field(default_factory=dict)
    doubted: dict[Key, tuple[str, float]] = field(default_factory=dict)
    monotonic: Callable[[], float] = time.monotonic
    quick_s: float = QUICK_S
    quick_since: dict[Key, float] = field(default_factory=dict)
    counts_due: dict[Key, float] = field(default_factory=dict)
    checks_said_after_s: float = CHECKS_SAID_AFTER_S
    checking_since: dict[Key, float] = field(default_factory=dict)
    launched_within_s: float = LAUNCHED_WITHIN_S
    unwritten: dict[Key, tuple[str | None, SweepStatus]] = field(default_factory=dict)
    metrics_wanted: bool = False
    launches: dict[Key, Launches] = field(default_factory=dict)
    taken_names: dict[Key, TakenName] = field(default_factory=dict)
    output_problems: dict[Key, str] = field(default_factory=dict)
    patience: dict[Key, Patience] = field(default_factory=dict)
    deploying: dict[Key, datetime] = field(default_factory=dict)
    said_held_at: dict[Key, datetime] = field(default_factory=dict)
