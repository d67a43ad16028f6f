"""Looking again and again: what fails for a moment is waited for, what stands is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from finetune_operator.cli import watching
from finetune_operator.cli.reader import NoSuchSweep, NotAllowed, Unreachable
from finetune_operator.cli.seams import Pace
from finetune_operator.cli.watching import watch
from finetune_operator.errors import SweepError

Answer = int | SweepError
GONE, FORBIDDEN, AWAY = NoSuchSweep("gone"), NotAllowed("forbidden"), Unreachable("no answer")


class Looked:
    """What a watch did with a row of answers."""

    def __init__(self, *answers: Answer) -> None:
        self._answers: Iterator[Answer] = iter(answers)
        self.shown: list[tuple[int, str]] = []

    async def read(self) -> int:
        answer = next(self._answers)
        if isinstance(answer, SweepError):
            raise answer
        return answer

    async def until(self, last: int) -> int:
        return await watch(
            self.read,
            lambda seen, hint: self.shown.append((seen, hint)),
            ended=lambda seen: seen == last,
            pace=Pace(poll_s=2.0),
        )


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, which take no time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(watching.asyncio, "sleep", sleep)
    return pauses


async def test_what_has_ended_is_shown_once(slept: list[float]) -> None:
    looked = Looked(3)
    assert await looked.until(3) == 3
    assert (looked.shown, slept) == ([(3, "")], [])


async def test_an_outage_keeps_what_was_seen_and_is_asked_ever_less_often(slept: list[float]) -> None:
    looked = Looked(1, AWAY, AWAY, AWAY, AWAY, AWAY, 2, 3)
    assert await looked.until(3) == 3
    assert slept == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 2.0]
    assert [seen for seen, _ in looked.shown] == [1, 1, 1, 1, 1, 1, 2, 3]
    assert looked.shown[1][1] == "no answer; it is asked again every 4 s"
    assert looked.shown[-1] == (3, "")


@pytest.mark.parametrize("error", [GONE, FORBIDDEN])
async def test_a_refusal_is_believed_when_it_stands(slept: list[float], error: SweepError) -> None:
    looked = Looked(1, error, error, 2, error, error, error)
    with pytest.raises(type(error)):
        await looked.until(3)
    assert looked.shown == [
        (1, ""),
        (1, str(error)),
        (1, str(error)),
        (2, ""),
        (2, str(error)),
        (2, str(error)),
    ]


@pytest.mark.parametrize("error", [GONE, FORBIDDEN, AWAY])
async def test_what_cannot_be_read_at_first_is_an_error_at_once(
    slept: list[float], error: SweepError
) -> None:
    with pytest.raises(type(error)):
        await Looked(error, 3).until(3)
    assert slept == []


async def test_a_watch_can_be_cancelled() -> None:
    looked = Looked(1, 3)
    task = asyncio.create_task(looked.until(3))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert looked.shown == [(1, "")]
