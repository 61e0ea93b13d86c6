"""Lines as records of the public topics, in order of event time, made slice by slice.

Lines of one event (same identity, type and instant) share a record. The k-th line of the same line_id goes into a k-th
record of the same event_id: a record may not hold a line twice, and so each copy is a repeat by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from agents.replay.formats.lines import Ints, Lines, What
from agents.replay.formats.reading import codes_of, rank_within

SLICE_ROWS = 32_768  # rows turned into Python objects at once: about 30 MB
EVENT_LINES = 2_000  # an order of more lines is split: at 130 B a line a record stays under 300 KB of Kafka's 1 MB


class Record(NamedTuple):
    """One record of a public topic, and what it stands for."""

    at_ms: int  # event time
    topic: str  # short name
    key: str | None
    value: bytes
    rows: int  # file rows it carries
    what: What


def records(lines: Lines) -> Iterator[Record]:
    """Every published row, ordered by event time; of equal times cart events, movements, sales, then what undoes them.

    Rows of equal time and kind keep the file's order.
    """
    order, group = _arrangement(lines)
    ends = np.flatnonzero(np.r_[group[1:] != group[:-1], True]) + 1 if len(order) else np.zeros(0, np.int64)
    begin_group = 0
    begin = 0
    while begin < len(order):
        last = int(np.searchsorted(ends, begin + SLICE_ROWS, side="right"))
        last = max(last, begin_group + 1)
        yield from _slice(lines, order[begin : ends[last - 1]], ends[begin_group:last] - begin)
        begin, begin_group = int(ends[last - 1]), last


def _arrangement(lines: Lines) -> tuple[Ints, Ints]:
    """Published rows in sending order, and the number of the record each belongs to."""
    rows = np.flatnonzero(lines.published)
    if len(rows) == 0:
        return rows, rows
    index = pa.array(rows)
    event = codes_of(lines.event_id.take(index))
    line = codes_of(lines.line_id.take(index))
    alone = ~lines.good[rows]
    keys = (
        np.where(alone, rows, -1),
        rank_within(event * (int(line.max()) + 1) + line),
        event,
        lines.what[rows].astype(np.int64),
        lines.at_ms[rows],
    )
    by_group = np.lexsort((rows, *keys))
    changed = np.zeros(len(rows), bool)
    for column in keys:
        ordered = column[by_group]
        changed[1:] |= ordered[1:] != ordered[:-1]
    group = np.empty(len(rows), np.int64)
    group[by_group] = np.cumsum(changed)
    first = np.full(int(group.max()) + 1, len(lines), np.int64)
    np.minimum.at(first, group, rows)
    order = np.lexsort((rows, group, first[group], lines.what[rows], lines.at_ms[rows]))
    return rows[order], group[order]


def _slice(lines: Lines, rows: Ints, ends: Ints) -> Iterator[Record]:
    """The records of these rows; `ends` are where each record's rows end, counted from the slice's begin."""
    columns = _columns(lines, rows)
    begin = 0
    for end in ends.tolist():
        what = What(columns["what"][begin])
        event = _event(what, columns, begin, end, lines.sold_at_once)
        key = columns["key"][begin]
        yield Record(columns["at_ms"][begin], what.topic, key, orjson.dumps(event), end - begin, what)
        begin = end


def _columns(lines: Lines, rows: Ints) -> dict[str, list[Any]]:
    """Python values of these rows by public field; an unsound one is what the file says."""
    index = pa.array(rows)
    at = np.datetime_as_string(lines.at_ms[rows].astype("M8[ms]"), unit="ms", timezone="UTC").tolist()
    columns: dict[str, list[Any]] = {
        "what": lines.what[rows].tolist(),
        "at_ms": lines.at_ms[rows].tolist(),
        "occurred_at": at,
        "event_id": lines.event_id.take(index).to_pylist(),
        "key": lines.key.take(index).to_pylist(),
        "line_id": lines.line_id.take(index).to_pylist(),
        "sku": lines.sku.take(index).to_pylist(),
        "location": lines.location.take(index).to_pylist(),
        "quantity": [_units(m) for m in lines.milli[rows].tolist()],
        "unit_price": [None if p != p else p for p in lines.price[rows].tolist()],
        **{name: column.take(index).to_pylist() for name, column in lines.optional.items()},
    }
    columns["stated"] = (
        [True] * len(rows) if "unit_price" not in lines.sound else [bool(s) for s in lines.sound["unit_price"][rows]]
    )
    for name, sound in lines.sound.items():
        for place in np.flatnonzero(~sound[rows]).tolist():
            columns[name][place] = _as_found(lines.raw[name][int(rows[place])].as_py())
    return columns


def _event(what: What, columns: dict[str, list[Any]], begin: int, end: int, sold_at_once: bool) -> dict[str, Any]:
    event = {name: columns[name][begin] for name in ("event_id", "occurred_at")} | {"type": what.type}
    if what.topic == "orders":
        event["order_id"] = columns["key"][begin]
        event |= _given(columns, begin, ("customer_id", "cart_id"))
        if what is What.PLACED and sold_at_once:
            event["fulfilled"] = True
        event["lines"] = [_line(columns, place) for place in range(begin, end)]
        return event
    if what.topic == "carts":
        event["cart_id"] = columns["key"][begin]
        event |= _given(columns, begin, ("session_id", "customer_id"))
    if what is not What.CHECKED_OUT:
        event |= {name: columns[name][begin] for name in ("sku", "location", "quantity")}
    return event | (_given(columns, begin, ("reason",)) if what is What.WRITTEN_OFF else {})


def _line(columns: dict[str, list[Any]], place: int) -> dict[str, Any]:
    line = {name: columns[name][place] for name in ("line_id", "sku", "location", "quantity")}
    if columns["unit_price"][place] is not None or not columns["stated"][place]:
        line["unit_price"] = columns["unit_price"][place]
    return line


def _given(columns: dict[str, list[Any]], place: int, names: tuple[str, ...]) -> dict[str, Any]:
    return {n: columns[n][place] for n in names if n in columns and columns[n][place] is not None}


def _units(milli: int) -> int | float:
    return milli // 1000 if milli % 1000 == 0 else milli / 1000


def _as_found(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
