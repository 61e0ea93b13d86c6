"""What the worker does, seen from outside: its topics, its /metrics, its hashes in Redis."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisClusterException

from agents.clock import now_ms
from agents.demo.scene import Scene, Shown, Told
from agents.settings import Settings
from agents.shop.door.listen import TOPICS, Heard, Listener
from stream.events.instants import parse_ms
from stream.events.naming import row_key
from stream.events.partition import shelf_of
from stream.events.topics import FORECASTS, STOCK_ALERTS
from stream.ledger.client import reader
from stream.ledger.keys import Keys

BAND = ("0.5", "0.95")  # quantiles of a forecast that are shown


class Watcher:
    """Keeps a scene up to date."""

    def __init__(self, settings: Settings, web: str) -> None:
        self._settings, self._web = settings, web
        self._listener = Listener(settings, [STOCK_ALERTS.name, FORECASTS.name, *TOPICS])
        self._redis: Any = None  # connected at the first look
        self._keys = Keys(settings.namespace)
        self._forecasts: dict[tuple[str, str], tuple[float, float]] = {}

    def listen(self, scene: Scene, told: Told) -> Iterator[Heard]:
        """Take in what was published since; yields what the shop has to answer."""
        for heard in self._listener.hear():
            if heard.type.startswith("restock.alert."):
                scene.hear_alert(heard.type, heard.data)
                published_ms = told.wall_ms(parse_ms(heard.event_time))
                if heard.type == "restock.alert.raised" and published_ms is not None:
                    scene.latencies_ms.append(max(heard.published_ms - published_ms, 0.0))
            elif heard.type == "restock.forecast.made":
                self._forecasts[heard.data["sku"], heard.data["location"]] = band_of(heard.data)
            else:
                if heard.type.startswith("restock.replenishment."):
                    scene.hear_replenishment(heard.type, heard.data)
                yield heard

    def measure(self, scene: Scene) -> None:
        """Read the worker's metrics; keeps the old ones where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self._web}/metrics", timeout=2) as answer:
                counted(answer.read().decode(), self._settings.shelves, now_ms(), scene)
        except OSError:  # restarting, or busy
            return

    def look(self, scene: Scene) -> None:
        """Read the shown rows from Redis; keeps the old ones where it does not answer."""
        try:
            if self._redis is None:
                self._redis = reader(self._settings.redis_url, socket_timeout=2, decode_responses=True)
            for row in scene.shown:
                if fields := self._fields(row.sku, row.location):
                    see(row, fields, self._forecasts.get((row.sku, row.location)))
        except (redis.RedisError, RedisClusterException):
            return

    def _fields(self, sku: str, location: str) -> dict[str, str]:
        key = self._keys.stock(shelf_of(sku, self._settings.shelves), row_key(sku, location))
        fields: dict[str, str] = self._redis.hgetall(key)
        return fields

    def close(self) -> None:
        """Let go of the connections."""
        self._listener.close()
        if self._redis is not None:
            self._redis.close()


def band_of(forecast: dict[str, Any]) -> tuple[float, float]:
    """Likely and worst demand until supply comes, of a forecast: its protection horizon's quantiles."""
    horizon = next(h for h in forecast["horizons"] if h["days"] == forecast["protection_days"])
    quantiles = horizon["quantiles"]
    return float(quantiles.get(BAND[0], horizon["mean"])), float(quantiles.get(BAND[1], horizon["mean"]))


def see(row: Shown, fields: dict[str, str], band: tuple[float, float] | None) -> None:
    """A row as its readable hash has it. Without a forecast the band is what the reorder point is made of.

    >>> row = Shown("a", "b")
    >>> see(row, {"on_hand": "7", "reorder_point": "6", "safety_stock": "2.5"}, None); row.likely, row.most
    (3.5, 6.0)
    """
    row.known = True
    row.on_hand, row.on_order = float(fields["on_hand"]), float(fields.get("on_order", 0))
    row.reorder_point, row.order_up_to = float(fields["reorder_point"]), float(fields.get("order_up_to", 0))
    expected = max(row.reorder_point - float(fields.get("safety_stock", 0)), 0.0)
    row.likely, row.most = band if band is not None else (expected, row.reorder_point)


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
