"""A proxy between an operator and the API server, which sees each call and may lose, repeat, refuse or hold it.

The operator speaks plain HTTP to it, on the loopback interface, with its own token; the proxy speaks TLS to the API
server and adds nothing, so that rights, versions and validation are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from tests.faults.moments import Moment, Moments, When

_HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive", "accept-encoding"}


@dataclass(frozen=True)
class ApiCall:
    """One call to the API server."""

    method: str
    resource: str
    name: str
    part: str
    body: Any
    watch: bool

    @property
    def step(self) -> str:
        """What the operator does by it, in words of the lifecycle."""
        if self.watch:
            return f"watch {self.resource}"
        if self.method == "PATCH" and self.part == "status":
            return _status_step(self.resource, self.body.get("status", {}))
        if self.method == "PATCH" and "finalizers" in self.body.get("metadata", {}):
            held = "hold" if self.body["metadata"]["finalizers"] else "release"
            return f"{held} {_singular(self.resource)}"
        verb = {"POST": "create", "GET": "get" if self.name else "list"}.get(self.method, self.method.lower())
        return f"{verb} {_singular(self.resource)}"


def _singular(resource: str) -> str:
    return resource.removeprefix("finetune").removesuffix("s")


def _status_step(resource: str, status: dict[str, Any]) -> str:
    if resource == "finetunetrials":
        for entry, word in (("create", "journal"), ("serving", "serving")):
            if "state" in (status.get(entry) or {}):
                return f"{word} {status[entry]['state']}"
        if status.get("cancel"):
            return "ask to cancel"
    if "phase" in status:
        return f"{_singular(resource)} {status['phase']}"
    return f"{_singular(resource)} status"


@dataclass(frozen=True)
class Instead:
    """An answer of the proxy's own, in the API server's shape."""

    status: int
    reason: str

    @property
    def body(self) -> bytes:
        """A Status."""
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status}
        return json.dumps({**said, "reason": self.reason, "message": "on purpose"}).encode()


class ApiProxy:
    """A proxy that is started with `with`.

    Attributes:
        moments: Is told of every call.
        instead: What is answered at a moment that was swallowed; without it the connection breaks.
        twice: Whether a call is carried out twice, as a repeating middlebox does; the second answer goes back.
        stale: Whether lists are answered as they were first answered.
        watch_delay_s: By how much watch events come late.
    """

    def __init__(self, server: str, authority: Path, moments: Moments) -> None:
        self.moments = moments
        self.instead: Callable[[Moment], Instead | None] = lambda _: None
        self.twice: Callable[[ApiCall], bool] = lambda _: False
        self.stale = False
        self.watch_delay_s = 0.0
        self._server = server
        self._ssl = ssl.create_default_context(cafile=str(authority))
        self._lists: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    @property
    def url(self) -> str:
        """The address for a kubeconfig."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    def cut(self) -> None:
        """Break every connection of an operator, as a load balancer that is replaced does."""

        async def cut() -> None:
            for connection in list(self._runner.server.connections if self._runner.server else ()):
                if connection.transport is not None:
                    connection.transport.abort()

        self._run(cut())

    def _run(self, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(30.0)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # -- one call -------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = _read(request, body)
        if (gone := self._swallowed(call, When.ARRIVED, request)) is not None:
            return gone
        if call.watch:
            return await self._watch(request)
        listed = call.method == "GET" and not call.name and bool(call.resource)
        if listed and self.stale and request.path_qs in self._lists:
            status, headers, data = self._lists[request.path_qs]
            return web.Response(status=status, headers=headers, body=data)
        try:
            if self.twice(call):
                await self._forward(request, body)
            status, headers, data = await self._forward(request, body)
        except aiohttp.ClientError:
            return _broken(request)
        if listed:
            self._lists.setdefault(request.path_qs, (status, headers, data))
        if (gone := self._swallowed(call, When.DONE, request)) is not None:
            return gone
        return web.Response(status=status, headers=headers, body=data)

    def _swallowed(self, call: ApiCall, when: When, request: web.Request) -> web.Response | None:
        moment = Moment("api", call.step, when, call)
        if not self.moments.pass_by(moment):
            return None
        instead = self.instead(moment)
        if instead is None:
            return _broken(request)
        return web.Response(status=instead.status, body=instead.body, content_type="application/json")

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        async with self._session.request(
            request.method,
            self._server + request.path_qs,
            headers=_headers(request),
            data=body or None,
            skip_auto_headers=("Content-Type",),
        ) as answer:
            kept = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            return answer.status, kept, await answer.read()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with self._session.get(self._server + request.path_qs, headers=_headers(request)) as answer:
                response.set_status(answer.status)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    if self.watch_delay_s:
                        await asyncio.sleep(self.watch_delay_s)
                    await response.write(chunk)
        except (aiohttp.ClientError, ConnectionError):
            return _broken(request)
        return response


def _broken(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _headers(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _HOP}


def _read(request: web.Request, body: bytes) -> ApiCall:
    parts = request.path.strip("/").split("/")
    # /api/v1/... or /apis/GROUP/VERSION/..., then namespaces/NAME where there is one.
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, part = [*rest, "", "", ""][:3]
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        content = {}
    return ApiCall(request.method, resource, name, part, content, request.query.get("watch") == "true")
