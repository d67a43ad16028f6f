"""Log lines, for people and for log stores."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes.company import factory
from tests.unit.lifecycle.conftest import MakeBench, make_bench

from finetune_operator.cli.logs import LogFormat, log_to_stderr
from finetune_operator.lifecycle import scene
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.store import Key

__all__ = ["make_bench"]
OURS = logging.getLogger("finetune_operator.lifecycle.engine")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("finetune_operator", "finetune_providers", "")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    scene.only_about()
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_json_line_has_what_it_is_about_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO, form="json", libraries=True)
    scene.look_at(Key("FinetuneTrial", "team", "support-0"))
    scene.note(sweep="support", provider="acme", job=None)
    OURS.info("%s is %s", "a trial", "tränied\nwell")
    (line,) = lines(capsys)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "finetune_operator.lifecycle.engine",
        "message": "a trial is tränied\nwell",
        "namespace": "team",
        "sweep": "support",
        "trial": "support-0",
        "provider": "acme",
    }


def test_a_traceback_is_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO, form="json", libraries=True)
    try:
        raise KeyError("x")
    except KeyError:
        OURS.exception("unexpected")
    (line,) = lines(capsys)
    assert line["exc_info"].splitlines()[-1] == "KeyError: 'x'"


def test_libraries_warnings_come_in_the_same_form_without_what_they_carry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr(logging.INFO, form="json", libraries=True)
    library = logging.getLogger("kopf.some.place")
    library.info("chatter")
    library.warning("slow", extra={"settings": "a secret"})
    (line,) = lines(capsys)
    assert (line["logger"], line["message"]) == ("kopf.some.place", "slow")
    assert "a secret" not in str(line)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_written_once_however_often_logging_was_asked_for(
    capsys: pytest.CaptureFixture[str], form: LogFormat
) -> None:
    log_to_stderr(logging.DEBUG)
    log_to_stderr(logging.INFO, form=form, libraries=True)
    OURS.debug("once")
    assert capsys.readouterr().err.count("once") == 1


async def test_every_line_of_a_sweep_s_life_says_which_sweep_it_is_about(
    make_bench: MakeBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    log_to_stderr(logging.INFO, form="json", libraries=True)
    stop = asyncio.Event()
    engine = Engine(store=bench.store, work_dir=bench.state / "work", make_provider=factory(bench.company))
    engine.enqueue(bench.sweep_key)
    running = asyncio.ensure_future(engine.run(stop))
    async with asyncio.timeout(PATIENCE_S):
        while not (await bench.sweep()).status.finished:  # noqa: ASYNC110 (the store tells nobody)
            await asyncio.sleep(0.01)
    stop.set()
    await running
    told = lines(capsys)
    assert [line for line in told if "job" in line]
    for line in told:
        assert (line["namespace"], line["sweep"]) == ("default", bench.sweep_key.name), line
        if "FinetuneTrial" in line["message"]:
            assert line["trial"] == (await bench.trial()).name
