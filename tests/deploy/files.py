"""What lies in deploy/, read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from agents import metrics
from tests.house import tree

VERSION: str = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
DEPLOY = tree.ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
RULES_TEST = DEPLOY / "prometheus" / "rules_test.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
BASE = DEPLOY / "kubernetes" / "base"
SHOP = DEPLOY / "kubernetes" / "shop"
OVERLAYS = sorted((DEPLOY / "kubernetes" / "overlays").iterdir())


def load(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def compose() -> dict[str, Any]:
    """docker-compose.yml, its merges and anchors resolved."""
    read: dict[str, Any] = load(tree.ROOT / "docker-compose.yml")
    return read


def rules() -> list[dict[str, Any]]:
    """Every rule, alerting and recording."""
    return [rule for group in load(RULES)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alerting rule by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> Iterator[dict[str, Any]]:
    """Every panel of every dashboard that shows something."""
    for path in DASHBOARDS:
        yield from (p for p in json.loads(path.read_text("utf-8"))["panels"] if p["type"] != "row")


def known_metrics() -> set[str]:
    """Every name a worker serves, Prometheus adds, or a rule records."""
    served = set()
    for metric in metrics.DECLARED:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        served |= {metric.exposed + suffix for suffix in suffixes}
    process = set(re.findall(r"^(process_\w+) ", metrics.exposition().decode(), re.MULTILINE))
    assert process, "the process collector says nothing"
    return served | process | {"up"} | {rule["record"] for rule in rules() if "record" in rule}


def known_labels() -> set[str]:
    """Every label a series can have."""
    return {label for metric in metrics.DECLARED for label in metric.labels} | {"job", "instance", "le"}


def kustomized(folder: Path) -> list[dict[str, Any]]:
    """The manifests of a folder as `kubectl kustomize` builds them."""
    tool = [found, "kustomize"] if (found := shutil.which("kubectl")) else [shutil.which("kustomize"), "build"]
    assert tool[0] is not None
    built = subprocess.run([*tool, str(folder)], capture_output=True, text=True, timeout=60)  # type: ignore[list-item]
    assert built.returncode == 0, built.stderr
    return [document for document in yaml.safe_load_all(built.stdout) if document]
