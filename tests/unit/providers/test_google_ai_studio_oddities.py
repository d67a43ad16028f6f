"""A Gemini API that answers oddly holds up no watch, ends every call, and is not misunderstood."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.patience import PATIENCE_S
from tests.contract.provider_contract import KEY, write_dataset
from tests.fakes.google_ai_studio_server import BASE_MODEL, GoogleAIStudioServer
from tests.fakes.http_server import DROPPED, MALFORMED, Answer, Fault, refused

from finetune_providers.base import JobRequest, JobState, ProviderConfig
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.google_ai_studio import GoogleAIStudio, create

OTHER_KEY = "ft-00112233445566778899-a1"
Make = Callable[..., GoogleAIStudio]


@pytest.fixture
def server() -> Iterator[GoogleAIStudioServer]:
    with GoogleAIStudioServer() as server:
        yield server
    assert not server.violations


@pytest.fixture
def config(server: GoogleAIStudioServer, tmp_path: Path) -> ProviderConfig:
    return ProviderConfig(
        name="studio",
        type="GoogleAIStudio",
        work_dir=tmp_path / "work",
        credentials={"GEMINI_API_KEY": server.secret},
        endpoint=server.url,
    )


@pytest.fixture
async def provider(config: ProviderConfig) -> AsyncIterator[GoogleAIStudio]:
    provider = create(config)
    yield provider
    await provider.aclose()


@pytest.fixture
async def bought(provider: GoogleAIStudio, tmp_path: Path) -> JobRequest:
    training = await provider.upload(write_dataset(tmp_path / "train.jsonl", repeat=4), base_model=BASE_MODEL)
    request = JobRequest(KEY, BASE_MODEL, hyperparameters={"epochs": 3, "batchSize": 4}, training=training)
    await provider.submit(request)
    return request


async def test_a_list_without_an_end_is_not_followed(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    server.always("list", Fault(body=b'{"nextPageToken": "again"}'))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(UnexpectedResponse, match="no end"):
            await provider.observe([KEY])


@pytest.mark.parametrize(
    "fault", [refused(403), refused(404), refused(503), DROPPED, MALFORMED, Fault(body=b'{"operations": 1}')]
)
async def test_a_failure_whose_reason_cannot_be_read_holds_up_no_other_job(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, bought: JobRequest, fault: Fault
) -> None:
    server.next_failure = "unreadable"
    await provider.submit(replace(bought, key=OTHER_KEY))
    server.finish_training()
    server.always("operations", fault)
    seen = await provider.observe([KEY, OTHER_KEY])
    assert (seen[KEY].state, seen[OTHER_KEY].state) == (JobState.SUCCEEDED, JobState.FAILED)
    assert "reason cannot be read" in seen[OTHER_KEY].message
    await provider.delete_model(f"tunedModels/{OTHER_KEY}")
    assert server.count("delete") == 1


@pytest.mark.parametrize(
    "snapshots",
    [7, [None], [{"step": 1, "meanLoss": None}], [{"step": "one"}], [{"step": [], "meanLoss": 2}]],
)
async def test_snapshots_that_cannot_be_read_hide_no_end(
    server: GoogleAIStudioServer,
    provider: GoogleAIStudio,
    bought: JobRequest,
    snapshots: object,
) -> None:
    good = {"step": 5, "meanLoss": 1.5}
    shown = [good, *snapshots] if isinstance(snapshots, list) else snapshots
    server.finish_training()
    body = server._tuned_model(server.jobs[KEY])
    body["tuningTask"]["snapshots"] = shown
    server.always("list", Fault(body=json.dumps({"tunedModels": [body]}).encode()))
    seen = (await provider.observe([KEY]))[KEY]
    assert seen.state is JobState.SUCCEEDED
    assert [point.step for point in seen.series] == ([5] if isinstance(snapshots, list) else [])


@pytest.mark.parametrize("written", ["0", "-1", "inf", "nan", "often"])
def test_a_poll_interval_that_is_none_is_refused(config: ProviderConfig, written: str) -> None:
    with pytest.raises(PermanentProviderError, match="number of seconds") as caught:
        create(replace(config, options={"pollIntervalSeconds": written}))
    assert caught.value.field == "spec.options.pollIntervalSeconds"


async def test_a_job_of_ours_whose_base_model_google_spells_out_is_adopted(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, bought: JobRequest
) -> None:
    server.jobs[KEY].body["baseModel"] = f"models/{BASE_MODEL}-of-a-version"  # where an alias was asked for
    assert (await provider.submit(bought)).job_id == KEY
    assert len(server.jobs) == 1


async def test_a_page_that_is_not_google_s_is_no_proof_that_a_job_is_gone(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, bought: JobRequest
) -> None:
    # What stands between, such as a gateway without a route, knows nothing of jobs.
    server.error = lambda status, message, *, code="": Answer(b"<html>404</html>", status)  # type: ignore[method-assign]
    for operation in ("get", "list"):
        server.always(operation, refused(404))
    for call in (
        provider.cancel(KEY),
        provider.find(KEY),
        provider.observe([KEY]),
        provider.check([BASE_MODEL]),
    ):
        with pytest.raises(PermanentProviderError, match=r"spec\.endpoint") as caught:
            await call
        assert not isinstance(caught.value, JobNotFound)
        assert caught.value.field == "spec.endpoint"


async def test_a_body_has_no_more_bytes_than_its_text(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, bought: JobRequest, tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    texts = [f"{number} " + "ありがとう" * 2000 for number in range(40)]
    lines = [
        {"messages": [{"role": "user", "content": each}, {"role": "assistant", "content": "a"}]}
        for each in texts
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    dataset = replace(write_dataset(tmp_path / "other.jsonl"), path=path, content_hash="cd" * 32)
    await provider.check_data(BASE_MODEL, training=dataset, validation=None)
    training = await provider.upload(dataset, base_model=BASE_MODEL)
    await provider.submit(replace(bought, key=OTHER_KEY, training=training))
    sent = server.requests[-1]
    assert server.jobs[OTHER_KEY].lessons == dict.fromkeys(texts, "a")
    assert sent.headers["Content-Type"] == "application/json"
    assert len(sent.body) < sum(
        len(each.encode()) + 100 for each in texts
    )  # what was checked is what is sent


async def test_data_that_cannot_be_deleted_is_not_called_deleted(
    provider: GoogleAIStudio, bought: JobRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = bought.training.partition("/")[0]
    folder = tmp_path / "work" / "datasets" / scope
    with monkeypatch.context() as broken:
        broken.setattr("os.unlink", _busy)
        with pytest.raises(TransientProviderError, match="cannot be deleted"):
            await provider.delete_data(scope)
    assert folder.exists()
    await provider.delete_data(scope)
    assert not folder.exists()
    await provider.delete_data(scope)


def _busy(*_: object, **__: object) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
