"""A shop goes live: history by the event clock publishes nothing, then the same ledger goes on by the wall clock."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from stream.events.instants import text_from_ms
from stream.events.partition import partition_of
from stream.events.topics import OUTGOING, full_name
from tests import servers
from tests.connected import traffic
from tests.connected.installation import AWAIT_S, Installation, Read
from tests.kafka import Broker

pytestmark = pytest.mark.kafka


def alerts(at: Installation) -> list[tuple[dict[str, bytes], dict[str, object]]]:
    """Headers and data of every alert published."""
    found: list[Read] = [r for shelf in range(at.settings.shelves) for r in at.read("stock-alerts", shelf)]
    return [(dict(r.headers), orjson.loads(r.value or b"")) for r in found]


def test_history_is_silent_and_live_events_are_answered(
    kafka: Broker, redis_server: servers.Server, tmp_path: Path
) -> None:
    """Nothing is dated before the opening; then open conditions are raised once, and a live order raises its own."""
    now_ms = time.time_ns() // 1_000_000
    opening_ms = now_ms // traffic.DAY_MS * traffic.DAY_MS
    at = Installation(
        kafka.bootstrap,
        redis_server.url,
        tmp_path,
        shelves=2,
        source_partitions=1,
        publish_after=text_from_ms(opening_ms),
    )
    history = traffic.records(seed=3, days=3, orders_an_hour=10)
    moved = traffic.later(history, opening_ms - 3 * traffic.DAY_MS - traffic.START_MS, 0)
    past = [record for record in moved if record.at_ms < opening_ms]
    try:
        historian = at.start(RESTOCK_CLOCK="event")
        sending = traffic.publish(kafka.bootstrap, at.namespace, past, at.parts, closing_ms=opening_ms)
        assert list(sending)[-1] == 1.0
        at.await_drained()
        historian.stop()
        opened = alerts(at)
        assert len(opened) > 5
        first = text_from_ms(opening_ms).encode()
        for topic in OUTGOING:
            for shelf in range(at.settings.shelves):
                assert all(dict(r.headers)["ce_time"] >= first for r in at.read(topic.name, shelf)), topic.name
        kinds = [(data["sku"], data["location"], data["kind"]) for _, data in opened]
        assert len(kinds) == len(set(kinds)), "an open condition was raised twice"

        del at.env["RESTOCK_PUBLISH_AFTER"]  # the ledger remembers
        at.start(RESTOCK_CLOCK="wall", RESTOCK_LATENESS_MS="1000")
        line = {"line_id": "1", "sku": "S000", "location": "L1", "quantity": 5_000}
        order = {
            "event_id": "live-1",
            "type": "order.placed",
            "occurred_at": text_from_ms(now_ms),
            "order_id": "live-1",
        }
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        key = b"live-1"
        value = orjson.dumps({**order, "fulfilled": True, "lines": [line]})
        producer.produce(full_name(at.namespace, "orders"), value, key, partition_of(key, 1))
        assert producer.flush(30) == 0
        deadline = time.monotonic() + AWAIT_S
        while not (new := [data for head, data in alerts(at) if head["ce_time"] == text_from_ms(now_ms).encode()]):
            assert time.monotonic() < deadline, at.logs()
            time.sleep(0.5)
        assert {(data["sku"], data["location"]) for data in new} == {("S000", "L1")}
    finally:
        at.stop()
