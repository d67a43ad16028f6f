"""The pages' commands on a cluster that has nothing of ours yet, one after the other, as a reader types them.

What a cluster without nodes cannot do, run a pod, a process beside it does with the Deployment's arguments. The
quickstart trains a model of a few thousand weights, and the company of the other example is a server of the tests.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.chart_release import Cluster, Deployed
from tests.cluster.hosted_world import load_example
from tests.contract.finetune_process import kill_below, wait_for
from tests.contract.page_commands import RUN_ON_A_CLUSTER, Block, all_blocks, all_commands
from tests.contract.page_shell import PageShell, quick_quickstart
from tests.contract.patience import PATIENCE_S
from tests.contract.store_contract import SWEEP
from tests.contract.sweeps_to_look_at import write_states

from controlplane.binaries import Binaries
from controlplane.plane import ControlPlane
from finetune_operator.resources import dump_yaml, load_yaml_documents
from gotools.fixtures import helm
from gotools.helm_command import Helm

__all__ = ["helm"]

NEEDS_A_POD = {
    "kubectl -n finetune rollout status": "--timeout=1s",
    "kubectl -n finetune logs": "--pod-running-timeout=1s",
}
"""Commands that would wait for a pod for good, and what is added to them."""
IN_VAIN = re.compile("timed out waiting for the condition|context deadline exceeded")
"""What they then say: the second where the time was over before the API server had answered."""
OPERATOR = "finetune operator"


@pytest.fixture
def plane(control_plane_binaries: Binaries, tmp_path: Path) -> Iterator[ControlPlane]:
    """A cluster without our CRDs."""
    plane = ControlPlane.create(tmp_path / "plane", control_plane_binaries)
    plane.start(guarded=True)
    yield plane
    plane.stop()


@pytest.fixture
def shell(plane: ControlPlane, helm: Helm, tmp_path: Path) -> Iterator[PageShell]:
    """Whoever follows a page."""
    tools = {"kubectl": plane.layout.binaries.kubectl, "helm": helm.binary}
    shell = PageShell.over_a_clone(tmp_path / "clone", **tools)
    shell.replace_example("quickstart.yaml", quick_quickstart(tmp_path))
    shell.environment["KUBECONFIG"] = str(plane.kubeconfig)
    shell.environment["KUBECACHEDIR"] = str(tmp_path / "kubectl-cache")
    yield shell
    kill_below(shell.folder)


def commands(page: str) -> list[str]:
    assert page in RUN_ON_A_CLUSTER
    return [each.text for each in all_commands() if each.page == page and not each.not_run]


def run(shell: PageShell, command: str) -> str:
    """Run a command; one that waits for a pod does it for a second, and in vain."""
    for beginning, more in NEEDS_A_POD.items():
        if command.startswith(beginning):
            refused = shell(f"{command} {more}", check=False)
            assert refused.returncode == 1
            assert IN_VAIN.search(refused.stderr), refused.stderr
            return ""
    return shell(command).stdout


async def test_the_readme_leads_to_a_model_and_the_page_of_the_result_to_its_use(
    shell: PageShell, tmp_path: Path
) -> None:
    await write_states(tmp_path / "states")
    shutil.copytree(tmp_path / "states" / SWEEP, shell.folder / ".cache" / "demo")  # what `make demo` leaves
    (operator,) = (each for each in commands("README.md") if each.startswith(OPERATOR))
    process = None
    said: dict[str, str] = {}
    try:
        for command in commands("README.md"):
            if command == operator:
                process = shell.background(command, log=tmp_path / "log")
                wait_for(lambda: "serving" in (tmp_path / "log").read_text(), what="an operator that serves")
            else:
                said[command] = run(shell, f"{command}; echo ${{MODEL:-}}")
        assert process is not None
        result = [
            (command, run(shell, f"{command}; echo ${{MODEL:-}}")) for command in commands("docs/result.md")
        ]
        assert shell("kubectl finetune trials quickstart -n finetune").stdout.count("Succeeded ") == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
    finally:
        kill_below(shell.folder)
    (model,) = (text.strip() for command, text in said.items() if command.startswith("MODEL="))
    assert model.startswith("file://")
    assert [
        text.strip() for command, text in result if "configmap" in command or "best" in command.split()
    ] == [model] * 2
    assert all(text.strip() for _, text in result)


def test_getting_started_and_the_chart_s_page_lead_from_nothing_to_a_model_and_back(
    shell: PageShell, plane: ControlPlane, helm: Helm, tmp_path: Path
) -> None:
    company = load_example("openai.yaml")
    shell.environment["OPENAI_API_KEY"] = company.server.secret
    without_key = [each for each in company.manifests if each["kind"] != "Secret"]
    shell.replace_example("openai.yaml", "---\n".join(map(dump_yaml, without_key)))
    deployed = Deployed(Cluster(plane, helm), "finetune", tmp_path / "deployed")
    said: dict[str, str] = {}
    try:
        for command in commands("docs/getting-started.md"):
            if command.startswith("helm uninstall"):
                deployed.stop(60)
            said[command] = run(shell, command)
            if command.startswith("helm install"):
                deployed.start()
    finally:
        deployed.close()
        company.close()
    (output,) = (text for command, text in said.items() if "get configmap quickstart-model" in command)
    assert yaml.safe_load(output)["data"]["model"].startswith("file://")
    (plan,) = (text for command, text in said.items() if "finetune plan" in command)
    assert "Sweep mail-openai is valid; nothing was bought." in plan
    for command in commands("charts/finetune-operator/README.md"):
        run(shell, command)
    assert "finetune-operator" in plane.kubectl("get", "deployments", "-A").stdout


FRAGMENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "docs/providers.md": lambda fragment: {
        "apiVersion": "finetune-operator.dev/v1alpha1",
        "kind": "FinetuneProvider",
        "metadata": {"name": "of-the-page"},
        "spec": {"type": "GoogleAIStudio", "credentialsSecretRef": {"name": "key"}, **fragment["spec"]},
    },
}
"""What stands around a page's manifest that is not a whole object."""
MANIFESTS = [block for block in all_blocks() if block.language == "yaml"]


@pytest.mark.parametrize("block", MANIFESTS, ids=lambda block: block.page)
def test_the_api_server_takes_the_manifests_of_the_pages(control_plane: ControlPlane, block: Block) -> None:
    flags = ("--namespace=default", "--validate=strict", "--filename=-")
    for found in load_yaml_documents(block.text):
        manifest = found if "kind" in found else FRAGMENTS[block.page](found)
        place = {"namespace": "default"} if "namespace" in manifest["metadata"] else {}
        manifest["metadata"] |= place
        accepted = control_plane.kubectl("apply", "--dry-run=server", *flags, stdin=dump_yaml(manifest))
        assert "created (server dry run)" in accepted.stdout
        wrong = dump_yaml({**manifest, "speck": {}})
        refused = control_plane.kubectl("apply", "--dry-run=server", *flags, stdin=wrong, check=False)
        assert 'unknown field "speck"' in refused.stderr


def test_every_fragment_s_surroundings_are_needed() -> None:
    fragments = {block.page for block in MANIFESTS if "kind" not in load_yaml_documents(block.text)[0]}
    assert fragments == FRAGMENTS.keys()
