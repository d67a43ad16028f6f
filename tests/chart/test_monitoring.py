"""Alerts and the dashboard: what they ask for exists, and each alert fires when it should and only then."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.alert_cases import CASES, Case
from tests.chart.objects import arguments, of_kind, the
from tests.chart.permutations import EVERYTHING

from finetune_operator.cluster.metric_names import CATALOGUE, PREFIX, table
from gotools.helm_command import CHART, Helm
from gotools.promtool_command import Promtool

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
ALERTS = CHART / "rules" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
}
DASHBOARD = json.loads((CHART / "dashboards" / "finetune-operator.json").read_text("utf-8"))
QUERIES = {
    **{name: rule["expr"] for name, rule in RULES.items()},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    },
}


@pytest.mark.parametrize("name", QUERIES)
def test_alerts_and_panels_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    asked = re.findall(rf"{PREFIX}(\w+)(?:\{{(.*?)\}})?", QUERIES[name])
    assert asked
    for metric, matchers in asked:
        known = CATALOGUE[metric.removesuffix("_bucket")]
        assert (known.kind == "histogram") == metric.endswith("_bucket")
        assert set(re.findall(r"(\w+)(?:!~|=~|!=|=)", matchers)) <= set(known.labels)


def test_the_page_has_every_metric_and_a_paragraph_for_every_alert() -> None:
    text = PAGE.read_text("utf-8")
    assert table() in text
    for name, rule in RULES.items():
        assert f"\n### {name}\n" in text
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"


def promtool_tests(name: str, case: Case) -> list[dict[str, Any]]:
    """Promtool's tests of an alert: it fires, it does not, it ends."""
    name = case.alert or name
    told = {**RULES[name]["annotations"], "summary": case.summary}
    fired = [{"exp_labels": {**case.labels, "severity": case.severity}, "exp_annotations": told}]

    def test(series: Any, at: str, alerts: list[Any]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": each, "values": values} for each, values in series.items()],
            "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": alerts}],
        }

    ended = [test(case.fires, case.later, [])] if case.later else []
    return [test(case.fires, case.at, fired), test(case.quiet, case.at, []), *ended]


def test_every_alert_has_a_case() -> None:
    assert {case.alert or name for name, case in CASES.items()} == RULES.keys()


def test_a_sweep_that_failed_long_ago_is_not_told_again_when_the_pod_is_another_one(
    promtool: Promtool, tmp_path: Path
) -> None:
    series = 'finetune_operator_sweep_phase{namespace="team",sweep="support",phase="Failed",pod="%s"}'
    case: dict[str, Any] = {
        "interval": "1m",
        "input_series": [
            {"series": series % "old", "values": "1x2000 stale"},
            {"series": series % "new", "values": "_x2001 1x100"},
        ],
        "alert_rule_test": [{"eval_time": "2030m", "alertname": "FinetuneSweepFailed", "exp_alerts": []}],
    }
    file = tmp_path / "test.yaml"
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}
    file.write_text(yaml.safe_dump(content), "utf-8")
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(promtool: Promtool, name: str, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    content = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": promtool_tests(name, CASES[name]),
    }
    file.write_text(yaml.safe_dump(content), "utf-8")
    promtool("test", "rules", str(file))


def test_the_rules_are_correct_as_rendered(helm: Helm, promtool: Promtool, tmp_path: Path) -> None:
    rule = the(helm.render(EVERYTHING), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text("utf-8"))
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]), "utf-8")
    promtool("check", "rules", str(file))


def test_monitoring_is_off_until_asked_for(helm: Helm) -> None:
    objects = helm.render()
    kinds = {each["kind"] for each in objects}
    assert not kinds & {"Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"}
    assert not [each for each in arguments(objects) if each.startswith("--metrics")]


def test_a_service_monitor_finds_the_pod_s_metrics(helm: Helm) -> None:
    objects = helm.render(EVERYTHING)
    service, monitor = the(objects, "Service"), the(objects, "ServiceMonitor")
    deployment = the(objects, "Deployment")["spec"]
    assert service["spec"]["selector"] == deployment["selector"]["matchLabels"]
    # An operator that is not ready has the most to tell.
    assert service["spec"]["publishNotReadyAddresses"] is True
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert (endpoint["port"], endpoint["interval"], endpoint["honorLabels"]) == (port["name"], "1m", True)
    assert (port["port"], port["targetPort"]) == (9091, "metrics")
    assert "--metrics=http://0.0.0.0:9091/metrics" in arguments(objects)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_dashboard_is_the_file_and_is_found_by_its_label(helm: Helm) -> None:
    (config,) = of_kind(helm.render(EVERYTHING), "ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "yes"
    assert json.loads(config["data"]["finetune-operator.json"]) == DASHBOARD
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
