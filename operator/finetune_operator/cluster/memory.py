"""The memory of a process that runs for weeks and has large libraries in it.

A full collection of garbage goes through all that Python keeps track of while nothing else runs. Modules, with the
providers' SDKs and scikit-learn, are a million objects that stay to the end: 0.4 seconds every few seconds where many
trials end. And glibc keeps what was freed between what is in use: a third of its part where thousands of trials ended.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

LOOK_EVERY_S = 30.0


async def tend_memory(*, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Keep the collector off what was imported, and give back what was freed, now and then; does not end.

    What is let go is freed all the same, but for the few objects that refer to each other in a circle.
    """
    modules, give_back = 0, _give_back()
    while True:
        if len(sys.modules) != modules:
            modules = len(sys.modules)
            gc.collect()
            gc.freeze()
        with suppress(RuntimeError):  # no thread can be had now: nothing ends for want of this one
            await asyncio.to_thread(give_back, 0)
        await sleep(LOOK_EVERY_S)


def _give_back() -> Callable[[int], object]:
    """glibc's `malloc_trim`, which takes how many bytes to keep at the heap's end; other C libraries have none."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: None
    return trim
