"""Records that are gone stop a worker; `restock ledger` says how many, and goes on or begins anew when told to."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from stream.events.instants import text_from_ms
from stream.events.topics import SKU_EVENTS, full_name
from stream.ledger.redis_ledger import RedisLedger
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

        said = _refused(at)
        assert f"{gone[0]['gone']} records of {at.namespace}.sku-events partition 0 were deleted" in said
        assert "restock ledger accept-loss" in said

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
        assert "nothing covers the beginning of shelf 0" in said

        _lose_everything(own_redis, at.namespace)  # an empty shelf beside such a log is not a new one
        said = _refused(at)
        assert f"{end} records of {at.namespace}.sku-events partition 0 were deleted" in said
        assert "or the ledger was lost" in said
        code, said = restock(at, "ledger", "accept-loss", "--yes", "--json")
        assert (code, [row["gone"] for row in rows(said)]) == (0, [end])
        at.start()
        at.await_drained()
        at.stop()
        assert json.loads(at.dump(0)["meta"][b"counters"])["lost:sku-events"] == end
    finally:
        at.stop()


@pytest.mark.timeout(600)  # half a minute on quiet cores
def test_a_shelf_is_rebuilt_from_snapshot_and_log(kafka: Broker, own_redis: servers.Server, tmp_path: Path) -> None:
    """Redis is lost with messages unsent; from the newest snapshot and the log everything is as it was, each once."""
    at = Installation(kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=2, source_partitions=1)
    store = tmp_path / "store"
    try:
        worker = at.start()
        source = traffic.publish(at.brokers, at.namespace, traffic.records(7, 4, 6, skus=10), at.parts)
        _until(source, 0.4)
        at.await_drained()
        for _ in range(3):
            code, said = restock(at, "snapshot", "take", "--store", str(store), "--keep", "2", "--json")
            assert code == 0, said
        noted = asyncio.run(_noted(at))
        assert noted is not None
        assert text_from_ms(noted) == rows(said)[0]["taken_at"]
        listed = rows(restock(at, "snapshot", "list", "--store", str(store), "--json")[1])
        assert [row["shelf"] for row in listed] == [0, 1] * 2, "two of three are kept"
        _until(source, 0.8)
        at.await_drained()
        code, said = restock(at, "ledger", "rebuild", "--store", str(store), "--yes")
        assert code == 2
        assert "workers are still running" in said
        worker.stop()
        before = [at.dump(shelf) for shelf in range(2)]
        published = [laws.published_by_sku(at, shelf) for shelf in range(2)]
        assert sum(map(len, published)) > 20

        _lose_everything(own_redis, at.namespace)
        damaged = sorted((store / at.namespace).iterdir())[-1] / "shelf-1.arrow"
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:-30] + b"x" * 30)
        code, said = restock(at, "ledger", "rebuild", "--store", str(store), "--yes")
        assert code == 2
        assert "the snapshot of shelf 1 is damaged" in said
        damaged.write_bytes(whole)
        code, said = restock(at, "ledger", "rebuild", "--store", str(store), "--yes", "--json")
        assert code == 0, said
        told = rows(said)
        assert all(0 < row["from"] < row["end"] for row in told), "from the snapshot, not from the beginning"
        assert all("0 messages owed" in row["state"] for row in told), told
        assert [laws.published_by_sku(at, shelf) for shelf in range(2)] == published

        at.start()
        _until(source, 1.1)
        at.await_drained()
        at.stop()
        laws.hold(at)
        assert [_state(dump) for dump in before] != [_state(at.dump(shelf)) for shelf in range(2)]
    finally:
        at.stop()


@pytest.mark.timeout(600)  # half a minute on quiet cores
def test_what_was_decided_and_never_published_is_owed_after_a_rebuild(
    kafka: Broker, own_redis: servers.Server, tmp_path: Path
) -> None:
    """Redis is lost while a day of the log was not even read: a rebuild reads it, a worker then says what follows."""
    at = Installation(kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=2, source_partitions=1)
    try:
        worker = at.start()
        source = traffic.publish(at.brokers, at.namespace, traffic.records(8, 3, 6, skus=10), at.parts)
        _until(source, 0.5)
        at.await_drained()
        worker.stop()
        doomed = at.start("tests.connected.crashing", "6", "1")  # dies with messages in its outbox
        _until(source, 1.1)
        at.until_ended(doomed, "it dies with messages in its outbox", 60)
        time.sleep(2.5)  # its session
        _lose_everything(own_redis, at.namespace)
        code, said = restock(at, "ledger", "rebuild", "--yes", "--json")
        assert code == 0, said
        owed = sum(int(row["state"].split(", ")[-1].split()[0].replace(",", "")) for row in rows(said))
        assert owed > 0, said
        at.start()
        at.await_drained()
        at.stop()
        laws.hold(at)
    finally:
        at.stop()


def _refused(at: Installation) -> str:
    """The last words of a worker that ends by itself, with exit code 2."""
    worker = at.start()
    at.until_ended(worker, "it is refused", 60)
    assert worker.stop() == 2, worker.tail()
    return str(worker.tail())


async def _noted(at: Installation) -> int | None:
    """When the newest snapshot was taken, as workers hear of it."""
    ledger = RedisLedger(at.settings.redis_url, at.namespace)
    try:
        return await ledger.snapshot_ms()
    finally:
        await ledger.close()


def _until(source: Any, share: float) -> None:
    for done in source:
        if done >= share:
            return


def _lose_everything(server: servers.Server, namespace: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        keys = client.keys(f"{namespace}:*")
        assert keys
        client.delete(*keys)


def _state(dump: dict[str, dict[bytes, bytes]]) -> dict[str, dict[bytes, bytes]]:
    """Rows."""
    return {name: dump[name] for name in ("hot", "model")}
