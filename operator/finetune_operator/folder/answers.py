"""The answers of base and best model, where the work folder of `finetune run` has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune_operator.evaluation import AnswerLog, Example, InvalidDataset, asked_of, read_examples
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.resources.sweep import EvaluationSource


class AnswersUnknown(LookupError):
    """Why there are no answers to show."""


@dataclass(frozen=True, slots=True)
class AnsweredTwice:
    """A question that both models answered.

    Attributes:
        example: The question, and what was expected.
        base: The base model's answer.
        best: The best fine-tuned model's answer.
    """

    example: Example
    base: str
    best: str


def read_answers(state: Path, sweep: FinetuneSweep, best: FinetuneTrial) -> tuple[AnsweredTwice, ...]:
    """What base and best model answered, in the order of the evaluation set. Blocking; changes nothing.

    Args:
        state: The state folder.
        sweep: Its sweep.
        best: The best trial, whose base model is the one to compare with.

    Raises:
        AnswersUnknown: There are none; says why.
    """
    source, hashes = sweep.spec.dataset.evaluation, sweep.status.datasets
    model = best.status.fine_tuned_model
    if source is None or model is None or hashes is None or hashes.evaluation is None:
        raise AnswersUnknown("models answered no evaluation set in this sweep")
    data = state / "work" / "datasets" / f"{hashes.evaluation}.jsonl"
    try:
        examples = read_examples(data, source.max_examples, sweep.spec.search.seed)
        of_base = _log(state, sweep, best, best.spec.base_model, hashes.evaluation, source)
        of_best = _log(state, sweep, best, model, hashes.evaluation, source)
    except FileNotFoundError as error:
        raise AnswersUnknown("the evaluation set is no longer in the state folder's work folder") from error
    except (OSError, InvalidDataset) as error:
        raise AnswersUnknown(f"they cannot be read ({type(error).__name__})") from error
    found = [
        AnsweredTwice(each, of_base.answers[each.index], of_best.answers[each.index])
        for each in sorted(examples, key=lambda one: one.index)
        if each.index in of_base.answers and each.index in of_best.answers
    ]
    if not found:
        raise AnswersUnknown("the state folder's work folder has none of both the base and the best model")
    return tuple(found)


def _log(
    state: Path,
    sweep: FinetuneSweep,
    trial: FinetuneTrial,
    model: str,
    dataset_hash: str,
    source: EvaluationSource,
) -> AnswerLog:
    """A model's answers, for reading alone."""
    folder = state / "work" / "answers"
    if not folder.is_dir():  # to open a log makes its folder
        return AnswerLog()
    namespace = sweep.metadata.namespace or "default"
    asked = asked_of(namespace, trial.spec.provider_ref.name, model, source.max_output_tokens)
    return AnswerLog.open(folder, dataset_hash=dataset_hash, model=asked)
