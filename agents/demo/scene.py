"""What the demo knows at one moment, as plain values; `screen` draws it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEWEST = 8


@dataclass
class Scene:
    """Numbers and newest messages of a running demo."""

    elapsed_s: float = 0.0
    shop_ms: int = 0
    published: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)  # a second: published, orders
    orders: int = 0  # order events accepted by the worker
    orders_looked: int = 0  # the same when rates were last taken
    refused: int = 0
    lag_records: int = 0
    worker_ms: int = 0  # the least watermark of the worker's shelves; 0 before each has one
    raised: Counter[str] = field(default_factory=Counter)  # alerts by kind
    resolved: int = 0
    proposed: int = 0
    received: int = 0
    alerts: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NEWEST))  # newest first
    replenishments: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NEWEST))
    stock: list[dict[str, str]] = field(default_factory=list)  # readable hashes of a few rows

    def hear_alert(self, type: str, data: dict[str, Any]) -> None:
        """An alert event arrived."""
        if type == "restock.alert.raised":
            self.raised[data["kind"]] += 1
        self.resolved += type == "restock.alert.resolved"
        self.alerts.appendleft({"event": type.rpartition(".")[2], **data})

    def hear_replenishment(self, type: str, data: dict[str, Any]) -> None:
        """A replenishment event arrived."""
        self.proposed += type == "restock.replenishment.proposed"
        self.received += type == "restock.replenishment.received"
        self.replenishments.appendleft({"event": type.rpartition(".")[2], **data})

    @property
    def flowed(self) -> bool:
        """Whether orders went in and alerts came out."""
        return self.orders > 0 and self.raised.total() > 0
