"""The journal: the last rows of a shelf, for three questions.

Was this event seen before? Which day was this cancelled order placed on? What moved after this count? One chunk per
`sku-events` record, so that what is kept never depends on how polls were cut; 50 B a row, bounded in rows and in days.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner.config import DAY_MS, LONG_AGO

Hashes = npt.NDArray[np.uint64]
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
FEW_HASHES = 512  # so many are cheaper in a dictionary than as a level of their own
RECENT_HASHES = 8_192  # 1 MB a shelf; as a level they then cost what a big record's do
SOLD_AT_ONCE, LATE = 1, 2  # bits of `flags`


class HashIndex:
    """Hash -> sequence number, as a few sorted arrays of doubling size (as a log-structured merge tree is built).

    A lookup costs one binary search a level; 8 + 8 B an entry where a dict of ints takes over 100. So only the newest
    ones of small records are in a dict: twenty lookups in it cost less than one search in numpy.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[Hashes, Ints]] = []
        self._recent: dict[int, int] = {}

    def add(self, hashes: Hashes, numbers: Ints) -> None:
        """Add entries; a hash may come more than once, the highest number wins."""
        many = len(hashes) > FEW_HASHES
        if not many:
            self._recent.update(zip(hashes.tolist(), numbers.tolist(), strict=True))
        if len(self._recent) >= (1 if many else RECENT_HASHES):
            recent, self._recent = self._recent, {}
            self._add_level(np.fromiter(recent, np.uint64), np.fromiter(recent.values(), np.int64))
        if many:
            self._add_level(hashes, numbers)

    def _add_level(self, hashes: Hashes, numbers: Ints) -> None:
        order = np.argsort(hashes, kind="stable")
        self._levels.append((hashes[order], numbers[order]))
        while len(self._levels) > 1 and len(self._levels[-2][0]) < 2 * len(self._levels[-1][0]):
            (h1, s1), (h2, s2) = self._levels[-2:]
            h, s = np.concatenate([h1, h2]), np.concatenate([s1, s2])
            order = np.argsort(h, kind="stable")  # older entries of one hash stay before newer ones
            self._levels[-2:] = [(h[order], s[order])]

    def find(self, hashes: Hashes) -> Ints:
        """The highest number of each hash, -1 where it is unknown; shape (n,)."""
        found = np.full(len(hashes), -1, np.int64)
        if self._recent:
            known_of = self._recent.get
            found = np.array([known_of(one, -1) for one in hashes.tolist()], np.int64)
        for known, numbers in self._levels:
            at = np.searchsorted(known, hashes, side="right") - 1
            hit = (at >= 0) & (known[np.maximum(at, 0)] == hashes)
            if hit.any():
                found = np.where(hit, np.maximum(found, numbers[np.maximum(at, 0)]), found)
        return found

    def forget(self, below: int) -> None:
        """Drop numbers under `below` once they are more than half of a level; recent ones leave with theirs."""
        kept: list[tuple[Hashes, Ints]] = []
        for hashes, numbers in self._levels:
            keep = numbers >= below
            if int(keep.sum()) * 2 < len(numbers):
                hashes, numbers = hashes[keep], numbers[keep]
            if len(hashes):
                kept.append((hashes, numbers))
        self._levels = kept

    def __len__(self) -> int:
        return sum(len(h) for h, _ in self._levels) + len(self._recent)


@dataclass
class Chunk:
    """The rows of one `sku-events` record."""

    offset: int
    first: int  # sequence number of its first row
    entries: npt.NDArray[Any]
    late: npt.NDArray[Any]  # of these, the late ones that moved stock


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
        self._events, self._orders = HashIndex(), HashIndex()
        self._forgotten = 0  # what `first` was when the indices last dropped what is no longer kept
        self.changed: dict[bytes, bytes | None] = {}

    def seen(self, event_hash: Hashes) -> npt.NDArray[np.bool_]:
        """Which of these events are in the journal, shape (n,)."""
        return np.asarray(self._events.find(event_hash) >= self.first)

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
            or int(self.chunks[0].entries["occurred_ms"].max()) < watermark_ms - self.days_max * DAY_MS
        ):
            gone = self.chunks.popleft()
            self.first += len(gone.entries)
            self.horizon_ms = max(self.horizon_ms, int(gone.entries["occurred_ms"].max()))
            self.changed[str(gone.offset).encode()] = None
        if self.first - self._forgotten > max(RECENT_HASHES, (self.next - self.first) // 8):  # it walks all
            self._forgotten = self.first
            self._events.forget(self.first)
            self._orders.forget(self.first)

    def _take(self, offset: int, entries: npt.NDArray[Any]) -> None:
        numbers = np.arange(self.next, self.next + len(entries), dtype=np.int64)
        late = entries[(entries["flags"] & LATE > 0) & (entries["delta"] != 0)]
        self.chunks.append(Chunk(offset, self.next, entries, late))
        self.next += len(entries)
        self._events.add(np.ascontiguousarray(entries["event_hash"]), numbers)
        orders = entries["order_hash"] != 0
        self._orders.add(np.ascontiguousarray(entries["order_hash"][orders]), numbers[orders])

    def load(self, fields: dict[bytes, bytes], first: int, horizon_ms: int) -> None:
        """Rebuild from the ledger's section."""
        self.first = self.next = self._forgotten = first
        self.horizon_ms = horizon_ms
        for name in sorted(fields, key=int):
            self._take(int(name), np.frombuffer(fields[name], ENTRY))
