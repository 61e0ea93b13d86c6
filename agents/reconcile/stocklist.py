"""A warehouse's stock list: every SKU it has at its locations, and how much of it. Pure but for reading the file.

The list must be right to be worth comparing: a row that cannot be read refuses the whole file, with the first of its
bad rows. Rows of the same SKU and location (bins) are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from agents.replay.formats import values
from agents.replay.formats.lines import Bools, filled
from agents.replay.formats.reading import Sheet, read_sheet, text
from stream.errors import SetupError

FIELDS = ("sku", "location", "units")
BAD_SHOWN = 5


@dataclass(frozen=True)
class StockList:
    """Milli by (sku, location), and a name of the file's content."""

    milli: Mapping[tuple[str, str], int]
    rows: int
    name: str

    @property
    def locations(self) -> frozenset[str]:
        """The locations the list speaks of: of others it says nothing."""
        return frozenset(location for _, location in self.milli)


def read_stock_list(
    path: Path, columns: Mapping[str, str], location: str | None, delimiter: str = ",", encoding: str = "utf-8"
) -> StockList:
    """Read a CSV or parquet list. Raises SetupError where a row of it cannot be read."""
    sheet = read_sheet(path, delimiter, encoding)
    milli, rows = _summed(sheet, columns, location)
    return StockList(milli, rows, xxhash.xxh3_128_hexdigest(path.read_bytes())[:20])


def _summed(sheet: Sheet, columns: Mapping[str, str], location: str | None) -> tuple[dict[tuple[str, str], int], int]:
    if sheet.unreadable_rows > 0:
        raise _bad(f"{sheet.unreadable_rows} rows have another number of columns than the header")
    if sheet.rows == 0:
        raise _bad("it has no rows, which would say that nothing is anywhere")
    sku = text(sheet.column(columns.get("sku", "sku")))
    units = values.millis(sheet.column(columns.get("units", "units")))
    if location is None or "location" in columns:
        where = text(sheet.column(columns.get("location", "location")))
    else:
        where = pa.array([location] * len(sku), pa.utf8())
    _require("the SKU is missing", filled(sku))
    _require("the location is missing", filled(where))
    _require("units are not a number of at most three decimals", units.sound)
    _require("units are below zero", np.asarray(units.values >= 0))
    milli: dict[tuple[str, str], int] = {}
    for key, amount in zip(zip(sku.to_pylist(), where.to_pylist(), strict=True), units.values.tolist(), strict=True):
        milli[key] = milli.get(key, 0) + amount
    return milli, len(sku)


def _require(complaint: str, good: Bools) -> None:
    bad = np.flatnonzero(~good)
    if len(bad) > 0:
        places = ", ".join(str(row + 1) for row in bad[:BAD_SHOWN].tolist())
        raise _bad(f"{complaint} in {len(bad)} rows: row {places}" + (" ..." if len(bad) > BAD_SHOWN else ""))


def _bad(detail: str) -> SetupError:
    return SetupError("the stock list cannot be read", detail, "correct the file; map columns with --columns units=Qty")
