"""The rows of columns of names, found in one compiled loop: an open table over the names of all rows.

Finding them through Python's dictionary of names took most of a microsecond a line, to make texts of bytes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.demand.compiled import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

LEAST_ROWS = 1_024
_FIRST, _PRIME, _BITS = 0x811C9DC5, 0x01000193, 0x7FFFFFFF  # FNV-1a, 32 bits of which 31 are used
_NUMBER = 0xFFFFFFFF


class RowIndex:
    """Row numbers by SKU and location.

    >>> index, column = RowIndex(), lambda *names: pa.array(names, pa.utf8())
    >>> index.find([("a", "b"), ("ab", "")], column("ab", "a", "a"), column("", "b", "")).tolist()
    [1, 0, -1]
    """

    def __init__(self) -> None:
        self._rows = 0
        self._text: Bytes = np.zeros(0, np.uint8)
        self._ends: Ints = np.zeros((LEAST_ROWS + 1, 2), np.int64)  # of the SKU, of the location; row 0 is no row's
        self._slots: Ints = np.zeros(4 * LEAST_ROWS, np.int64)  # hash << 32 | row + 1; 0: free

    def find(self, names: list[tuple[str, str]], sku: pa.Array, location: pa.Array) -> Ints:
        """The row of each SKU and location, -1 where there is none; `names` are those of all rows, and only grow."""
        if len(names) > self._rows:
            self._take(names[self._rows :])
        found = np.empty(len(sku), np.int64)
        _find(*_parts(sku), *_parts(location), self._text, self._ends, self._slots, found)
        return found

    def _take(self, names: list[tuple[str, str]]) -> None:
        """The next rows' names."""
        begun, size = self._rows, int(self._ends[self._rows, 1])
        self._rows += len(names)
        texts = [part.encode() for name in names for part in name]
        more = np.frombuffer(b"".join(texts), np.uint8)
        if self._rows >= len(self._ends):
            self._ends = _grown(self._ends, 2 * self._rows + 1)
        if size + len(more) > len(self._text):
            self._text = _grown(self._text, 2 * (size + len(more)))
        self._text[size : size + len(more)] = more
        self._ends[begun + 1 : self._rows + 1] = size + np.cumsum(list(map(len, texts))).reshape(-1, 2)
        if 2 * self._rows > len(self._slots):
            self._slots, begun = np.zeros(_power(4 * self._rows), np.int64), 0
        _add(self._text, self._ends, self._slots, begun, self._rows)


def _grown(old: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    new = np.zeros((size, *old.shape[1:]), old.dtype)
    new[: len(old)] = old
    return new


def _power(least: int) -> int:
    """The next power of two.

    >>> _power(4), _power(5)
    (4, 8)
    """
    return 1 << (least - 1).bit_length()


def _parts(column: pa.Array) -> tuple[npt.NDArray[np.int32], Bytes]:
    """Where each text of a column ends, that before it first, and its bytes."""
    _, ends, data = column.buffers()
    at = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1]
    return at, np.frombuffer(data if data is not None else b"", np.uint8)


@kernel
def _mixed(hash: Any, text: Bytes, at: int, end: int) -> Any:
    """FNV-1a of more bytes."""
    for i in range(at, end):
        hash = (hash ^ np.int64(text[i])) * _PRIME & _NUMBER
    return hash


@kernel
def _slot(hash: Any, slots: Ints) -> Any:
    return (hash ^ hash >> 15) & (len(slots) - 1)


@kernel
def _add(text: Bytes, ends: Ints, slots: Ints, first: int, last: int) -> None:
    for row in range(first, last):
        hash = _mixed(_FIRST, text, ends[row, 1], ends[row + 1, 0])
        hash = _mixed(hash * _PRIME & _NUMBER, text, ends[row + 1, 0], ends[row + 1, 1]) & _BITS
        at = _slot(hash, slots)
        while slots[at] != 0:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = hash << 32 | (row + 1)


@kernel
def _same(text: Bytes, at: int, end: int, other: Bytes, first: int, last: int) -> bool:
    if end - at != last - first:
        return False
    same = 0
    while same < end - at and text[at + same] == other[first + same]:
        same += 1
    return same == end - at


@kernel
def _find(
    sku_at: Any, sku: Bytes, place_at: Any, place: Bytes, text: Bytes, ends: Ints, slots: Ints, found: Ints
) -> None:
    for i in range(len(found)):
        a, b, c, d = sku_at[i], sku_at[i + 1], place_at[i], place_at[i + 1]
        hash = _mixed(_mixed(_FIRST, sku, a, b) * _PRIME & _NUMBER, place, c, d) & _BITS
        at, found[i] = _slot(hash, slots), -1
        while slots[at] != 0:
            row = (slots[at] & _NUMBER) - 1
            middle = ends[row + 1, 0]
            if (
                slots[at] >> 32 == hash
                and _same(text, ends[row, 1], middle, sku, a, b)
                and _same(text, middle, ends[row + 1, 1], place, c, d)
            ):
                found[i] = row
                break
            at = (at + 1) & (len(slots) - 1)
