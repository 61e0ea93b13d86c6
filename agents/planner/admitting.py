"""Which rows of a record are new: over their source partition's high-water mark, and not in the journal by hash."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.hashes import place_of
from agents.planner.shelf import Rows, Shelf
from models.demand.compiled import kernel
from stream.events.kinds import source_name

Columns = dict[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]

LINE_BITS = 20  # of a coordinate: lines < 2^20, offsets < 2^43


def admit(shelf: Shelf, c: Columns) -> tuple[Rows, int]:
    """The new rows of a record, by place, and how many are not; they lift the high-water marks and are counted.

    The journal knows their hashes from here on; their numbers are those that its next record will have.
    """
    n = len(c["kind"])
    if n == 0:
        return np.zeros(0, np.int64), 0
    key, which, keep = np.empty((3, n), np.int64)
    parts = key[: _partitions(c["source"], c["partition"], key, which)].tolist()
    names = [(one >> 32, one & 0xFFFFFFFF) for one in parts]
    high = np.array([shelf.high_water.get(name, -1) for name in names], np.int64)
    counts = np.zeros((len(names), 2), np.int64)
    events = shelf.journal.events
    events.make_room(n)
    rows = c["offset"], c["line"], c["event_hash"].view(np.int64), which
    kept = _new(*rows, high.copy(), high, events.table, shelf.journal.next, keep, counts)
    events.took(kept)
    shelf.high_water.update(zip(names, high.tolist(), strict=True))
    _count(shelf, names, n, counts)
    return keep[:kept], n - kept


def _count(shelf: Shelf, names: list[tuple[int, int]], n: int, counts: Ints) -> None:
    again = n - int(counts.sum())
    if again:
        shelf.counters["repeated:coordinates"] += again
    for (source, _), (accepted, repeated) in zip(names, counts.tolist(), strict=True):
        if accepted:
            shelf.counters[f"accepted:{source_name(source)}"] += accepted
        if repeated:
            shelf.counters[f"repeated:{source_name(source)}"] += repeated


@kernel
def _partitions(source: npt.NDArray[np.uint8], partition: npt.NDArray[np.int32], keys: Ints, which: Ints) -> int:
    """The different source partitions, as one number each, and which of them each row is of; how many there are."""
    count, last = 0, 0
    for i in range(len(source)):
        key = np.int64(source[i]) << 32 | np.int64(partition[i])
        if count == 0 or keys[last] != key:
            last = 0
            while last < count and keys[last] != key:
                last += 1
            if last == count:
                keys[count] = key
                count += 1
        which[i] = last
    return count


@kernel
def _new(
    offset: Ints,
    line: npt.NDArray[np.int32],
    hashes: Ints,
    which: Ints,
    before: Ints,
    high: Ints,
    table: Ints,
    number: int,
    keep: Rows,
    counts: Ints,
) -> int:
    """The places of new rows in `keep`, and by partition how many are new and how many known by hash; how many."""
    kept = 0
    for i in range(len(offset)):
        part, coordinate = which[i], offset[i] << LINE_BITS | line[i]
        if coordinate <= before[part]:
            continue
        high[part] = max(high[part], coordinate)
        at = place_of(table, hashes[i])
        if table[at, 1] != 0:
            counts[part, 1] += 1
            continue
        table[at, 0], table[at, 1] = hashes[i], number + kept + 1
        keep[kept] = i
        kept += 1
        counts[part, 0] += 1
    return kept
