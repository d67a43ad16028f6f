"""The garbage collector of a process that runs for weeks and has large libraries in memory.

A full collection goes through all that Python keeps track of while nothing else runs. Modules, with the providers' SDKs
and scikit-learn, are a million objects that stay to the end: 0.4 seconds every few seconds where many trials end.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable

LOOK_EVERY_S = 30.0


async def leave_modules_alone(*, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Have the collector pass over what is in memory, now and whenever something was imported; does not end.

    What is let go is freed all the same, but for the few objects that refer to each other in a circle.
    """
    known = 0
    while True:
        if len(sys.modules) != known:
            known = len(sys.modules)
            gc.collect()
            gc.freeze()
        await sleep(LOOK_EVERY_S)
