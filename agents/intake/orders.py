"""Orders to rows in one compiled loop: those that are written as plainly as nearly all are. Others are left.

It accepts nothing that `stream.events.reading.read_one` does not accept alike; what it leaves, the columns read, or
that does. Without compiled loops nothing goes through here: interpreted, a byte would cost as much as a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.intake.hashing import MOST_BYTES, xxh3
from agents.intake.scanning import (
    BEGIN,
    CLOSE,
    COLON,
    COMMA,
    END,
    MOST_DIGITS,
    OPEN,
    QUOTE,
    REFUSED,
    after,
    instant,
    number,
    spaces,
    string_end,
    which,
)  # fmt: skip
from models.demand.compiled import COMPILES, kernel
from stream.events.columnar import Accepted
from stream.events.kinds import Flag, Kind
from stream.events.public import MOST_MONEY, MOST_TEXT_CHARS
from stream.events.reading import KINDS
from stream.events.rules import PLANS
from stream.events.saying import said

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

MOST_LINES = 64  # of an order: each is compared with all before it


class Words(NamedTuple):
    """Names a field or a type may have: their bytes one after the other, and where each ends."""

    bytes: Bytes
    ends: Ints


class Names(NamedTuple):
    """All names the loop knows."""

    fields: Words
    line: Words
    types: Words


class Found(NamedTuple):
    """Where the loop writes: a record (n,), a line (m,)."""

    good: npt.NDArray[np.bool_]
    occurred_ms: Ints
    span: npt.NDArray[np.int64]  # (FIELDS, 2): where the values of the record in hand begin and end; begin < 0: absent
    part: npt.NDArray[np.int64]  # (LINE, 2): of the line in hand
    scratch: Bytes
    record: Ints
    line: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    milli: Ints
    event_hash: npt.NDArray[np.uint64]
    order_hash: npt.NDArray[np.uint64]
    cart_hash: npt.NDArray[np.uint64]
    price: npt.NDArray[np.float64]
    flags: npt.NDArray[np.uint8]
    name_at: npt.NDArray[np.int64]  # (m, 2) of its line_id
    sku: Bytes
    sku_ends: npt.NDArray[np.int32]  # (m + 1,)
    location: Bytes
    location_ends: npt.NDArray[np.int32]  # (m + 1,)


_FIELDS: Final = (
    "event_id", "occurred_at", "order_id", "customer_id", "cart_id", "channel", "fulfilled", "type", "lines",
)  # fmt: skip
_LINE: Final = ("line_id", "sku", "location", "quantity", "unit_price")
_EVENT_ID, _OCCURRED_AT, _ORDER_ID, _, _CART_ID, _, _FULFILLED, _TYPE, _LINES = range(len(_FIELDS))
_LINE_ID, _SKU, _LOCATION, _QUANTITY, _UNIT_PRICE = range(len(_LINE))
_TYPES: Final = tuple(PLANS["orders"].types.to_pylist())
_KINDS: Final = np.array([KINDS[name] for name in _TYPES], np.uint8)
_PLACED, _AT_ONCE = int(Kind.ORDER_PLACED), int(Flag.SOLD_AT_ONCE)
_TENS: Final = 10.0 ** np.arange(MOST_DIGITS + 1)
_MOST_CHARS, _MOST_MONEY, _MOST_MILLI = MOST_TEXT_CHARS, MOST_MONEY, 10**12
_ABSENT, _NULL = -1, -2  # where a value begins that is not there, or null


_PLAN: Final = PLANS["orders"]
_REQUIRED: Final = {"event_id", "occurred_at", "order_id", "line_id", "sku", "location", "quantity"}
assert {*_FIELDS} == {f.name for f in _PLAN.fields} | {"type", "lines"}, "the loop reads every field of an order"
assert {*_LINE} == {f.name for f in _PLAN.line_fields}, "and of its lines"
assert {f.name for f in (*_PLAN.fields, *_PLAN.line_fields) if f.required.any()} == _REQUIRED, "and asks for as many"


def _words(names: Sequence[str]) -> Words:
    raw = [name.encode() for name in names]
    return Words(np.frombuffer(b"".join(raw), np.uint8), np.cumsum([len(one) for one in raw]))


_NAMES: Final = Names(_words(_FIELDS), _words(_LINE), _words(_TYPES))


@kernel
def _member(text: Bytes, at: int, end: int, names: Words) -> tuple[int, int, int]:
    """Of the member of an object that begins at `at`: which name, where its value begins, and where that ends.

    The value of a name that is not known is a text, a number or a word too.
    """
    close = string_end(text, at, end)
    if close < 0:
        return 0, 0, REFUSED
    name = which(text, at + 1, close - at - 1, names.bytes, names.ends)
    begin = after(text, close + 1, end, COLON)
    if begin < 0 or begin >= end:
        return 0, 0, REFUSED
    sign = text[begin]
    if sign == QUOTE:
        stop = string_end(text, begin, end)
        return name, begin, stop + 1 if stop >= 0 else REFUSED
    if sign == BEGIN:
        return name, begin, begin  # lines: who knows them reads on
    if sign == 110 and _is(text, begin, end, 110, 117, 108, 108):  # null
        return name, _NULL, begin + 4
    if sign == 116 and _is(text, begin, end, 116, 114, 117, 101):  # true
        return name, begin, begin + 4
    if sign == 102 and _is(text, begin + 1, end, 97, 108, 115, 101):  # false
        return name, begin, begin + 5
    stop, _, _ = number(text, begin, end)
    return name, begin, stop


@kernel
def _is(text: Bytes, at: int, end: int, a: int, b: int, c: int, d: int) -> bool:
    """Whether these four bytes are there."""
    return bool(at + 4 <= end and text[at] == a and text[at + 1] == b and text[at + 2] == c and text[at + 3] == d)


@kernel
def _next(text: Bytes, at: int, end: int, close: int) -> tuple[int, bool]:
    """Behind the comma or closing bracket that follows a value, and whether it was a bracket."""
    at = spaces(text, at, end)
    if at >= end or (text[at] != COMMA and text[at] != close):
        return REFUSED, True
    return spaces(text, at + 1, end), text[at] == close


@kernel
def _noted(spans: Ints, name: int, begin: int, stop: int) -> bool:
    """Note where a value lies; false where the object has that name twice."""
    if name >= 0:
        if spans[name, 0] != _ABSENT:
            return False
        spans[name, 0], spans[name, 1] = begin, stop
    return True


@kernel
def _text(text: Bytes, spans: Ints, name: int, required: bool) -> bool:
    """Whether a value is a text that may be said, and its span that of what is between the quotes."""
    begin, stop = spans[name, 0], spans[name, 1]
    if begin < 0:
        return not required
    if text[begin] != QUOTE or not 1 <= stop - begin - 2 <= _MOST_CHARS:
        return False
    spans[name, 0], spans[name, 1] = begin + 1, stop - 1
    return True


@kernel
def _money(text: Bytes, begin: int, end: int) -> float:
    """A price; under 0 where it is none."""
    stop, digits, decimals = number(text, begin, end)
    price = digits / _TENS[decimals]
    return price if stop == end and price <= _MOST_MONEY else -1.0


@kernel
def _milli(text: Bytes, begin: int, end: int) -> Any:
    """Thousandths of a quantity; 0 where it is none that an order may say."""
    stop, digits, decimals = number(text, begin, end)
    if stop != end or decimals > 3:
        return 0
    milli = digits * np.int64(_TENS[3 - decimals])
    return milli if milli <= _MOST_MILLI else 0


@kernel
def _copied(text: Bytes, spans: Ints, name: int, into: Bytes, ends: Any, count: int) -> None:
    """Write a text behind those of the lines before."""
    first = ends[count]
    for i in range(spans[name, 1] - spans[name, 0]):
        into[first + i] = text[spans[name, 0] + i]
    ends[count + 1] = first + spans[name, 1] - spans[name, 0]


@kernel
def _line(text: Bytes, at: int, end: int, names: Names, found: Found, count: int) -> int:
    """Read the line that begins at `at` as line number `count`; behind it."""
    part, closed = found.part, False
    part[:, 0] = _ABSENT
    at = after(text, at, end, OPEN)
    while not closed:
        name, begin, stop = _member(text, at, end, names.line)
        if stop < 0 or stop == begin or not _noted(part, name, begin, stop):
            return REFUSED
        at, closed = _next(text, stop, end, CLOSE)
        if at < 0:
            return REFUSED
    if not (_text(text, part, _LINE_ID, True) and _text(text, part, _SKU, True) and _text(text, part, _LOCATION, True)):
        return REFUSED
    found.milli[count] = _milli(text, part[_QUANTITY, 0], part[_QUANTITY, 1]) if part[_QUANTITY, 0] >= 0 else 0
    found.price[count] = (
        _money(text, part[_UNIT_PRICE, 0], part[_UNIT_PRICE, 1]) if part[_UNIT_PRICE, 0] >= 0 else np.nan
    )
    if found.milli[count] <= 0 or found.price[count] < 0:
        return REFUSED
    found.name_at[count, 0], found.name_at[count, 1] = part[_LINE_ID, 0], part[_LINE_ID, 1]
    _copied(text, part, _SKU, found.sku, found.sku_ends, count)
    _copied(text, part, _LOCATION, found.location, found.location_ends, count)
    return at


@kernel
def _hash(text: Bytes, spans: Ints, name: int, found: Found, line: int) -> Any:
    """Of a record's value and, behind a zero byte, a line's name; of the value alone with line < 0."""
    size = spans[name, 1] - spans[name, 0]
    for i in range(size):
        found.scratch[i] = text[spans[name, 0] + i]
    if line >= 0:
        found.scratch[size] = 0
        for i in range(found.name_at[line, 0], found.name_at[line, 1]):
            size += 1
            found.scratch[size] = text[i]
        size += 1
    return xxh3(found.scratch, size)


@kernel
def _short_enough(found: Found, size: int, first: int, count: int) -> bool:
    """Whether a name of that size can be hashed with that of each line."""
    longest = 0
    for line in range(first, count):
        longest = max(longest, found.name_at[line, 1] - found.name_at[line, 0])
    return size + 1 + longest <= MOST_BYTES


@kernel
def _finished(text: Bytes, record: int, names: Names, found: Found, first: int, count: int) -> bool:
    """Whether the record's own values may be said; then its lines `first` to below `count` have all of theirs."""
    span = found.span
    for name in range(_TYPE + 1):
        required = name in (_EVENT_ID, _OCCURRED_AT, _ORDER_ID, _TYPE)
        if name != _FULFILLED and not _text(text, span, name, required):
            return False
    kind = which(text, span[_TYPE, 0], span[_TYPE, 1] - span[_TYPE, 0], names.types.bytes, names.types.ends)
    at_ms = instant(text, span[_OCCURRED_AT, 0], span[_OCCURRED_AT, 1])
    said = span[_FULFILLED, 0]
    if kind < 0 or at_ms < 0 or (said >= 0 and text[said] != 116 and text[said] != 102):  # true, false
        return False
    longest = max(span[_EVENT_ID, 1] - span[_EVENT_ID, 0], span[_ORDER_ID, 1] - span[_ORDER_ID, 0])
    if not _short_enough(found, longest, first, count):
        return False
    if span[_CART_ID, 0] >= 0 and span[_CART_ID, 1] - span[_CART_ID, 0] > MOST_BYTES:
        return False
    cart = _hash(text, span, _CART_ID, found, -1) if span[_CART_ID, 0] >= 0 else np.uint64(0)
    at_once = said >= 0 and text[said] == 116 and _KINDS[kind] == _PLACED
    for line in range(first, count):
        found.record[line], found.line[line], found.kind[line] = record, line - first, _KINDS[kind]
        found.event_hash[line] = _hash(text, span, _EVENT_ID, found, line)
        found.order_hash[line] = _hash(text, span, _ORDER_ID, found, line)
        found.cart_hash[line], found.flags[line] = cart, _AT_ONCE if at_once else 0
        for before in range(first, line):
            if found.event_hash[before] == found.event_hash[line]:
                return False
    found.occurred_ms[record] = at_ms
    return True


