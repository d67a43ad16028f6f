"""What Flux makes of every state of all kinds, by the library that it uses itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.gitops.states import states

from gotools.kstatus_command import KStatus

FLUX = Path(__file__).parents[2] / "examples" / "flux"
STATES = {f"{state.kind} {state.name}": state for state in states()}


@pytest.fixture(scope="module")
def computed(kstatus: KStatus) -> dict[str, str]:
    """The status of every state, in one call."""
    return dict(zip(STATES, kstatus(state.manifest for state in STATES.values()), strict=True))


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_what_a_person_would_say(computed: dict[str, str], name: str) -> None:
    assert computed[name] == STATES[name].kstatus


def test_what_nobody_has_seen_is_never_current(computed: dict[str, str]) -> None:
    assert {status for name, status in computed.items() if name.endswith((" new", " edited"))} == {
        "InProgress"
    }


def test_what_needs_a_person_has_failed_and_only_that(computed: dict[str, str]) -> None:
    failed = {name for name, status in computed.items() if status == "Failed"}
    stalled = {
        name
        for name, state in STATES.items()
        if "deletionTimestamp" not in state.manifest["metadata"]
        and any(each["type"] == "Stalled" for each in state.manifest["status"].get("conditions", ()))
    }
    assert failed == stalled


def test_without_the_default_status_a_new_sweep_would_be_current(kstatus: KStatus) -> None:
    new = {**STATES["FinetuneSweep new"].manifest}
    del new["status"]
    assert kstatus([new]) == ["Current"]


def test_the_examples_wait_for_accounts_and_not_for_sweeps() -> None:
    applied, finished = yaml.safe_load_all((FLUX / "sweeps.yaml").read_text("utf-8"))
    assert applied["spec"]["wait"] is False
    assert [each["kind"] for each in applied["spec"]["healthChecks"]] == ["FinetuneProvider"]
    assert [each["kind"] for each in finished["spec"]["healthChecks"]] == ["FinetuneSweep"]
    assert finished["spec"]["timeout"].endswith("h")
