"""Rules and dashboards speak of what workers really show, and ring when they should."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import files, promql
from tests.deploy.prometheus import tool
from tests.house import tree
from tests.house.test_documents import anchors


def test_there_are_rules_for_what_can_go_wrong() -> None:
    """Workers gone, series missing, lag, dead letters, fences, outbox, Redis' memory, late alerts."""
    read = {name for alert in files.alerts().values() for name in promql.metrics(alert["expr"])}
    assert {
        "up",
        "restock_lag_seconds",
        "restock_dead_letters_total",
        "restock_fence_refusals_total",
        "restock_outbox_age_seconds",
        "restock_redis_memory_bytes",
        "restock_alert_latency_seconds_bucket",
        "restock_watermark_age_seconds",
    } <= read


@pytest.mark.parametrize("name", files.alerts())
def test_an_alert_says_how_bad_it_is_what_happens_and_where_to_read_on(name: str) -> None:
    """Its runbook entry exists; it is no empty heading."""
    alert = files.alerts()[name]
    assert name.startswith("Restock")
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"].endswith(".")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    document = tree.ROOT / page
    assert anchor in anchors(document)
    sections = re.split(r"^## ", document.read_text("utf-8"), flags=re.MULTILINE)
    (entry,) = [s for s in sections if s.split("\n")[0].lower().replace(" ", "-") == anchor]
    assert len(entry.split()) > 25
    assert f"`{name}`" in entry, "the entry names the alert, so that a search for it finds the entry"


def expressions() -> dict[str, str]:
    """Every expression of rules and dashboards, by where it is."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in files.rules()}
    for panel in files.panels():
        found |= {f"{panel['title']} {t['refId']}": t["expr"] for t in panel["targets"]}
    return found


@pytest.mark.parametrize("where", expressions())
def test_an_expression_reads_only_what_is_exported(where: str) -> None:
    """No rule waits for a metric or a label that nobody shows."""
    expression = expressions()[where]
    read = promql.metrics(expression)
    assert read
    assert read - files.known_metrics() == set()
    assert promql.labels(expression) - files.known_labels() == set()


def test_every_metric_is_watched_by_somebody() -> None:
    """What is exported is on a dashboard or in a rule."""
    read = {name for expression in expressions().values() for name in promql.metrics(expression)}
    bare = {re.sub("_(bucket|sum|count)$", "", name) for name in read}
    assert {metric.exposed for metric in files.metrics.DECLARED} - bare == set()


def test_dashboards_are_what_their_tables_say() -> None:
    """`python deploy/grafana/write.py` would change nothing; a changed file is seen."""
    writer = dashboards_writer()
    assert writer.stale() == []
    path, text = next(iter(writer.documents().items()))
    assert path in files.DASHBOARDS
    writer.documents = lambda: {path: text + " "}
    assert writer.stale() == [path.name]


def dashboards_writer() -> Any:
    spec = importlib.util.spec_from_file_location("dashboards_writer", files.DEPLOY / "grafana" / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_panels_are_explained_and_do_not_overlap() -> None:
    """Each says what it means; no two share a place; the data source is the provisioned one."""
    source = files.load(files.DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    taken: set[tuple[int, int]] = set()
    for panel in files.panels():
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == source["uid"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len(taken) > 500


# --- with Prometheus' own tool --------------------------------------------------------------------------------------


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=60)


def test_prometheus_takes_config_and_rules() -> None:
    """promtool reads both without complaint."""
    for arguments in (("rules", files.RULES), ("config", files.DEPLOY / "prometheus/prometheus.yml")):
        ran = promtool("check", arguments[0], str(arguments[1]))
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_fault_rings_its_alert() -> None:
    """promtool plays every story of rules_test.yml; there is one in which each alert fires."""
    ran = promtool("test", "rules", str(files.RULES_TEST))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    fires = {
        asked["alertname"]
        for story in files.load(files.RULES_TEST)["tests"]
        for asked in story.get("alert_rule_test", [])
        if asked["exp_alerts"]
    }
    assert fires == set(files.alerts())


@pytest.mark.parametrize("name", files.alerts())
def test_a_rule_that_cannot_ring_is_seen(name: str, tmp_path: Path) -> None:
    """The stories have teeth: with one alert's expression made empty they fail."""
    spoilt = files.load(files.RULES)
    for group in spoilt["groups"]:  # without the other alerts: they would only take time
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") in (None, name)]
        for rule in group["rules"]:
            if rule.get("alert") == name:
                rule["expr"] = f"({rule['expr']}) and vector(0) > 1"
    spoilt["groups"] = [group for group in spoilt["groups"] if group["rules"]]
    (tmp_path / "rules.yml").write_text(files.yaml.safe_dump(spoilt))
    stories = files.load(files.RULES_TEST)
    for story in stories["tests"]:
        story["alert_rule_test"] = [one for one in story.get("alert_rule_test", []) if one["alertname"] == name]
    stories["tests"] = [story for story in stories["tests"] if story["alert_rule_test"]]
    (tmp_path / "rules_test.yml").write_text(files.yaml.safe_dump(stories))
    assert promtool("test", "rules", str(tmp_path / "rules_test.yml")).returncode != 0
