"""What the worker does, seen from outside: its topics, its /metrics, its hashes in Redis."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families

from agents.clock import now_ms
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
        """Read the worker's metrics; keeps the old ones where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self._web}/metrics", timeout=2) as answer:
                counted(answer.read().decode(), self._settings.shelves, now_ms(), scene)
        except OSError:  # restarting, or busy
            return

    def look(self, scene: Scene) -> None:
        """Read a few rows from Redis; keeps the old ones where it does not answer."""
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


def counted(exposition: str, shelves: int, wall_ms: int, scene: Scene) -> None:
    """Orders accepted, records refused, lag and watermark, from the text of /metrics."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    events = found.get("restock_events_total", [])
    orders = [value for labels, value in events if (labels["topic"], labels["outcome"]) == ("orders", "accepted")]
    scene.orders = int(sum(orders))
    scene.refused = int(sum(value for labels, value in events if labels["outcome"] == "refused"))
    scene.lag_records = int(sum(value for _, value in found.get("restock_lag_records", [])))
    ages_s = [value for _, value in found.get("restock_watermark_age_seconds", []) if value > 0]
    scene.worker_ms = wall_ms - round(max(ages_s) * 1000) if len(ages_s) == shelves else 0
