"""Looking again and again, over outages of what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from finetune_operator.cli.reader import NoSuchSweep, NotAllowed, Unreachable
from finetune_operator.cli.seams import Pace

T = TypeVar("T")

_LONGEST_WAIT_S = 30.0
_TIMES_UNTIL_BELIEVED = 3


async def watch(
    read: Callable[[], Awaitable[T]],
    show: Callable[[T, str], object],
    *,
    ended: Callable[[T], bool],
    pace: Pace,
) -> T:
    """Read and show until there is nothing more to see.

    An API server that was started anew forgets rights and kinds for a moment, so that a refusal is believed
    only when it stands. What cannot be read at all at first is an error at once.

    Args:
        read: Reads.
        show: Shows what was read, with a hint for a person, which is empty where all is well.
        ended: Whether something is the last that there is to see.
        pace: How often is looked.

    Returns:
        What was read last.

    Raises:
        NoSuchSweep: What is watched is gone.
        NotAllowed: It may not be read any more.
        Unreachable: The first look failed.
    """
    last = await read()
    show(last, "")
    wait_s, refusals = pace.poll_s, 0
    while not ended(last):
        await asyncio.sleep(wait_s)
        try:
            last, hint = await read(), ""
            wait_s, refusals = pace.poll_s, 0
        except (NoSuchSweep, NotAllowed) as error:
            refusals += 1
            if refusals == _TIMES_UNTIL_BELIEVED:
                raise
            hint = str(error)
        except Unreachable as error:
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            hint = f"{error}; it is asked again every {wait_s:.0f} s"
        show(last, hint)
    return last
