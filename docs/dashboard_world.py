"""A cluster that is worth a dashboard: an operator with three sweeps on a real API server, scraped by Prometheus.

The companies are servers of the tests which speak their protocols; their jobs take about a minute. Everything is on
this machine and is gone at the end. `ask` gives what Prometheus answers to the dashboard's queries.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.hosted_world import Example, load_example
from tests.cluster.operator_account import rbac_for
from tests.cluster.operator_process import OperatorProcess, apply

from controlplane.access import write_service_account_kubeconfig
from controlplane.binaries import ensure_binaries
from controlplane.plane import ControlPlane

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "models"
LASTS_S = 720.0
_SCRAPE = """
global: {{scrape_interval: 5s}}
scrape_configs:
- job_name: finetune-operator
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class NoPrometheusError(Exception):
    """There is no `prometheus` on the PATH."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave.

    Attributes:
        legend: The panel's pattern of names, in Grafana's notation.
        series: Prometheus' own: `metric` and `values`, which are pairs of a time in seconds and a number as text.
    """

    legend: str
    series: Sequence[Mapping[str, Any]]


def answers(dashboard: Mapping[str, Any], folder: Path) -> dict[int, list[Answer]]:
    """Have the sweeps go on for `LASTS_S`, then ask each panel's queries; by the panel's id.

    Raises:
        NoPrometheusError: Debian's package `prometheus` has it.
    """
    with scraped_operator(folder) as server:
        began = time.time()
        time.sleep(LASTS_S)
        return {
            panel["id"]: [
                Answer(target["legendFormat"], ask(server, target["expr"], since=began))
                for target in panel["targets"]
            ]
            for panel in dashboard["panels"]
        }


def ask(server: str, query: str, *, since: float) -> list[Mapping[str, Any]]:
    """A query's series over the time since then, as Grafana asks for them with all namespaces chosen."""
    asked = {
        "query": query.replace("$namespace", ".*"),
        "start": since,
        "end": time.time(),
        "step": 5,
    }
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{urllib.parse.urlencode(asked)}") as told:  # noqa: S310
        found: list[Mapping[str, Any]] = json.load(told)["data"]["result"]
    return found


@contextmanager
def scraped_operator(folder: Path) -> Iterator[str]:
    """The whole world; yields Prometheus' address."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        raise NoPrometheusError("install prometheus, or put its folder on the PATH")
    with ExitStack() as stack:
        plane = ControlPlane.create(folder / "plane", ensure_binaries(notify=print))
        plane.start(ROOT / "crds", guarded=True)
        stack.callback(plane.stop)
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("apply", "-f", "-", stdin=rbac_for(NAMESPACE))
        kubeconfig = write_service_account_kubeconfig(plane, NAMESPACE, "finetune-operator")
        metrics, own = free_port(), free_port()
        operator = OperatorProcess(
            kubeconfig,
            NAMESPACE,
            work_dir=folder / "work",
            log=folder / "log",
            options=(f"--metrics=http://127.0.0.1:{metrics}/metrics",),
        )
        operator.start()
        stack.callback(operator.stop)
        config = folder / "prometheus.yml"
        config.write_text(_SCRAPE.format(port=metrics), encoding="utf-8")
        listens = (f"--web.listen-address=127.0.0.1:{own}", f"--storage.tsdb.path={folder / 'tsdb'}")
        process = subprocess.Popen(  # noqa: S603
            [prometheus, f"--config.file={config}", *listens], stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        for example in sweeps():
            stack.callback(example.close)
            apply(plane.kubectl, NAMESPACE, *example.manifests)
        yield f"http://127.0.0.1:{own}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sweeps() -> list[Example]:
    """One at OpenAI that goes well, one at Vertex AI that waits for its only slot, one at Bedrock whose jobs fail."""
    mail = _slowed("openai.yaml", "learning_rate_multiplier", best=1.2, job_s=70)
    mail.sweep_manifest["spec"]["limits"] |= {
        "maxTrials": 24,
        "budget": {"maxCost": "0.40", "currency": "USD"},
    }
    reviews = _slowed("vertex-ai.yaml", "learningRateMultiplier", best=2.0, job_s=100)
    reviews.sweep_manifest["spec"]["limits"] |= {"parallelTrials": 3}
    queue = _slowed("bedrock.yaml", "learningRate", best=2e-5, job_s=90)
    queue.sweep_manifest["spec"]["limits"] |= {"maxFailedTrials": 2}
    sell = queue.server.sell

    def fails(*sold: Any) -> Any:
        queue.server.next_failure = "Your training data has an example that is too long"
        return sell(*sold)

    queue.server.sell = fails  # type: ignore[method-assign, assignment]
    return [mail, reviews, queue]


def _slowed(file: str, name: str, *, best: float, job_s: float) -> Example:
    """An example whose jobs take `job_s`, and whose models are the better the nearer a parameter is to `best`."""
    example = load_example(file)
    server = example.server
    server.clock.speed = server.training_s / job_s
    server.quality = lambda given: 0.95 - 1.2 * abs(math.log10(float(given.get(name, best)) / best))
    server.base_quality = 0.35
    example.provider_manifest["spec"]["options"]["pollIntervalSeconds"] = "5"
    return example
