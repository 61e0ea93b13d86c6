"""The journal: the last rows of a shelf, for three questions.

Was this event seen before? Which day was this cancelled order placed on? What moved after this count? One chunk per
`sku-events` record, so that what is kept never depends on how polls were cut; 50 B a row, and up to 48 in each of two
tables of hashes, bounded in rows and in days.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner.config import DAY_MS, LONG_AGO
from agents.planner.hashes import HashIndex, place_of
from models.demand.compiled import kernel
from stream.events.kinds import Flag, Kind

Ints = npt.NDArray[np.int64]

ENTRY = np.dtype(
    [
        ("event_hash", "<u8"),
        ("order_hash", "<u8"),  # of placed lines only, else 0
        ("row", "<i4"),
        ("flags", "<u1"),
        ("day", "<i4"),  # demand day of a placed line; of a late row the day it is booked on; else NO_DAY
        ("delta", "<i8"),  # milli added to on hand
        ("occurred_ms", "<i8"),
    ]
)
NO_DAY = -(2**31)
SOLD_AT_ONCE, LATE = 1, 2  # bits of `flags`
CARTS, FACTS, FROM_CARTS = 1, 2, 4  # what a record may hold: cart rows, facts, orders that name a cart

# plain numbers: a compiled loop knows no enumerations
_PLACED, _AT_ONCE, _SOLD_AT_ONCE, _NO_DAY = int(Kind.ORDER_PLACED), int(Flag.SOLD_AT_ONCE), SOLD_AT_ONCE, NO_DAY
_FIRST_CART, _LAST_CART, _FIRST_FACT = int(Kind.CART_VIEWED), int(Kind.CART_CHECKED_OUT), int(Kind.FACT)
_CARTS, _FACTS, _FROM_CARTS = CARTS, FACTS, FROM_CARTS


def entered(c: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], int]:
    """The entries of a record's rows before they have any effect, without their numbers of rows; and what it holds."""
    entries = np.empty(len(c["kind"]), ENTRY)
    hashes = c["event_hash"], c["order_hash"], c["cart_hash"]
    return entries, _entered(c["kind"], *hashes, c["occurred_ms"], c["flags"], entries)


@kernel
def _entered(
    kind: npt.NDArray[np.uint8],
    event_hash: npt.NDArray[np.uint64],
    order_hash: npt.NDArray[np.uint64],
    cart_hash: npt.NDArray[np.uint64],
    occurred_ms: Ints,
    flags: npt.NDArray[np.uint8],
    entries: npt.NDArray[Any],
) -> int:
    holds = 0
    for i in range(len(kind)):
        placed, entry = kind[i] == _PLACED, entries[i]
        entry["event_hash"], entry["occurred_ms"] = event_hash[i], occurred_ms[i]
        entry["order_hash"] = order_hash[i] if placed else np.uint64(0)
        entry["row"], entry["day"], entry["delta"] = -1, _NO_DAY, 0
        entry["flags"] = _SOLD_AT_ONCE if placed and flags[i] & _AT_ONCE > 0 else 0
        if _FIRST_CART <= kind[i] <= _LAST_CART:
            holds |= _CARTS
        if kind[i] >= _FIRST_FACT:
            holds |= _FACTS
        if placed and cart_hash[i] != 0:
            holds |= _FROM_CARTS
    return holds


# as the tables hold hashes: compared with a signed number, a compiled loop would take an unsigned one for a float
_SIGNED = np.dtype([(name, ENTRY[name].str.replace("u8", "i8")) for name in ENTRY.names or ()])
_LATE, _EVER = LATE, LONG_AGO


@kernel
def _numbered(entries: npt.NDArray[Any], first: int, events: Ints, orders: Ints) -> tuple[int, int, bool, int]:
    """Put the entries' hashes into both tables; how many are new there, whether any is late, when the last occurred."""
    new_events, new_orders, late, last_ms = 0, 0, False, _EVER
    for i in range(len(entries)):
        entry, number = entries[i], first + i + 1
        at = place_of(events, entry["event_hash"])
        new_events += events[at, 1] == 0
        events[at, 0], events[at, 1] = entry["event_hash"], number
        if entry["order_hash"] != 0:
            at = place_of(orders, entry["order_hash"])
            new_orders += orders[at, 1] == 0
            orders[at, 0], orders[at, 1] = entry["order_hash"], number
        late |= entry["flags"] & _LATE > 0
        last_ms = max(last_ms, entry["occurred_ms"])
    return new_events, new_orders, late, last_ms


@dataclass
class Chunk:
    """The rows of one `sku-events` record."""

    offset: int
    first: int  # sequence number of its first row
    entries: npt.NDArray[Any]
    late: npt.NDArray[Any]  # of these, the late ones that moved stock
    last_ms: int  # when the latest of them occurred


class LateMove(NamedTuple):
    """A late movement: when it occurred, the day it is booked on, what it added to on hand."""

    occurred_ms: int
    day: int
    delta: int


def late_moves(entries: npt.NDArray[Any]) -> list[LateMove]:
    """The late entries that moved stock, in order."""
    late = entries[(entries["flags"] & LATE > 0) & (entries["delta"] != 0)]
    columns = (late[name].tolist() for name in ("occurred_ms", "day", "delta"))
    return [LateMove(*move) for move in zip(*columns, strict=True)]


def demand_day(entry: Any) -> tuple[int, bool]:
    """(demand day, sold at once) of a placed line's entry; NO_DAY where it came late."""
    return NO_DAY if entry["flags"] & LATE else int(entry["day"]), bool(entry["flags"] & SOLD_AT_ONCE)


