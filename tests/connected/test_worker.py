"""Real workers on a real Kafka and a real Redis, undisturbed: orders in, alerts out, and the laws hold."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import pytest

from stream.local.child import free_port
from tests import servers
from tests.connected import laws, traffic
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka


def test_undisturbed_the_laws_hold(kafka: Broker, redis_server: servers.Server, tmp_path: Path) -> None:
    """Three days of a shop, read by one process and kept by another: state, rows, messages and counts hold."""
    at = Installation(kafka.bootstrap, redis_server.url, tmp_path, clock="event", shelves=3, source_partitions=2)
    try:
        port = str(free_port())
        reads, keeps = at.start(RESTOCK_WORK="intake", RESTOCK_WEB_PORT=port), at.start(RESTOCK_WORK="planner")
        source = traffic.records(seed=1, days=3, orders_an_hour=20)
        for _ in traffic.publish(kafka.bootstrap, at.namespace, source, at.parts):
            pass
        at.await_drained()
        counted = laws.hold(at)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            told = page.read().decode()
        assert 'restock_partitions_expected{agent="planner"} 3.0' in told  # who only reads says what should be kept
        assert 'restock_partitions_owned{agent="planner"} 0.0' in told
        assert reads.alive()
        assert keeps.alive()
    finally:
        at.stop()
    assert counted["alerts_open"] > 5
    assert counted["messages"] > 500
    assert counted["refused"] > 5
    assert counted["repeated_upstream"] > 5
    assert counted["closed_days"] > 100


def test_of_two_workers_of_one_name_one_ends_and_says_why(
    kafka: Broker, redis_server: servers.Server, tmp_path: Path
) -> None:
    """To Kafka they are one member: without an end they would take each other's shelves five times a second."""
    at = Installation(kafka.bootstrap, redis_server.url, tmp_path, instance_id="worker-0")
    try:
        twins = [at.start()]
        at.until(lambda: "holding shelf 3" in twins[0].tail(10_000), "the first holds all shelves")
        twins.append(at.start())
        at.until(lambda: not all(twin.alive() for twin in twins), "one of them ends")
        ended, left = sorted(twins, key=lambda twin: twin.alive())
        assert left.alive()
        assert "another worker is named 'worker-0' as well" in ended.tail()
        assert ended.stop() == 2
    finally:
        at.stop()
