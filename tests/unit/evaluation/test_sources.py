from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune_operator.errors import DatasetUnavailable, InvalidManifest
from finetune_operator.evaluation import InvalidDataset, fetch, redacted, sources
from finetune_operator.resources import DataSource
from finetune_providers.base import DatasetFile

Line = Callable[..., str]
Write = Callable[[str | bytes], Path]
FIELD = "spec.dataset.training"
SECRET = "hunter2"


class _Handler(BaseHTTPRequestHandler):
    """Serves what the server's `pages` say: a status and a body, whose stated length may be too long."""

    def do_GET(self) -> None:
        status, body, missing = self.server.pages.get(self.path.partition("?")[0], (404, b"", 0))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server:
    def __init__(self, http: ThreadingHTTPServer) -> None:
        self.pages: dict[str, tuple[int, bytes, int]] = {}
        http.pages = self.pages  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{http.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=lambda: http.serve_forever(poll_interval=0.01))
    thread.start()
    yield Server(http)
    http.shutdown()
    thread.join()
    http.server_close()


async def no_config_map(name: str, key: str) -> str:
    raise LookupError(name, key)


async def get(uri: str, into: Path, **options: object) -> DatasetFile:
    return await fetch(DataSource(uri=uri), field=FIELD, into=into, config_map=no_config_map, **options)  # type: ignore[arg-type]


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


async def test_file_is_fetched_in_its_canonical_form(dataset: Write, line: Line, tmp_path: Path) -> None:
    content = (line("One?") + "\n" + line("Two?") + "\n").encode()
    path = dataset(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n")
    found = await get(f"file://{path}", tmp_path / "into")
    assert found.path.read_bytes() == content
    assert found.content_hash == hashlib.sha256(content).hexdigest()
    assert found.path == tmp_path / "into" / f"{found.content_hash}.jsonl"
    assert (found.examples, found.characters, found.estimated_tokens) == (2, 2 * 7, 2 * (1 + 1 + 8))
    assert files(tmp_path / "into") == [found.path.name]


async def test_same_content_is_one_file(dataset: Write, line: Line, tmp_path: Path) -> None:
    path = dataset(line())
    first = await get(f"file://{path}", tmp_path / "into")
    assert await get(f"file://{path}", tmp_path / "into") == first
    assert len(files(tmp_path / "into")) == 1


async def test_percent_signs_of_a_file_uri_are_decoded(line: Line, tmp_path: Path) -> None:
    (tmp_path / "my data.jsonl").write_text(line(), encoding="utf-8")
    assert (await get(f"file://{tmp_path}/my%20data.jsonl", tmp_path / "into")).examples == 1


async def test_http_is_fetched_with_one_plain_get(server: Server, line: Line, tmp_path: Path) -> None:
    server.pages["/train.jsonl"] = (200, (line() + "\n").encode() * 3000, 0)
    found = await get(f"http://{server.host}/train.jsonl?signature={SECRET}", tmp_path / "into")
    assert found.examples == 3000


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "there is no such file"), (403, "HTTP status 403"), (503, "HTTP status 503")]
)
async def test_http_error_is_told_without_secrets(
    server: Server, tmp_path: Path, status: int, reason: str
) -> None:
    server.pages["/train.jsonl"] = (status, b"", 0)
    with pytest.raises(DatasetUnavailable) as caught:
        await get(f"http://user:{SECRET}@{server.host}/train.jsonl?signature={SECRET}#{SECRET}", tmp_path)
    assert str(caught.value) == f"http://{server.host}/train.jsonl cannot be read: {reason}"
    assert caught.value.field == FIELD
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_http_body_that_breaks_off_leaves_nothing(server: Server, line: Line, tmp_path: Path) -> None:
    server.pages["/train.jsonl"] = (200, (line() + "\n").encode(), 100)
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        await get(f"http://{server.host}/train.jsonl", tmp_path / "into")
    assert files(tmp_path / "into") == []


async def test_host_that_refuses_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"^http://127\.0\.0\.1:1/x cannot be read: "):
        await get("http://127.0.0.1:1/x", tmp_path)


async def test_missing_file_is_unavailable_and_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"/missing\.jsonl cannot be read: there is no such file"):
        await get(f"file://{tmp_path}/missing.jsonl", tmp_path / "into")


async def test_folder_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="it is not a file"):
        await get(f"file://{tmp_path}", tmp_path / "into")


async def test_wrong_content_is_named_and_leaves_nothing(dataset: Write, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match=r"^spec\.dataset\.training: line 1: "):
        await get(f"file://{dataset('{}')}", tmp_path / "into")
    assert files(tmp_path / "into") == []


async def test_size_is_bounded(server: Server, line: Line, tmp_path: Path) -> None:
    server.pages["/train.jsonl"] = (200, (line() + "\n").encode() * 100, 0)
    with pytest.raises(InvalidDataset, match="is larger than the 1,000 bytes allowed"):
        await get(f"http://{server.host}/train.jsonl", tmp_path / "into", max_bytes=1000)
    assert files(tmp_path / "into") == []


