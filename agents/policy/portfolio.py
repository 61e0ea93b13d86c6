"""What every row's service level would be if one price of money held for all, and the facts that say so. Pure.

Rows that have had demand and may be ordered are weighed against each other: `models/stock/portfolio.py` has the idea.
Their distributions are those the reorder points are made of, as of each shelf's offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from agents.planner import plan
from agents.planner.flags import LEARNING
from agents.planner.shelf import Shelf
from agents.replay.formats.lines import What
from agents.replay.formats.records import Record
from models.stock import portfolio
from stream.errors import SetupError
from stream.events.facts import key_of, key_text
from stream.events.instants import text_from_ms

Floats = npt.NDArray[np.float64]
DIGITS = 4  # of a service level that is told


class Row(NamedTuple):
    """One SKU-location: its cycle service level and stock (reorder point, units) as they are and as they would be."""

    sku: str
    location: str
    unit_cost: float
    level_now: float
    level: float
    stock_now: float
    stock: float


@dataclass(frozen=True)
class Weighed:
    """The rows, and what both ways hold (money left in stock, expected) and serve (share of worth)."""

    rows: list[Row]
    money_now: float
    money: float
    fill_rate_now: float
    fill_rate: float
    without_cost: int  # rows whose cost nobody said: the mean of the others' stands in


@dataclass(frozen=True)
class _Known:
    """What is known of the rows of all shelves; n rows."""

    names: list[tuple[str, str]]
    quantile: Floats  # (n, K) of demand over lead time plus review
    cycle: Floats  # units between two orders
    level: Floats  # cycle service level now
    cost: Floats
    margin: Floats  # NaN where price or cost is not known


def weighed(
    shelves: Sequence[Shelf], *, fill_rate: float | None = None, budget: float | None = None, worth: str = "units"
) -> Weighed:
    """Meet a total fill rate with the least money in stock, or serve the most with a budget.

    Raises SetupError where no row can be weighed.
    """
    known = _known(shelves)
    cost, without_cost = _filled(known.cost, known.cost > 0)
    value = np.ones(len(cost))
    if worth == "margin":
        value, lacking = _filled(known.margin, known.margin > 0)
        if lacking == len(value):
            raise SetupError(
                "no margin is known",
                "no row has both unit_price and unit_cost",
                "say them in the catalog, or --worth units",
            )
    levels = plan.LEVELS
    if fill_rate is not None:
        then = portfolio.for_fill_rate(levels, known.quantile, known.cycle, fill_rate, cost, value)
    else:
        then = portfolio.for_budget(levels, known.quantile, known.cycle, float(budget or 0.0), cost, value)
    now = portfolio.at_levels(levels, known.quantile, known.cycle, known.level, cost, value)
    told = zip(known.names, cost, known.level, then.service_level, now.stock_units, then.stock_units, strict=True)
    rows = [Row(*name, *(round(float(number), DIGITS) for number in numbers)) for name, *numbers in told]
    return Weighed(sorted(rows), now.money, then.money, now.fill_rate, then.fill_rate, without_cost)


def facts(found: Weighed, shelves: Sequence[Shelf], at_ms: int) -> Iterator[Record]:
    """A `catalog.policy` for each row whose level changes: what its policy says already, with the new level."""
    said = {name: shelf.facts.get("policy", *name) for shelf in shelves for name in shelf.names}
    for row in found.rows:
        before = said[row.sku, row.location]
        terms: dict[str, Any] = {k: v for k, v in before.items() if k not in ("event_id", "occurred_at")}
        wanted = {"service_level": row.level, "service_measure": "cycle"}
        if all(terms.get(name) == value for name, value in wanted.items()):
            continue
        fact = {
            "event_id": f"portfolio:{at_ms}:{row.level:g}",
            **terms,
            "type": "catalog.policy",
            "occurred_at": text_from_ms(at_ms),
            "sku": row.sku,
            "location": row.location,
            **wanted,
        }
        yield Record(at_ms, "catalog", key_text(key_of(fact)), orjson.dumps(fact), 0, What.NOTHING)


def _known(shelves: Sequence[Shelf]) -> _Known:
    parts = [part for shelf in shelves if (part := _of_shelf(shelf)) is not None]
    if not parts:
        raise SetupError(
            "no row can be weighed",
            "none has had demand on a closed day and may be ordered",
            "wait until a day has closed; look at restock stock --all",
        )
    return _Known(
        [name for part in parts for name in part.names],
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("quantile", "cycle", "level", "cost", "margin")
        ),
    )


def _of_shelf(shelf: Shelf) -> _Known | None:
    policy = shelf.policy[: shelf.n]
    may = (shelf.hot["flags"][: shelf.n] & LEARNING > 0) & (policy["orderable"] > 0)
    rows = np.flatnonzero(may & (shelf.hot["demand_rate"][: shelf.n] > 0))
    if len(rows) == 0:
        return None
    p = shelf.policy[rows]
    made = plan.outlook(shelf, rows, plan.horizon_days(shelf, rows)[:, None], plan.LEVELS)
    quantile = made.quantile_sum_units[:, 0]
    cycle = plan.order_units(shelf, made.mean_period_units, p)
    price = np.where(p["unit_price"] > 0, p["unit_price"], shelf.hot["price"][rows])
    margin = np.where(p["unit_cost"] > 0, price - p["unit_cost"], np.nan)
    level = plan.promised_level(plan.LEVELS, quantile, cycle, p)
    return _Known([shelf.names[row] for row in rows.tolist()], quantile, cycle, level, p["unit_cost"].copy(), margin)


def _filled(amounts: Floats, known: npt.NDArray[np.bool_]) -> tuple[Floats, int]:
    """The amounts, with the mean of the known ones for the others (1 where none is known), and how many those are."""
    usual = float(amounts[known].mean()) if known.any() else 1.0
    return np.where(known, amounts, usual), int(np.count_nonzero(~known))
