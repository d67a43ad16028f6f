"""A live operator process as Prometheus, the kubelet and a log store see it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.cluster.operator_account import rbac_for
from tests.cluster.operator_process import OperatorProcess, apply
from tests.contract.finetune_process import kill_below, wait_for
from tests.contract.local_sweep import PROVIDER, config_map, one_of, provider, secret, source, sweep

from controlplane.access import create_namespace, delete_namespace, write_service_account_kubeconfig
from controlplane.plane import ControlPlane
from controlplane.ports import ReservedPort
from finetune_operator.cluster.metric_names import CATALOGUE, PREFIX
from gotools.fixtures import promtool
from gotools.promtool_command import Promtool

__all__ = ["promtool"]


@dataclass(frozen=True, slots=True)
class Live:
    """The process, and where it answers."""

    process: OperatorProcess
    namespace: str
    server: str

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.server + path, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


@pytest.fixture(scope="module")
def live(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An operator with a sweep that waits for its data, on one port for health and metrics."""
    namespace = create_namespace(control_plane)
    control_plane.kubectl("apply", "-f", "-", stdin=rbac_for(namespace))
    kubeconfig = write_service_account_kubeconfig(control_plane, namespace, "finetune-operator")
    folder = tmp_path_factory.mktemp("operator")
    port = ReservedPort()
    server = f"http://127.0.0.1:{port.number}"
    options = (f"--liveness={server}/healthz", f"--metrics={server}/metrics", "--log-format=json")
    process = OperatorProcess(
        kubeconfig, namespace, work_dir=folder / "work", log=folder / "log", options=options
    )
    process.start()
    waits = sweep(
        "waits", Path("/models/none"), parameters={"epochs": one_of(1, 2)}, training=source(name="forgotten")
    )
    apply(control_plane.kubectl, namespace, secret(), provider(jobs=1), config_map(), waits)
    live = Live(process, namespace, server)
    try:
        seen = f'{PREFIX}sweep_phase{{namespace="{namespace}",phase="Pending",sweep="waits"}} 1.0'
        wait_for(lambda: seen in live.get("/metrics")[1], what="the sweep in the metrics")
        accepted = (
            f'{PREFIX}provider_accepted{{namespace="{namespace}",provider="{PROVIDER}",type="Local"}} 1.0'
        )
        wait_for(lambda: accepted in live.get("/metrics")[1], what="the provider in the metrics")
        yield live
        process.stop()
    finally:
        kill_below(process.work_dir)
        port.release()
        delete_namespace(control_plane, namespace)


def test_prometheus_finds_nothing_wrong_with_the_metrics(live: Live, promtool: Promtool) -> None:
    assert promtool("check", "metrics", stdin=live.get("/metrics")[1]).strip() == ""


def test_every_metric_is_in_the_scrape_of_a_process(live: Live) -> None:
    families = {family.name for family in text_string_to_metric_families(live.get("/metrics")[1])}
    own = {name for name in families if name.startswith(PREFIX)}
    assert own == {f"{PREFIX}{name}".removesuffix("_total") for name in CATALOGUE}
    assert "process_resident_memory_bytes" in families


def test_what_the_operator_does_is_counted(live: Live) -> None:
    counted = {
        ("watch_events_total", "FinetuneSweep"),
        ("kubernetes_requests_total", "PATCH", "ok", "finetunesweeps"),
        ("reconcile_seconds_count", "FinetuneSweep", "done"),
    }
    # A sweep's phase is shown before anything of it was written.
    wait_for(
        lambda: counted <= {name for name, value in scraped(live).items() if value >= 1}, what=str(counted)
    )
    values = scraped(live)
    assert values["ready",] == 1
    assert values["watch_restarts_total",] == 0


def scraped(live: Live) -> dict[tuple[str, ...], float]:
    """The values by the metric's name and those of its labels, in the order of their names."""
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(live.get("/metrics")[1])
        for sample in family.samples
    }


def test_the_kubelet_is_told_that_it_is_alive_and_ready(live: Live) -> None:
    assert live.get("/healthz") == (200, "ok\n")
    assert live.get("/readyz") == (200, "ok\n")


def test_every_log_line_is_an_object(live: Live) -> None:
    # The last line may be half written.
    whole = live.process.log_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    assert lines
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
