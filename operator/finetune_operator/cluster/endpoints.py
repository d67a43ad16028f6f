"""The HTTP endpoints: health checks and metrics, served by the loop that does the work.

A loop that is stuck therefore answers nothing, which is what a health check is to find out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from finetune_operator.cluster.telemetry import Telemetry
from finetune_operator.errors import SweepError

READY_PATH = "/readyz"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadAddress(SweepError):
    """An address at which nothing can be served."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to serve something: `http://0.0.0.0:8080/healthz`."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, *, option: str, default_path: str) -> Address:
        """Read an address.

        Args:
            url: As it was given.
            option: Who gave it, for the message.
            default_path: Where it has no path.

        Raises:
            BadAddress: It is none, with an example.
        """
        problem = f"{option} {url}: expected an address such as http://0.0.0.0:8080{default_path}"
        try:
            parts = urlsplit(url)
            port = parts.port or 80
        except ValueError as error:
            raise BadAddress(f"{problem} ({error})") from error
        if parts.scheme != "http" or not parts.hostname:
            raise BadAddress(problem)
        return cls(parts.hostname, port, parts.path.rstrip("/") or default_path)


@asynccontextmanager
async def serving(telemetry: Telemetry, *, liveness: str | None, metrics: str | None) -> AsyncIterator[None]:
    """Serve what is asked for meanwhile; both on one port where their addresses say so.

    Raises:
        BadAddress: An address is none, or its port is taken.
    """
    routes: dict[tuple[str, int], list[web.RouteDef]] = {}
    if liveness is not None:
        at = Address.parse(liveness, option="--liveness", default_path="/healthz")
        checks = [web.get(at.path, _check(telemetry.not_alive))]
        if at.path != READY_PATH:
            checks.append(web.get(READY_PATH, _check(telemetry.not_ready)))
        routes.setdefault((at.host, at.port), []).extend(checks)
    if metrics is not None:
        at = Address.parse(metrics, option="--metrics", default_path="/metrics")
        routes.setdefault((at.host, at.port), []).append(web.get(at.path, _scrape(telemetry)))
    runners: list[web.AppRunner] = []
    try:
        for (host, port), served in routes.items():
            runners.append(await _start(host, port, served))
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


async def _start(host: str, port: int, routes: list[web.RouteDef]) -> web.AppRunner:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise BadAddress(f"{host}:{port} cannot be listened at: {error.strerror or error}") from error
    return runner


def _check(problem: Callable[[], str]) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        text = problem()
        return web.Response(status=503 if text else 200, text=f"{text or 'ok'}\n")

    return answer


def _scrape(telemetry: Telemetry) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        telemetry.before_scrape()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(telemetry.registry), headers={"Content-Type": content_type})

    return answer
