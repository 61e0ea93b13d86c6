"""Source records of a small shop over some days, by a seed, such that nothing depends on how partitions interleave.

Every placed line is fulfilled, or cancelled, by an event of the same order (same partition, later); stock is counted
once before the first sale; some records are broken, some are sent twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Producer

from stream.events.instants import text_from_ms
from stream.events.partition import partition_of
from stream.events.topics import BY_NAME, SOURCES, full_name, partitions

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
START_MS = 20_400 * DAY_MS  # 2025-11-08


class Source(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes
    value: bytes
    at_ms: int


def records(seed: int, days: int, orders_an_hour: int, skus: int = 40) -> list[Source]:
    """The records, in event order."""
    rng = random.Random(seed)
    names = [f"S{i:03d}" for i in range(skus)]
    weights = [1 / (i + 2) for i in range(skus)]
    out: list[Source] = []

    def add(topic: str, key: str, at_ms: int, **event: Any) -> None:
        event = {"event_id": f"e{len(out)}", "occurred_at": text_from_ms(at_ms), **event}
        out.append(Source(topic, key.encode(), orjson.dumps(event), at_ms))

    for i, sku in enumerate(names):
        add("catalog", f'["item","{sku}"]', START_MS - HOUR_MS, type="catalog.item", sku=sku, lead_days=2, unit_cost=3)
        for location in ("L1", "L2"):
            units = rng.randint(20, 60) + 300 // (i + 1)
            movement = {"sku": sku, "location": location, "quantity": units}
            add("stock-movements", sku, START_MS - HOUR_MS, type="stock.counted", **movement)
    for hour in range(days * 24):
        for n in range(orders_an_hour):
            at_ms = START_MS + hour * HOUR_MS + rng.randrange(HOUR_MS)
            _order(rng, add, f"o{hour}-{n}", at_ms, rng.choices(names, weights, k=rng.randint(1, 3)))
        if hour < 6:  # later receipts would make it a matter of timing which proposals are still open
            came = {"sku": rng.choice(names), "location": "L1", "quantity": 5}
            add("stock-movements", came["sku"], START_MS + hour * HOUR_MS, type="stock.received", **came)
        _noise(rng, out, add, hour)
    out.sort(key=lambda s: s.at_ms)
    return out


def _order(rng: random.Random, add: Any, order_id: str, at_ms: int, skus: list[str]) -> None:
    lines = [
        {
            "line_id": str(i),
            "sku": sku,
            "location": rng.choice(("L1", "L2")),
            "quantity": rng.randint(1, 3),
            "unit_price": 9.5,
        }
        for i, sku in enumerate(skus)
    ]
    order = {"order_id": order_id, "lines": lines}
    at_once = rng.random() < 0.6
    add("orders", order_id, at_ms, type="order.placed", fulfilled=at_once, cart_id=f"c-{order_id}", **order)
    if rng.random() < 0.1:
        add("orders", order_id, at_ms + 10 * MINUTE_MS, type="order.cancelled", **order)
    elif not at_once:
        add("orders", order_id, at_ms + 2 * HOUR_MS, type="order.fulfilled", **order)


def _noise(rng: random.Random, out: list[Source], add: Any, hour: int) -> None:
    at_ms = START_MS + hour * HOUR_MS
    if rng.random() < 0.5:  # an upstream repeat: same event, new offset
        twin = rng.choice(out)
        if twin.topic == "orders":
            out.append(twin._replace(at_ms=twin.at_ms))
    if rng.random() < 0.3:
        broken = rng.choice((b"{", b'{"type":"order.placed"}', b"\xff\xfe", b'{"a":1}{"b":2}', b"[" * 5_000))
        out.append(Source("orders", b"broken", broken, at_ms))
    if rng.random() < 0.5:
        cart = f"k{hour}"
        item = {"cart_id": cart, "sku": f"S{rng.randrange(40):03d}", "location": "L1", "quantity": 1}
        add("carts", cart, at_ms, type="cart.item_added", **item)
        add("carts", cart, at_ms + MINUTE_MS, type="cart.checked_out", cart_id=cart)


def later(source: list[Source], by_ms: int, lot: int) -> list[Source]:
    """The same shop some time later: other events, orders and carts, the same SKUs."""
    out = []
    for record in source:
        try:
            event = orjson.loads(record.value)
        except orjson.JSONDecodeError:
            out.append(record._replace(at_ms=record.at_ms + by_ms))
            continue
        if isinstance(event, dict) and "occurred_at" in event:
            event["occurred_at"] = text_from_ms(record.at_ms + by_ms)
            for name in ("event_id", "order_id", "cart_id"):
                if name in event:
                    event[name] = f"{lot}-{event[name]}"
        out.append(record._replace(value=orjson.dumps(event), at_ms=record.at_ms + by_ms))
    return out


def publish(
    brokers: str,
    namespace: str,
    source: list[Source],
    parts: tuple[int, int, int],
    every_ms: int = HOUR_MS,
    closing_ms: int | None = None,
) -> Iterator[float]:
    """Send records in event order with ticks between; yields the share sent at each tick, all of it acknowledged."""
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5})
    failed: list[Any] = []

    def told(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error)

    def send(topic: str, key: bytes, value: bytes, partition: int) -> None:
        producer.produce(full_name(namespace, topic), value, key, partition, on_delivery=told)
        producer.poll(0)

    def count(topic: str) -> int:
        return partitions(BY_NAME[topic], *parts)

    next_ms, n = source[0].at_ms // HOUR_MS * HOUR_MS + HOUR_MS, len(source)
    for i, record in enumerate(source):
        while record.at_ms >= next_ms:
            _tick(send, count, next_ms)
            producer.flush(60)
            assert not failed, failed[:3]
            yield i / n
            next_ms += every_ms
        send(record.topic, record.key, record.value, partition_of(record.key, count(record.topic)))
    _tick(send, count, closing_ms or (next_ms // DAY_MS + 2) * DAY_MS)
    assert producer.flush(60) == 0
    assert not failed, failed[:3]
    yield 1.0


def _tick(send: Any, count: Any, at_ms: int) -> None:
    for topic in SOURCES:
        for partition in range(count(topic)):
            tick = {
                "event_id": f"t{at_ms}-{topic}-{partition}",
                "type": "clock.tick",
                "occurred_at": text_from_ms(at_ms),
            }
            send(topic, b"restock.tick", orjson.dumps(tick), partition)
