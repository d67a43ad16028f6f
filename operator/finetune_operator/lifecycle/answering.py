"""Models answer the evaluation set, a few of an account at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.evaluation import (
    AnswerLog,
    Evaluation,
    FetchedDataset,
    asked_of,
    evaluate,
    read_examples,
)
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context, Patience, TrialProgress
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import EvaluationSource, FinetuneSweep
from finetune_providers.errors import PermanentProviderError


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of each model of a sweep.

    Of the models that wait for their turn there may be thousands, and each of them would keep alive what it was given:
    so no sweep, of which there are as many versions.

    Attributes:
        dataset: The evaluation set as it was fetched.
        source: As the sweep names it, with the limits of questions and answers.
        seed: By which a part of it is chosen.
    """

    dataset: FetchedDataset
    source: EvaluationSource
    seed: int


def questions_of(sweep: FinetuneSweep, admission: Admission) -> Questions | None:
    """What a sweep asks its models; None where it asks them nothing."""
    source = sweep.spec.dataset.evaluation
    if source is None:
        return None
    return Questions(admission.datasets["evaluation"], source, sweep.spec.search.seed)


async def answer_evaluation_set(
    context: Context,
    key: Key,
    model: str,
    questions: Questions | None,
    account: Account,
    *,
    through: str | None = None,
) -> Evaluation:
    """Let a model answer the evaluation set; answers that are known already are not asked for again.

    `through` is the deployment by which it answers, where it needs one.
    """
    if questions is None:
        raise PermanentProviderError("the sweep has no evaluation set", field="dataset.evaluation")
    dataset, source = questions.dataset, questions.source
    asked = asked_of(key.namespace, account.resource.name, model, source.max_output_tokens)

    seen = context.patience.get(key)

    def progress(done: int, total: int) -> None:
        context.evaluating[key] = TrialProgress("Evaluating", done / total, f"{done} of {total} answers")
        if seen is not None:
            seen.answered(done, context.now())

    context.evaluating[key] = TrialProgress("Evaluating", None, "waits for the model")
    try:
        async with _turn(context, account, seen):
            # Read no earlier: of those that wait for their turn there may be thousands.
            examples = await asyncio.to_thread(
                read_examples,
                dataset.path,
                source.max_examples,
                questions.seed,
                field="spec.dataset.evaluation",
            )
            answers = await _answer_log(context.work_dir / "answers", dataset, asked)
            async with account.provider.inference(through or model) as session:
                return await evaluate(
                    session,
                    examples,
                    max_output_tokens=source.max_output_tokens,
                    answers=answers,
                    progress=progress,
                )
    finally:
        context.evaluating.pop(key, None)


@asynccontextmanager
async def _turn(context: Context, account: Account, seen: Patience | None) -> AsyncIterator[None]:
    """A place among the account's evaluations; who waits for one does not run out of time."""
    began = context.now()
    if seen is not None:
        seen.waits_for_turn = True
    async with account.evaluations:
        if seen is not None:
            seen.waits_for_turn = False
            seen.waited += context.now() - began
        yield


async def _answer_log(folder: Path, dataset: FetchedDataset, model: str) -> AnswerLog:
    return await asyncio.to_thread(AnswerLog.open, folder, dataset_hash=dataset.content_hash, model=model)
