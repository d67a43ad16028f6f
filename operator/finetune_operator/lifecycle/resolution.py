"""What a person says about a create call whose outcome nobody else can find out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from finetune_operator.resources import GROUP, FinetuneTrial, TrialPhase

ANNOTATION = f"{GROUP}/resolve-create"
ATTEMPTS = f"{GROUP}/attempts"
"""How many create calls there may have been, written before the last one: a restore may lose the status."""
MOST_KEYS = 20
_NUMBER = re.compile(r"^[1-9][0-9]{0,2}$")
_FORM = re.compile(r"^(?P<attempt>[0-9]{1,9}) (?:(?P<plain>retry|abandon)|adopt=(?P<job>\S{1,256}))$")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer.

    Attributes:
        verb: `retry` (nothing was bought), `adopt` (this job was), `abandon` (give the trial up).
        job_id: The job to adopt.
    """

    verb: Literal["retry", "adopt", "abandon"]
    job_id: str = ""


def open_question(trial: FinetuneTrial) -> bool:
    """Whether a person is asked what became of the trial's create call."""
    entry = trial.status.create
    return trial.phase is TrialPhase.STALLED and entry is not None and entry.state == "Unknown"


def annotation_for(trial: FinetuneTrial, answer: str) -> str:
    """The annotation's value that gives an answer for the attempt in question.

    Args:
        trial: The stalled trial.
        answer: `retry`, `abandon` or `adopt=<job id>`.

    Raises:
        ValueError: Nothing is asked, or the answer is none; says what is allowed.
    """
    entry = trial.status.create
    if entry is None or not open_question(trial):
        raise ValueError(
            f"trial {trial.name} is {trial.phase}: only one that is Stalled because nobody knows what became of "
            "its create call can be resolved"
        )
    value = f"{entry.attempt} {answer}"
    if _FORM.match(value) is None:
        raise ValueError(f"{answer!r} is no answer; give retry, adopt=<job id> or abandon")
    return value


def purchase_key(trial: FinetuneTrial, attempt: int) -> str:
    """The key of one attempt to buy a trial's job."""
    return f"{trial.spec.run_key}-a{attempt}"


def noted_attempts(trial: FinetuneTrial) -> int:
    """How many attempts are noted in the annotation for that; 0 where none are, or by somebody else."""
    noted = (trial.metadata.annotations or {}).get(ATTEMPTS, "")
    return int(noted) if _NUMBER.fullmatch(noted) else 0


def attempts_of(trial: FinetuneTrial) -> int:
    """How many attempts to buy there may have been, as the metadata tells; 0 where it tells of none."""
    answered = _FORM.match((trial.metadata.annotations or {}).get(ANNOTATION, "").strip())
    if answered is None:
        return noted_attempts(trial)
    return max(noted_attempts(trial), int(answered["attempt"]) + (answered["plain"] == "retry"))


def keys_of(trial: FinetuneTrial) -> tuple[str, ...]:
    """The keys under which jobs of the trial may have been bought, the newest first."""
    entry = trial.status.create
    last = max(attempts_of(trial), 1 if entry is None else entry.attempt)
    return tuple(purchase_key(trial, attempt) for attempt in range(last, max(0, last - MOST_KEYS), -1))


def resolution_of(trial: FinetuneTrial) -> Resolution | None:
    """The answer for the attempt in question; one that was given for an earlier attempt does not count."""
    text = (trial.metadata.annotations or {}).get(ANNOTATION, "")
    found = _FORM.match(text.strip())
    entry = trial.status.create
    # Without a journal, which a restore may lose, the answer is to the last attempt that anything tells of.
    attempt = attempts_of(trial) if entry is None else entry.attempt
    if found is None or int(found["attempt"]) != attempt:
        return None
    if found["job"]:
        return Resolution("adopt", found["job"])
    return Resolution("retry" if found["plain"] == "retry" else "abandon")
