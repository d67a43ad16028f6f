"""Takes each guard against paying twice, losing and leaking away, and sees the tests fail that name it.

`make test-guards`. A test that passes without what it is for is no test. The guards are taken away in a copy of the
sources, one at a time, by replacing text that must be there once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("operator", "providers", "tests", "crds", "examples", "docs")
OPERATOR = "operator/finetune_operator"
KILLS = "tests/faults/test_kills_at_steps.py"


@dataclass(frozen=True)
class Guard:
    """Something that holds, and what shows it.

    Attributes:
        name: What is taken away.
        file: Where it is.
        pattern: What it looks like; must be found once.
        without: What stands there instead.
        tests: Tests of which each must fail without it.
    """

    name: str
    file: str
    pattern: str
    without: str
    tests: tuple[str, ...]


GUARDS = (
    Guard(
        "the journal's write before a create call",
        f"{OPERATOR}/lifecycle/purchase.py",
        r"journaled = await advance\(.*?\n    \)\n",
        "journaled = trial\n",
        (
            f"{KILLS}::test_a_create_call_is_cut_off[OpenAI-arrived]",
            "tests/faults/test_two_operators.py::test_an_operator_that_slept_through_another_s_purchase_buys_nothing",
        ),
    ),
    Guard(
        "the resource version that guards each write",
        f"{OPERATOR}/cluster/guarded.py",
        r'guard = \{"resourceVersion": raw\["metadata"\]\["resourceVersion"\]\}',
        "guard: dict[str, str] = {}",
        ("tests/cluster/test_kube_writes.py::test_the_server_refuses_a_write_that_memory_takes_for_fresh",),
    ),
    Guard(
        "the look-up of a call whose outcome is not known",
        f"{OPERATOR}/lifecycle/purchase.py",
        r"    if capabilities\.finds_by_key:\n        found = await account\.provider\.find\(entry\.key\)",
        "    if capabilities.finds_by_key:\n        found = ()",
        (f"{KILLS}::test_a_create_call_is_cut_off[OpenAI-done]",),
    ),
    Guard(
        "the look-up before a first purchase",
        f"{OPERATOR}/lifecycle/purchase.py",
        r"found = await account\.provider\.find\(key\)",
        "found = ()",
        ("tests/faults/test_restores.py::test_a_status_that_is_lost_in_place_buys_nothing_again",),
    ),
    Guard(
        "the finalizer of trials",
        f"{OPERATOR}/lifecycle/trial_life.py",
        r"return await context\.store\.add_finalizer\(trial\)",
        "return trial",
        (
            "tests/faults/test_restores.py::test_a_trial_that_lost_its_finalizer_leaves_no_job_when_its_sweep_is_deleted",
        ),
    ),
    Guard(
        "the finalizer of sweeps",
        f"{OPERATOR}/lifecycle/sweep_life.py",
        r"(    if trials:\n(?:        #[^\n]*\n)*)        sweep = await context\.store\.add_finalizer\(sweep\)",
        r"\1        pass",
        (
            "tests/faults/test_restores.py::test_a_trial_that_lost_its_finalizer_leaves_no_job_when_its_sweep_is_deleted",
        ),
    ),
    Guard(
        "the journal of deployments",
        f"{OPERATOR}/lifecycle/serving.py",
        r"trial = await _say_that_it_is_deployed\(context, trial, entry\)\n    account\.deployed",
        "account.deployed",
        (f"{KILLS}::test_a_deployment_is_cut_off[Bedrock-serving Pending-arrived]",),
    ),
    Guard(
        "the wait of this process, too, before it buys again",
        f"{OPERATOR}/lifecycle/purchase.py",
        r"waited = min\(waited, looked_for_s\(context, trial, entry\)\)",
        "pass",
        ("tests/unit/lifecycle/test_purchase.py::test_a_clock_that_jumped_ahead_makes_nobody_buy_early",),
    ),
)


def without(guard: Guard, copy: Path) -> None:
    """Take a guard away in a copy of the sources.

    Raises:
        LookupError: It is not found, or not once.
    """
    file = copy / guard.file
    changed, times = re.subn(guard.pattern, guard.without, file.read_text("utf-8"), flags=re.DOTALL)
    if times != 1:
        raise LookupError(f"{guard.name}: found {times} times in {guard.file}")
    file.write_text(changed, "utf-8")


def passes(test: str, copy: Path) -> bool:
    """Whether a test passes with the sources of a copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=copy,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                str(copy / each) for each in ("operator", "providers", "tests", "")
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"{test} could not be run:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.returncode == 0


def unnoticed(guards: tuple[Guard, ...] = GUARDS) -> Iterator[str]:
    """The guards without which a test that names them still passes."""
    with tempfile.TemporaryDirectory(prefix="guards-") as name:
        for guard in guards:
            copy = Path(name) / re.sub(r"\W+", "-", guard.name)
            for folder in COPIED:
                shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", copy)
            without(guard, copy)
            for test in guard.tests:
                noticed = not passes(test, copy)
                print(f"without {guard.name}: {test} {'fails' if noticed else 'PASSES'}", flush=True)
                if not noticed:
                    yield f"{guard.name}: {test}"


def main() -> int:
    """Try all guards; the exit code is 1 where one is not missed."""
    return 1 if list(unnoticed()) else 0


if __name__ == "__main__":
    sys.exit(main())
