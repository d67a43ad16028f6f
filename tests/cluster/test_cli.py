"""`finetune` and `kubectl finetune` against a real API server, with the rights that a person has."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import click.testing
import pytest
from tests.contract.commands_page import COLUMNS, shown_commands
from tests.contract.finetune_process import wait_for
from tests.contract.patience import PATIENCE_S
from tests.contract.store_contract import SWEEP, a_trial
from tests.contract.sweeps_to_look_at import (
    BEST,
    FAILED,
    FAILED_STATUS,
    IN_DOUBT,
    MODEL,
    START,
    STATUS,
    manifest_of,
    trials_of,
)

from controlplane.access import (
    create_namespace,
    create_service_account,
    delete_namespace,
    write_service_account_kubeconfig,
)
from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane
from finetune_operator.cli import main
from finetune_operator.cli.cluster_reader import ClusterReader
from finetune_operator.cli.kubectl import kubectl_group
from finetune_operator.cli.reader import SweepAndTrials
from finetune_operator.cli.seams import Pace, Seams
from finetune_operator.cli.watching import watch
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import SWEEPS, TRIALS, KubeClient
from finetune_operator.cluster.manifests import trial_manifest
from finetune_operator.lifecycle.resolution import Resolution, resolution_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, SweepStatus, parse_resource

ROOT = Path(__file__).parents[2]
GROUP = "finetune-operator.dev"
LOOK = {"apiGroups": [GROUP], "resources": ["finetunesweeps", "finetunetrials"], "verbs": ["get", "list"]}
ANSWER = {"apiGroups": [GROUP], "resources": ["finetunetrials"], "verbs": ["patch"]}


class Cluster:
    """A namespace with a sweep and its trials, and accounts that may do little."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace

    def account(self, name: str, *rules: Any) -> Path:
        """A kubeconfig of somebody with these rights, whose context names the namespace."""
        create_service_account(self.plane, self.namespace, rules, name=name)
        return write_service_account_kubeconfig(self.plane, self.namespace, name)

    def administrator(self) -> Path:
        """Somebody who may do anything, and whose context names the namespace."""
        found = json.loads(self.plane.kubectl("config", "view", "--raw", "-o", "json").stdout)
        found["contexts"][0]["context"]["namespace"] = self.namespace
        path = self.plane.folder / f"{self.namespace}.kubeconfig"
        path.write_text(json.dumps(found))
        return path

    async def begin(self) -> None:
        """Make the sweep with three trials, and one more trial that belongs to an earlier sweep of its name."""
        async with _admin(self.plane) as client:
            sweep = parse_resource(
                FinetuneSweep, await client.create(SWEEPS, self.namespace, manifest_of(SWEEP))
            )
            await client.create(SWEEPS, self.namespace, manifest_of(FAILED))
            earlier = sweep.model_copy(
                update={"metadata": sweep.metadata.model_copy(update={"uid": "earlier"})}
            )
            for trial, status in trials_of(self.namespace):
                await client.create(TRIALS, self.namespace, trial_manifest(trial, sweep))
                body = {"status": status.to_dict()}
                await client.patch(TRIALS, self.namespace, trial.name, body=body, subresource="status")
            manifest = trial_manifest(a_trial(7, namespace=self.namespace), earlier)
            manifest["metadata"]["ownerReferences"] = []
            await client.create(TRIALS, self.namespace, manifest)
        await self.set_status(SWEEP, STATUS)
        await self.set_status(FAILED, FAILED_STATUS)

    async def set_status(self, name: str, status: SweepStatus) -> None:
        """What the operator would write."""
        async with _admin(self.plane) as client:
            body = {"status": status.to_dict()}
            await client.patch(SWEEPS, self.namespace, name, body=body, subresource="status")

    async def trial(self, name: str) -> FinetuneTrial:
        async with _admin(self.plane) as client:
            return parse_resource(FinetuneTrial, await client.get(TRIALS, self.namespace, name))

    async def remove(self) -> None:
        """Let the namespace be deleted: nobody is there who takes finalizers away."""
        async with _admin(self.plane) as client:
            for item in (await client.list(TRIALS, self.namespace)).items:
                body = {"metadata": {"finalizers": None}}
                await client.patch(TRIALS, self.namespace, item["metadata"]["name"], body=body)


class _admin:
    """The administrator's client."""

    def __init__(self, plane: ControlPlane) -> None:
        self._access = ClusterAccess(kubeconfig=plane.kubeconfig)

    async def __aenter__(self) -> KubeClient:
        self._client = await KubeClient.connect(self._access)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    made = Cluster(control_plane, create_namespace(control_plane))
    asyncio.run(made.begin())
    yield made
    asyncio.run(made.remove())
    delete_namespace(control_plane, made.namespace)


@pytest.fixture(scope="module")
def viewer(cluster: Cluster) -> Path:
    return cluster.account("viewer", LOOK)


