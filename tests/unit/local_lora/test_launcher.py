from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetune_providers.base import JobState
from finetune_providers.local_lora.forkserver import _receive
from finetune_providers.local_lora.launcher import Launch, Launcher, child_environment
from finetune_providers.local_lora.options import LocalOptions
from unit.local_lora.helpers import NewProvider, NewRequest, job_folder, settle, wait_until

pytestmark = pytest.mark.lora


def launch_in(folder: Path, log: int, environment: dict[str, str]) -> Launch:
    return Launch(
        module="trainer",
        arguments=(str(folder),),
        payload=log,
        log=log,
        environment=environment,
        cwd=folder,
    )


def test_a_file_in_the_working_folder_does_not_pass_for_a_library(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')", "utf-8")
    launcher = Launcher()
    with (tmp_path / "log").open("wb") as log:
        launcher._start_fresh(launch_in(tmp_path, log.fileno(), child_environment(LocalOptions(), {})))
    launcher._fresh[0].wait(60)
    assert "state.json" in (tmp_path / "log").read_text("utf-8"), "it came as far as its own job"


def test_an_environment_larger_than_the_sockets_buffer_reaches_the_fork_server(tmp_path: Path) -> None:
    launcher = Launcher()
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    theirs.settimeout(30)
    launcher._connection = ours
    environment = {f"NAME_{number}": "x" * 100_000 for number in range(15)}
    with (tmp_path / "log").open("wb") as log, ThreadPoolExecutor(1) as threads, ours, theirs:
        theirs.sendall(b"4711\n")
        received = threads.submit(_receive, theirs)
        assert launcher._start_forked(launch_in(tmp_path, log.fileno(), environment)) == 4711
        request, descriptors = received.result()
    for descriptor in descriptors:
        os.close(descriptor)
    assert request is not None
    assert request["environment"] == environment


def test_a_fork_server_whose_client_dies_in_the_middle_of_a_request_ends() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b'{"module": ')
        ours.close()
        assert _receive(theirs) == (None, [])


async def test_a_session_given_up_while_its_process_starts_hands_on_no_closed_descriptor(
    new_provider: NewProvider, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, go_on = threading.Event(), threading.Event()
    open_at_last: list[bool] = []

    def start_slowly(_: Launcher, launch: Launch) -> int:
        starting.set()
        go_on.wait(60)
        for descriptor in (launch.payload, launch.log):
            try:
                os.fstat(descriptor)
            except OSError:
                open_at_last.append(False)
            else:
                open_at_last.append(True)
        return 4711

    async def ask() -> None:
        async with new_provider().inference(tiny_model):
            pass

    monkeypatch.setattr(Launcher, "start", start_slowly)
    asking = asyncio.ensure_future(ask())
    await wait_until(starting.is_set)
    asking.cancel()
    await asyncio.wait({asking}, timeout=0.1)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await wait_until(lambda: len(open_at_last) == 2)
    assert open_at_last == [True, True]


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
