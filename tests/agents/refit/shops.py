"""Shelves for the slow lane's tests: items of several prices, some that sell too little to be fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from stream.events.kinds import Kind
from tests.agents.planner.worlds import START_MS, World, config

DAYS = 48


def shop(
    prices: dict[str, float],
    *,
    days: int = DAYS,
    level: float = 4.0,
    doubled: tuple[str, ...] = (),
    seed: int = 5,
    **more: Any,
) -> Shelf:
    """A shelf on which each SKU sells about `level` a day at its price; `doubled` ones twice that from day 24 on."""
    rng, world = np.random.default_rng(seed), World()
    for sku, price in prices.items():
        fact = {"type": "catalog.item", "sku": sku, "unit_price": price, "lead_days": 3}
        world.row(Kind.FACT, START_MS, sku=sku, location="", fact=orjson.dumps(fact).decode())
        world.row(Kind.STOCK_COUNTED, START_MS, sku=sku, units=10_000)
    for day in range(days):
        for sku in prices:
            wanted = int(rng.poisson(level * (2.5 if sku in doubled and day >= 30 else 1.0)))
            if wanted:
                world.order(START_MS + day * DAY_MS + 1, 0, sku=sku, units=wanted, order_hash=0)
        world.record(START_MS + (day + 1) * DAY_MS)
    shelf = Shelf(config(**{"namespace": "restock", **more}))
    fold(shelf, world.records)
    return shelf
