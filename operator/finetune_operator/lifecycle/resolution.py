"""What a person says about a create call whose outcome nobody else can find out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from finetune_operator.resources import GROUP, FinetuneTrial, TrialPhase

ANNOTATION = f"{GROUP}/resolve-create"
_FORM = re.compile(r"^(?P<attempt>\d+) (?:(?P<plain>retry|abandon)|adopt=(?P<job>\S{1,256}))$")


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


def resolution_of(trial: FinetuneTrial) -> Resolution | None:
    """The answer for the attempt in question; one that was given for an earlier attempt does not count."""
    text = (trial.metadata.annotations or {}).get(ANNOTATION, "")
    found = _FORM.match(text.strip())
    entry = trial.status.create
    if found is None or entry is None or int(found["attempt"]) != entry.attempt:
        return None
    if found["job"]:
        return Resolution("adopt", found["job"])
    return Resolution("retry" if found["plain"] == "retry" else "abandon")
