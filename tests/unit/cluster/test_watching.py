"""What the watch hands over to the operator's own loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from finetune_operator.cluster.client import Raw
from finetune_operator.cluster.watching import Change, _Receiver
from finetune_operator.lifecycle.store import Kind

TRIAL: Raw = {"metadata": {"name": "support-0", "managedFields": [{"manager": "kubectl"}]}}
SLIM: Raw = {"metadata": {"name": "support-0"}}


async def heard(event_type: str | None, *, known: bool) -> Change:
    """What is heard of an event of an object that is known, or is not."""
    changes: asyncio.Queue[Change] = asyncio.Queue()

    def knows(kind: Kind, raw: Raw) -> bool:
        assert kind == "FinetuneTrial"
        assert raw["metadata"]["name"] == "support-0"
        return known

    receiver = _Receiver(asyncio.get_running_loop(), changes.put_nowait, knows)
    handle: Any = receiver.handler("FinetuneTrial")
    await handle(event={"type": event_type, "object": TRIAL}, memo=None)
    return await asyncio.wait_for(changes.get(), 5)


@pytest.mark.parametrize("event_type", [None, "ADDED", "MODIFIED", "DELETED"])
async def test_what_is_news_is_handed_over_without_who_wrote_which_field(event_type: str | None) -> None:
    assert await heard(event_type, known=False) == Change("FinetuneTrial", event_type, SLIM)


@pytest.mark.parametrize("event_type", [None, "ADDED", "MODIFIED"])
async def test_of_what_is_known_only_the_event_is_heard(event_type: str | None) -> None:
    """Ten thousand objects that are listed after a start would wait for a loop that is busy."""
    assert await heard(event_type, known=True) == Change("FinetuneTrial", event_type, None)


async def test_the_deletion_of_what_is_known_is_handed_over() -> None:
    assert await heard("DELETED", known=True) == Change("FinetuneTrial", "DELETED", SLIM)
