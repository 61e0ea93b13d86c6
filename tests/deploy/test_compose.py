"""docker-compose.yml, read: everything it names exists, versions are pinned, and what it runs can be run."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents import cli
from agents.settings import Settings, load, variable
from tests.deploy import files
from tests.house import tree

COMPOSE = files.compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("restock:")}


def test_it_has_every_part() -> None:
    """A broker, a ledger, topics, workers, a shop, and somebody who watches."""
    assert {"kafka", "redis", "topics", "worker", "shop", "prometheus", "grafana"} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_one_version(name: str) -> None:
    """Never `latest`: what runs today runs tomorrow."""
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.match(r"v?\d+\.\d+\.\d+", tag)
    if name in OURS:
        assert tag == files.VERSION


@pytest.mark.parametrize("name", OURS)
def test_our_commands_and_settings_exist(name: str) -> None:
    """The command parses, its variables are settings, and together they are valid."""
    service = OURS[name]
    assert cli.parser().parse_args(service["command"]).command == service["command"][0]
    known = {variable(field) for field in Settings.model_fields}
    assert set(service["environment"]) <= known
    given = {key.removeprefix("RESTOCK_").lower(): filled(value) for key, value in service["environment"].items()}
    assert load(**given).brokers == "kafka:9092"


def filled(value: str) -> str:
    """A value with compose's defaults for variables that are not set.

    >>> filled("${RESTOCK_LOG_LEVEL:-info}"), filled("a")
    ('info', 'a')
    """
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_more_rights_than_they_need(name: str) -> None:
    """Nothing to write but scratch, no capability, no new privileges."""
    service = OURS[name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_and_mounts_exists(name: str) -> None:
    """It depends on services that can become what it waits for; mounted files are in the repository."""
    service = SERVICES[name]
    waits = service.get("depends_on", {})
    for other in waits:
        condition = waits[other]["condition"] if isinstance(waits, dict) else "service_started"
        if condition == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        if condition == "service_completed_successfully":
            assert SERVICES[other]["restart"] in ("no", "on-failure")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (tree.ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


def test_nothing_listens_beyond_this_machine() -> None:
    """There are no passwords, so every published port is on loopback."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_workers_end_in_their_own_time() -> None:
    """A worker has 20 s to finish what it has in hand; it is killed later than that."""
    from stream.transport.app import STOP_S

    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > STOP_S


def test_prometheus_and_grafana_find_each_other_and_the_workers() -> None:
    """Names and ports in their files are services and ports that are there."""
    scraped = files.load(files.DEPLOY / "prometheus/prometheus.yml")["scrape_configs"][0]
    (found,) = scraped["dns_sd_configs"]
    assert scraped["job_name"] == "restock"
    assert set(found["names"]) <= set(OURS)
    image = (files.DEPLOY / "Dockerfile").read_text("utf-8")
    assert f"RESTOCK_WEB_PORT={found['port']} " in image
    source = files.load(files.DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"].split("//")[1].split(":")[0] in SERVICES
    provider = files.load(files.DEPLOY / "grafana/provisioning/dashboards/restock.yml")["providers"][0]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(provider["options"]["path"] + "/") in {path.name for path in files.DASHBOARDS}
