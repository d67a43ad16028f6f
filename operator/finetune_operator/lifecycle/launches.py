"""Which trials a sweep has launched, told in an event for several of them.

Each trial is an object that says the same, and an event is a write.
"""

from __future__ import annotations

from finetune_operator.lifecycle.context import Context, Launches
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneSweep, FinetuneTrial

TOLD_EVERY_S = 600.0


def note_launch(context: Context, key: Key, trial: FinetuneTrial) -> None:
    """A sweep's trial was created."""
    launches = context.launches.setdefault(key, Launches())
    launches.untold.append(_text(trial))
    launches.launched_at = context.monotonic()


async def tell_launches(
    context: Context, key: Key, sweep: FinetuneSweep, *, last: bool = False
) -> float | None:
    """Tell of a sweep's launches: of the first at once, of later ones in ten minutes at most, or where these are last.

    Returns:
        Seconds until they are to be told; None where there is nothing to tell.
    """
    launches = context.launches.get(key)
    if launches is None or not launches.untold:
        return None
    now = context.monotonic()
    if launches.told_at is not None and not last and (wait_s := launches.told_at + TOLD_EVERY_S - now) > 0:
        return wait_s
    told, launches.untold, launches.told_at = launches.untold, [], now
    await context.store.record_event(sweep, "TrialLaunched", _message(told))
    return None


def _message(told: list[str]) -> str:
    return f"trial {told[0]}" if len(told) == 1 else f"{len(told)} trials: {'; '.join(told)}"


def _text(trial: FinetuneTrial) -> str:
    values = ", ".join(f"{name}={value}" for name, value in trial.spec.hyperparameters.items())
    return f"{trial.name}: {trial.spec.base_model} with {values} ({trial.spec.origin})"
