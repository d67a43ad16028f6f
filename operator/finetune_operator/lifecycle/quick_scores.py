"""A model that is scored within seconds: its trial goes from training to its end in one write.

That it is evaluated is written only where it takes longer. Until then the trial says that it trains, which is what a
restart goes by: the job is looked at again, and answers that are known are not asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from finetune_operator.evaluation import Evaluation
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context, Patience
from finetune_operator.lifecycle.evaluating import begin_answering, write_score
from finetune_operator.lifecycle.transitions import end, key_of, sweep_key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial


async def end_if_scored(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, facts: Mapping[str, Any]
) -> bool:
    """End a trial that still says that it trains, and whose model has been scored; `facts` are those of its job.

    Returns:
        Whether that was so. What went wrong is left for the trial's evaluation to tell.
    """
    outcome = context.background.result(("evaluation", key_of(trial)))
    if not isinstance(outcome, Evaluation):
        return False
    await write_score(partial(end, context, trial), sweep, dict(outcome.scores), facts)
    return True


def may_take_s(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, model: str | None
) -> float:
    """Have a trial's model evaluated at once.

    Returns:
        Seconds for which nothing is written yet; 0 where it is to be written now that the model is evaluated.
    """
    key = key_of(trial)
    name = ("evaluation", key)
    if (
        model is None
        or context.quick_s <= 0
        or trial.status.cancel is not None
        or account.slots.is_waited_for
    ):
        return 0.0
    if account.provider.capabilities.needs_deployment:
        return 0.0  # what costs by the hour is written down before anything else
    if name in context.background:
        since = context.quick_since.get(key)
        if since is None or not context.background.goes_on(name):
            return 0.0
        return since + context.quick_s - context.monotonic()
    admission = context.admissions.get(sweep_key_of(trial), sweep, waiter=key)
    if admission is None or admission.problems:
        return 0.0
    context.quick_since[key] = context.monotonic()
    context.patience.setdefault(key, Patience(context.now()))
    begin_answering(context, trial, sweep, account, admission, model=model)
    return context.quick_s
