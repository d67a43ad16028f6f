"""What a report is made of. Where it was read, in a folder or a cluster, is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from finetune_operator.resources import FinetuneSweep, FinetuneTrial


@dataclass(frozen=True, slots=True)
class AnsweredExample:
    """A question of the evaluation set, and what became of it before and after fine-tuning.

    Attributes:
        index: Place in the evaluation set, from 0.
        question: What the models were asked.
        wanted: What the evaluation set expects.
        base: The base model's answer.
        best: The best fine-tuned model's answer.
        base_score: Of the base model's answer, from 0 to 1.
        best_score: Of the best model's answer, from 0 to 1.
    """

    index: int
    question: str
    wanted: str
    base: str
    best: str
    base_score: float
    best_score: float


@dataclass(frozen=True, slots=True)
class Report:
    """A sweep at one moment, with all that a report shows of it.

    Attributes:
        sweep: The sweep.
        trials: Its trials, in order of their index.
        now: The moment, timezone-aware.
        answers: Answers of the base and the best model; none where they are not known.
        why_no_answers: Why there are none; nothing where there are some.
        base_metrics: What the best trial's base model scores by each metric, where its answers are known.
        versions: Versions of software by its name, as installed where the report is made.
    """

    sweep: FinetuneSweep
    trials: tuple[FinetuneTrial, ...]
    now: datetime
    answers: tuple[AnsweredExample, ...] = ()
    why_no_answers: str = ""
    base_metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
