"""`finetune resolve`: a person says what became of a purchase that is in doubt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Cli, add_trial, set_status

from finetune_operator.folder import FolderStore, read_state
from finetune_operator.folder.annotating import read_trial
from finetune_operator.folder.files import FolderLock
from finetune_operator.lifecycle.resolution import Resolution, resolution_of
from finetune_operator.resources import Condition, CreateJournal, TrialPhase

STATE = Path(".finetune/support")
IN_DOUBT = "it is not known whether create call 2 made a job"


@pytest.fixture
def stalled(cli: Cli) -> Cli:
    """A sweep of one trial that nobody can decide, run until it waits for a person."""

    async def stall(store: FolderStore, _: asyncio.Event) -> None:
        entry = CreateJournal(attempt=2, state="Unknown", key="ft-00112233445566778899-a2")
        await add_trial(store, 0, phase=TrialPhase.STALLED, message=IN_DOUBT, create=entry)
        await add_trial(store, 1, phase=TrialPhase.SUCCEEDED, score=0.5)
        await set_status(
            store,
            "Searching",
            Condition(type="Stalled", status="True", reason="TrialStalled", message=IN_DOUBT),
        )

    cli.script = stall
    ran = cli("run", "sweep.yaml")
    assert ran.exit_code == 4, ran.output
    return cli


@pytest.mark.parametrize(
    ("answer", "resolution"),
    [
        ("retry", Resolution("retry")),
        ("abandon", Resolution("abandon")),
        ("adopt=ftjob-1", Resolution("adopt", "ftjob-1")),
    ],
)
def test_an_answer_is_what_the_operator_reads_and_bound_to_the_attempt(
    stalled: Cli, answer: str, resolution: Resolution
) -> None:
    result = stalled("resolve", "support-0", answer, "--state", str(STATE))
    assert (result.exit_code, result.stdout) == (
        0,
        f"support-0: 2 {answer}. Run `finetune run` again: it goes on with that.\n",
    )
    assert resolution_of(read_trial(STATE, "support-0")) == resolution
    _, trials = read_state(STATE)
    assert [trial.name for trial in trials] == ["support-0", "support-1"]


def test_without_an_answer_it_says_what_is_known(stalled: Cli) -> None:
    result = stalled("resolve", "support-0", "--state", str(STATE))
    assert result.exit_code == 0
    assert IN_DOUBT in result.stdout
    assert "ft-00112233445566778899-a2" in result.stdout
    assert "nothing to resolve" not in result.stdout
    assert "nothing to resolve" in stalled("resolve", "support-1", "--state", str(STATE)).stdout


@pytest.mark.parametrize("answer", ["yes", "adopt=", "adopt=two words", "retry=1", "2 retry", ""])
def test_what_is_no_answer_is_refused_with_those_that_are(stalled: Cli, answer: str) -> None:
    result = stalled("resolve", "support-0", answer, "--state", str(STATE))
    assert result.exit_code == 2
    assert "retry, adopt=<job id> or abandon" in result.stderr
    assert resolution_of(read_trial(STATE, "support-0")) is None


def test_a_trial_that_is_in_no_doubt_cannot_be_bought_again(stalled: Cli) -> None:
    result = stalled("resolve", "support-1", "retry", "--state", str(STATE))
    assert result.exit_code == 2
    assert "support-1 is Succeeded" in result.stderr


def test_an_unknown_trial_is_told_of_with_those_that_are_there(stalled: Cli) -> None:
    result = stalled("resolve", "support-7", "retry", "--state", str(STATE))
    assert result.exit_code == 1
    assert "there is no trial support-7" in result.stderr
    assert "support-0, support-1" in result.stderr


def test_a_folder_in_which_somebody_works_is_left_alone(stalled: Cli) -> None:
    lock = FolderLock.acquire(STATE)
    try:
        result = stalled("resolve", "support-0", "retry", "--state", str(STATE))
    finally:
        lock.release()
    assert result.exit_code == 1
    assert resolution_of(read_trial(STATE, "support-0")) is None