class Journal:
    """Chunks in log order with their indices; `horizon_ms` is the latest event time that was already dropped."""

    def __init__(self, rows_max: int, days_max: int) -> None:
        self.rows_max, self.days_max = rows_max, days_max
        self.chunks: deque[Chunk] = deque()
        self.first = 0  # sequence number of the oldest row kept
        self.next = 0
        self.horizon_ms = LONG_AGO
        self.events, self._orders = HashIndex(), HashIndex()  # event and order hash -> sequence number
        self.changed: dict[bytes, bytes | None] = {}

    def placed(self, order_hash: int) -> tuple[int, int, bool] | None:
        """(row, demand day, sold at once) of a placed order line, None where it is unknown or too long ago.

        The day is NO_DAY where the line came late.
        """
        number = int(self._orders.find(np.array([order_hash], np.uint64))[0])
        if number < self.first or order_hash == 0:
            return None
        lo, hi = 0, len(self.chunks) - 1
        while lo < hi:
            mid = (lo + hi + 1) // 2
            lo, hi = (mid, hi) if self.chunks[mid].first <= number else (lo, mid - 1)
        entry = self.chunks[lo].entries[number - self.chunks[lo].first]
        return int(entry["row"]), *demand_day(entry)

    def moved_after(self, row: int, instant_ms: int) -> int:
        """Milli added to a row's on hand by kept movements that occurred after an instant."""
        total = 0
        for chunk in self.chunks:
            e = chunk.entries
            total += int(e["delta"][(e["row"] == row) & (e["occurred_ms"] > instant_ms)].sum())
        return total

    def moved_after_each(self, rows: Ints, instants_ms: Ints) -> Ints:
        """`moved_after` for many rows and instants in one walk, shape (n,): a stock-take is a record full of counts."""
        if len(rows) == 0 or len(self.chunks) == 0:
            return np.zeros(len(rows), np.int64)
        wanted = np.zeros(int(rows.max()) + 1, np.bool_)
        wanted[rows] = True
        first_ms, found = int(instants_ms.min()), []
        for chunk in self.chunks:
            e = chunk.entries
            of = e["row"]
            mine = (of >= 0) & (of < len(wanted)) & wanted[np.clip(of, 0, len(wanted) - 1)]
            if (mine & (e["occurred_ms"] > first_ms)).any():
                found.append(e[mine & (e["occurred_ms"] > first_ms)])
        if not found:
            return np.zeros(len(rows), np.int64)
        entries = np.concatenate(found)
        entries = entries[np.argsort(entries["row"], kind="stable")]
        starts, stops = (np.searchsorted(entries["row"], rows, side=side) for side in ("left", "right"))
        sums = [
            int(entries["delta"][a:b][entries["occurred_ms"][a:b] > at].sum())
            for a, b, at in zip(starts.tolist(), stops.tolist(), instants_ms.tolist(), strict=True)
        ]
        return np.array(sums, np.int64)

    def late_moves(self, rows: Ints) -> dict[int, list[LateMove]]:
        """Kept late movements of these rows, by row, in log order."""
        found: dict[int, list[LateMove]] = {}
        for chunk in self.chunks:
            if len(chunk.late):
                mine = chunk.late[np.isin(chunk.late["row"], rows)]
                for row, move in zip(mine["row"].tolist(), late_moves(mine), strict=True):
                    found.setdefault(row, []).append(move)
        return found

    def append(self, offset: int, entries: npt.NDArray[Any], watermark_ms: int) -> None:
        """Take in a record's rows and drop what is over the bounds; a row lasts at least `rows_max` newer ones."""
        if len(entries):
            self._take(offset, entries)
            self.changed[str(offset).encode()] = entries.tobytes()
        while self.chunks and (
            self.next - self.first - len(self.chunks[0].entries) >= self.rows_max
            or self.chunks[0].last_ms < watermark_ms - self.days_max * DAY_MS
        ):
            gone = self.chunks.popleft()
            self._forget(gone)
            self.first += len(gone.entries)
            self.horizon_ms = max(self.horizon_ms, gone.last_ms)
            self.changed[str(gone.offset).encode()] = None

    def _forget(self, gone: Chunk) -> None:
        for index, name in ((self.events, "event_hash"), (self._orders, "order_hash")):
            hashes = gone.entries[name]
            some = np.flatnonzero(hashes) if name == "order_hash" else np.arange(len(hashes))
            index.remove(hashes[some], gone.first + some)

    def _take(self, offset: int, entries: npt.NDArray[Any]) -> None:
        for index in (self.events, self._orders):
            index.make_room(len(entries))
        signed = entries.view(_SIGNED)
        signed.flags.writeable = False
        events, orders, late, last_ms = _numbered(signed, self.next, self.events.table, self._orders.table)
        self.events.took(events)
        self._orders.took(orders)
        moved = entries[(entries["flags"] & LATE > 0) & (entries["delta"] != 0)] if late else entries[:0]
        self.chunks.append(Chunk(offset, self.next, entries, moved, last_ms))
        self.next += len(entries)

    def load(self, fields: dict[bytes, bytes], first: int, horizon_ms: int) -> None:
        """Rebuild from the ledger's section."""
        self.first = self.next = first
        self.horizon_ms = horizon_ms
        for name in sorted(fields, key=int):
            self._take(int(name), np.frombuffer(fields[name], ENTRY))
