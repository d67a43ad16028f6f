"""Who may have a job at a provider account: at most so many at once, shared fairly by the sweeps."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneTrial, TrialPhase

OUTCOME_UNKNOWN = "CreateOutcomeUnknown"
"""Why a trial waits for a person: nobody can find out whether its create call was taken."""
_WITHOUT_JOB = frozenset({TrialPhase.PENDING, TrialPhase.EVALUATING})


def holds_job(trial: FinetuneTrial) -> bool:
    """Whether a job of the trial trains, or may do so as far as its outcome is still looked up.

    Not where a person is asked, who may take days: a job that is there all the same is one above the limit, which
    the provider answers with a quota; nobody would be free to go on otherwise.
    """
    entry = trial.status.create
    if trial.phase is TrialPhase.STALLED and entry is not None and entry.state == "Unknown":
        return False  # by the journal: the reason may say by now that its deletion is held up
    bought = entry is not None and entry.state != "Failed"
    return bought and not trial.terminal and trial.phase not in _WITHOUT_JOB


def is_served(trial: FinetuneTrial) -> bool:
    """Whether a deployment of the trial's may be there, and cost."""
    return trial.status.serving is not None and trial.status.serving.state != "Deleted"


def deployment_name(trial: FinetuneTrial) -> str:
    """The one name under which a trial's model is deployed."""
    return f"{trial.spec.run_key}-serve"


class JobSlots:
    """The slots of one account.

    A free slot goes to the sweep that holds the fewest; among equals to the one that was served longest ago, and
    within a sweep to the trial with the lowest index. So a sweep of a thousand trials cannot keep a small one out.
    """

    def __init__(self, limit: int | None, *, wake: Callable[[Key], None]) -> None:
        """Make slots that are all free; None for as many as anybody wants. `wake` gets a trial whose turn it is."""
        self.limit = limit
        self._wake = wake
        self._held: dict[Key, str] = {}
        self._jobs: Counter[str] = Counter()
        self._waiting: dict[Key, tuple[str, int]] = {}
        # By sweep, the lowest index first; who does not wait any more is passed over when it comes up.
        self._queues: defaultdict[str, list[tuple[int, str, int, Key]]] = defaultdict(list)
        self._served: dict[str, int] = {}
        self._turns = itertools.count(1)

    def take_in(self, trials: Iterable[tuple[Key, FinetuneTrial]]) -> None:
        """Count those of the trials that have a job already, as after a restart; they are never turned away."""
        for key, trial in trials:
            if holds_job(trial):
                self._waiting.pop(key, None)  # another operator bought it: who is called never would ask
                self._take(key, trial.spec.sweep_ref.name)

    def ask(self, trial: Key, *, sweep: str, index: int) -> bool:
        """Whether the trial may have a job now; where not, it waits its turn and is woken."""
        if trial in self._held:
            return True
        if self.limit is None:
            self._hold(trial, sweep)
            return True
        if self._waiting.get(trial) != (sweep, index):
            self._waiting[trial] = (sweep, index)
            heapq.heappush(self._queues[sweep], (index, trial.name, next(self._turns), trial))
        if len(self._held) < self.limit and (first := self._next()) is not None:
            if first == trial:
                self._hold(trial, sweep)
                self._call_next()
                return True
            self._wake(first)
        return False

    def give_back(self, trial: Key) -> None:
        """The trial has no job, or none any more, and does not wait for one."""
        self._waiting.pop(trial, None)
        sweep = self._held.pop(trial, None)
        if sweep is not None:
            self._jobs[sweep] -= 1
            if not self._jobs[sweep]:
                del self._jobs[sweep]
            self._call_next()

    @property
    def is_waited_for(self) -> bool:
        """Whether a trial waits for a slot."""
        return bool(self._waiting)

    @property
    def taken(self) -> int:
        """How many slots are held."""
        return len(self._held)

    def _hold(self, trial: Key, sweep: str) -> None:
        self._waiting.pop(trial, None)
        self._take(trial, sweep)
        self._served[sweep] = next(self._turns)

    def _take(self, trial: Key, sweep: str) -> None:
        if trial not in self._held:
            self._held[trial] = sweep
            self._jobs[sweep] += 1

    def _call_next(self) -> None:
        if self.limit is not None and len(self._held) < self.limit and (first := self._next()) is not None:
            self._wake(first)

    def _next(self) -> Key | None:
        first: tuple[int, int, int, str] | None = None
        found: Key | None = None
        for sweep in list(self._queues):
            if (waiting := self._first_of(sweep)) is None:
                continue
            index, trial = waiting
            order = (self._jobs[sweep], self._served.get(sweep, 0), index, trial.name)
            if first is None or order < first:
                first, found = order, trial
        return found

    def _first_of(self, sweep: str) -> tuple[int, Key] | None:
        queue = self._queues[sweep]
        while queue:
            index, _, _, trial = queue[0]
            if self._waiting.get(trial) == (sweep, index):
                return index, trial
            heapq.heappop(queue)
        del self._queues[sweep]
        return None
