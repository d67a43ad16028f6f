"""What the reconcilers share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from finetune_operator.lifecycle.accounts import Accounts
from finetune_operator.lifecycle.admission import Admissions
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.lifecycle.uploads import Uploads


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
        evaluating: Progress of evaluations that go on.
        deploying: Since when deployments have been seen that are not active yet, by their trial.
        doubted: Since when this process looks for a job by its key, in monotonic seconds, by the trial.
        monotonic: Seconds that no clock's correction changes.
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
    evaluating: dict[Key, TrialProgress] = field(default_factory=dict)
    doubted: dict[Key, tuple[str, float]] = field(default_factory=dict)
    monotonic: Callable[[], float] = time.monotonic
    output_problems: dict[Key, str] = field(default_factory=dict)
    deploying: dict[Key, datetime] = field(default_factory=dict)
