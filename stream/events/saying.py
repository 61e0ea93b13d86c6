"""Checked columns to rows, topic by topic: what `reading.rows_of` does, for a whole lot."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from stream.events.checking import Table, filled, valid
from stream.events.instants import Ints
from stream.events.kinds import Flag, Kind
from stream.events.reading import COMING_LINE, REFERENCE_FIELDS, Row
from stream.events.rows import SCHEMA
from stream.events.rules import Plan

FEW_LINES: Final = 16  # of the longest order: up to here comparing neighbours is cheaper than sorting

Hashes = npt.NDArray[np.uint64]

# What a row says, before it is given its source coordinates; `record` is the record's place in the batch.
SAID: Final = pa.schema([pa.field("record", pa.int64(), False), *(SCHEMA.field(name) for name in Row._fields)])


_AT_BOTH_ENDS: Final = (Kind.TRANSFER_LEFT, Kind.TRANSFER_APPROVED, Kind.TRANSFER_CANCELLED)


def _hash(names: pa.Array) -> Hashes:
    """xxh3_64 of each string; 0 where null."""
    if names.null_count == len(names):
        return np.zeros(len(names), np.uint64)
    raw = filled(names, "").cast(pa.binary()).to_numpy(zero_copy_only=False)
    hashes = np.fromiter(map(xxh3_64_intdigest, raw), np.uint64, len(raw))
    return hashes if names.null_count == 0 else np.where(valid(names), hashes, np.uint64(0))


def _hash_of(names: pa.Array, parts: pa.Array | str) -> Hashes:
    """`reading.hash_of` of columns."""
    return _hash(pc.binary_join_element_wise(filled(names, ""), parts, "\x00"))


def _order_rows(plan: Plan, table: Table) -> dict[str, Any]:
    record, lines = table.columns, table.lines
    line_id = filled(lines["line_id"], "")
    parent = pa.array(table.parent)
    placed = plan.kinds[table.codes] == Kind.ORDER_PLACED
    at_once = np.where(record["fulfilled"] & placed, np.uint8(Flag.SOLD_AT_ONCE), np.uint8(0))
    event_hash = _hash_of(filled(record["event_id"], "").take(parent), line_id)
    table.good[table.parent[_again(event_hash, table.parent)]] = False
    return {
        "record": table.parent,
        "line": table.line,
        "kind": plan.kinds[table.codes][table.parent],
        "sku": lines["sku"],
        "location": lines["location"],
        "milli": lines["quantity"],
        "event_hash": event_hash,
        "order_hash": _hash_of(filled(record["order_id"], "").take(parent), line_id),
        "cart_hash": _hash(record["cart_id"])[table.parent],
        "price": lines["unit_price"],
        "flags": at_once[table.parent],
    }


def _again(hashes: Hashes, parent: Ints) -> Ints:
    """Lines whose hash their record has already: the same line_id twice."""
    if len(parent) == 0:
        return parent
    most = int(np.bincount(parent).max())
    if most <= FEW_LINES:  # lines of a record lie together: compare each with its neighbours
        twice = np.zeros(len(parent), np.bool_)
        for back in range(1, most):
            twice[back:] |= (hashes[back:] == hashes[:-back]) & (parent[back:] == parent[:-back])
        return np.flatnonzero(twice)
    order = np.argsort(hashes, kind="stable")
    same = (hashes[order][1:] == hashes[order][:-1]) & (parent[order][1:] == parent[order][:-1])
    again: Ints = order[1:][same]
    return again


def _cart_rows(plan: Plan, table: Table) -> dict[str, Any]:
    record = table.columns
    kinds = plan.kinds[table.codes]
    return {
        "record": table.parent,
        "kind": kinds,
        "sku": record["sku"],
        "location": record["location"],
        "milli": np.where(kinds == Kind.CART_CHECKED_OUT, 0, record["quantity"]),
        "event_hash": _hash_of(record["event_id"], ""),
        "cart_hash": _hash(record["cart_id"]),
    }


def _movement_rows(plan: Plan, table: Table) -> dict[str, Any]:
    record = table.columns
    kinds = plan.kinds[table.codes]
    to_location = record["to_location"]
    received = pa.array(kinds == Kind.TRANSFER_ARRIVED)
    table.good[filled(pc.equal(record["location"], to_location), False).to_numpy(zero_copy_only=False)] = False
    rows = {
        "record": table.parent,
        "line": table.line,
        "kind": kinds,
        "sku": record["sku"],
        "location": pc.if_else(received, to_location, record["location"]),
        "milli": record["quantity"],
        "event_hash": _hash_of(record["event_id"], ""),
        "reference": _reference(record),
    }
    left = np.flatnonzero(np.isin(kinds, _AT_BOTH_ENDS))
    if len(left) == 0:
        return rows
    moved, shipped = pa.array(left), kinds == Kind.TRANSFER_LEFT
    rows["flags"] = np.where(np.isin(kinds, _AT_BOTH_ENDS) & ~shipped, np.uint8(Flag.OUTBOUND), np.uint8(0))
    again = {
        "record": left,
        "line": np.ones(len(left), np.int32),
        "kind": np.where(shipped, np.uint8(Kind.TRANSFER_COMING), kinds)[left],
        "sku": record["sku"].take(moved),
        "location": to_location.take(moved),
        "milli": record["quantity"][left],
        "event_hash": _hash_of(record["event_id"].take(moved), COMING_LINE),
        "reference": rows["reference"].take(moved),
    }
    both = pa.Table.from_batches([said(rows), said(again)]).combine_chunks().to_batches()[0]
    both = both.take(pa.array(np.argsort(both.column("record").to_numpy(), kind="stable")))
    return {name: _inside(both.column(name)) for name in SAID.names}


def _inside(column: pa.Array) -> Any:
    return column if pa.types.is_string(column.type) or pa.types.is_binary(column.type) else column.to_numpy()


def _supply_rows(plan: Plan, table: Table) -> dict[str, Any]:
    record = table.columns
    said = next(field for field in plan.fields if field.name == "expected_at").said[table.codes]
    return {
        "record": table.parent,
        "kind": plan.kinds[table.codes],
        "sku": record["sku"],
        "location": record["location"],
        "milli": record["quantity"],
        "event_hash": _hash_of(record["event_id"], ""),
        "expected_ms": np.where(said, record["expected_at"], 0),
        "reference": _reference(record),
        "replenishment_id": record["replenishment_id"],
        "supplier": record["supplier"],
    }


def _reference(record: dict[str, Any]) -> pa.Array:
    """The one field of a type that names something else."""
    return pc.coalesce(*(record[name] for name in REFERENCE_FIELDS if name in record))


ROWS: Final = {
    "orders": _order_rows,
    "carts": _cart_rows,
    "stock-movements": _movement_rows,
    "supply": _supply_rows,
}
_BLANK: Final = {"price": np.nan, "sku": "", "location": ""}


def said(columns: dict[str, Any]) -> pa.RecordBatch:
    """Columns as a batch of SAID; what is not given is zero, NaN (price) or null."""
    n = len(columns["record"])
    return pa.RecordBatch.from_arrays([_array(columns.get(field.name), field, n) for field in SAID], schema=SAID)


def _array(column: Any, field: pa.Field, n: int) -> pa.Array:
    if column is None:
        if field.nullable:
            return pa.nulls(n, field.type)
        return pa.array(np.full(n, _BLANK.get(field.name, 0), field.type.to_pandas_dtype()))
    if isinstance(column, np.ndarray):
        return pa.array(column.astype(field.type.to_pandas_dtype(), copy=False))
    return column if field.nullable else filled(column, "")
