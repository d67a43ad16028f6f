"""A Cohere that answers oddly, and data that only Cohere minds: nothing is misunderstood, nothing fails late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fakes.cohere_server import CohereServer
from tests.fakes.http_server import Answer, Fault, refused
from tests.unit.providers.cohere_bench import (
    KEY,
    MODEL,
    dataset_of,
    provider_of,
    request_of,
    small_dataset,
    talk,
)

from finetune_providers.cohere import CohereProvider
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    TransientProviderError,
)


@pytest.fixture
def server() -> Iterator[CohereServer]:
    with CohereServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def provider(server: CohereServer, tmp_path: Path) -> AsyncIterator[CohereProvider]:
    provider = provider_of(server, tmp_path / "account")
    yield provider
    await provider.aclose()


async def test_validation_data_that_cohere_would_not_take_is_refused_before_anything_is_sent(
    provider: CohereProvider, tmp_path: Path
) -> None:
    # It becomes a dataset of its own at Cohere, which wants two different examples in every one.
    training = small_dataset(tmp_path / "t.jsonl")
    validation = dataset_of(tmp_path / "v.jsonl", [talk("a", "b")] * 2)
    with pytest.raises(PermanentProviderError, match="not enough valid examples"):
        await provider.upload(validation, base_model=MODEL)
    with pytest.raises(
        PermanentProviderError, match="1 different examples; Cohere needs at least 2"
    ) as caught:
        await provider.check_data(MODEL, training=training, validation=validation)
    assert caught.value.field == "validation"


async def test_a_dataset_that_vanishes_while_it_is_checked_is_sent_again_next_time(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    dataset = small_dataset(tmp_path / "d.jsonl")
    server.fault("dataset", refused(404))
    with pytest.raises(TransientProviderError, match="is not shown"):
        await provider.upload(dataset, base_model=MODEL)
    assert await provider.upload(dataset, base_model=MODEL) in server.datasets


async def test_a_page_that_is_not_cohere_s_is_no_proof_that_a_job_is_gone(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    # What stands between, such as a gateway without a route, knows nothing of jobs.
    server.error = lambda status, message, *, code="": Answer(b"<html>404</html>", status)  # type: ignore[method-assign]
    for operation in ("get", "list", "delete-dataset"):
        server.always(operation, refused(404))
    for call in (
        provider.cancel(job.job_id),
        provider.delete_model(f"{job.job_id}-ft"),
        provider.observe([job.job_id]),
        provider.find(KEY),
        provider.delete_data("fts-0123456789abcdef"),
    ):
        with pytest.raises(PermanentProviderError, match=r"spec\.endpoint") as caught:
            await call
        assert not isinstance(caught.value, JobNotFound)


@pytest.mark.parametrize(
    "body", [b'{"finetuned_models": [{"id": []}]}', b'{"finetuned_models": [{"id": {}}, {}]}']
)
async def test_an_entry_without_an_id_holds_up_no_job(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, body: bytes
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.always("list", Fault(body=body))
    assert set(await provider.observe([job.job_id])) == {job.job_id}
    assert await provider.find(KEY) == ()


async def test_a_key_that_is_echoed_is_hidden_wherever_it_stands(
    server: CohereServer, provider: CohereProvider
) -> None:
    # A message that is cut before it is cleaned would show a part of the key.
    for before in range(170, 200):
        body = f"{'x' * before}{server.secret} is not welcome".encode()
        server.error = lambda status, message, *, code="", body=body: Answer(body, status)  # type: ignore[method-assign]
        server.always("list", refused(403))
        with pytest.raises(PermanentProviderError, match="hidden") as caught:
            await provider.check([MODEL])
        assert server.secret[:8] not in str(caught.value)