def finetune(
    *arguments: str, kubeconfig: Path, columns: int = 160, group: click.Group = main
) -> click.testing.Result:
    """The command in this process, as somebody, twenty minutes after the sweep began."""
    runner = click.testing.CliRunner(env={"COLUMNS": str(columns), "KUBECONFIG": str(kubeconfig)})
    return runner.invoke(group, arguments, obj=Seams(clock=lambda: START + timedelta(minutes=20)))


def test_who_may_look_can_use_all_that_looks(viewer: Path) -> None:
    status = finetune("status", kubeconfig=viewer)
    assert status.exit_code == 0, status.output
    assert [line.split()[:4] for line in status.stdout.splitlines()[1:]] == [
        [FAILED, "Failed", "4/12", "1h00m"],
        [SWEEP, "Searching", "2/12", "0.8125"],
    ]
    one = finetune("status", SWEEP, kubeconfig=viewer)
    assert f"best so far: {BEST} with accuracy 0.8125" in one.stdout
    assert "support-2 needs a person" in one.stdout
    assert finetune("best", SWEEP, kubeconfig=viewer).stdout == f"{MODEL}\n"
    assert "Best trial:  support-0" in finetune("report", SWEEP, kubeconfig=viewer).stdout
    shown = finetune("resolve", IN_DOUBT, kubeconfig=viewer)
    assert (shown.exit_code, "key-support-2-a1" in shown.stdout) == (0, True)


def test_a_report_over_a_cluster_says_that_answers_are_elsewhere(viewer: Path, tmp_path: Path) -> None:
    file = tmp_path / "sweep.html"
    finetune("report", SWEEP, f"--output={file}", kubeconfig=viewer)
    page = file.read_text("utf-8")
    assert "No answers are shown: the operator keeps them in its work folder, which cannot be read" in page


def test_trials_are_the_sweeps_own_and_say_why_they_ended(viewer: Path) -> None:
    shown = finetune("trials", SWEEP, "--sort", "score", "--desc", kubeconfig=viewer)
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        "support-0*",
        "support-1",
        "support-2",
    ]
    assert "DataRefused: línea 3 has no answer ✗" in shown.stdout
    rows = json.loads(finetune("trials", SWEEP, "-o", "json", kubeconfig=viewer).stdout)
    assert [row["name"] for row in rows] == [f"{SWEEP}-{index}" for index in range(3)]


def test_the_page_shows_what_commands_print_of_a_cluster(cluster: Cluster) -> None:
    for shown in (each for each in shown_commands() if not each.local):
        words = shown.command.split()
        plugin = words[0] == "kubectl"
        printed = finetune(
            *words[1 + plugin :],
            kubeconfig=cluster.administrator(),
            columns=COLUMNS,
            group=kubectl_group if plugin else main,
        )
        assert shown.matches(printed.output), f"{shown.command}:\n{printed.output}"


def test_who_may_not_answer_is_told_which_right_is_missing(viewer: Path) -> None:
    refused = finetune("resolve", IN_DOUBT, "retry", kubeconfig=viewer)
    assert refused.exit_code == 1
    assert 'cannot patch resource "finetunetrials"' in refused.stderr
    assert refused.stderr.endswith("needed: patch of finetunetrials\n")
    assert refused.stderr.count("\n") == 1


def test_an_answer_is_what_the_operator_reads(cluster: Cluster) -> None:
    answers = cluster.account("answers", LOOK, ANSWER)
    result = finetune("resolve", IN_DOUBT, "abandon", kubeconfig=answers)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{IN_DOUBT}: 1 abandon. The operator goes on with that.\n",
    )
    assert resolution_of(asyncio.run(cluster.trial(IN_DOUBT))) == Resolution("abandon")


def test_who_may_nothing_is_told_so_in_one_line(cluster: Cluster) -> None:
    nobody = cluster.account("nobody")
    for arguments in (("status",), ("status", SWEEP), ("trials", SWEEP), ("best", SWEEP)):
        refused = finetune(*arguments, kubeconfig=nobody)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert 'resource "finetunesweeps"' in refused.stderr
        assert "needed: get and list of finetunesweeps and finetunetrials" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_name_that_there_is_not_is_told_of_with_those_near_it(cluster: Cluster, viewer: Path) -> None:
    missing = finetune("best", "suport", kubeconfig=viewer)
    assert missing.exit_code == 1
    assert missing.stderr == (
        f"Error: there is no sweep suport in namespace {cluster.namespace}; near it: support\n"
    )
    trial = finetune("resolve", "support-9", kubeconfig=viewer)
    assert "there is no trial support-9" in trial.stderr
    assert "support-0, support-1" in trial.stderr


def test_all_namespaces_are_told_apart(cluster: Cluster, kubeconfig: Path) -> None:
    shown = finetune("status", "--all-namespaces", kubeconfig=kubeconfig)
    assert shown.stdout.split()[:2] == ["NAMESPACE", "SWEEP"]
    assert [cluster.namespace, SWEEP, "Searching", "2/12"] in [
        line.split()[:4] for line in shown.stdout.splitlines()
    ]
    empty = finetune("status", "-n", "kube-public", kubeconfig=kubeconfig)
    assert (empty.exit_code, empty.stderr) == (0, "No sweeps in namespace kube-public.\n")


