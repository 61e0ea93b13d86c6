"""Rows of `sku-events`: the one schema between intake and planner, and its bytes.

A Kafka record of `sku-events` is one frame: the marks of source partitions as they stand *after* its rows, then one
Arrow record batch (its schema is fixed by the version byte and not repeated).

    "RS" | version u8 | marks u16 | marks * (source u8, partition i32, mark_ms i64, through_offset i64) | Arrow batch

A *switch* has neither rows nor marks; from it on the shelf decides by another version of the planner:

    "RS" | version u8 | 0xFFFF | 0x01 | version of the planner u16

A *moved* record is where a shelf's log begins anew: its SKUs came from other shelves (`restock repartition`).

    "RS" | version u8 | 0xFFFF | 0x02 | number of shelves from here on u16

An *outlooks* record brings what a slow lane expects of rows, as in `outlooks.py`:

    "RS" | version u8 | 0xFFFF | 0x03 | outlooks

No record has that many marks. Release 0.1.0 cannot read a switch and ends (rather than set it aside as not ours and go
on, deciding otherwise than the log says); the ledger has refused it with a reason before, see `restock upgrade`.

Source coordinates (source, partition, offset, line) name a row for ever: they are how the planner recognises repeats.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.events import outlooks
from stream.events.outlooks import Outlooks

VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("kind", pa.uint8(), False),  # Kind
        pa.field("sku", pa.utf8(), False),
        pa.field("location", pa.utf8(), False),
        pa.field("milli", pa.int64(), False),  # thousandths of a unit
        pa.field("occurred_ms", pa.int64(), False),  # event time, ms since 1970 UTC
        pa.field("source", pa.uint8(), False),  # Source
        pa.field("partition", pa.int32(), False),
        pa.field("offset", pa.int64(), False),
        pa.field("line", pa.int32(), False),  # place within the record; 0 where there is only one
        pa.field("event_hash", pa.uint64(), False),  # xxh3_64 of event_id and line_id: repeats from upstream
        pa.field("order_hash", pa.uint64(), False),  # xxh3_64 of order_id, line_id; 0 where not an order
        pa.field("cart_hash", pa.uint64(), False),  # xxh3_64 of cart_id; 0 where there is none
        pa.field("price", pa.float64(), False),  # money a unit; NaN where not said
        pa.field("flags", pa.uint8(), False),  # Flag bits
        pa.field("logged_ms", pa.int64(), False),  # the source record's Kafka timestamp
        pa.field("late_ms", pa.int64(), False),  # how long before its own partition's mark it occurred; 0 where on time
        pa.field("expected_ms", pa.int64(), False),  # supply.confirmed / rescheduled; 0 where not said
        pa.field("reference", pa.utf8()),  # order_ref, transfer_id or reason
        pa.field("replenishment_id", pa.utf8()),
        pa.field("supplier", pa.utf8()),
        pa.field("fact", pa.utf8()),  # canonical JSON
        pa.field("raw", pa.binary()),  # a record the planner may still refuse; of a proposed transfer, the proposal
    ]
)

NUMBERS = tuple(f.name for f in SCHEMA if not (pa.types.is_string(f.type) or pa.types.is_binary(f.type)))

_PLACES = {name: SCHEMA.get_field_index(name) for name in NUMBERS}

_HEAD = struct.Struct("<2sBH")
_MARK = struct.Struct("<Biqq")
_SIGN = struct.Struct("<2sBHBH")  # shorter than a head and one mark
_NO_ROWS, _IS_SWITCH, _IS_MOVED, _IS_OUTLOOKS = 0xFFFF, 1, 2, 3
_SIGN_HEAD = struct.Struct("<2sBHB")


class Mark(NamedTuple):
    """Event time up to which a source partition is complete, said after reading it through an offset."""

    source: int
    partition: int
    mark_ms: int
    through_offset: int


@dataclass(frozen=True)
class SkuRecord:
    """One decoded record of `sku-events` at its own offset."""

    offset: int
    rows: pa.RecordBatch
    marks: tuple[Mark, ...]
    switch: int = 0  # the planner's version from here on; 0: as before
    moved: int = 0  # the number of shelves from here on; 0: as before
    outlooks: Outlooks | None = None  # of a slow lane


def encode(rows: pa.RecordBatch, marks: tuple[Mark, ...] | list[Mark]) -> bytes:
    """The frame of one `sku-events` record.

    >>> record = decode(encode(empty(), [Mark(1, 0, 5, 9)]), 7)
    >>> record.offset, record.rows.num_rows, record.marks
    (7, 0, (Mark(source=1, partition=0, mark_ms=5, through_offset=9),))
    """
    head = _HEAD.pack(b"RS", VERSION, len(marks))
    return head + b"".join(_MARK.pack(*m) for m in marks) + bytes(rows.serialize())


def switch_frame(version: int) -> bytes:
    """The frame that takes a shelf to a version of the planner.

    >>> decode(switch_frame(2), 7).switch
    2
    """
    return _SIGN.pack(b"RS", VERSION, _NO_ROWS, _IS_SWITCH, version)


def moved_frame(shelves: int) -> bytes:
    """The frame behind which a log is that of one of so many shelves.

    >>> decode(moved_frame(8), 7).moved
    8
    """
    return _SIGN.pack(b"RS", VERSION, _NO_ROWS, _IS_MOVED, shelves)


def outlooks_frame(said: Outlooks) -> bytes:
    """The frame that brings a slow lane's outlooks to a shelf."""
    return _SIGN_HEAD.pack(b"RS", VERSION, _NO_ROWS, _IS_OUTLOOKS) + outlooks.pack(said)


