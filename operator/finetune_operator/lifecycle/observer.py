"""What the lifecycle tells of itself to whoever counts it, and what can be asked of it at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from finetune_operator.lifecycle.store import Key

LONGEST_EXCUSE_S = 3600.0
"""A provider's call that takes longer is stuck rather than slow: each has a time-out of minutes."""


class Observer:
    """Told of what happens; this one forgets it. What it is told holds no secret and no text of a provider's."""

    def looked(self, kind: str, outcome: str, seconds: float) -> None:
        """A look at an object ended: `done`, `conflict`, `retry`, `defect` or `cut_off`."""

    def retried(self, kind: str, error: str, delay_s: float) -> None:
        """A look failed with a class of error and is made again."""

    def called(self, account: AccountName, operation: str, outcome: str, seconds: float) -> None:
        """A provider's method ended, well (`ok`) or as an error's name says."""

    def job_ended(self, account: AccountName, outcome: str, seconds: float) -> None:
        """A fine-tuning job was seen to have ended, so long after it was made."""


@dataclass(frozen=True, slots=True)
class AccountName:
    """A FinetuneProvider, as measurements name it."""

    key: Key
    type: str


@dataclass(frozen=True, slots=True)
class AccountVitals:
    """An open account at one moment.

    Attributes:
        name: Which.
        jobs: Jobs that are polled.
        poll_age_s: Seconds since all of them were seen last, or since polling began; None where none is polled.
        full_for_s: Seconds for which a quota that is used up is waited for.
    """

    name: AccountName
    jobs: int
    poll_age_s: float | None
    full_for_s: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """The engine at one moment.

    Attributes:
        ready: Objects that wait for a worker.
        planned: Objects that are looked at at a later time.
        looks: Objects that are being looked at.
        due_for_s: For how long the object that waits longest has waited for a worker; 0 where none does.
        quiet_for_s: Seconds since a look last began or ended, or called a provider.
        excused: A look waits for a provider, which may be slow.
        background: Pieces of work that take minutes, by what they are.
        accounts: The open accounts.
    """

    ready: int
    planned: int
    looks: int
    due_for_s: float
    quiet_for_s: float
    excused: bool
    background: Mapping[str, int] = field(default_factory=dict)
    accounts: tuple[AccountVitals, ...] = ()


class Pulse:
    """When the workers last did something, and which of them wait for a provider."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; `clock` gives monotonic seconds."""
        self._clock = clock
        self._beat_at = clock()
        self._calls: dict[int, float] = {}
        self._order = 0

    def beat(self) -> None:
        """A worker does something."""
        self._beat_at = self._clock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A worker waits for a provider meanwhile."""
        self._order += 1
        call = self._order
        self._calls[call] = self._clock()
        self.beat()
        try:
            yield
        finally:
            del self._calls[call]
            self.beat()

    @property
    def quiet_for_s(self) -> float:
        """Seconds since a worker did something."""
        return self._clock() - self._beat_at

    @property
    def excused(self) -> bool:
        """Whether a worker waits for a provider that may answer yet."""
        now = self._clock()
        return any(now - begun < LONGEST_EXCUSE_S for begun in self._calls.values())