@kernel
def _record(text: Bytes, at: int, end: int, record: int, names: Names, found: Found, count: int) -> int:
    """Read one record; how many lines there are with its own, REFUSED where it is left."""
    span, first, closed = found.span, count, False
    span[:, 0] = _ABSENT
    span[:, 1] = _ABSENT
    at = after(text, at, end, OPEN)
    while not closed:
        name, begin, stop = _member(text, at, end, names.fields)
        if stop < 0 or (stop == begin) != (name == _LINES) or not _noted(span, name, begin, stop):
            return REFUSED
        if name == _LINES:
            stop, done = spaces(text, begin + 1, end), False
            while not done:
                stop = _line(text, stop, end, names, found, count)
                if stop < 0:
                    return REFUSED
                count += 1
                stop, done = _next(text, stop, end, END)
                if stop < 0 or count - first > MOST_LINES:
                    return REFUSED
        at, closed = _next(text, stop, end, CLOSE)
        if at < 0:
            return REFUSED
    if at != end or count == first or not _finished(text, record, names, found, first, count):
        return REFUSED
    return count


@kernel
def _read(text: Bytes, ends: Ints, most_bytes: int, names: Names, found: Found) -> int:
    """Record by record; how many lines were found."""
    at, count = 0, 0
    for record in range(len(ends)):
        end = ends[record]
        then = _record(text, at, end, record, names, found, count) if end - at <= most_bytes else REFUSED
        found.good[record] = then >= 0
        count = max(then, count)
        at = end
    return count


