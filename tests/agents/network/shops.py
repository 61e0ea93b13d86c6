"""Shelves for the network agent's tests: a warehouse with too much, shops with too little, lanes between them."""

from __future__ import annotations

from typing import Any

import orjson

from agents.planner.config import DAY_MS, PlannerConfig
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.shelf import Shelf
from stream.events.facts import Key, home_of, key_of
from stream.events.kinds import Kind
from stream.events.outgoing import Outgoing
from stream.events.rows import SkuRecord, decode
from tests.agents.planner.worlds import HOUR_MS, START_MS, World, at_rest, config

DAYS = 15
NOW = START_MS + DAYS * DAY_MS


class Net:
    """One shelf, folded as it is told; `log` may be sent to by an agent."""

    def __init__(self, **kwargs: Any) -> None:
        self.world = World()
        self.config: PlannerConfig = config(**kwargs)
        self.shelf: Shelf = load(self.config, {}, -1)
        self.said: list[Outgoing] = []
        self.log: list[SkuRecord] = []

    def fact(self, type: str, **fields: Any) -> None:
        """A fact, as intake writes it."""
        fact = {"type": type, **fields}
        key: Key = key_of(fact)
        home = home_of(key)
        self.world.row(
            Kind.FACT, START_MS, sku=home.sku, location=home.location, units=0, fact=orjson.dumps(fact).decode()
        )

    def lane(self, sender: str, receiver: str, **fields: Any) -> None:
        """A lane both of whose ends know what it costs."""
        base = {"lead_days": 1.0, "unit_cost": 0.1}
        self.fact("catalog.lane", from_location=sender, to_location=receiver, **{**base, **fields})

    def sells(self, sku: str, location: str, stock: float, each_day: float) -> None:
        """A SKU at a location: its stock at the end, and its steady demand."""
        self.world.row(Kind.STOCK_COUNTED, START_MS, sku=sku, location=location, units=stock + DAYS * each_day)
        for day in range(DAYS if each_day > 0 else 0):
            at = START_MS + day * DAY_MS + HOUR_MS
            self.world.order(at, len(self.world.rows) + 1_000, sku=sku, location=location, units=each_day, price=10.0)

    def settle(self) -> None:
        """Fold what was told and close the days."""
        self.tell(NOW)

    def tell(self, mark_ms: int | None = None) -> list[Outgoing]:
        """Fold what was added."""
        record = self.world.record(mark_ms)
        return self.take(record.rows, record.marks)

    def take(self, rows: Any, marks: Any = ()) -> list[Outgoing]:
        """Append a record and fold it."""
        record = SkuRecord(len(self.log), rows, tuple(marks))
        self.log.append(record)
        out = fold(self.shelf, [record]).messages + at_rest(self.shelf)
        self.said += out
        return out

    def sent(self, value: bytes) -> list[Outgoing]:
        """What an agent sent to `sku-events`."""
        return self.take(decode(value, len(self.log)).rows)


def two_shops(**kwargs: Any) -> Net:
    """W has 200 of A and sells none, L and M have 1 and sell 4 a day; lanes from W to both, and between them."""
    net = Net(**kwargs)
    for sender, receiver in (("W", "L"), ("W", "M"), ("L", "M"), ("M", "L")):
        net.lane(sender, receiver)
    net.fact("catalog.item", sku="A", unit_cost=4.0, unit_price=10.0, lead_days=5)
    net.sells("A", "W", 200, 0)
    net.sells("A", "L", 1, 4)
    net.sells("A", "M", 1, 4)
    net.settle()
    return net


def narrow_shops(**kwargs: Any) -> Net:
    """The same with five at most a plan (a period of it) from W to L, and no way from M."""
    net = two_shops(**kwargs)
    net.lane("W", "L", capacity_units=5)
    net.lane("M", "L", unit_cost=1000.0)
    net.tell()
    return net
