"""What the worker does, seen from outside: its topics, its /metrics, its hashes in Redis."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families

from agents.commands import tail
from agents.demo.scene import Scene
from agents.demo.shop import LOCATIONS, PRODUCTS
from agents.settings import Settings
from stream.events.naming import row_key
from stream.events.partition import shelf_of
from stream.events.topics import REPLENISHMENTS, STOCK_ALERTS, full_name
from stream.ledger.keys import Keys

SHOWN = [(product[0], LOCATIONS[n % len(LOCATIONS)]) for n, product in enumerate(PRODUCTS[::4])]


class Watcher:
    """Keeps a scene up to date."""

    def __init__(self, settings: Settings, web: str) -> None:
        self._settings, self._web = settings, web
        names = [full_name(settings.namespace, topic.name) for topic in (STOCK_ALERTS, REPLENISHMENTS)]
        self._consumer = tail.follow(settings.brokers, names)
        self._redis = redis.Redis.from_url(settings.redis_url, socket_timeout=2, decode_responses=True)
        self._keys = Keys(settings.namespace)

    def listen(self, scene: Scene) -> Iterator[dict[str, Any]]:
        """Take in what was published since; yields proposals, for the buyer to answer."""
        for message in self._consumer.consume(1_000, timeout=0):
            if message.error() is not None:
                continue
            type = dict(message.headers() or [])["ce_type"].decode()
            data = json.loads(message.value())
            if type.startswith("restock.alert."):
                scene.hear_alert(type, data)
            else:
                scene.hear_replenishment(type, data)
                if type == "restock.replenishment.proposed":
                    yield data

    def measure(self, scene: Scene) -> None:
        """Read the worker's metrics and a few rows; keeps the old ones where something does not answer."""
        try:
            with urllib.request.urlopen(f"{self._web}/metrics", timeout=2) as answer:
                counted(answer.read().decode(), scene)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return
        try:
            scene.stock = [row for sku, location in SHOWN if (row := self._row(sku, location))]
        except redis.RedisError:
            return

    def _row(self, sku: str, location: str) -> dict[str, str]:
        key = self._keys.stock(shelf_of(sku, self._settings.shelves), row_key(sku, location))
        fields: dict[str, str] = self._redis.hgetall(key)  # type: ignore[assignment] # sync client
        return {"sku": sku, "location": location, **fields} if fields else {}

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()
        self._redis.close()


def counted(exposition: str, scene: Scene) -> None:
    """Orders accepted, records refused and lag, from the text of /metrics."""
    orders = refused = lag = 0.0
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "restock_events_total":
                accepted_order = sample.labels["topic"] == "orders" and sample.labels["outcome"] == "accepted"
                orders += sample.value if accepted_order else 0
                refused += sample.value if sample.labels["outcome"] == "refused" else 0
            elif sample.name == "restock_lag_records":
                lag += sample.value
    scene.orders, scene.refused, scene.lag_records = int(orders), int(refused), int(lag)
