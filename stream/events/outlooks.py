"""What a slow lane expects of rows: quantiles of summed demand as of a closed day, as one record of `sku-events`.

    head length u16 | head, JSON | Arrow batch

A run is told in parts, in order from a completed prefix, by whoever leads: (run, part) only grow, so a shelf recognises
what is told twice. A record is bounded, so that nothing has to be fetched from elsewhere to fold it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgspec
import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("sku", pa.utf8(), False),
        pa.field("location", pa.utf8(), False),
        pa.field("model", pa.utf8(), False),  # what made it, for people
        pa.field("as_of", pa.int32(), False),  # number of the last local day that was known, since 1970
        pa.field("horizon", pa.list_(pa.field("item", pa.int16(), False)), False),  # days (H,)
        pa.field("quantile", pa.list_(pa.field("item", pa.float32(), False)), False),  # units (H * K,), by horizon
    ]
)
MOST_ROWS = 2_000  # a record: some 120 B each, 240 KB, and 10 ms of a fold
MOST_RUN, MOST_PART = (1 << 43) - 1, (1 << 20) - 1  # as offset and line of a row's coordinates
_LENGTH = struct.Struct("<H")


class Head(msgspec.Struct, frozen=True):
    """Whose word it is: a guest of a family of forecasters, at which levels, and the place among all that was said."""

    run: int
    part: int
    guest: str
    family: str
    version: int  # of the family's rows
    levels: tuple[float, ...]


_head = msgspec.json.Decoder(Head).decode


@dataclass(frozen=True)
class Outlooks:
    """One record: its head, and rows of SCHEMA."""

    head: Head
    rows: pa.RecordBatch


def pack(said: Outlooks) -> bytes:
    """The bytes of one record. Raises ValueError where they would not be read back."""
    head = msgspec.json.encode(said.head)
    _check(said.head, said.rows.num_rows)
    return _LENGTH.pack(len(head)) + head + bytes(said.rows.serialize())


def unpack(raw: bytes) -> Outlooks:
    """Read them back. Raises ValueError where they are not such a record."""
    if len(raw) < _LENGTH.size:
        raise ValueError("an outlooks record without a head")
    (length,) = _LENGTH.unpack_from(raw)
    begin = _LENGTH.size + length
    try:
        head = _head(raw[_LENGTH.size : begin])
        rows = pa.ipc.read_record_batch(pa.py_buffer(raw)[begin:], SCHEMA)
        rows.validate(full=True)
    except (msgspec.MsgspecError, pa.ArrowInvalid, OSError) as wrong:
        raise ValueError(f"an outlooks record that cannot be read: {wrong}") from None
    if any(column.null_count for column in rows.columns):
        raise ValueError("an outlooks record with rows that say nothing")
    _check(head, rows.num_rows)
    return Outlooks(head, rows)


def _check(head: Head, rows: int) -> None:
    if not (0 <= head.run <= MOST_RUN and 0 <= head.part <= MOST_PART and rows <= MOST_ROWS):
        raise ValueError(f"an outlooks record out of bounds: run {head.run}, part {head.part}, {rows:,} rows")


def batch(
    skus: list[str],
    locations: list[str],
    models: list[str],
    as_of: list[int],
    horizons: list[list[int]],
    quantiles: list[list[float]],
) -> pa.RecordBatch:
    """Rows of SCHEMA from its columns."""
    columns = (skus, locations, models, as_of, horizons, quantiles)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
