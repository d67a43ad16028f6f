"""Reports as files: what a report is made of is read here, and what was made is written."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import click

from finetune_operator import __version__
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.decisions import best_of
from finetune_operator.evaluation import score
from finetune_operator.folder.answers import AnsweredTwice, AnswersUnknown, read_answers
from finetune_operator.report import AnsweredExample, Report
from finetune_operator.resources.sweep import GENERATED_METRICS

SOFTWARE = (
    "bayesian-optimization",
    "scikit-learn",
    "torch",
    "transformers",
    "peft",
    "altair",
    "vl-convert-python",
)


def report_of(snapshot: Snapshot, folder: Path | None, *, with_answers: bool = True) -> Report:
    """All that a report shows of a sweep, whose state folder is None in a cluster. Blocking; changes nothing."""
    found: tuple[AnsweredTwice, ...] = ()
    metric = snapshot.sweep.spec.objective.metric
    why = "they were left out (--no-answers)"
    best = best_of(snapshot.sweep, snapshot.trials)
    if best is None:
        why = "no trial has succeeded"
    elif with_answers and folder is None:
        why = "the operator keeps them in its work folder, which cannot be read from here"
    elif with_answers and folder is not None:
        try:
            found, why = read_answers(folder, snapshot.sweep, best), ""
        except AnswersUnknown as error:
            why = str(error)
    return Report(
        snapshot.sweep,
        snapshot.trials,
        snapshot.now,
        answers=_scored(found, metric),
        why_no_answers=why,
        base_metrics=_base_metrics(found),
        versions=_versions(),
    )


def _base_metrics(found: tuple[AnsweredTwice, ...]) -> dict[str, float]:
    """The base model's answers by all metrics; the sweep keeps its objective's alone."""
    if not found:
        return {}
    return score([each.base for each in found], [each.example.expected for each in found])


def _scored(found: tuple[AnsweredTwice, ...], metric: str) -> tuple[AnsweredExample, ...]:
    """Answers with a score each; macro F1 is one of whole sets, so that equality stands in for it."""
    single = metric if metric in GENERATED_METRICS and metric != "macroF1" else "accuracy"

    def scored(answer: str, wanted: str) -> float:
        return score([answer], [wanted], metrics=[single])[single]

    return tuple(
        AnsweredExample(
            each.example.index,
            _question(each),
            each.example.expected,
            each.base,
            each.best,
            scored(each.base, each.example.expected),
            scored(each.best, each.example.expected),
        )
        for each in found
    )


def _question(each: AnsweredTwice) -> str:
    """The conversation so far; who speaks is said where there is more than one message."""
    prompt = each.example.prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def _versions() -> dict[str, str]:
    versions = {"finetune-operator": __version__, "Python": platform.python_version()}
    for name in SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def write_report(content: bytes, file: Path) -> None:
    """Write a report, in one step, so that a reader never sees half of one.

    Raises:
        click.ClickException: It cannot be written.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