def decode(frame: bytes, offset: int) -> SkuRecord:
    """Read a frame back. Raises ValueError where it is not one of ours."""
    if len(frame) < _HEAD.size or frame[:2] != b"RS":
        raise ValueError(f"not a sku-events frame: it begins with {frame[:8]!r}")
    _, version, n = _HEAD.unpack_from(frame)
    if version != VERSION:
        raise ValueError(f"sku-events frame version {version}; this code reads {VERSION}")
    if n == _NO_ROWS:
        return _sign(frame, offset)
    body = _HEAD.size + n * _MARK.size
    marks = tuple(Mark(*_MARK.unpack_from(frame, _HEAD.size + i * _MARK.size)) for i in range(n))
    # a copy, so that every column lies where its numbers may be read as they are
    return SkuRecord(offset, pa.ipc.read_record_batch(pa.py_buffer(frame[body:]), SCHEMA), marks)


def _sign(frame: bytes, offset: int) -> SkuRecord:
    if len(frame) > _HEAD.size and frame[_HEAD.size] == _IS_OUTLOOKS:
        return SkuRecord(offset, empty(), (), outlooks=outlooks.unpack(frame[_SIGN_HEAD.size :]))
    if len(frame) != _SIGN.size or frame[_HEAD.size] not in (_IS_SWITCH, _IS_MOVED):
        raise ValueError(f"neither rows nor a switch, a moved or an outlooks record: {frame[:16]!r}")
    *_, which, number = _SIGN.unpack(frame)
    return SkuRecord(offset, empty(), (), **{"switch" if which == _IS_SWITCH else "moved": number})


def empty() -> pa.RecordBatch:
    """A batch without rows: a record that only moves marks."""
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in SCHEMA], schema=SCHEMA)


def from_columns(**columns: Any) -> pa.RecordBatch:
    """Rows from columns; what is not given is zero, empty, NaN (price) or null. For tests and small batches."""
    n = len(next(iter(columns.values())))
    blank = {"sku": "", "location": "", "price": float("nan")}
    unknown = columns.keys() - set(SCHEMA.names)
    if unknown:
        raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
    arrays = []
    for f in SCHEMA:
        if f.name in columns:
            arrays.append(pa.array(columns[f.name], f.type))
        elif f.nullable:
            arrays.append(pa.nulls(n, f.type))
        else:
            arrays.append(pa.array([blank.get(f.name, 0)] * n, f.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


class Numbers(dict[str, npt.NDArray[Any]]):
    """Columns of numbers as numpy (no copy), by name; each of shape (n,). One nobody asks for is not looked at."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        super().__init__()
        self._rows = rows

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        self[name] = found = np.asarray(self._rows.column(_PLACES[name]).to_numpy())
        return found


def numbers(rows: pa.RecordBatch) -> Numbers:
    """Every column of numbers, by name."""
    return Numbers(rows)


def concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Several batches as one, in order."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, SCHEMA).combine_chunks()
    return table.to_batches()[0] if table.num_rows else empty()


def same(a: pa.RecordBatch, b: pa.RecordBatch) -> bool:
    """Whether two batches hold the same rows; NaN equals NaN."""
    if a.num_rows != b.num_rows:
        return False
    for name in SCHEMA.names:
        if name == "price":
            if not np.array_equal(a.column(name).to_numpy(), b.column(name).to_numpy(), equal_nan=True):
                return False
        elif not a.column(name).equals(b.column(name)):
            return False
    return True
