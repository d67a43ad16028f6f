"""What a hosted provider does where somebody who means no good answers in the company's place."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.fakes.hosted import HostedCompany
from tests.fakes.http_server import Answer, Fault

from finetune_providers import bounded
from finetune_providers.base import JobRequest, Provider
from finetune_providers.errors import AmbiguousProviderError, ProviderError, UnexpectedResponse

DEEP = 200_000

HOSTILE_BODIES = {
    "deep": b"[" * DEEP + b"]" * DEEP,
    "deep fields": b'{"data":' * DEEP + b"1" + b"}" * DEEP,
    "nan": b'{"data": NaN, "id": NaN, "status": Infinity, "jobs": -Infinity, "createTime": NaN}',
    "huge number": b'{"created_at": ' + b"9" * 100_000 + b', "id": 1e999999, "data": [1e999999]}',
    "surrogates": b'{"id": "\\ud800", "status": "\\udfff\\ud800", "name": "\\ud800", "data": [{"id": "\\ud800"}]}',
    "wrong types": b'{"id": [], "status": {}, "data": "x", "jobs": 7, "name": null, "tuningJobs": true}',
    "no utf-8": b'{"id": "\xff\xfe\x00"}',
    "nothing": b"",
    "null": b"null",
    "markup": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "long text": json.dumps(
        {"error": {"message": "x" * 10**6, "code": "x" * 10**6}, "id": "x" * 10**6}
    ).encode(),
}

GIGABYTE = 2**30
_BLOCK = 2**22


class EndlessAnswer:
    """A gigabyte of spaces, which JSON may have before its value; counts what was sent of it."""

    def __init__(self, kind: str) -> None:
        self.sent = 0
        heads = {"length": {"Content-Length": str(GIGABYTE)}, "gzip": {"Content-Encoding": "gzip"}}
        self.headers = heads.get(kind, {})
        self._pieces = packed_spaces() if kind == "gzip" else [b" " * 2**16] * (GIGABYTE // 2**16)

    def pieces(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sent += len(piece)
            yield piece


def packed_spaces() -> list[bytes]:
    """A gigabyte of spaces in a megabyte of gzip, in one piece."""
    packer = zlib.compressobj(wbits=31)
    begin = packer.compress(b" " * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    return [begin + block * (GIGABYTE // _BLOCK - 1)]


class Elsewhere(ThreadingHTTPServer):
    """Another host, to which a redirection leads; remembers what came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.came: list[str] = []
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def any_method(self) -> None:
                came.append(f"{self.command} {self.path} {self.headers}")
                self.send_response(200)
                self.end_headers()

            do_GET = do_POST = do_PUT = do_DELETE = any_method

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class HostileAnswersContract:
    """An answer may spoil a call; it does nothing else. `operations` is that of HostedContract.

    Attributes:
        unpacks: The company's HTTP client unpacks gzip.
    """

    operations: Any
    unpacks = True

    @pytest.fixture
    def elsewhere(self) -> Iterator[Elsewhere]:
        server = Elsewhere()
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.fixture
    def calls(
        self, provider: Provider, request_quick: JobRequest
    ) -> dict[str, Callable[[], Awaitable[object]]]:
        """Calls by the operation of the company that they begin with."""
        return {
            self.operations.create: lambda: provider.submit(request_quick),
            self.operations.observe: lambda: provider.observe(["any"]),
        }

    @pytest.mark.parametrize("body", HOSTILE_BODIES)
    async def test_a_hostile_answer_is_a_failure_of_the_provider_and_nothing_else(
        self, server: HostedCompany, calls: dict[str, Callable[[], Awaitable[object]]], body: str
    ) -> None:
        for operation, call in calls.items():
            server.always(operation, Fault(takes_effect=True, body=HOSTILE_BODIES[body]))
            try:
                await call()
            except ProviderError as error:
                told = str(error)
                assert len(told) < 2000
                assert not any(0xD800 <= ord(each) < 0xE000 for each in told)
                assert "root:" not in told

    # botocore leaves the connection of a redirection to the garbage collector.
    @pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    )
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_no_request_and_no_key_follows_a_redirection(
        self,
        server: HostedCompany,
        calls: dict[str, Callable[[], Awaitable[object]]],
        monkeypatch: pytest.MonkeyPatch,
        elsewhere: Elsewhere,
        status: int,
    ) -> None:
        away = Answer({}, status, {"Location": f"{elsewhere.url}/latest/meta-data"})
        monkeypatch.setattr(server, "_spoiled", lambda fault: away)
        for operation, call in calls.items():
            server.always(operation, Fault(status=status))
            with pytest.raises(ProviderError):
                await call()
        assert elsewhere.came == []
        gc.collect()

    @pytest.mark.parametrize("status", [200, 400])
    @pytest.mark.parametrize("kind", ["chunked", "length", "gzip"])
    async def test_an_answer_of_a_gigabyte_is_not_read_to_its_end(
        self,
        server: HostedCompany,
        calls: dict[str, Callable[[], Awaitable[object]]],
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        status: int,
    ) -> None:
        most = 2 * 2**20  # for the time that it takes; the bound itself has a test of its own
        monkeypatch.setattr(bounded, "MOST_BYTES", most)
        endless = EndlessAnswer(kind)
        for operation, call in calls.items():
            endless.sent = 0
            answer = Answer(endless.pieces(), status, endless.headers)
            monkeypatch.setattr(server, "_spoiled", lambda fault, answer=answer: answer)
            server.always(operation, Fault(status=status))
            in_doubt = operation == self.operations.create
            tracemalloc.start()
            try:
                with pytest.raises(AmbiguousProviderError if in_doubt else UnexpectedResponse) as caught:
                    await call()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            if kind != "gzip" or self.unpacks:
                assert f"larger than {most:,} bytes" in str(caught.value)
            assert peak < 32 * 2**20
            assert endless.sent < 32 * 2**20
