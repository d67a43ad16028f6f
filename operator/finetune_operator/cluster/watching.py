"""Kopf, reduced to what it is best at here: watching three kinds and saying what changed.

Kopf writes nothing to our objects: it has `on.event` handlers alone, which need no finalizer, no annotation and
no progress of its own. It runs in a thread with its own event loop, since it takes every task of its loop that
is younger than itself for its own and ends it when it ends; a purchase that is under way must not be among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import kopf

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import Raw
from finetune_operator.cluster.entries import slim
from finetune_operator.cluster.guarded import RESOURCES
from finetune_operator.lifecycle.store import Kind
from finetune_operator.resources import GROUP

_GOODBYE_S = 0.25
_PREFIX = f"kopf.{GROUP}"


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch.

    Attributes:
        kind: The object's kind.
        type: ADDED, MODIFIED or DELETED; None where the object was listed, at the start or after a gap.
        raw: The object; None where it is known already.
    """

    kind: Kind
    type: str | None
    raw: Raw | None


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What is watched, and how Kopf runs.

    Attributes:
        access: Credentials.
        namespaces: The only namespaces to serve; all of them where there is none.
    """

    access: ClusterAccess
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Receiver:
    """The operator's own event loop, as Kopf's thread sees it."""

    loop: asyncio.AbstractEventLoop
    deliver: Callable[[Change], None]
    knows: Callable[[Kind, Raw], bool]

    def handler(self, kind: Kind) -> Callable[..., Any]:
        """A Kopf handler that hands events of a kind over and returns.

        After a start all objects are listed that were listed just before, and each write comes back as an event. What
        is known is not handed over: while the operator's own loop is busy, ten thousand objects would wait for it.
        """

        async def handle(*, event: dict[str, Any], **_: Any) -> None:
            how, raw = event["type"], dict(event["object"])
            news = how == "DELETED" or not self.knows(kind, raw)
            self.loop.call_soon_threadsafe(self.deliver, Change(kind, how, slim(raw) if news else None))

        return handle


async def watch(
    settings: WatchSettings,
    deliver: Callable[[Change], None],
    *,
    knows: Callable[[Kind, Raw], bool],
    stop: asyncio.Event,
) -> BaseException | None:
    """Deliver changes, in this task's event loop, until `stop` is set or Kopf fails.

    Args:
        settings: What is watched.
        deliver: Takes changes in.
        knows: Whether an object is known in this version or a newer one; asked from another thread.
        stop: Ends the watch.

    Returns:
        What Kopf failed with, which may be anything; None where it ended because it was told to.
    """
    loop = asyncio.get_running_loop()
    kopf_loop, kopf_stop = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: kopf_loop) as runner:
            runner.run(_operator(settings, _Receiver(loop, deliver, knows), kopf_stop))

    # A thread of its own: in the pool that all share, Kopf might have to wait for long work to end.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kopf")
    ended: asyncio.Future[None] = loop.run_in_executor(executor, run)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        with suppress(RuntimeError):  # it ended of itself, and its loop is closed
            kopf_loop.call_soon_threadsafe(kopf_stop.set)
        await asyncio.wait({ended})
        executor.shutdown(wait=False)
    return ended.exception()


async def _operator(settings: WatchSettings, receiver: _Receiver, stop: asyncio.Event) -> None:
    await kopf.operator(
        registry=_registry(settings.access, receiver),
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    # The loop ends with this; aiohttp leaves its TLS connections to say goodbye after their session was closed.
    await asyncio.sleep(_GOODBYE_S)


def _registry(access: ClusterAccess, receiver: _Receiver) -> kopf.OperatorRegistry:
    """One handler a kind, besides the login."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(id="login", registry=registry)(access.kopf_login)
    for kind, resource in RESOURCES.items():
        # A handler that is made in a function needs an id of its own.
        register = kopf.on.event(
            resource.group, resource.version, resource.plural, id=resource.plural, registry=registry
        )
        register(receiver.handler(kind))
    return registry


class _NoDifference(kopf.DiffBaseStorage):
    """Nobody asks what changed in an object since it was handled last, so that no event is copied to find out."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Nothing of an object matters."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored."""


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    # As many as Kopf has in memory at once, and twice where it reads faster than it hands over.
    settings.watching.chunk_size = 200
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.queueing.worker_limit = None
    # An object's worker holds its last event until it goes.
    settings.queueing.idle_timeout = 0.1
    # Never used, as nothing is ever written; named so that a mistake would be seen to be ours.
    settings.persistence.finalizer = f"{_PREFIX}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=_PREFIX)
    settings.persistence.diffbase_storage = _NoDifference()
    return settings


@contextmanager
def quiet_kopf() -> Iterator[None]:
    """Only Kopf's warnings, unless somebody chose its level: it tells of every event that it handles."""
    kopf_logger, runner_logger = logging.getLogger("kopf"), logging.getLogger("kopf._core.reactor.running")
    level = kopf_logger.level
    if level == logging.NOTSET:
        kopf_logger.setLevel(logging.WARNING)
    runner_logger.addFilter(_not_about_signals)
    try:
        yield
    finally:
        runner_logger.removeFilter(_not_about_signals)
        kopf_logger.setLevel(level)


def _not_about_signals(record: logging.LogRecord) -> bool:
    # Kopf warns that it ignores signals in its thread; they are not for it, and whoever reads it would worry.
    return "OS signals are ignored" not in record.getMessage()
