"""What the tests of the local provider share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.contract.patience import PATIENCE_S

from finetune_providers.base import JobRequest, JobSnapshot
from finetune_providers.local_lora import LocalProvider
from finetune_providers.local_lora.jobs import JobFolder

NewProvider = Callable[..., LocalProvider]
NewRequest = Callable[..., Awaitable[JobRequest]]


def job_folder(work_dir: Path, job_id: str) -> JobFolder:
    return JobFolder(work_dir / "jobs" / job_id)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something another process does.

    Raises:
        TimeoutError: It was not seen in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)


async def settle(provider: LocalProvider, job_id: str) -> JobSnapshot:
    """Observe until the job has ended.

    Raises:
        TimeoutError: It has not in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        snapshot = (await provider.observe([job_id]))[job_id]
        if snapshot.state.terminal:
            return snapshot
        await asyncio.sleep(0.05)
    raise TimeoutError
