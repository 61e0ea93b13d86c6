"""The in-memory log: one record of `sku-events` a period, as intake would have written it, and the marks that close it.

Events of a period lie in one order: what the supplier confirmed and delivered in the morning, demand at noon, and of
demand that nobody could serve the cancellation after the end of the period (what was asked for stays demand).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.planner.config import DAY_MS
from stream.events.kinds import Flag, Kind, Source
from stream.events.rows import SCHEMA, Mark, SkuRecord

Ints = npt.NDArray[np.int64]
MORNING_MS, NOON_MS = 1, DAY_MS // 2


@dataclass(frozen=True)
class Said:
    """Events of one kind in one period, (n,) each: row of the shelf, milli, and what only some kinds have."""

    kind: Kind
    source: Source
    row: Ints
    milli: Ints
    at_ms: int  # after the period's begin
    flags: int = 0
    order: npt.NDArray[np.uint64] | None = None
    replenishment_id: list[str] | None = None
    reference: list[str] | None = None
    expected_ms: Ints | None = None


class Log:
    """Writes the records of one shelf. `day` counts local days as the planner does."""

    def __init__(self, skus: list[str], locations: list[str], price: npt.NDArray[np.float64] | None) -> None:
        self._sku, self._location = pa.array(skus, pa.utf8()), pa.array(locations, pa.utf8())
        self._price = price
        self._hash = 0
        self._offset = 0

    def hashes(self, n: int) -> npt.NDArray[np.uint64]:
        """`n` numbers nobody has had yet; never 0, which stands for none."""
        first = self._hash + 1
        self._hash += n
        return np.arange(first, first + n, dtype=np.uint64)

    def record(self, day: int, said: list[Said], shape: dict[int, int]) -> SkuRecord:
        """The record of one period: what was said, in order, and marks at its end."""
        begin_ms = day * DAY_MS
        some = [s for s in said if len(s.row)]
        rows = _batch([self._columns(s, begin_ms) for s in some])
        through = self._offset
        marks = [Mark(s, p, begin_ms + DAY_MS, through) for s, count in shape.items() for p in range(count)]
        self._offset += 1
        return SkuRecord(through, rows, tuple(marks))

    def _columns(self, said: Said, begin_ms: int) -> dict[str, Any]:
        n = len(said.row)
        at_ms = np.full(n, begin_ms + said.at_ms, np.int64)
        picked = pa.array(said.row)
        hashes = self.hashes(n)
        price = np.full(n, np.nan)
        if self._price is not None and said.kind == Kind.ORDER_PLACED:
            price = self._price[said.row]
        return {
            "kind": np.full(n, said.kind, np.uint8),
            "sku": self._sku.take(picked),
            "location": self._location.take(picked),
            "milli": said.milli,
            "occurred_ms": at_ms,
            "source": np.full(n, said.source, np.uint8),
            "partition": np.zeros(n, np.int32),
            "offset": np.full(n, self._offset, np.int64),
            # A record holds one or several `Said` of one source: numbered on, so that coordinates never repeat.
            "line": np.zeros(n, np.int32),
            "event_hash": hashes,
            "order_hash": np.zeros(n, np.uint64) if said.order is None else said.order,
            "cart_hash": np.zeros(n, np.uint64),
            "price": price,
            "flags": np.full(n, said.flags, np.uint8),
            "logged_ms": at_ms,
            "late_ms": np.zeros(n, np.int64),
            "expected_ms": np.zeros(n, np.int64) if said.expected_ms is None else said.expected_ms,
            "reference": pa.nulls(n, pa.utf8()) if said.reference is None else pa.array(said.reference, pa.utf8()),
            "replenishment_id": pa.nulls(n, pa.utf8())
            if said.replenishment_id is None
            else pa.array(said.replenishment_id, pa.utf8()),
            "supplier": pa.nulls(n, pa.utf8()),
            "fact": pa.nulls(n, pa.utf8()),
            "raw": pa.nulls(n, pa.binary()),
        }


def _batch(parts: list[dict[str, Any]]) -> pa.RecordBatch:
    if not parts:
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in SCHEMA], schema=SCHEMA)
    line = np.cumsum([0] + [len(p["kind"]) for p in parts])
    arrays = []
    for f in SCHEMA:
        if f.name == "line":
            arrays.append(pa.array(np.arange(line[-1], dtype=np.int32)))
        elif isinstance(parts[0][f.name], np.ndarray):
            arrays.append(pa.array(np.concatenate([p[f.name] for p in parts]), f.type))
        else:
            arrays.append(pa.concat_arrays([p[f.name] for p in parts]))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def demand(log: Log, row: Ints, asked: Ints, sold: Ints, backorders: bool) -> list[Said]:
    """What customers asked for at noon: what could be sold leaves at once; the rest waits, or goes away unserved."""
    orders = Source.ORDERS
    some = sold > 0
    out = [Said(Kind.ORDER_PLACED, orders, row[some], sold[some], NOON_MS, Flag.SOLD_AT_ONCE)]
    short = asked > sold
    if short.any():
        lost, milli, order = row[short], (asked - sold)[short], log.hashes(int(short.sum()))
        out.append(Said(Kind.ORDER_PLACED, orders, lost, milli, NOON_MS, order=order))
        if not backorders:
            out.append(Said(Kind.ORDER_CANCELLED, orders, lost, milli, DAY_MS, order=order))
    return out
