"""A company's server for tests: real HTTP on a port of this machine, state in memory, faults on demand.

A provider's fake derives from `FakeServer`, names its operations in `routes`, and answers in the company's own
shapes. Everything runs under one lock, so that a test may look at the state between two requests.
"""

from __future__ import annotations

import json
import re
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message as Headers
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass
class Clock:
    """The company's time: stands still until it is moved, or runs `speed` times as fast as ours."""

    speed: float = 0.0
    _moved: float = 0.0
    _start: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """The time there, timezone-aware."""
        return self._start + timedelta(seconds=self.elapsed())

    def elapsed(self) -> float:
        """Seconds since the company was founded."""
        return self._moved + self.speed * (time.monotonic() - self._began)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._moved += seconds


@dataclass(frozen=True)
class Request:
    """What arrived.

    Attributes:
        operation: Which route.
        path: Without the query, percent-decoded.
        parts: What the route's pattern names.
        query: Every parameter with all of its values.
        headers: Case-insensitive.
    """

    operation: str
    method: str
    path: str
    parts: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed; raises ValueError where it is no JSON."""
        return json.loads(self.body)

    def one(self, name: str, default: str = "") -> str:
        """The query parameter's first value."""
        return next(iter(self.query.get(name, ())), default)


@dataclass
class Answer:
    """What goes back. `body` is sent as JSON unless it is bytes, or an iterator of the pieces of an endless answer."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The bytes to send."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Refusal(Exception):
    """A handler refuses a request in the company's own words."""

    def __init__(self, status: int, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        takes_effect: Whether the request is carried out all the same.
        status: Answered instead; 0 closes the connection without an answer.
        code: The company's word for the error, where it is not the usual one of the status.
        retry_after: Value of the Retry-After header.
        body: Sent with status 200 instead of the right answer.
        delay_s: Waits before the answer, in real seconds.
    """

    takes_effect: bool = False
    status: int = 0
    code: str = ""
    retry_after: str | None = None
    body: bytes | None = None
    delay_s: float = 0.0


def refused(status: int, *, code: str = "", retry_after: str | None = None) -> Fault:
    """Refused before anything happened."""
    return Fault(status=status, code=code, retry_after=retry_after)


def done_then(status: int) -> Fault:
    """Carried out, and answered with an error."""
    return Fault(takes_effect=True, status=status)


DROPPED = Fault()
"""The connection breaks before anything happened."""
DONE_THEN_DROPPED = Fault(takes_effect=True)
"""Carried out; the connection breaks before the answer."""
MALFORMED = Fault(takes_effect=True, body=b'{"oops": ')
"""Carried out; the answer is no JSON."""


@dataclass(frozen=True)
class Route:
    """One operation: `pattern` matches the whole path and may have named groups."""

    operation: str
    method: str
    pattern: str
    handler: Callable[[Request], Answer]


class FakeServer:
    """A server that is started with `with`; `url` is its base.

    Attributes:
        clock: The company's time.
        lock: Held while a request is carried out.
        requests: What arrived, in order.
        crashes: Where a handler of the fake failed; the end of `with` fails on any.
    """

    content_type: ClassVar[str] = "application/json"

    def __init__(self, *, speed: float = 0.0) -> None:
        self.clock = Clock(speed)
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.crashes: list[str] = []
        self._faults: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._http: ThreadingHTTPServer | None = None

    # -- what a provider's fake says ------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """All operations, the most special patterns first."""
        raise NotImplementedError

    def authorize(self, request: Request) -> None:
        """Refuse a request whose credentials are wrong."""
        raise NotImplementedError

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        """An error in the company's shape."""
        raise NotImplementedError

    # -- what a test does -----------------------------------------------------------------------------------

    def fault(self, operation: str, *faults: Fault) -> None:
        """Have the next requests of an operation go wrong, in turn."""
        with self.lock:
            self._faults.setdefault(operation, deque()).extend(faults)

    def always(self, operation: str, fault: Fault | None) -> None:
        """Have every request of an operation go wrong (`*` for all operations), until it is set to None."""
        with self.lock:
            if fault is None:
                self._always.pop(operation, None)
            else:
                self._always[operation] = fault

    def count(self, operation: str) -> int:
        """How often an operation was asked for, those that went wrong included."""
        with self.lock:
            return sum(request.operation == operation for request in self.requests)

    def bodies(self, operation: str) -> list[Any]:
        """The JSON bodies of an operation's requests."""
        with self.lock:
            return [request.json for request in self.requests if request.operation == operation]

    # -- serving --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        assert self._http is not None, "the server is not running"
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are written one after the other; without this each answer waits 40 ms for the client.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                server._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_: Any) -> None:
                """Tests look at `requests` instead."""

        self._http = _Http(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()
        # A provider takes an answer of 500 for an outage that passes; the test must not.
        assert kind is not None or not self.crashes, "the fake itself failed:\n" + "\n".join(self.crashes)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = _read_body(handler)
        if body is None:
            handler.close_connection = True  # the client died in the middle of its request: nothing was asked
            return
        address = urlsplit(handler.path)
        path = unquote(address.path)
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(address.query, keep_blank_values=True):
            query.setdefault(name, []).append(value)
        route, parts = self._route(handler.command, path)
        operation = route.operation if route is not None else "unknown"
        request = Request(operation, handler.command, path, parts, query, handler.headers, body)
        with self.lock:
            self.requests.append(request)
            queue = self._faults.get(operation)
            fault = queue.popleft() if queue else self._always.get(operation, self._always.get("*"))
        if fault is not None and fault.delay_s:
            time.sleep(fault.delay_s)
        answer: Answer | None = None
        if fault is None or fault.takes_effect:
            answer = self._carry_out(route, request)
        if fault is not None and (answer is None or answer.status < 400):
            answer = self._spoiled(fault)
        if answer is None:
            handler.close_connection = True
            handler.connection.close()
            return
        _send(handler, answer, self.content_type)

    def _route(self, method: str, path: str) -> tuple[Route | None, Mapping[str, str]]:
        for route in self.routes():
            found = re.fullmatch(route.pattern, path)
            if found is not None and route.method == method:
                return route, found.groupdict()
        return None, {}

    def _carry_out(self, route: Route | None, request: Request) -> Answer:
        with self.lock:
            try:
                if route is None:
                    raise Refusal(404, f"there is no {request.method} {request.path}")
                self.authorize(request)
                return route.handler(request)
            except Refusal as refusal:
                return self.error(refusal.status, refusal.message, code=refusal.code)
            except Exception:  # noqa: BLE001  it is told at the end of the test
                self.crashes.append(traceback.format_exc())
                return self.error(500, "the fake itself failed")

    def _spoiled(self, fault: Fault) -> Answer | None:
        if fault.body is not None:
            return Answer(fault.body)
        if not fault.status:
            return None
        answer = self.error(fault.status, "something went wrong on purpose", code=fault.code)
        if fault.retry_after is not None:
            answer.headers = {**answer.headers, "Retry-After": fault.retry_after}
        return answer


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no failure of a test."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | ValueError | OSError):
            super().handle_error(request, client_address)


def _read_body(handler: BaseHTTPRequestHandler) -> bytes | None:
    """The request's body; None where the client went away before it was all sent."""
    if handler.headers.get("Expect", "").lower() == "100-continue":
        pass  # http.server has answered it
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        chunks = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            chunks.append(handler.rfile.read(size))
            handler.rfile.readline()
        while handler.rfile.readline().strip():
            pass
        return b"".join(chunks)
    length = int(handler.headers.get("Content-Length") or 0)
    body = handler.rfile.read(length)
    return body if len(body) == length else None


def _send(handler: BaseHTTPRequestHandler, answer: Answer, content_type: str) -> None:
    if isinstance(answer.body, Iterator):
        _send_pieces(handler, answer, content_type)
        return
    content = b"" if answer.body is None else answer.encoded()
    handler.send_response(answer.status)
    headers = {"Content-Type": content_type, **answer.headers}
    if answer.status != 204:
        headers["Content-Length"] = str(len(content))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD" and answer.status != 204:
        handler.wfile.write(content)


def _send_pieces(handler: BaseHTTPRequestHandler, answer: Answer, content_type: str) -> None:
    """Send pieces as they come: chunked, where no length is claimed, until the client goes away."""
    handler.send_response(answer.status)
    chunked = "Content-Length" not in answer.headers
    headers = {"Content-Type": content_type, **answer.headers}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    for piece in answer.body:
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        handler.wfile.write(b"0\r\n\r\n")
