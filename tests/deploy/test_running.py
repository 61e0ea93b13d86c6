"""Compose services and pods' containers as processes, a Prometheus that scrapes them, and faults that are there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import Producer

from agents.settings import load
from stream.events.topics import full_name
from tests import kafka as kafka_
from tests.connected import traffic
from tests.deploy import files, promql
from tests.deploy.prometheus import tool
from tests.deploy.running import RESTOCK, Machine, until, web_of
from tests.deploy.test_compose import OURS, SERVICES, filled
from tests.deploy.test_manifests import containers

pytestmark = pytest.mark.kafka

ONCE = ("topics",)  # services that end by themselves
ONE_BROKER = {"RESTOCK_REPLICATION_FACTOR": "1"}  # three copies need three


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Kafka and Redis as compose starts them."""
    made = Machine(tmp_path_factory.mktemp("compose"))
    try:
        made.kafka(SERVICES["kafka"])
        made.redis(SERVICES["redis"])
        yield made
    except kafka_.NotPossible as why:
        if kafka_.must_run():
            raise
        pytest.skip(str(why))
    finally:
        made.stop()


def run_to_end(machine: Machine, name: str, args: list[str], env: dict[str, str]) -> None:
    """A service that ends by itself, well."""
    child = machine.start(name, [*RESTOCK, *args], env)
    until(lambda: not child.alive(), f"{name} did not end")
    assert child.stop() == 0, child.tail()


def publish(machine: Machine, namespace: str, parts: tuple[int, int, int]) -> None:
    """Two days of a small shop."""
    brokers = machine.here("kafka:9092")
    for _ in traffic.publish(brokers, namespace, traffic.records(3, 2, 5, skus=10), parts):
        pass


def spoil(machine: Machine, namespace: str) -> None:
    """A record that is none."""
    producer = Producer({"bootstrap.servers": machine.here("kafka:9092")})
    producer.produce(full_name(namespace, "orders"), b"{not json", b"k", 0)
    assert producer.flush(10) == 0


# what is done to the machine, and the alert whose whole expression must then answer; `for` is promtool's business
FAULTS = {
    "RestockRedisNotDurable": ("appendonly", "no", "yes"),
    "RestockRedisNoLimit": ("maxmemory", "0", "512mb"),
    "RestockRedisMemory": ("maxmemory", "1500kb", "512mb"),
}


@pytest.mark.timeout(300)
def test_compose_runs_and_prometheus_answers(machine: Machine) -> None:
    """Services of ours run as written; each alert's expression finds its series; planted faults are seen."""
    tool("prometheus")
    env = {name: machine.environment(service, filled) for name, service in OURS.items()}
    for name in ONCE:
        run_to_end(machine, name, OURS[name]["command"], env[name])
    run = {"RESTOCK_WEB_PORT": "0", "RESTOCK_LOG_FORMAT": "json"}  # the image's own; ports are the machine's
    workers = [
        machine.start("worker", [*RESTOCK, *OURS["worker"]["command"]], env["worker"] | run)
        for _ in range(OURS["worker"]["deploy"]["replicas"])
    ]
    targets = [web_of(worker) for worker in workers]
    prometheus = machine.prometheus(SERVICES["prometheus"], targets)
    settings = load(**{k.removeprefix("RESTOCK_").lower(): v for k, v in env["worker"].items()})
    publish(machine, settings.namespace, (settings.source_partitions, settings.fact_partitions, settings.shelves))
    shop = machine.start("shop", [*RESTOCK, *OURS["shop"]["command"]], env["shop"])

    def silent() -> list[str]:
        sides = {side for alert in files.alerts().values() for side in promql.operands(alert["expr"])}
        return [side for side in sorted(sides) if not machine.ask(side)]

    until(lambda: _answers(machine), "prometheus did not start", prometheus)
    # most of the shop's opening count
    told = 'sum(restock_events_total{topic="stock-movements", outcome="accepted"}) >= 500'
    until(lambda: machine.ask(told), "nothing comes from the shop", shop)
    assert shop.stop() == 0, shop.tail()
    until(lambda: silent() == [], f"no series: {silent()}", prometheus)
    spoil(machine, settings.namespace)
    until(lambda: machine.ask(files.alerts()["RestockDeadLetters"]["expr"]), "the refused record rings nobody")
    until(lambda: machine.ask('ALERTS{alertname="RestockDeadLetters", alertstate="firing"}'), "it does not fire")

    with redis.Redis(port=machine.ports[6379]) as client:
        for alert, (name, wrong, right) in FAULTS.items():
            assert not machine.ask(files.alerts()[alert]["expr"]), f"{alert} before its fault"
            client.config_set(name, wrong)
            until(lambda alert=alert: machine.ask(files.alerts()[alert]["expr"]), f"{alert} does not see its fault")
            client.config_set(name, right)
    workers[0].kill()
    for alert in ("RestockWorkerDown", "RestockPartitionsWithoutWorker"):
        until(lambda alert=alert: machine.ask(files.alerts()[alert]["expr"]), f"{alert} does not see a killed worker")
    machine.children[1].kill()  # Redis
    until(lambda: machine.ask(files.alerts()["RestockRedisAway"]["expr"]), "RestockRedisAway does not see Redis gone")


def _answers(machine: Machine) -> bool:
    try:
        return machine.ask("vector(1)") != []
    except OSError:
        return False


def settings_of(folder: Path) -> dict[str, str]:
    """The config map: the base's settings under the overlay's own."""
    lines = [line for at in (files.BASE, folder) for line in (at / "settings.env").read_text("utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("folder", files.OVERLAYS, ids=lambda folder: folder.name)
def test_the_manifests_containers_run(folder: Path, tmp_path: Path, kafka: kafka_.Broker, redis_server: object) -> None:
    """Job and Deployment, by their arguments and the config map, the secret filled in; the probes' pages answer."""
    machine = Machine(tmp_path)
    secret = {"RESTOCK_BROKERS": kafka.bootstrap, "RESTOCK_REDIS_URL": redis_server.url}  # type: ignore[attr-defined]
    env = settings_of(folder) | secret | ONE_BROKER | {"RESTOCK_WEB_PORT": "0"}
    env["RESTOCK_NAMESPACE"] = f"{env['RESTOCK_NAMESPACE']}-{folder.name}"
    try:
        job, deployment = (containers(files.load(files.BASE / f"{name}.yaml"))[0] for name in ("topics", "worker"))
        run_to_end(machine, "topics", job["args"], env)
        worker = machine.start("worker", [*RESTOCK, *deployment["args"]], env | {"RESTOCK_LOG_FORMAT": "json"})
        where = web_of(worker)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = deployment[probe]["httpGet"]["path"]
            asked = subprocess.run(["curl", "-fsS", f"http://{where}{path}"], capture_output=True, timeout=10)
            assert asked.returncode == 0, asked.stderr
        assert worker.stop() == 0, worker.tail()
    finally:
        machine.stop()
