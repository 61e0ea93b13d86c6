"""Positions as of a moment, and where a stock list differs from them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from agents.planner.shelf import Shelf
from agents.reconcile.stocklist import StockList
from agents.replay.formats.lines import What
from agents.replay.formats.records import Record
from agents.replay.opening import codes_name
from stream.errors import SetupError
from stream.events.instants import text_from_ms
from stream.events.units import number_from_milli

Key = tuple[str, str]  # (sku, location)


class Held(NamedTuple):
    """What Restock says of a row."""

    milli: int  # on hand as of the moment
    money_unit: float  # unit cost, else the last price; NaN where neither is known


class Difference(NamedTuple):
    """One row on which list and ledger do not agree."""

    sku: str
    location: str
    kind: str  # differs, not_listed (ours, not on the list), unknown (listed, not ours)
    counted: float | int
    on_hand: float | int
    delta_units: float | int  # counted less on hand
    delta_money: float | None


def held_as_of(shelf: Shelf, instant_ms: int) -> dict[Key, Held]:
    """On hand of every row of a shelf as of an instant: what is there now, less what moved after it.

    Raises SetupError where the journal does not reach back to it, or events up to it may still come.
    """
    if instant_ms < shelf.journal.horizon_ms:
        raise SetupError(
            f"positions as of {text_from_ms(instant_ms)} are not known any more",
            f"shelf {shelf.config.shelf} keeps movements from {text_from_ms(shelf.journal.horizon_ms)} on",
            "use a newer list, or keep movements longer: RESTOCK_JOURNAL_DAYS, RESTOCK_JOURNAL_ROWS",
        )
    if instant_ms > shelf.watermark_ms:
        raise SetupError(
            f"positions as of {text_from_ms(instant_ms)} are not known yet",
            f"shelf {shelf.config.shelf} has everything up to {_instant(shelf.watermark_ms)}",
            "wait a moment; where it does not move, look for a partition that lags: restock doctor",
        )
    n = shelf.n
    milli = shelf.hot["on_hand"][:n] - _moved_after(shelf, instant_ms)
    cost = np.where(shelf.policy["unit_cost"][:n] > 0, shelf.policy["unit_cost"][:n], shelf.hot["price"][:n])
    return {
        name: Held(units, money)
        for name, units, money in zip(shelf.names[:n], milli.tolist(), cost.tolist(), strict=True)
    }


def _moved_after(shelf: Shelf, instant_ms: int) -> npt.NDArray[np.int64]:
    """Milli each row moved after an instant, shape (n,): one pass over the journal for all rows."""
    moved = np.zeros(shelf.n, np.int64)
    for chunk in shelf.journal.chunks:
        entries = chunk.entries[(chunk.entries["occurred_ms"] > instant_ms) & (chunk.entries["row"] >= 0)]
        np.add.at(moved, entries["row"], entries["delta"])
    return moved


def differences(listed: StockList, held: Mapping[Key, Held], tolerance_milli: int = 0) -> list[Difference]:
    """Rows that differ by more than the tolerance, largest money first, then most units.

    A full list of a location says that what is not on it is not there; of other locations it says nothing.
    """
    ours = {key: row for key, row in held.items() if key[1] in listed.locations}
    found = []
    for key in ours.keys() | listed.milli.keys():
        counted, row = listed.milli.get(key, 0), ours.get(key, Held(0, math.nan))
        if abs(counted - row.milli) > tolerance_milli:
            kind = "differs" if key in listed.milli and key in ours else "not_listed" if key in ours else "unknown"
            found.append(_difference(key, kind, counted, row))
    return sorted(found, key=lambda d: (-abs(d.delta_money or 0), -abs(d.delta_units), d.sku, d.location))


def _difference(key: Key, kind: str, counted: int, row: Held) -> Difference:
    delta = counted - row.milli
    money = None if math.isnan(row.money_unit) else round(delta / 1000 * row.money_unit, 2)
    units, books, less = (number_from_milli(m) for m in (counted, row.milli, delta))
    return Difference(*key, kind, units, books, less, money)


def counts(found: list[Difference], name: str, instant_ms: int) -> Iterator[Record]:
    """A `stock.counted` for each difference. Same list and moment, same event ids: counting twice changes nothing."""
    for row in found:
        event = {
            "event_id": f"reconcile:{name}:{instant_ms}:{codes_name(row.sku, row.location)}",
            "type": "stock.counted",
            "occurred_at": text_from_ms(instant_ms),
            "sku": row.sku,
            "location": row.location,
            "quantity": row.counted,
        }
        yield Record(instant_ms, "stock-movements", row.sku, orjson.dumps(event), 1, What.NOTHING)


def _instant(ms: int) -> str:
    return text_from_ms(ms) if ms >= 0 else "nothing yet"
