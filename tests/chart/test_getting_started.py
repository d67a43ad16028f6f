"""`docs/getting-started.md`: what of it can be checked without a container engine."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import yaml
from tests.chart.objects import pod, the

from finetune_operator.resources import FinetuneSweep, parse_resource
from finetune_operator.resources.yaml_io import load_yaml_documents
from finetune_providers.local_lora.models import SourceKind, find_model
from gotools.helm_command import Helm

ROOT = Path(__file__).parents[2]
COMMANDS = [
    line
    for block in re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs/getting-started.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    for line in block.splitlines()
]


def command(beginning: str) -> list[str]:
    (found,) = (each for each in COMMANDS if each.startswith(beginning))
    return shlex.split(found)


def test_the_chart_asks_for_the_image_that_is_built_and_loaded(helm: Helm) -> None:
    _, _, name, chart, *options = command("helm install")
    options.remove("--create-namespace")
    rendered = helm("template", name, str(ROOT / chart), *options)
    objects = [each for each in yaml.safe_load_all(rendered) if each]
    (container,) = pod(objects)["containers"]
    built = command("docker build")
    assert container["image"] == built[built.index("-t") + 1] == command("kind load")[-1]
    assert container["imagePullPolicy"] == "IfNotPresent"
    recipe = (ROOT / "Containerfile").read_text("utf-8")
    assert f" AS {built[built.index('--target') + 1]}\n" in recipe
    deployment = the(objects, "Deployment")["metadata"]
    waited = command("kubectl -n finetune rollout")
    assert f"deployment/{deployment['name']}" in waited
    assert f"--namespace={waited[2]}" in container["args"]


def test_the_sweep_is_taken_with_a_model_that_an_image_can_have() -> None:
    sed = next(each for each in COMMANDS if each.startswith("sed ")).partition(" | ")[0]
    done = subprocess.run(shlex.split(sed), cwd=ROOT, capture_output=True, text=True, check=True)
    documents = load_yaml_documents(done.stdout)
    (sweep,) = (each for each in documents if each["kind"] == "FinetuneSweep")
    ((model,),) = (each.base_models for each in parse_resource(FinetuneSweep, sweep).spec.candidates)
    assert find_model(model).kind is SourceKind.HUB
    names = {each["metadata"]["name"] for each in documents}
    assert {"quickstart", "this-machine"} <= names
    assert sweep["spec"]["output"]["configMap"] in command("kubectl -n finetune get configmap")


def test_files_that_the_commands_name_exist() -> None:
    named = {
        word for each in COMMANDS for word in each.split() if re.match(r"(examples|charts|crds)/|Conta", word)
    }
    assert len(named) >= 4
    assert [word for word in named if not (ROOT / word).exists()] == []
