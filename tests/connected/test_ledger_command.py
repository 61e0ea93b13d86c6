"""Records that are gone stop a worker; `restock ledger` says how many, and goes on or begins anew when told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from stream.events.topics import SKU_EVENTS, full_name
from tests import servers
from tests.connected import laws, traffic
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka


def restock(at: Installation, *words: str) -> tuple[int, str]:
    """Run a command; its exit code and what it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "agents.cli", *words],
        env={**os.environ, **at.env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stdout + ran.stderr


def rows(said: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def publish(at: Installation, seed: int) -> None:
    """A day of a small shop."""
    for _ in traffic.publish(at.brokers, at.namespace, traffic.records(seed, 1, 5, skus=8), at.parts):
        pass


def test_gone_records_stop_the_worker_until_somebody_decides(
    kafka: Broker, own_redis: servers.Server, tmp_path: Path
) -> None:
    """Redis is put back to an old copy, and what it would need from the log is deleted."""
    at = Installation(kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=2, source_partitions=1)
    try:
        worker = at.start()
        publish(at, 1)
        at.await_drained()
        worker.stop()
        copy = own_redis.copy()
        worker = at.start()
        publish(at, 2)
        at.await_drained()
        worker.stop()
        own_redis.put_back(copy)
        end = at.end(SKU_EVENTS.name, 0)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        delete = admin.delete_records([TopicPartition(full_name(at.namespace, SKU_EVENTS.name), 0, end)])
        next(iter(delete.values())).result(30)

        code, said = restock(at, "ledger", "show", "--json")
        gone = [row for row in rows(said) if row["gone"]]
        assert code == 1
        assert [(r["topic"], r["partition"], r["begin"]) for r in gone] == [("sku-events", 0, end)]

        refused = at.start()
        deadline = time.monotonic() + 60
        while refused.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert refused.stop() == 2
        assert f"{gone[0]['gone']} records of {at.namespace}.sku-events partition 0 were deleted" in refused.tail()
        assert "restock ledger accept-loss" in refused.tail()

        code, said = restock(at, "ledger", "accept-loss")
        assert code == 1
        assert "nothing was changed" in said
        code, said = restock(at, "ledger", "accept-loss", "--yes", "--json")
        assert (code, len(rows(said))) == (0, 1)
        at.start()
        at.await_drained()
        at.stop()
        counters = json.loads(at.dump(0)["meta"][b"counters"])
        assert counters["lost:sku-events"] == gone[0]["gone"]

        code, said = restock(at, "ledger", "rebuild", "--shelf", "0", "--yes")
        assert code == 2
        assert "does not reach back" in said
        before = at.dump(1)
        code, said = restock(at, "ledger", "rebuild", "--shelf", "1", "--yes")
        assert code == 0
        assert "RESTOCK_PUBLISH_AFTER=" in said
        assert "hot" not in at.dump(1)
        at.start(RESTOCK_PUBLISH_AFTER="2100-01-01T00:00:00Z")
        at.await_drained()
        published = laws.published_by_row(at, 1)
        after = at.dump(1)
        assert _positions(before) == _positions(after)
        assert laws.published_by_row(at, 1) == published
    finally:
        at.stop()


def _positions(dump: dict[str, dict[bytes, bytes]]) -> dict[str, bytes]:
    """on_hand by row, from the readable views."""
    return {key: view[b"on_hand"] for key, view in dump.items() if key.startswith("stock:")}
