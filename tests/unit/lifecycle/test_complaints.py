"""What is tried again and again is told on the object."""

from __future__ import annotations

from pathlib import Path

from tests.contract.scenario_contract import DATA, PROVIDER, SWEEP
from tests.unit.lifecycle.bench import Bench

from finetune_operator.lifecycle.complaints import TELL_AGAIN_S, TELL_FROM_S, Complaints
from finetune_providers.errors import TransientProviderError

DOWN = TransientProviderError("the provider answers 503")


class Told:
    """Complaints about the one sweep of a bench, with the time in the test's hand."""

    def __init__(self, state: Path) -> None:
        self.bench = Bench(state, DATA, PROVIDER, SWEEP)
        self.now = 0.0
        self.complaints = Complaints(self.bench.store, lambda: self.now)
        self._log = state / "events.jsonl"

    async def fail(self, error: Exception = DOWN, delay_s: float = TELL_FROM_S) -> int:
        """How often people were told, once it failed."""
        await self.complaints.failed(self.bench.sweep_key, error, delay_s=delay_s)
        return self._log.read_text().count('"Retrying"') if self._log.exists() else 0


async def test_a_failure_that_lasts_is_told_once_in_ten_minutes(tmp_path: Path) -> None:
    told = Told(tmp_path / "state")
    assert await told.fail() == 1
    assert await told.fail() == 1
    told.now += TELL_AGAIN_S
    assert await told.fail() == 2


async def test_a_failure_that_may_pass_at_once_is_not_told(tmp_path: Path) -> None:
    assert await Told(tmp_path / "state").fail(delay_s=TELL_FROM_S / 2) == 0


async def test_another_failure_and_one_after_a_success_are_news(tmp_path: Path) -> None:
    told = Told(tmp_path / "state")
    assert await told.fail() == 1
    assert await told.fail(TransientProviderError("no route to host")) == 2
    told.complaints.passed(told.bench.sweep_key)
    assert await told.fail(TransientProviderError("no route to host")) == 3
