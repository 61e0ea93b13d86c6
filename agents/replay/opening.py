"""Stock to begin with: a receipt for each SKU-location of the file, just before its first day.

`days:N` looks into the file: N times the mean daily units of the row's first four weeks, counted from its own first
sale. That is knowledge of the future, and the report says so; a row that sells nothing gets nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson
import pyarrow as pa

from agents.replay.formats.lines import Ints, Lines, What
from agents.replay.formats.reading import codes_of
from agents.replay.formats.records import Record
from stream.errors import SetupError
from stream.events.instants import text_from_ms
from stream.events.units import milli_from_text, number_from_milli

DAY_MS = 86_400_000
FIRST_DAYS = 28
_STOCKED = (What.PLACED, What.CANCELLED, What.RETURNED, What.ADJUSTED, What.WRITTEN_OFF)


def parse_opening(text: str) -> tuple[str, int]:
    """`40` or `days:21` as ("units" or "days", thousandths). Raises SetupError.

    >>> parse_opening("days:21")
    ('days', 21000)
    """
    kind, number = ("days", text[5:]) if text.startswith("days:") else ("units", text)
    try:
        milli = milli_from_text(number)
    except ValueError as wrong:
        raise SetupError(f"could not read --initial-stock {text}", str(wrong), "write 100 or days:21") from wrong
    if milli < 0:
        raise SetupError(f"could not read --initial-stock {text}", "it is below zero", "write 100 or days:21")
    return kind, milli


def opening_stock(lines: Lines, opening: tuple[str, int], at_ms: int, name: str) -> Iterator[Record]:
    """A `stock.received` a SKU-location with stock movements, in the order of their names.

    `name` makes the event ids: the same file replayed twice into a namespace is received once.
    """
    stocked = np.flatnonzero(lines.published & lines.good & (lines.copy == 0) & np.isin(lines.what, _STOCKED))
    sku, location = (c.take(pa.array(stocked)).to_pylist() for c in (lines.sku, lines.location))
    codes = codes_of(pa.array([f"{s}\x00{where}" for s, where in zip(sku, location, strict=True)], pa.utf8()))
    kind, milli = opening
    amounts = (
        np.full(len(codes) and int(codes.max()) + 1, milli, np.int64)
        if kind == "units"
        else _days_of_demand(lines, stocked, codes, milli)
    )
    first = np.unique(codes, return_index=True)[1].tolist()
    for place in sorted(first, key=lambda i: (sku[i], location[i])):
        amount = int(amounts[codes[place]])
        if amount > 0:
            yield _receipt(sku[place], location[place], amount, at_ms, name)


def _days_of_demand(lines: Lines, rows: Ints, codes: Ints, days_milli: int) -> Ints:
    """Whole units, rounded up, that cover so many days at the mean of each SKU-location's first four weeks."""
    n = int(codes.max()) + 1 if len(codes) else 0
    at, units, sold = lines.at_ms[rows], lines.milli[rows], lines.what[rows] == What.PLACED
    begin = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(begin, codes[sold], at[sold])
    early = sold & (at < np.where(begin > at.max(initial=0), 0, begin)[codes] + FIRST_DAYS * DAY_MS)
    total = np.zeros(n, np.int64)
    np.add.at(total, codes[early], units[early])
    exact = total * (days_milli / 1000) / FIRST_DAYS
    return np.asarray(np.ceil(exact / 1000 - 1e-9).astype(np.int64) * 1000)


def _receipt(sku: str, location: str, milli: int, at_ms: int, name: str) -> Record:
    event = {
        "event_id": f"opening:{name}:{codes_name(sku, location)}",
        "type": "stock.received",
        "occurred_at": text_from_ms(at_ms),
        "sku": sku,
        "location": location,
        "quantity": number_from_milli(milli),
    }
    return Record(at_ms, "stock-movements", sku, orjson.dumps(event), 0, What.NOTHING)


def codes_name(sku: str, location: str) -> str:
    """A SKU-location as a short part of an event id, whatever characters it holds."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(f"{sku}\x00{location}".encode())[:20]