async def test_transfer_is_given_up_at_its_deadline(dataset: Write, line: Line, tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="was not read in the time allowed"):
        await get(f"file://{dataset(line())}", tmp_path / "into", deadline_s=-1)
    assert files(tmp_path / "into") == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file://data/train.jsonl", "is relative; write file:///absolute/path.jsonl"),
        (
            "ftp://host/x",
            "scheme ftp:// cannot be used here; allowed: file://, http://, https://, s3://, gs://",
        ),
        ("https:///x", "names no host; write https://name/path.jsonl"),
        ("s3:///x", "names no bucket; write s3://name/path.jsonl"),
        ("https://[broken/x", "names no host"),
        ("https://host:99999/x", "https://host:99999/x is not a URI that can be opened"),
        ("https://host:port/x", "is not a URI that can be opened"),
        ("file:///a%00b", "is not a URI that can be opened"),
        ("simplecache://x::file:///etc/passwd", "scheme simplecache:// cannot be used here"),
    ],
)
async def test_unusable_uri_is_refused_with_its_field(tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        await get(uri, tmp_path)
    (problem,) = caught.value.problems
    assert problem.field == "spec.dataset.training.uri"
    assert message in problem.message


async def test_scheme_that_is_not_allowed_here_is_refused(dataset: Write, line: Line, tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"allowed: https://, s3://, or configMapRef"):
        await get(f"file://{dataset(line())}", tmp_path, rules=sources.SourceRules({"s3", "https"}))


async def test_chained_uri_does_not_reach_another_file_system(
    server: Server, dataset: Write, line: Line, tmp_path: Path
) -> None:
    with pytest.raises(DatasetUnavailable, match="there is no such file"):
        await get(f"http://{server.host}/x::file://{dataset(line())}", tmp_path / "into")


async def test_missing_package_is_told_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_installed(scheme: str, **_: object) -> None:
        raise ImportError(f"Install {scheme}fs")

    monkeypatch.setattr(sources.fsspec, "filesystem", not_installed)
    with pytest.raises(DatasetUnavailable, match=r"pip install 'finetune-operator\[s3\]'"):
        await get("s3://bucket/x.jsonl", tmp_path)
    with pytest.raises(DatasetUnavailable, match=r"pip install 'finetune-operator\[gcs\]'"):
        await get("gs://bucket/x.jsonl", tmp_path)


async def test_bucket_is_read_through_the_file_system_of_its_scheme(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = {"s3://bucket/train.jsonl": line("s3?"), "gs://bucket/train.jsonl": line("gs?")}

    class FileSystem:
        def __init__(self, scheme: str) -> None:
            self.scheme = scheme

        def open(self, path: str, mode: str) -> io.BytesIO:
            assert (path.partition(":")[0], mode) == (self.scheme, "rb")
            return io.BytesIO(bucket[path].encode())

    monkeypatch.setattr(sources.fsspec, "filesystem", FileSystem)
    for uri, content in bucket.items():
        assert (await get(uri, tmp_path)).path.read_text(encoding="utf-8") == content + "\n"


async def test_error_of_a_cloud_library_is_told_by_its_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoCredentialsError(Exception):
        pass

    def refuse(scheme: str) -> None:
        raise NoCredentialsError(SECRET)

    module = SimpleNamespace(BotoCoreError=NoCredentialsError)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", module)  # type: ignore[arg-type]
    monkeypatch.setattr(sources.fsspec, "filesystem", refuse)
    with pytest.raises(DatasetUnavailable) as caught:
        await get("s3://bucket/x.jsonl", tmp_path)
    assert str(caught.value) == "s3://bucket/x.jsonl cannot be read: NoCredentialsError"


REFERENCE = DataSource.model_validate({"configMapRef": {"name": "data", "key": "train.jsonl"}})


async def test_config_map_is_read_through_the_callable(line: Line, tmp_path: Path) -> None:
    async def config_map(name: str, key: str) -> str:
        return {("data", "train.jsonl"): line("Grüße?")}[name, key]

    found = await fetch(REFERENCE, field=FIELD, into=tmp_path, config_map=config_map)
    assert found.path.read_text(encoding="utf-8") == line("Grüße?") + "\n"


async def test_missing_config_map_is_unavailable_and_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"there is no key train\.jsonl in a ConfigMap data"):
        await fetch(REFERENCE, field=FIELD, into=tmp_path, config_map=no_config_map)


async def test_config_map_that_cannot_be_read_now_is_unavailable(tmp_path: Path) -> None:
    async def config_map(name: str, key: str) -> str:
        raise ConnectionError(SECRET)

    with pytest.raises(DatasetUnavailable) as caught:
        await fetch(REFERENCE, field=FIELD, into=tmp_path, config_map=config_map)
    assert str(caught.value) == "the ConfigMap data cannot be read now: ConnectionError"


async def test_event_loop_is_free_while_a_file_is_read(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(uri: str, connections: object, **_: object) -> Iterator[bytes]:
        assert gate.wait(10)
        yield line().encode()

    monkeypatch.setattr(sources, "_read", slow)
    fetching = asyncio.create_task(get("https://host/x", tmp_path))
    await asyncio.sleep(0)
    gate.set()  # reached only if the loop was not held
    assert (await fetching).examples == 1


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (f"https://user:{SECRET}@host:8/a/b?sig={SECRET}#x", "https://host:8/a/b"),
        (f"https://user:p@{SECRET}@host/a", "https://host/a"),
        ("s3://bucket/key.jsonl", "s3://bucket/key.jsonl"),
        ("file:///a/b%20c?d", "file:///a/b%20c?d"),
        (f"https://[{SECRET}/a", "https://…"),
    ],
)
def test_redacted_uri_shows_no_secret(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
