"""Every command of the pages is run by a test or named with the reason why not; here those that need no cluster."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.contract.page_commands import (
    LANGUAGES,
    NOT_RUN,
    ROOT,
    RUN_IN_A_FOLDER,
    RUN_ON_A_CLUSTER,
    WITH_OUTPUT,
    Block,
    Command,
    all_blocks,
    all_commands,
    blocks_of,
    commands_of,
)
from tests.contract.page_shell import PageShell
from tests.contract.store_contract import SWEEP
from tests.contract.sweeps_to_look_at import write_states

COMMANDS = all_commands()
LEFT_OUT = [command for command in COMMANDS if command.not_run]


def words(beginning: str) -> list[list[str]]:
    """The commands of pages with that beginning, as the shell splits them."""
    return [shlex.split(each.text) for each in COMMANDS if each.text.startswith(beginning)]


def unclassified(commands: list[Command]) -> list[Command]:
    run = {*RUN_ON_A_CLUSTER, *RUN_IN_A_FOLDER}
    return [each for each in commands if each.page not in run and not each.not_run]


def test_every_command_is_run_or_named_with_a_reason() -> None:
    assert len(COMMANDS) > 40
    assert unclassified(COMMANDS) == []


def test_a_new_command_on_a_page_that_no_test_follows_is_noticed() -> None:
    (block,) = blocks_of(
        "docs/faq.md", "Text.\n```sh\nmake demo\nfinetune run x.yaml \\\n  --state y  # so\n```\n"
    )
    (found,) = unclassified(commands_of(block))
    assert found.text == "finetune run x.yaml --state y"


def test_every_reason_is_needed() -> None:
    assert {each.not_run for each in LEFT_OUT} == NOT_RUN.keys()


def test_blocks_are_of_known_languages_and_outputs_are_on_one_page() -> None:
    blocks = all_blocks()
    assert {block.language for block in blocks} <= LANGUAGES
    assert {block.page for block in blocks if block.language == "console"} == {WITH_OUTPUT}
    typed = re.compile(r"^(?:\$ )?(?:finetune|kubectl|helm|make) ", re.MULTILINE)
    assert [
        block for block in blocks if block.language not in {"sh", "console"} and typed.search(block.text)
    ] == []


@pytest.mark.parametrize("target", sorted({word for line in words("make ") for word in line[1:]}))
def test_make_knows_how(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_images_are_built_from_what_is_there_and_the_one_that_is_pushed_was_built() -> None:
    built = words("docker build") + words("podman build")
    assert built
    for command in built:
        recipe = ROOT / command[command.index("-f") + 1]
        assert (ROOT / command[-1]).is_dir()
        if "--target" in command:
            assert f" AS {command[command.index('--target') + 1]}\n" in recipe.read_text("utf-8")
    tags = {command[command.index("-t") + 1] for command in built}
    assert {command[-1] for command in words("podman push") + words("kind load")} <= tags


def test_what_is_installed_is_an_extra_or_a_package_of_the_repository() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for command in words("pip install"):
        extra = re.fullmatch(r"\.\[(\w+)\]", command[-1])
        if extra:
            assert extra[1] in about["optional-dependencies"]
        else:
            assert (ROOT / command[-1] / "pyproject.toml").is_file()


def test_the_hooks_that_pages_install_are_configured() -> None:
    assert (ROOT / ".pre-commit-config.yaml").is_file()


def follow(shell: PageShell, page: str) -> list[str]:
    """Run a page's commands, in their order; returns those that were run."""
    run = [command.text for command in COMMANDS if command.page == page and not command.not_run]
    for command in run:
        shell(command)
    return run


def test_the_report_s_commands_write_what_they_say(tmp_path: Path) -> None:
    shell = PageShell.over_a_clone(tmp_path / "clone")
    asyncio.run(write_states(tmp_path / "states"))
    shutil.copytree(tmp_path / "states" / SWEEP, shell.folder / ".finetune" / SWEEP)
    assert follow(shell, "docs/report.md")
    assert "<title>" in (shell.folder / f"{SWEEP}.html").read_text("utf-8")
    assert (shell.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "they were left out (--no-answers)" in (shell.folder / "sweep.html").read_text("utf-8")


def test_the_example_of_a_provider_s_own_commands_run(tmp_path: Path) -> None:
    shell = PageShell.over_a_clone(tmp_path / "clone")
    # What `pip install` leaves in an environment: the entry point.
    found = tomllib.loads((ROOT / "examples" / "plugin-provider" / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    about = tmp_path / "installed" / "finetune_example_provider-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: finetune-example-provider\nVersion: 1\n")
    (group, points) = next(iter(found["entry-points"].items()))
    listed = "".join(f"{name} = {value}\n" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{listed}")
    shell.environment["PYTHONPATH"] = str(about.parent)
    assert follow(shell, "examples/plugin-provider/README.md")


def test_the_search_of_the_readme_proposes_ten_points() -> None:
    (block,) = (each for each in all_blocks() if (each.page, each.language) == ("README.md", "python"))
    seen: list[object] = []

    def train_and_score(point: object) -> float | None:
        seen.append(point)
        return None if len(seen) == 3 else 1.0 / len(seen)

    exec(compile(block.text, "README.md", "exec"), {"train_and_score": train_and_score})
    assert len(seen) == 10


def test_the_entry_point_of_the_page_is_the_example_s() -> None:
    (block,) = (each for each in all_blocks() if each.language == "toml")
    example = tomllib.loads((ROOT / "examples" / "plugin-provider" / "pyproject.toml").read_text("utf-8"))
    assert tomllib.loads(block.text)["project"]["entry-points"] == example["project"]["entry-points"]


def test_a_block_is_split_into_commands_without_comments() -> None:
    block = Block("p", "sh", "sed 's#a#b#' x | y   # why\n\n# alone\nexport A=$(b \\\n  c)\n")
    assert [each.text for each in commands_of(block)] == ["sed 's#a#b#' x | y", "export A=$(b c)"]
