"""The shop of the benches: orders of 1 to 5 lines over 20,000 SKU-locations by Zipf 1.0."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from stream.events.instants import text_from_ms

SKUS, PLACES = 4_000, 5
LINES_A_CROSSING, UNITS_A_LINE = 45, 2
CYCLE_UNITS = LINES_A_CROSSING * UNITS_A_LINE


def crossings(orders: int, rows: int, weights: float) -> Callable[[int], float]:
    """By a row's rank, units of stock over its reorder point, so that one line in 45 of so many orders crosses one.

    A row crosses at most once, at any time: what a backlog brings does not depend on how topics interleave in it.
    """
    rng, share = random.Random(11), orders * 2 / LINES_A_CROSSING / rows

    def over(rank: int) -> float:
        expected = orders * 2 * UNITS_A_LINE / (rank + 1) / weights
        return rng.uniform(0.0, 0.95) * expected if rng.random() < share else 1.3 * expected + 60

    return over


@dataclass
class Shop:
    """Rows by Zipf 1.0, each with its stock as the bench believes it."""

    rng: random.Random
    rows: list[tuple[str, str]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    stock: dict[tuple[str, str], float] = field(default_factory=dict)
    point: dict[tuple[str, str], float] = field(default_factory=dict)
    number: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.rows = [(f"S{s:05d}", f"L{place}") for s in range(SKUS) for place in range(PLACES)]
        self.rng.shuffle(self.rows)
        self.weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(self.rows))))

    def order(self, at_ms: int, lines: int) -> tuple[str, bytes, list[dict[str, Any]]]:
        """An order of some lines: its id, its bytes, its lines."""
        number = next(self.number)
        picked = self.rng.choices(self.rows, cum_weights=self.weights, k=lines)
        body = [
            {"line_id": str(i), "sku": s, "location": place, "quantity": self.rng.randint(1, 3), "unit_price": 4.5}
            for i, (s, place) in enumerate(picked)
        ]
        event = {
            "event_id": f"e{number}",
            "type": "order.placed",
            "occurred_at": text_from_ms(at_ms),
            "order_id": f"o{number}",
            "customer_id": f"c{number % 9973}",
            "fulfilled": True,
            "lines": body,
        }
        return f"o{number}", orjson.dumps(event), body

    def movement(self, kind: str, row: tuple[str, str], units: float, at_ms: int) -> bytes:
        """A stock movement."""
        event = {
            "event_id": f"m{next(self.number)}",
            "type": f"stock.{kind}",
            "occurred_at": text_from_ms(at_ms),
            "sku": row[0],
            "location": row[1],
            "quantity": units,
        }
        return orjson.dumps(event)

    def lines(self) -> int:
        """1 to 5 lines, mean 2."""
        return self.rng.choices((1, 2, 3, 4, 5), weights=(45, 28, 14, 8, 5))[0]

    def receipts(self, body: list[dict[str, Any]], at_ms: int) -> list[tuple[str, bytes]]:
        """What must be received after these lines, so that rows cross their reorder point again."""
        out = []
        for line in body:
            row = (line["sku"], line["location"])
            self.stock[row] -= line["quantity"]
            if self.stock[row] <= self.point[row]:
                self.stock[row] += CYCLE_UNITS
                out.append((row[0], self.movement("received", row, CYCLE_UNITS, at_ms)))
        return out
