"""A parsed lot of records checked column by column, by the rules of `rules.PLANS`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.events.instants import Bools, Ints, parse_ms_column
from stream.events.public import MOST_MONEY, MOST_TEXT_CHARS
from stream.events.rules import Check, FieldPlan, Plan, Sign
from stream.events.units import milli_from_column


class Table(NamedTuple):
    """Checked columns of one lot: strings as Arrow arrays, times in ms, units in milli, money as floats."""

    codes: npt.NDArray[np.int64]  # type code a record
    columns: dict[str, Any]  # a record
    lines: dict[str, Any]  # a line, of orders
    parent: Ints  # record of each line
    line: npt.NDArray[np.int32]  # place of each line in its record
    good: Bools  # a record


def checked(plan: Plan, parsed: pa.RecordBatch) -> Table:
    """Every column of a parsed lot, checked and in its inside form."""
    found = filled(pc.index_in(parsed.column("type"), value_set=plan.types), -1)
    known = found.to_numpy().astype(np.int64)
    good, codes = known >= 0, np.maximum(known, 0)
    columns: dict[str, Any] = {}
    for field in plan.fields:
        columns[field.name], fine = _check(field, parsed.column(field.name), codes)
        good &= fine
    n = parsed.num_rows
    if not plan.line_fields:
        return Table(codes, columns, {}, np.arange(n), np.zeros(n, np.int32), good)
    return _check_lines(plan, parsed.column("lines"), codes, columns, good)


def _check_lines(plan: Plan, lists: pa.Array, codes: Ints, columns: dict[str, Any], good: Bools) -> Table:
    offsets = lists.offsets.to_numpy().astype(np.int64)
    counts = np.diff(offsets)
    good &= counts > 0  # a null list has none either
    items = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
    parent = np.repeat(np.arange(len(lists)), counts)
    line = (np.arange(len(items)) - np.repeat(offsets[:-1] - offsets[0], counts)).astype(np.int32)
    fine = valid(items)
    lines: dict[str, Any] = {}
    for field in plan.line_fields:
        lines[field.name], of_field = _check(field, items.field(field.name), np.zeros(len(items), np.int64))
        fine = fine & of_field
    good[parent[~fine]] = False
    return Table(codes, columns, lines, parent, line, good)


def _check(field: FieldPlan, column: pa.Array, codes: Ints) -> tuple[Any, Bools]:
    """The column's inside form and, for each record, whether its type may say this."""
    there = valid(column)
    value, fine = _CHECKS[field.check](column)
    if field.check is Check.UNITS:
        fine &= _signed(value, field.sign[codes])
    if there.all() and field.said.all():
        return value, fine
    said = field.said[codes]
    if field.check in (Check.TEXT, Check.ID) and not said.all():
        value = pc.if_else(pa.array(said), value, pa.scalar(None, value.type))
    return value, ~said | np.where(there, fine, ~field.required[codes])


def _signed(milli: Ints, sign: npt.NDArray[np.int8]) -> Bools:
    """Whether each number's sign is one its type allows."""
    fine = (sign != Sign.POSITIVE.value) | (milli > 0)
    fine &= (sign != Sign.NOT_NEGATIVE.value) | (milli >= 0)
    fine &= (sign != Sign.NOT_ZERO.value) | (milli != 0)
    return np.asarray(fine)


def valid(column: pa.Array) -> Bools:
    """Where the column is not null."""
    if column.null_count == 0:
        return np.ones(len(column), np.bool_)
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False))


def filled(column: pa.Array, value: Any) -> pa.Array:
    """The column with a value for its nulls. Most have none, and Arrow takes 15 us to find nothing to fill."""
    return column if column.null_count == 0 else pc.fill_null(column, value)


def _check_text(column: pa.Array) -> tuple[Any, Bools]:
    if column.null_count == len(column):
        return column, np.zeros(len(column), np.bool_)
    lengths = filled(pc.binary_length(column), 0).to_numpy()
    fine = lengths > 0
    if len(lengths) and lengths.max() > MOST_TEXT_CHARS:  # bytes; characters are never more
        fine &= filled(pc.utf8_length(column), 0).to_numpy() <= MOST_TEXT_CHARS
    return column, fine


def _check_id(column: pa.Array) -> tuple[Any, Bools]:
    column, fine = _check_text(column)
    data = column.buffers()[2]
    if data is not None and not np.frombuffer(data, np.uint8).all():  # a zero byte somewhere, perhaps only padding
        holds = pc.match_substring(column.cast(pa.binary()), b"\x00")
        fine = fine & ~filled(holds, False).to_numpy(zero_copy_only=False)
    return column, fine


def _check_instant(column: pa.Array) -> tuple[Any, Bools]:
    return parse_ms_column(column)


def _check_units(column: pa.Array) -> tuple[Any, Bools]:
    return milli_from_column(filled(column, 0.0).to_numpy())


def _check_money(column: pa.Array) -> tuple[Any, Bools]:
    money = filled(column, np.nan).to_numpy()
    return money, (money >= 0) & (money <= MOST_MONEY)


def _check_flag(column: pa.Array) -> tuple[Any, Bools]:
    flags = np.asarray(filled(column, False).to_numpy(zero_copy_only=False))
    return flags, np.ones(len(flags), np.bool_)


_CHECKS: Final = {
    Check.TEXT: _check_text,
    Check.ID: _check_id,
    Check.INSTANT: _check_instant,
    Check.UNITS: _check_units,
    Check.MONEY: _check_money,
    Check.FLAG: _check_flag,
}
