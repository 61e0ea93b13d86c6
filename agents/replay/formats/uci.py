"""UCI Online Retail: a UK gift shop's invoice lines (`--format uci-online-retail`).

The rule for a row, the first that holds (docs/replay.md has it as a table, with counts):

    equal in every column to an earlier row      as that one; recognised as a repeat
    invoice `A...`                               refused: bad_debt
    code does not begin with five digits         refused: non_product (postage, fees, vouchers, manual corrections)
    invoice `C...`, units < 0                    order.cancelled of a sale of the same customer and code not older than
                                                 the window, else order.returned
    any other invoice, units < 0                 stock.written_off, the description as reason
    units > 0, price 0, no customer              stock.adjusted up: stock found or booked in
    units > 0, price 0, a customer               stock.adjusted down: a gift leaves the shelf, nobody's demand is learnt
    invoice `C...`, units > 0                    refused: cancels_nothing
    any other (units > 0)                        order.placed, fulfilled: sold from stock at once

A row that is none of these in good order (no units, no time, a negative price) is published as it stands: intake
refuses it and names the field. Rows of one invoice and minute are one event. Codes are upper-cased. Times are UK local.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.replay.formats import reading, values
from agents.replay.formats.lines import (
    Bools,
    Ints,
    Lines,
    What,
    absent_or_filled,
    carried_ms,
    filled,
    minute_stamps,
    payable,
)
from agents.replay.formats.options import Options
from agents.replay.formats.orders import cut
from agents.replay.formats.reading import Sheet
from stream.events.public import MOST_TEXT_CHARS

TIMEZONE = "Europe/London"
LOCATION = "UK"
PRODUCT_CODE = r"^\d{5}"
_HOUR_MS = 3_600_000


def lines_of_uci(sheet: Sheet, options: Options) -> Lines:
    """Rows of the file by the table above. Raises SetupError where a column is missing."""
    raw = {name: sheet.column(column) for name, column in _COLUMNS.items()}
    n = sheet.table.num_rows
    digest = reading.digests(sheet.table)
    first, copy = reading.repeats(digest)
    invoice = reading.text(raw["invoice"]).fill_null("")
    code = pc.utf8_upper(pc.utf8_trim_whitespace(reading.text(raw["sku"]).fill_null("")))
    customer = reading.text(raw["customer_id"])
    instant = values.instants(raw["occurred_at"], options.timezone or TIMEZONE, options.time_format)
    at_ms = carried_ms(instant.values, instant.sound)
    milli, whole = values.millis(raw["quantity"])
    price, priced = values.prices(raw["unit_price"])

    cancels = _true(pc.starts_with(invoice, "C"))
    what, quantity = _kinds(milli, price, cancels, filled(customer))
    refusal = np.select(
        [
            _true(pc.starts_with(invoice, "A")),
            ~_true(pc.match_substring_regex(code, PRODUCT_CODE)),
            cancels & whole & (milli > 0),
        ],
        ["bad_debt", "non_product", "cancels_nothing"],
        "",
    )
    what = np.where(refusal == "", what, What.NOTHING).astype(np.uint8)
    moved = np.isin(what, (What.ADJUSTED, What.WRITTEN_OFF))
    sound = {
        "key": moved | filled(invoice),
        "occurred_at": instant.sound,
        "quantity": whole & ((quantity > 0) | (what == What.ADJUSTED)),
        "unit_price": moved | (priced & payable(price)),
        "sku": filled(code),
        "customer_id": moved | absent_or_filled(customer),
    }
    by_invoice = pa.array(~moved & np.logical_and.reduce(list(sound.values())))
    event_id = pc.if_else(
        by_invoice,
        pc.binary_join_element_wise("uci", invoice, minute_stamps(at_ms), ":"),
        pc.binary_join_element_wise("uci", digest, ":"),
    )
    lines = Lines(
        what=what,
        at_ms=at_ms,
        event_id=cut(event_id, first),
        key=pc.if_else(pa.array(moved), code, invoice),
        line_id=digest,
        sku=code,
        location=pa.array([options.location or LOCATION] * n, pa.utf8()),
        milli=quantity,
        price=price,
        refusal=refusal,
        copy=copy,
        optional={"customer_id": customer, "reason": _reasons(raw["reason"])},
        sound=sound,
        raw={"key": raw["invoice"], **{name: raw[name] for name in sound if name != "key"}},
        unreadable_rows=sheet.unreadable_rows,
    )
    return _with_cancellations(lines, customer, first, options.cancel_window_hours * _HOUR_MS)


_COLUMNS = {
    "invoice": "InvoiceNo",
    "sku": "StockCode",
    "reason": "Description",
    "quantity": "Quantity",
    "occurred_at": "InvoiceDate",
    "unit_price": "UnitPrice",
    "customer_id": "CustomerID",
}


def _kinds(
    milli: Ints, price: npt.NDArray[np.float64], cancels: Bools, named: Bools
) -> tuple[npt.NDArray[np.uint8], Ints]:
    """What each row is, and the quantity its event carries."""
    free = (price == 0) & (milli != 0)
    cases = (
        (cancels, What.RETURNED, -milli),
        (milli < 0, What.WRITTEN_OFF, -milli),
        (free & named, What.ADJUSTED, -milli),
        (free, What.ADJUSTED, milli),
    )
    conditions = [condition for condition, _, _ in cases]
    what = np.select(conditions, [np.uint8(kind) for _, kind, _ in cases], np.uint8(What.PLACED))
    return what, np.select(conditions, [units for _, _, units in cases], milli)


@dataclass
class _Sale:
    row: int
    at_ms: int
    left_milli: int


def _with_cancellations(lines: Lines, customer: pa.Array, first: Ints, window_ms: int) -> Lines:
    """Give a return the identity of the sale it undoes, where one is near enough; copies follow their first.

    Of the sales of the same customer and code within the window that still have the units, the latest whose whole
    quantity it is, else the latest. What an invoice takes back of one sale twice gets two event ids.
    """
    undo = np.flatnonzero((lines.what == What.RETURNED) & lines.good & (lines.copy == 0) & filled(customer))
    matched = _match(lines, undo, reading.codes_of(customer), reading.codes_of(lines.sku), window_ms)
    if not matched:
        return _following(lines, first)
    rows = np.array(sorted(matched), np.int64)
    sales = np.array([matched[row] for row in rows.tolist()], np.int64)
    mask = np.zeros(len(lines), bool)
    mask[rows] = True
    order_id, line_id = lines.key.take(pa.array(sales)), lines.line_id.take(pa.array(sales))
    own = lines.event_id.take(pa.array(rows))
    pair = pc.binary_join_element_wise(own, line_id, "\x1f")
    nth = pa.array(_nth(pair, lines.line_id.take(pa.array(rows)))).cast(pa.utf8())
    event_id = pc.binary_join_element_wise(own, order_id, nth, "/")
    what = lines.what.copy()
    what[rows] = What.CANCELLED
    return _following(
        _replace(
            lines,
            what=what,
            key=pc.replace_with_mask(lines.key, pa.array(mask), order_id),
            line_id=pc.replace_with_mask(lines.line_id, pa.array(mask), line_id),
            event_id=pc.replace_with_mask(lines.event_id, pa.array(mask), event_id),
        ),
        first,
    )


def _match(lines: Lines, undo: Ints, customer: Ints, sku: Ints, window_ms: int) -> dict[int, int]:
    """Row of the cancellation -> row of its sale; taken in order of time and digest, the file's order does not show."""
    wanted = set(zip(customer[undo].tolist(), sku[undo].tolist(), strict=True))
    sold = np.flatnonzero((lines.what == What.PLACED) & lines.good & (lines.copy == 0))
    shelf: dict[tuple[int, int], list[_Sale]] = {}
    for row in _by_time(lines, sold):
        pair = (int(customer[row]), int(sku[row]))
        if pair in wanted:
            shelf.setdefault(pair, []).append(_Sale(row, int(lines.at_ms[row]), int(lines.milli[row])))
    matched = {}
    for row in _by_time(lines, undo):
        at_ms, units = int(lines.at_ms[row]), int(lines.milli[row])
        sales = shelf.get((int(customer[row]), int(sku[row])), [])
        begin = bisect_left(sales, at_ms - window_ms, key=lambda sale: sale.at_ms)
        near = [s for s in sales[begin:] if s.at_ms <= at_ms and s.left_milli >= units]
        if near:
            sale = max(near, key=lambda s: (s.left_milli == units, s.at_ms))
            sale.left_milli -= units
            matched[row] = sale.row
    return matched


