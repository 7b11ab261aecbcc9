"""The alerts: each fires when it should, is silent when it should be, and leads to a page that exists."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.debian import program
from tests.support.kubernetes import kustomize

ROOT = Path(__file__).parents[2]
RULE = ROOT / "deploy/k8s/components/monitoring/prometheusrule.yaml"
TESTS = Path(__file__).parent / "alerts.yaml"


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULE.read_text())["spec"]["groups"] for rule in group["rules"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules as an ordinary Prometheus reads them, with the tests of them beside."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(RULE.read_text())["spec"]))
    # promtool compares annotations too; here they are held by tests of their own.
    bare = [{name: part for name, part in rule.items() if name != "annotations"} for rule in _rules()]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "bare", "rules": bare}]}))
    (tmp_path / "bare/alerts.yaml").write_text(TESTS.read_text())
    return tmp_path


def _promtool(folder: Path, *arguments: str) -> None:
    promtool = program("promtool", "prometheus")
    done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_what_prometheus_understands(folder: Path) -> None:
    """promtool finds no fault with the rules, annotations and their templates included."""
    _promtool(folder, "check", "rules", "rules.yaml")


def test_each_fires_when_it_should_and_is_silent_when_it_should_be(folder: Path) -> None:
    """promtool's unit tests, on invented series."""
    _promtool(folder / "bare", "test", "rules", "alerts.yaml")


def test_each_is_tested_both_ways() -> None:
    """No alert without a series on which it fires and one on which it does not."""
    asked = [check for test in yaml.safe_load(TESTS.read_text())["tests"] for check in test["alert_rule_test"]]
    names = {rule["alert"] for rule in _rules()}
    assert {check["alertname"] for check in asked if check["exp_alerts"]} == names
    assert {check["alertname"] for check in asked if not check["exp_alerts"]} == names


def _anchors(text: str) -> list[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_each_leads_to_a_page_of_the_runbook_and_no_page_is_of_none() -> None:
    """The anchor in the link is one of the runbook's headings; each heading under "Alerts" has its alert."""
    _, _, alerts = (ROOT / "docs/runbook.md").read_text().partition("\n## Alerts\n")
    links = {rule["alert"]: rule["annotations"]["runbook_url"].split("#") for rule in _rules()}
    assert {page for page, _ in links.values()} == {"docs/runbook.md"}
    assert {anchor for _, anchor in links.values()} == set(_anchors(alerts))
    assert all(rule["labels"]["severity"] in {"warning", "critical"} for rule in _rules())


def test_where_the_runbook_is_read_is_set_in_one_line(tmp_path: Path) -> None:
    """The one address in kustomization.yaml takes the place of every link's page, and leaves its anchor."""
    shutil.copytree(RULE.parent, tmp_path / "monitoring")
    component = tmp_path / "monitoring/kustomization.yaml"
    (address,) = re.findall(r"^ +- runbook=(\S+)$", component.read_text(), re.MULTILINE)
    component.write_text(component.read_text().replace(address, "https://wiki.example.org/alerts?page=7"))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"components": ["monitoring"]}))
    objects = list(yaml.safe_load_all(kustomize(tmp_path)))
    (rule,) = (each for each in objects if each["kind"] == "PrometheusRule")
    urls = [each["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for each in group["rules"]]
    anchors = [each["annotations"]["runbook_url"].partition("#")[2] for each in _rules()]
    assert urls == [f"https://wiki.example.org/alerts?page=7#{anchor}" for anchor in anchors]
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"] == [
        "neuroon-consumer-dashboard"
    ]
