"""`kubectl finetune`: the commands for a cluster under kubectl's name, and their completion."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
from tests.contract.sweeps_to_look_at import write_states

from finetune_operator.cli import complete_main, main
from finetune_operator.cli.kubectl import NAME, kubectl_group

SCRIPTS = {"kubectl-finetune": "kubectl_main", "kubectl_complete-finetune": "complete_main"}


def plugin(*arguments: str) -> click.testing.Result:
    runner = click.testing.CliRunner(env={"COLUMNS": "120", "KUBECONFIG": "nowhere"})
    return runner.invoke(kubectl_group, arguments, prog_name=NAME)


def test_it_has_all_commands_but_those_of_this_machine() -> None:
    context = click.Context(kubectl_group)
    assert set(main.list_commands(context)) - set(kubectl_group.list_commands(context)) == {"operator", "run"}
    for name in ("operator", "run"):
        assert kubectl_group.get_command(context, name) is None
        refused = plugin(name)
        assert refused.exit_code == 2
        assert "Usage: kubectl finetune [OPTIONS] COMMAND" in refused.stderr


@pytest.mark.parametrize("name", ["best", "report", "resolve", "status", "trials", "plan"])
def test_help_is_spelt_as_a_person_types_it(name: str) -> None:
    shown = plugin(name, "--help").stdout
    assert shown.startswith(f"Usage: kubectl finetune {name} ")
    assert f"  kubectl finetune {name} " in shown
    assert f"  finetune {name} " not in shown
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    assert "kubectl finetune " not in (command.help or "").replace("`kubectl finetune`", "")


@pytest.mark.parametrize("command", ["status", "trials", "best", "report"])
def test_it_means_a_cluster_though_this_machine_has_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    asyncio.run(write_states(Path(".finetune")))
    failed = plugin(command)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: cannot read how to reach a cluster")
    assert failed.stderr.endswith("for sweeps of this machine: --state .finetune\n")
    assert failed.stderr.count("\n") == 1
    assert (
        plugin(command, *(["support"] if command != "status" else []), "--state", ".finetune").exit_code == 0
    )


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        (["be"], ["best"]),
        (["best", "--state", ".finetune", "s"], ["support"]),
        (["trials", "--state", ".finetune", ""], ["intents", "support"]),
        (["best", "s"], []),
        (["status", "--wat"], ["--watch"]),
        (["trials", "-o", "w"], ["wide"]),
        ([], []),
    ],
)
def test_words_are_completed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    candidates: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "nowhere")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    asyncio.run(write_states(Path(".finetune")))
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-finetune", *words])
    complete_main()
    *shown, directive = capsys.readouterr().out.splitlines()
    assert directive == ":4"
    if words:
        assert [line.split("\t")[0] for line in shown] == candidates


def test_the_console_scripts_are_what_the_package_names() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    for script, function in SCRIPTS.items():
        assert f'{script} = "finetune_operator.cli:{function}"\n' in project


def test_a_pipe_of_a_person_without_colours_gets_none(tmp_path: Path) -> None:
    asyncio.run(write_states(tmp_path))
    code = "from finetune_operator.cli import kubectl_main; kubectl_main()"
    pipe = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    shown = subprocess.run(
        [sys.executable, "-c", code, "trials", "support", "--state", str(tmp_path)],
        env={**pipe, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "\x1b" not in shown
    assert "DataRefused: línea 3 has no answer ✗" in shown
