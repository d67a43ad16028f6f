"""What stands in the way of a sweep's next trial.

Trials that nobody can read, jobs that their account does not show, and a name that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions import Obstacle
from finetune_operator.decisions.naming import counted, some_of
from finetune_operator.lifecycle import elsewhere
from finetune_operator.lifecycle.context import Context, TakenName
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneTrial

NAME_TAKEN = "TrialNameTaken"
UNREADABLE = "TrialsUnreadable"
NOT_SEEN_YET_S = 10.0
"""For so long a trial that exists may be missing from memory because the watch is late."""
SOONEST_AGAIN_S = 0.1
FIRST_AGAIN_S = 2.0
LONGEST_AGAIN_S = 60.0


async def obstacle_of(context: Context, key: Key, trials: Sequence[FinetuneTrial]) -> Obstacle | None:
    """Why a sweep's next trial cannot be launched now; None where that is worth trying."""
    if names := await context.store.unreadable_trials(key):
        return Obstacle(UNREADABLE, _cannot_be_read(names), hides_trials=True)
    if held := [trial for trial in trials if elsewhere.is_held(trial)]:
        # Who looks into another organisation than before buys there what nobody may want there.
        why = f"{counted(held)} cannot go on, and none is launched meanwhile: {held[0].status.message}"
        return Obstacle(elsewhere.JOB_NOT_SHOWN, why)
    taken = context.taken_names.get(key)
    return None if taken is None or taken.again_at <= context.monotonic() else taken.obstacle


def tried_again_s(context: Context, key: Key, obstacle: Obstacle | None) -> float | None:
    """Seconds until a name that was taken is tried again; None where another obstacle was met, or none."""
    taken = context.taken_names.get(key)
    if taken is None or obstacle is None or taken.obstacle is not obstacle:
        return None
    return max(SOONEST_AGAIN_S, taken.again_at - context.monotonic())


async def note_taken_name(context: Context, key: Key, name: str) -> None:
    """A sweep's trial could not be created because its name is taken: by whom, and when it is tried again.

    The deletion of an object that names another sweep is told to nobody here, so it is looked for, later each time.
    """
    other, now = await context.store.get_trial(key.sibling("FinetuneTrial", name)), context.monotonic()
    if other is not None and _is_next_of(key, other):
        context.taken_names.pop(key, None)  # another operator was faster; the next look counts it
        return
    known = context.taken_names.get(key)
    since = now if known is None or known.name != name else known.since
    again_s = min(max(FIRST_AGAIN_S, now - since), LONGEST_AGAIN_S)
    told = other is not None or now - since >= NOT_SEEN_YET_S
    obstacle = Obstacle(NAME_TAKEN, _is_taken(key, name, other)) if told else None
    context.taken_names[key] = TakenName(name, since, now + again_s, obstacle)


def _is_next_of(key: Key, trial: FinetuneTrial) -> bool:
    return trial.spec.sweep_ref.name == key.name and trial.name == f"{key.name}-{trial.spec.index}"


def _is_taken(key: Key, name: str, other: FinetuneTrial | None) -> str:
    whose = "is one that this operator cannot read"
    if other is not None:
        whose = f"names FinetuneSweep {other.spec.sweep_ref.name} and index {other.spec.index}"
    return (
        f"the next trial would be named {name}, but a FinetuneTrial of that name is there that is not this sweep's: it "
        f"{whose}. Nothing is bought in its place. Delete it, and the sweep goes on within a minute; or give this "
        f"sweep's manifest another name than {key.name}"
    )


def _cannot_be_read(names: tuple[str, ...]) -> str:
    which = "1 trial" if len(names) == 1 else f"{len(names)} trials"
    return (
        f"{which} of this sweep cannot be read: {some_of(names)}. A newer operator may have written them, or somebody "
        "has edited them; their jobs may go on and cost. No trial is launched, and the sweep does not end, until they "
        "can be read: bring the operator and the CRDs back that wrote them. Or look at the provider's console what "
        "they bought, and delete them"
    )
