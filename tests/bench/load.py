"""A bench's own load: orders of its shop at a rate, the receipts that follow, a watcher of the alerts they cause."""

from __future__ import annotations

import time
from types import TracebackType

import orjson
from confluent_kafka import Message

from agents.planner.shelf import SPREAD_STEP_MS
from stream.events.instants import text_from_ms
from stream.events.topics import full_name
from tests.bench.bench import Bench
from tests.bench.steady import Key, Stamps, Watcher, paced


class Load:
    """A context in which alerts are watched; `run` may be called again and again in it."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.stamps = bench, Stamps()
        topic = full_name(bench.at.namespace, "stock-alerts")
        self._watcher = Watcher(bench.kafka.bootstrap, topic, self.stamps, _alert_key)

    def __enter__(self) -> Load:
        self._watcher.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, it: BaseException | None, trace: TracebackType | None) -> None:
        self._watcher.__exit__(kind, it, trace)

    def run(self, rate: int, seconds: float) -> float:
        """So many orders a second; returns once all are acknowledged: by how many seconds the last was late."""
        bench, begun = self._bench, time.monotonic()
        for _ in paced(rate, seconds, bench.producer.poll):
            at_ms = bench.time.now_ms()
            order_id, value, body = bench.shop.order(at_ms, bench.shop.lines())
            closing = at_ms % SPREAD_STEP_MS == 0  # alerts that a closing raises are dated so: they are no order's
            keys = [] if closing else [(line["sku"], line["location"], text_from_ms(at_ms)) for line in body]
            bench.send("orders", order_id, value, self.stamps.on_delivery(keys))
            for sku, received in bench.shop.receipts(body, at_ms + 1):
                bench.send("stock-movements", sku, received)
        late = time.monotonic() - begun - seconds
        bench.producer.flush(30)
        return late


def _alert_key(message: Message) -> Key | None:
    if dict(message.headers() or [])["ce_type"] != b"restock.alert.raised":
        return None
    data = orjson.loads(message.value() or b"{}")
    return data["sku"], data["location"], data["raised_at"]
