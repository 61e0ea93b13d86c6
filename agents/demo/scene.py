"""What the demo knows at one moment, as plain values; `screen` draws it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from math import ceil
from typing import Any

NEWEST = 24  # replenishments kept
TIMED = 200  # alerts whose latency is kept
SPARK_S = 40  # looks whose throughput is kept
SEVERITIES = ("critical", "warning", "info")
HISTORY_DAYS = 14  # of a shown row


@dataclass
class Shown:
    """One SKU-location on the screen; units."""

    sku: str
    location: str
    sold: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY_DAYS))  # a local day, oldest first
    on_hand: float = 0.0
    on_order: float = 0.0
    reorder_point: float = 0.0
    order_up_to: float = 0.0
    likely: float = 0.0  # demand until what is ordered now would be there: its middle
    most: float = 0.0  # and what it stays under in 95 of 100 cases (or at the row's service level)
    known: bool = False  # whether Restock has said anything of it yet


@dataclass
class Scene:
    """Numbers, open alerts and newest replenishments of a running demo."""

    elapsed_s: float = 0.0
    shop_ms: int = 0
    hours_a_second: float = 0.0
    rows: int = 0
    published: int = 0
    published_s: float = 0.0  # a second, since the last look
    orders_s: float = 0.0
    throughput: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK_S))
    orders: int = 0  # order events accepted by the worker
    orders_looked: int = 0  # the same when rates were last taken
    refused: int = 0
    lag_records: int = 0
    worker_ms: int = 0  # the least watermark of the worker's shelves; 0 before each has one
    raised: Counter[str] = field(default_factory=Counter)  # alerts by kind
    resolved: int = 0
    proposed: int = 0
    received: int = 0
    open: dict[str, dict[str, Any]] = field(default_factory=dict)  # alerts by id
    replenishments: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id, newest last
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=TIMED))
    shown: list[Shown] = field(default_factory=list)
    wanted_units: int = 0  # of the last week, by the shop's own truth
    lost_units: int = 0

    def hear_alert(self, type: str, data: dict[str, Any]) -> None:
        """An alert event arrived."""
        if type == "restock.alert.raised":
            self.raised[data["kind"]] += 1
        if type == "restock.alert.resolved":
            self.resolved += 1
            self.open.pop(data["alert_id"], None)
        else:
            self.open[data["alert_id"]] = data

    def hear_replenishment(self, type: str, data: dict[str, Any]) -> None:
        """A replenishment event arrived; the reason it was proposed for stays with it."""
        self.proposed += type == "restock.replenishment.proposed"
        self.received += type == "restock.replenishment.received"
        id, status = data["replenishment_id"], type.rpartition(".")[2]
        known = self.replenishments.get(id)
        if known is not None:
            self.replenishments[id] = {**known, "event": status, "remaining": data["remaining"]}
        elif status == "proposed":
            self.replenishments[id] = {**data, "event": status}
        while len(self.replenishments) > NEWEST:
            del self.replenishments[next(iter(self.replenishments))]

    def alerts(self) -> list[dict[str, Any]]:
        """One a SKU-location that has any open, the gravest, with how many `others`; the most money at risk first."""
        worst: dict[tuple[str, str], dict[str, Any]] = {}
        for alert in sorted(self.open.values(), key=lambda a: (SEVERITIES.index(a["severity"]), a["alert_id"])):
            row = (alert["sku"], alert["location"])
            money = max(alert["money_at_risk_day"], worst.get(row, alert)["money_at_risk_day"])
            others = worst[row]["others"] + 1 if row in worst else 0
            worst[row] = {**worst.get(row, alert), "money_at_risk_day": money, "others": others}
        return sorted(worst.values(), key=lambda a: (-a["money_at_risk_day"], a["alert_id"]))

    @property
    def at_risk_day(self) -> float:
        """Money at risk a day; two alerts of one SKU-location are about the same money."""
        return float(sum(alert["money_at_risk_day"] for alert in self.alerts()))

    @property
    def served_share(self) -> float | None:
        """Share of what was wanted in the last week that was there; None before a week's day has ended."""
        return None if self.wanted_units == 0 else 1 - self.lost_units / self.wanted_units

    def latency_ms(self, share: float) -> float | None:
        """A quantile of the latest alerts' latency; None before there is one.

        >>> scene = Scene()
        >>> scene.latencies_ms.extend([30.0, 10.0, 20.0])
        >>> scene.latency_ms(0.5), scene.latency_ms(0.99)
        (20.0, 30.0)
        """
        if not self.latencies_ms:
            return None
        ranked = sorted(self.latencies_ms)
        return ranked[max(ceil(share * len(ranked)) - 1, 0)]

    @property
    def flowed(self) -> bool:
        """Whether orders went in and alerts came out."""
        return self.orders > 0 and self.raised.total() > 0


class Told:
    """When event time was published: pairs of event time and wall time, both growing."""

    def __init__(self, most: int = 20_000) -> None:
        self._event_ms: list[int] = []
        self._wall_ms: list[float] = []
        self._most = most

    def note(self, event_ms: int, wall_ms: float) -> None:
        """Everything up to `event_ms` was published at `wall_ms`."""
        if self._event_ms and event_ms <= self._event_ms[-1]:
            return
        self._event_ms.append(event_ms)
        self._wall_ms.append(wall_ms)
        if len(self._event_ms) > self._most:
            del self._event_ms[: self._most // 2], self._wall_ms[: self._most // 2]

    @property
    def latest_ms(self) -> int:
        """Event time that was published last; 0 before there is any."""
        return self._event_ms[-1] if self._event_ms else 0

    def wall_ms(self, event_ms: int) -> float | None:
        """When what happened at `event_ms` was published; None where that was long ago, or is not yet.

        >>> told = Told(); told.note(100, 7.0); told.note(200, 8.0); told.wall_ms(150), told.wall_ms(300)
        (8.0, None)
        """
        at = bisect_left(self._event_ms, event_ms)
        return self._wall_ms[at] if at < len(self._wall_ms) else None
