from __future__ import annotations

import sys
from pathlib import Path

import pytest

from finetune_providers.base import JobState
from finetune_providers.local_lora.launcher import Launcher
from unit.local_lora.helpers import NewProvider, NewRequest, job_folder, settle

pytestmark = pytest.mark.lora


async def test_without_a_fork_server_a_fresh_process_trains(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("it ended while loading")

    monkeypatch.setattr(Launcher, "_start_forked", refuse)
    provider = new_provider()
    await provider.submit(await new_request(provider, "fresh"))
    done = await settle(provider, "fresh")
    assert done.state is JobState.SUCCEEDED, done.message


async def test_a_job_that_cannot_be_started_now_waits_for_the_next_look(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    provider = new_provider()
    request = await new_request(provider, "later")
    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "start", refuse)
        job = await provider.submit(request)
    assert job.state is JobState.PENDING
    assert not job_folder(work_dir, "later").alive
    assert (await settle(provider, "later")).state is JobState.SUCCEEDED
    assert job_folder(work_dir, "later").status().deaths == 0


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux only")
async def test_a_fork_server_that_died_is_replaced(
    new_provider: NewProvider, new_request: NewRequest
) -> None:
    from finetune_providers.local_lora.launcher import launcher

    provider = new_provider()
    await provider.submit(await new_request(provider, "before"))
    assert (await settle(provider, "before")).state is JobState.SUCCEEDED
    server = launcher._server
    assert server is not None
    server.kill()
    server.wait()
    await provider.submit(await new_request(provider, "after"))
    assert (await settle(provider, "after")).state is JobState.SUCCEEDED
    assert launcher._server is not server