def _by_time(lines: Lines, rows: Ints) -> list[int]:
    names = lines.line_id.take(pa.array(rows)).to_pylist()
    return [row for _, _, row in sorted(zip(lines.at_ms[rows].tolist(), names, rows.tolist(), strict=True))]


def _nth(pair: pa.Array, own_line: pa.Array) -> Ints:
    """Among cancellations of the same event and sale line, the how-manieth by digest."""
    codes, names = reading.codes_of(pair), np.array(own_line.to_pylist(), object)
    order = np.argsort(names, kind="stable")
    nth = np.empty(len(codes), np.int64)
    nth[order] = reading.rank_within(codes[order])
    return nth


def _following(lines: Lines, first: Ints) -> Lines:
    """Copies take identity and kind of the row they are equal to."""
    index = pa.array(first)
    return _replace(
        lines,
        what=lines.what[first],
        key=lines.key.take(index),
        line_id=lines.line_id.take(index),
        event_id=lines.event_id.take(index),
    )


def _replace(lines: Lines, **changes: object) -> Lines:
    from dataclasses import replace

    return replace(lines, **changes)  # type: ignore[arg-type]


def _reasons(description: pa.Array) -> pa.Array:
    """Descriptions as the contract takes a reason: 1 to 256 characters, or none."""
    short = pc.utf8_slice_codeunits(reading.text(description), 0, MOST_TEXT_CHARS)
    return pc.if_else(pc.equal(short, ""), pa.nulls(len(short), pa.utf8()), short)


def _true(column: pa.Array) -> Bools:
    return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), bool)
