"""Kafka behind TLS and a password: RESTOCK_BROKERS alone lets every client in, and none tells the secret."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from stream import kafka_address
from stream.events.topics import full_name
from tests import kafka as kafka_
from tests import servers
from tests.connected.installation import AWAIT_S, Installation

pytestmark = pytest.mark.kafka


@pytest.fixture
def secure() -> Iterator[kafka_.SecureKafka]:
    """A broker that lets nobody in without its user."""
    lacking = [tool for tool in ("java", "mvn", "keytool") if shutil.which(tool) is None]
    if lacking:
        pytest.skip(f"no Kafka with TLS: no {' and no '.join(lacking)}")
    broker = kafka_.SecureKafka()
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


def ran(at: Installation, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`restock COMMAND` in this installation."""
    call = [sys.executable, "-m", "agents.cli", *command]
    return subprocess.run(call, env={**os.environ, **at.env, **more}, capture_output=True, text=True, timeout=AWAIT_S)


def test_everything_works_behind_a_password(
    secure: kafka_.SecureKafka, redis_server: servers.Server, tmp_path: Path
) -> None:
    """Topics, worker, publisher, doctor, dead letters; a wrong password is said without showing it."""
    at = Installation(secure.bootstrap, redis_server.url, tmp_path, shelves=1, source_partitions=1, lateness_ms=1000)
    try:
        at.start()
        line = {"line_id": "1", "sku": "S", "location": "L", "quantity": 5}
        order = {"event_id": "1", "type": "order.placed", "occurred_at": "2026-05-01T10:00:00Z", "order_id": "1"}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        producer = Producer(kafka_address.client(secure.bootstrap))
        for value in (orjson.dumps({**order, "occurred_at": now, "fulfilled": True, "lines": [line]}), b"broken"):
            producer.produce(full_name(at.namespace, "orders"), value, b"1", 0)
        assert producer.flush(30) == 0
        deadline = time.monotonic() + AWAIT_S
        while not (alerts := at.read("stock-alerts", 0)):
            assert time.monotonic() < deadline, at.logs()
            time.sleep(0.2)
        assert orjson.loads(alerts[0].value or b"")["sku"] == "S"
        found = ran(at, "doctor")
        assert found.returncode == 0, found.stdout + found.stderr
        letters = ran(at, "dead-letters", "list", "--json")
        assert orjson.loads(letters.stdout.splitlines()[0])["topic"] == "orders", letters.stderr
        refused = ran(at, "doctor", RESTOCK_BROKERS=secure.address("guess"))
        assert refused.returncode != 0
        for said in (at.logs(), found.stdout, found.stderr, refused.stdout, refused.stderr):
            assert "s3cr" not in said
            assert "guess" not in said
    finally:
        at.stop()