def read(values: Sequence[bytes | None], most_bytes: int) -> Accepted | None:
    """The rows of those records that are written plainly; None where nothing is compiled."""
    return _accepted(values, most_bytes) if COMPILES and len(values) > 0 else None


def _accepted(values: Sequence[bytes | None], most_bytes: int) -> Accepted:
    given = values if None not in values else [value or b"" for value in values]
    joined = b"".join(given)  # type: ignore[arg-type]
    found = _room(len(given), joined.count(b"{"), len(joined))
    ends = np.cumsum(np.fromiter(map(len, given), np.int64, len(given)))  # type: ignore[arg-type]
    count = _read(np.frombuffer(joined, np.uint8), ends, most_bytes, _NAMES, found)
    columns: dict[str, Any] = {name: getattr(found, name)[:count] for name in _COLUMNS}
    columns["sku"] = _texts(found.sku, found.sku_ends, count)
    columns["location"] = _texts(found.location, found.location_ends, count)
    places = np.flatnonzero(found.good)
    return Accepted(places, found.occurred_ms[places], said(columns))


_COLUMNS: Final = ("record", "line", "kind", "milli", "event_hash", "order_hash", "cart_hash", "price", "flags")


def _texts(data: Bytes, ends: npt.NDArray[np.int32], count: int) -> pa.Array:
    return pa.Array.from_buffers(pa.utf8(), count, [None, pa.py_buffer(ends), pa.py_buffer(data)])


def _room(records: int, lines: int, size: int) -> Found:
    """Arrays for so many records and lines of so many bytes together."""
    ints = np.zeros((4, lines), np.int64)
    return Found(
        good=np.zeros(records, np.bool_),
        occurred_ms=np.zeros(records, np.int64),
        span=np.zeros((len(_FIELDS), 2), np.int64),
        part=np.zeros((len(_LINE), 2), np.int64),
        scratch=np.zeros(2 * MOST_TEXT_CHARS + 1, np.uint8),
        record=ints[0],
        line=np.zeros(lines, np.int32),
        kind=np.zeros(lines, np.uint8),
        milli=ints[1],
        event_hash=ints[2].view(np.uint64),
        order_hash=ints[3].view(np.uint64),
        cart_hash=np.zeros(lines, np.uint64),
        price=np.zeros(lines),
        flags=np.zeros(lines, np.uint8),
        name_at=np.zeros((lines, 2), np.int64),
        sku=np.zeros(size, np.uint8),
        sku_ends=np.zeros(lines + 1, np.int32),
        location=np.zeros(size, np.uint8),
        location_ends=np.zeros(lines + 1, np.int32),
    )


def warm() -> None:
    """Compile the loop, or load what is kept."""
    read([b"{}"], 1)