def test_a_cluster_that_is_not_there_is_told_of_in_one_line(viewer: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(re.sub(r"https://127.0.0.1:\d+", "https://127.0.0.1:1", viewer.read_text()))
    stranger = tmp_path / "stranger"
    stranger.write_text(re.sub(r'("token": "|token: )[^"\s]+', r"\1nobodys", viewer.read_text()))
    elsewhere = "there is no context 'elsewhere' in the kubeconfig; contexts:"
    for arguments, text in (
        (("status", "--kubeconfig", str(nowhere)), "the API server cannot be asked"),
        (("status", "--kubeconfig", str(stranger)), "the API server does not know who you are: log in anew"),
        (("best", SWEEP, "--context", "elsewhere"), elsewhere),
        (("best", ""), "there is no sweep  in namespace"),
    ):
        failed = finetune(*arguments, kubeconfig=viewer)
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert text in failed.stderr
        assert failed.stderr.count("\n") == 1


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console scripts on the PATH, as an installation puts them there."""
    for script, function in (
        ("kubectl-finetune", "kubectl_main"),
        ("kubectl_complete-finetune", "complete_main"),
    ):
        path = tmp_path / script
        path.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"sys.path[:0] = {[str(ROOT / 'operator'), str(ROOT / 'providers')]!r}\n"
            f"from finetune_operator.cli import {function}\n{function}()\n"
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("plugin")
def test_kubectl_takes_it_for_its_own(kubectl: Kubectl, cluster: Cluster, viewer: Path) -> None:
    best = kubectl("finetune", "best", SWEEP, "-n", cluster.namespace)
    assert (best.stdout, best.stderr) == (f"{MODEL}\n", "")
    shown = kubectl("finetune", "trials", SWEEP, kubeconfig=viewer)
    assert "DataRefused: línea 3 has no answer ✗" in shown.stdout
    assert "\x1b" not in shown.stdout
    usage = kubectl("finetune", "run", "sweep.yaml", check=False)
    assert usage.returncode == 2
    assert "Usage: kubectl finetune [OPTIONS] COMMAND" in usage.stderr


@pytest.mark.usefixtures("plugin")
def test_kubectl_completes_commands_and_names_of_sweeps(kubectl: Kubectl, viewer: Path) -> None:
    commands = kubectl("__complete", "finetune", "st", kubeconfig=viewer).stdout
    assert commands.splitlines()[0].split("\t")[0] == "status"

    def named() -> list[str]:
        said = kubectl("__complete", "finetune", "best", "s", kubeconfig=viewer).stdout.splitlines()
        return said[: said.index(":4")]

    # A word is not completed where the cluster takes more than three seconds: one presses the key again.
    wait_for(named, what="a sweep's name")
    assert named() in ([SWEEP], [])


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Commands that a test starts heed SIGINT, though a shell that started the tests with `&` has it ignored.

    Who is started so inherits that, and rightly so: what runs in the background is not ended by Ctrl-C.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("plugin", "interruptible")
def test_ctrl_c_ends_watching_without_a_word(control_plane: ControlPlane, viewer: Path) -> None:
    with subprocess.Popen(
        [str(control_plane.layout.binaries.kubectl), "finetune", "status", SWEEP, "--watch"],
        env={**os.environ, "KUBECONFIG": str(viewer)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        try:
            assert watching.stdout is not None
            assert "support-0 Succeeded" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, said = watching.communicate(timeout=PATIENCE_S)
        finally:
            watching.kill()
    assert (watching.returncode, said) == (130, "Interrupted.\n")


async def test_watching_survives_that_the_api_server_is_started_anew(
    control_plane: ControlPlane, cluster: Cluster, viewer: Path
) -> None:
    hints: list[str] = []
    seen: list[str | None] = []

    def show(found: SweepAndTrials, hint: str) -> None:
        hints.append(hint)
        seen.append(found[0].status.phase)

    reader = await ClusterReader.connect(ClusterAccess(kubeconfig=viewer), cluster.namespace)
    watching = asyncio.create_task(
        watch(
            lambda: reader.sweep(SWEEP),
            show,
            ended=lambda found: found[0].status.finished,
            pace=Pace(poll_s=0.2),
        )
    )
    try:
        await _until(lambda: bool(seen))
        await asyncio.to_thread(control_plane.api_server.stop)
        await _until(lambda: any("cannot be asked" in hint for hint in hints))
        await asyncio.to_thread(control_plane.api_server.start)
        await cluster.set_status(SWEEP, STATUS.model_copy(update={"phase": "Succeeded"}))
        sweep, trials = await asyncio.wait_for(watching, PATIENCE_S)
    finally:
        watching.cancel()
        await reader.close()
        await asyncio.to_thread(control_plane.api_server.start)
    assert (sweep.status.phase, len(trials), hints[-1]) == ("Succeeded", 3, "")


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 (a callback tells)
            await asyncio.sleep(0.05)
