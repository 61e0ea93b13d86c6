"""`fold(shelf, records) -> Outcome`: the shelf after these records, and what we owe the world because of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from agents.planner import days, decisions, effects, fast, guards, guests, plan, signals, wakes, young
from agents.planner.config import LONG_AGO
from agents.planner.journal import ENTRY, LATE, NO_DAY, SOLD_AT_ONCE, LateMove, demand_day, late_moves
from agents.planner.row import Event, Row, put_back, take
from agents.planner.shelf import Rows, Shelf
from stream.errors import RecordsGone
from stream.events.facts import key_of, key_text
from stream.events.kinds import Flag, Kind, source_name
from stream.events.naming import row_key, split_row_key
from stream.events.outgoing import Outgoing
from stream.events.rows import SkuRecord, numbers

Columns = dict[str, npt.NDArray[Any]]
Said = tuple[int, Outgoing]  # a message and the place in its record of the row that made it
_CARTS = (Kind.CART_VIEWED, Kind.CART_ADDED, Kind.CART_REMOVED, Kind.CART_CHECKED_OUT)
_FACTS = (Kind.FACT, Kind.FACT_GONE)
_IN_CART, _IN_FACTS = (np.isin(np.arange(256), group) for group in (_CARTS, _FACTS))
TOGETHER_ROWS = 32  # what the fast lane left over: so few events go slowly at once, another round costs as much
FEW_ROWS = 64  # numpy's calls for a record cost as much as going through this many rows one by one
LINE_BITS = 20  # of a coordinate: lines < 2^20, offsets < 2^43
_LINE = ("kind", "milli", "occurred_ms", "flags", "price")
NOBODY = np.zeros(0, np.int64)
NOTHING_BEFORE = effects.Before({})
_TEXTS = ("reference", "replenishment_id", "supplier", "raw")


@dataclass
class Outcome:
    """What a fold owes: messages in order per SKU; the shelf knows which of its rows changed."""

    messages: list[Outgoing] = field(default_factory=list)
    rows: int = 0  # admitted
    repeated: int = 0


def fold(shelf: Shelf, records: Sequence[SkuRecord]) -> Outcome:
    """Fold records of `sku-events` that follow on the shelf's offset, in log order; the shelf is changed in place."""
    out = Outcome()
    for record in records:
        assert record.offset >= shelf.offset, (
            f"record {record.offset} was folded already; the shelf is at {shelf.offset}"
        )
        _fold_one(shelf, record, out)
    return out


def close_ahead(shelf: Shelf, records: Sequence[SkuRecord | Outgoing], most_rows: int) -> tuple[list[Outgoing], int]:
    """Bring the rows these records name up to date with what is pending, all at once; and of how many records.

    Each record would do it with its own few rows, at 2 ms of numpy's calls a time. As with all slices, it cannot show.
    Stops before the record, but the first, with which more than `most_rows` rows would be woken.
    """
    lot, woken, covered = list[Rows](), 0, 0
    for record in records:
        mine = wakes.waiting(shelf, _known(shelf, record)) if isinstance(record, SkuRecord) else NOBODY
        if covered > 0 and woken + len(mine) > most_rows:
            break
        lot.append(mine)
        woken, covered = woken + len(mine), covered + 1
    return wakes.catch_up(shelf, np.unique(np.concatenate(lot))) if woken else [], covered


def _known(shelf: Shelf, record: SkuRecord) -> Rows:
    """The rows a record names that are there already."""
    names = zip(record.rows.column("sku").to_pylist(), record.rows.column("location").to_pylist(), strict=True)
    return np.array(sorted({row for row in map(shelf.index.get, names) if row is not None}), np.int64)


def _fold_one(shelf: Shelf, record: SkuRecord, out: Outcome) -> None:
    if wakes.leaping(shelf):
        out.messages += wakes.finish(shelf)
    shelf.offset = record.offset
    shelf.live = shelf.watermark_ms >= shelf.config.warm_until_ms
    if record.switch:
        _switch(shelf, record.switch, out)
    if record.moved:
        raise _of_other_shelves(shelf, record)
    if record.outlooks is not None:
        out.messages += guests.take_over(shelf, record.outlooks)
    columns = numbers(record.rows)
    keep = _admit(shelf, columns, out)
    touched = NOBODY
    if len(keep):
        rows = record.rows
        if len(keep) < rows.num_rows:
            rows, columns = rows.take(pa.array(keep)), {name: its[keep] for name, its in columns.items()}
        touched = _lanes(shelf, rows, columns, record.offset, out)
    _move_marks(shelf, record)
    for _, line, milli in shelf.carts.expire(shelf.watermark_ms):
        _count(shelf, "abandoned", line, milli)
    if len(touched):
        wakes.refresh_due(shelf, touched)
    shelf.offset = record.offset + 1
    out.messages += wakes.arrive(shelf, record.offset, touched)


def _switch(shelf: Shelf, version: int, out: Outcome) -> None:
    """What is pending was due before: it is decided by the version until now."""
    out.messages += wakes.finish(shelf)
    shelf.switch(version)
    guards.unsettled(shelf, np.arange(shelf.n))


def _of_other_shelves(shelf: Shelf, record: SkuRecord) -> RecordsGone:
    """A ledger stands behind a moved record; whoever comes to one from before it holds other SKUs than the log."""
    return RecordsGone(
        f"the log of shelf {shelf.config.shelf} begins anew at offset {record.offset:,}",
        f"its SKUs came from other shelves there, when `restock repartition` made them {record.moved}; what is before "
        "that is not in this log",
        'restore a backup of Redis or use a snapshot from after it: see runbook, "Redis lost"',
    )


# -- admit ------------------------------------------------------------------------------------------------------------


def _admit(shelf: Shelf, c: Columns, out: Outcome) -> Rows:
    """Which rows are new: over their source partition's high-water mark, and not in the journal by event hash."""
    n = len(c["kind"])
    if n == 0:
        return NOBODY
    new = (_new_of_few if n <= FEW_ROWS else _new_of_many)(shelf, c)
    again = n - len(new)
    if again:
        shelf.counters["repeated:coordinates"] += again
    hashes = np.ascontiguousarray(c["event_hash"][new])
    fresh = _first_of_each(hashes) & ~shelf.journal.seen(hashes)
    keep, twice = new[fresh], new[~fresh]
    _count_sources(shelf, "repeated", c["source"][twice])
    _count_sources(shelf, "accepted", c["source"][keep])
    out.rows += len(keep)
    out.repeated += again + len(twice)
    return keep


def _new_of_many(shelf: Shelf, c: Columns) -> Rows:
    """Rows over the high-water mark of their source partition, which they lift."""
    source = c["source"].astype(np.int64) << 32 | c["partition"].astype(np.int64)
    coordinate = c["offset"] << LINE_BITS | c["line"].astype(np.int64)
    new = np.ones(len(source), np.bool_)
    for one in np.unique(source).tolist():
        key = (one >> 32, one & 0xFFFFFFFF)
        mine = source == one
        high = shelf.high_water.get(key, -1)
        new &= ~mine | (coordinate > high)
        shelf.high_water[key] = max(high, int(coordinate[mine].max()))
    return np.flatnonzero(new)


def _new_of_few(shelf: Shelf, c: Columns) -> Rows:
    """The same, row by row."""
    before, now, new = shelf.high_water.copy(), shelf.high_water, list[int]()
    columns = (c[name].tolist() for name in ("source", "partition", "offset", "line"))
    for i, (source, partition, offset, line) in enumerate(zip(*columns, strict=True)):
        key, coordinate = (source, partition), offset << LINE_BITS | line
        if coordinate > before.get(key, -1):
            new.append(i)
        if coordinate > now.get(key, -1):
            now[key] = coordinate
    return np.array(new, np.int64)


def _first_of_each(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which are the first with their hash, shape (n,)."""
    if len(hashes) <= FEW_ROWS and len(set(hashes.tolist())) == len(hashes):
        return np.ones(len(hashes), np.bool_)
    _, first = np.unique(hashes, return_index=True)
    fresh = np.zeros(len(hashes), np.bool_)
    fresh[first] = True
    return fresh


def _count_sources(shelf: Shelf, what: str, sources: npt.NDArray[np.uint8]) -> None:
    if len(sources):
        for source, count in enumerate(np.bincount(sources).tolist()):
            if count:
                shelf.counters[f"{what}:{source_name(source)}"] += count


def _move_marks(shelf: Shelf, record: SkuRecord) -> None:
    for mark in record.marks:
        key = (mark.source, mark.partition)
        shelf.marks[key] = max(shelf.marks.get(key, LONG_AGO), mark.mark_ms)
    wanted = sum(shelf.config.shape.values())
    if len(shelf.marks) == wanted:
        shelf.watermark_ms = max(shelf.watermark_ms, min(shelf.marks.values()))
    shelf.live = shelf.watermark_ms >= shelf.config.warm_until_ms


# -- lanes ------------------------------------------------------------------------------------------------------------


def _lanes(shelf: Shelf, rows: pa.RecordBatch, c: Columns, offset: int, out: Outcome) -> Rows:
    """Give every admitted row its effect; returns the rows of the shelf that were touched."""
    kind = c["kind"].astype(np.int64)
    in_cart, in_facts = _IN_CART[kind], _IN_FACTS[kind]
    has_facts = bool(in_facts.any())
    row = np.full(len(kind), -1, np.int64)
    named = ~in_facts & ~in_cart
    n_before = shelf.n
    located = in_cart & (rows.column("location").to_numpy(zero_copy_only=False) != "") if in_cart.any() else in_cart
    if not has_facts:
        _find_rows(shelf, rows, c["occurred_ms"], named | located, row)
        if shelf.pending:
            out.messages += wakes.catch_up(shelf, np.unique(row[named]))
    entries = np.zeros(len(kind), ENTRY)
    entries["event_hash"], entries["occurred_ms"] = c["event_hash"], c["occurred_ms"]
    entries["day"] = NO_DAY
    placed = kind == Kind.ORDER_PLACED
    entries["order_hash"] = np.where(placed, c["order_hash"], 0)
    entries["flags"] = np.where(placed & (c["flags"] & Flag.SOLD_AT_ONCE > 0), SOLD_AT_ONCE, 0)
    at = np.flatnonzero(named)
    touched, said = [row[at]], list[Said]()
    if has_facts:  # event by event, rows too: what a fact says of a row holds from its place in the log on
        slow = np.flatnonzero(named | in_facts)
        touched.append(_slow_lane(shelf, rows, c, row, slow, entries, offset, said))
    else:
        touched += _both_lanes(shelf, rows, c, row, at, entries, offset, said)
    out.messages += [message for _, message in sorted(said, key=itemgetter(0))]
    entries["row"] = row
    if has_facts:
        _find_rows(shelf, rows, c["occurred_ms"], located, row)
    if in_cart.any() or (c["cart_hash"][placed] != 0).any():
        _carts(shelf, rows, c, kind, in_cart)
    shelf.journal.append(offset, entries, shelf.watermark_ms)
    every = np.unique(np.concatenate([*touched, np.arange(n_before, shelf.n)]))  # new rows too, whatever made them
    return every[every >= 0]


def _both_lanes(
    shelf: Shelf,
    rows: pa.RecordBatch,
    c: Columns,
    row: Rows,
    at: Rows,
    entries: npt.NDArray[Any],
    offset: int,
    said: list[Said],
) -> list[Rows]:
    """The fast lane; where it stops at an event of a row, that one slowly; the fast lane again for what follows; etc.

    Twice as many events a row go slowly each time, so that a row that never settles costs a few rounds, not one an
    event.
    """
    touched, most = list[Rows](), 1
    unnamed = rows.column("reference").is_null().to_numpy(zero_copy_only=False)
    while len(at):
        lines = fast.lines_of(*(its[at] for its in (row, *(c[name] for name in _LINE), unnamed)))
        moved = fast.run(shelf, lines, offset)
        done = at[~moved.slow]
        entries["delta"][done], entries["day"][done] = moved.delta[~moved.slow], moved.day[~moved.slow]
        at = at[moved.slow]
        now = _rank(row[at]) < most if len(at) > TOGETHER_ROWS else np.ones(len(at), np.bool_)
        if len(at):
            touched.append(_slow_lane(shelf, rows, c, row, at[now], entries, offset, said))
        at, most = at[~now], 2 * most
    return touched


def _rank(rows: Rows) -> Rows:
    """How many earlier entries name the same row, for each; shape (n,).

    >>> _rank(np.array([7, 5, 7, 7, 5])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return rank


def _find_rows(shelf: Shelf, rows: pa.RecordBatch, occurred_ms: Rows, named: npt.NDArray[np.bool_], row: Rows) -> None:
    """The shelf's row number of each named row, making new ones in log order."""
    at = np.flatnonzero(named)
    if len(at) == 0:
        return
    n_before = shelf.n
    (_find_few if len(at) <= FEW_ROWS else _find_many)(shelf, rows, occurred_ms, at, row)
    if shelf.n > n_before:  # without guards the fast lane would decide nothing for a new row's first events
        guards.unsettled(shelf, np.arange(n_before, shelf.n))


def _find_few(shelf: Shelf, rows: pa.RecordBatch, occurred_ms: Rows, at: Rows, row: Rows) -> None:
    skus, places = rows.column("sku").to_pylist(), rows.column("location").to_pylist()
    for i in at.tolist():
        row[i] = shelf.row_of(skus[i], places[i], int(occurred_ms[i]))


def _find_many(shelf: Shelf, rows: pa.RecordBatch, occurred_ms: Rows, at: Rows, row: Rows) -> None:
    sku, location = (rows.column(name).dictionary_encode() for name in ("sku", "location"))
    skus, places = sku.dictionary.to_pylist(), location.dictionary.to_pylist()
    code = sku.indices.to_numpy().astype(np.int64)[at] * len(places) + location.indices.to_numpy()[at]
    unique, first, back = np.unique(code, return_index=True, return_inverse=True)
    which, where = (numbers_.tolist() for numbers_ in np.divmod(unique, len(places)))
    names = list(zip(map(skus.__getitem__, which), map(places.__getitem__, where), strict=True))
    found = list(map(shelf.index.get, names))
    new = [i for i, number in enumerate(found) if number is None]
    for i in sorted(new, key=first.__getitem__):  # in log order
        found[i] = shelf.row_of(*names[i], int(occurred_ms[at[first[i]]]))
    row[at] = np.array(found, np.int64)[back.reshape(-1)]


def _slow_lane(
    shelf: Shelf,
    batch: pa.RecordBatch,
    c: Columns,
    row: Rows,
    slow: Rows,
    entries: npt.NDArray[Any],
    offset: int,
    said: list[Said],
) -> Rows:
    """Event by event, in log order; what is said goes to `said` with the place of the row that made it."""
    texts = [_picked(batch, name, slow) for name in _TEXTS]
    names = [f for f in Event._fields if f not in _TEXTS]
    values = [c[name][slow].tolist() for name in names]
    facts, skus, places = (_picked(batch, name, slow) for name in ("fact", "sku", "location"))
    known = row[slow] if not (c["kind"] >= Kind.FACT).any() else row[:0]  # with facts, one by one as they come
    taken: dict[int, Row] = take(shelf, np.unique(known).tolist())
    touched: list[Rows] = []
    counts = _Counts(shelf, c, row, slow)
    for i, (place, *numbers_) in enumerate(zip(slow.tolist(), *values, *texts, strict=True)):
        event = Event(*numbers_)
        if event.kind in _FACTS:
            touched.append(_put_back(shelf, taken))
            touched.append(_fact(shelf, event, facts[i], offset, place, said))
            continue
        number = int(row[place])
        if number < 0:
            number = row[place] = shelf.row_of(skus[i], places[i], event.occurred_ms)
            if number not in taken:
                said += [(place, m) for m in wakes.catch_up(shelf, np.array([number]))]
        if number not in taken:
            taken[number] = take(shelf, [number])[number]
        one = taken[number]
        before = NOTHING_BEFORE
        if event.kind == Kind.STOCK_COUNTED:
            before = counts.before(i, number, event.occurred_ms, entries[:place][row[:place] == number])
        elif event.kind == Kind.ORDER_CANCELLED:
            before = effects.Before(_placed_so_far(entries[:place], event))
        effect, messages = effects.apply(shelf, one, event, before)
        entries["delta"][place], entries["day"][place] = effect.delta, effect.day
        if effect.late:
            entries["flags"][place] |= LATE
        if messages and (event.kind >= Kind.SUPPLY_ORDERED or event.kind == Kind.STOCK_RECEIVED):
            plan.replan_imminent(shelf, one, event.occurred_ms)
        one.as_of_offset = offset
        said += [(place, m) for m in messages if shelf.live or m.topic == "dead-letters"]
        decided = decisions.settle(shelf, one, event.cause, event.occurred_ms, shelf.watermark_ms)
        said += [(place, m) for m in decided]
    touched.append(_put_back(shelf, taken))
    return np.concatenate(touched)


def _picked(batch: pa.RecordBatch, name: str, rows: Rows) -> list[Any]:
    """A column of texts at these rows; most are null in most records."""
    column = batch.column(name)
    if column.null_count == len(column):
        return [None] * len(rows)
    return column.take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]


class _Counts:
    """For the counts of a record: what the journal knows, in one walk where the rows are known from the start."""

    def __init__(self, shelf: Shelf, c: Columns, row: Rows, slow: Rows) -> None:
        at = np.flatnonzero(c["kind"][slow] == Kind.STOCK_COUNTED)
        self._journal = shelf.journal
        self._moved: dict[int, int] = {}  # place in the slow lane -> milli
        self._late: dict[int, list[LateMove]] = {}  # row -> its late movements
        if len(at) and not (c["kind"] >= Kind.FACT).any():
            rows = row[slow[at]]
            moved = shelf.journal.moved_after_each(rows, c["occurred_ms"][slow[at]])
            self._moved = dict(zip(at.tolist(), moved.tolist(), strict=True))
            self._late = shelf.journal.late_moves(rows)

    def before(self, place: int, row: int, counted_ms: int, so_far: npt.NDArray[Any]) -> effects.Before:
        """What happened to a row before its count, by the journal and by its entries of the same record so far."""
        if self._moved:
            moved, late = self._moved[place], list(self._late.get(row, ()))
        else:
            moved = self._journal.moved_after(row, counted_ms)
            late = self._journal.late_moves(np.array([row])).get(row, [])
        moved += int(so_far["delta"][so_far["occurred_ms"] > counted_ms].sum())
        return effects.Before({}, moved, [*late, *late_moves(so_far)])


def _placed_so_far(entries: npt.NDArray[Any], event: Event) -> dict[int, tuple[int, bool]]:
    """The order line a cancellation cancels, where it is in the same record before it: hash -> (day, sold at once)."""
    at = np.flatnonzero(entries["order_hash"] == event.order_hash)
    if event.order_hash == 0 or len(at) == 0:
        return {}
    placed = entries[at[-1]]
    return {event.order_hash: demand_day(placed)}


def _put_back(shelf: Shelf, taken: dict[int, Row]) -> Rows:
    numbers_ = put_back(shelf, taken)
    taken.clear()
    guards.unsettled(shelf, numbers_)
    return numbers_


def _fact(shelf: Shelf, event: Event, text: str, offset: int, place: int, said: list[Said]) -> Rows:
    """Learn or forget a fact; rows whose policy it changes get new thresholds, from this place in the log on."""
    fact = orjson.loads(text)
    key = key_of(fact) if isinstance(fact, dict) else tuple(fact)
    concerned = set(shelf.facts.rows_of(key, shelf.names, shelf.sku_rows))
    # By what held until now; whom a plan concerns is nobody's list, so all that is due is done.
    due = wakes.finish(shelf) if key[0] == "calendar" else []
    said += [(place, m) for m in due + wakes.catch_up(shelf, np.array(sorted(concerned), np.int64))]
    shelf.facts.put(key_text(key), None if event.kind == Kind.FACT_GONE else text)
    shelf.changed_facts.add(key_text(key))
    young.told(shelf, key)
    if key[0] == "location":
        if concerned:
            _change_zone(shelf, sorted(concerned), shelf.facts.zone(key[1]))
        return NOBODY
    if key[0] == "policy" and event.kind == Kind.FACT:
        shelf.row_of(key[1], key[2], max(event.occurred_ms, shelf.watermark_ms))
    rows = np.array(sorted(concerned.union(shelf.facts.rows_of(key, shelf.names, shelf.sku_rows))), np.int64)
    if len(rows) == 0:
        return rows
    before = shelf.policy[rows].copy()
    for r in rows.tolist():
        shelf.set_policy(r)
        shelf.category[r] = shelf.facts.category_number(*shelf.names[r])
    shelf.facts.calendar.regroup()
    rows = np.asarray(rows[(before != shelf.policy[rows]) | (shelf.hot["as_of_offset"][rows] == offset)], np.int64)
    if len(rows) == 0:
        return rows
    plan.replan(shelf, rows, np.full(len(rows), event.occurred_ms))
    taken = take(shelf, rows.tolist())
    for one in taken.values():
        one.sum_orders()
        one.as_of_offset = offset
        decided = decisions.settle(shelf, one, f"{event.cause}-{one.key}", event.occurred_ms, shelf.watermark_ms)
        said += [(place, m) for m in decided]
    return _put_back(shelf, taken)


def _change_zone(shelf: Shelf, rows: list[int], zone: str) -> None:
    """The open day keeps its end; the next one ends by the new zone, for whatever is booked on it from here on."""
    shelf.fact_zone[rows] = shelf.zone_id(zone)
    for r in rows:
        end_ms, day = int(shelf.hot["day_end_ms"][r]), int(shelf.hot["day"][r])
        shelf.hot["next_end_ms"][r] = days.day_after(zone, end_ms, day)[1]
    shelf.next_end_from = LONG_AGO
    shelf.dirty_hot.add(np.array(rows, np.int64))


def _carts(shelf: Shelf, batch: pa.RecordBatch, c: Columns, kind: Rows, in_cart: npt.NDArray[np.bool_]) -> None:
    """Carts in log order: counted a row, converted by orders that name them."""
    carts = shelf.carts
    at = np.flatnonzero(in_cart | ((kind == Kind.ORDER_PLACED) & (c["cart_hash"] != 0)))
    skus = batch.column("sku").take(pa.array(at)).to_pylist()
    places = batch.column("location").take(pa.array(at)).to_pylist()
    shown = signals.wanted(shelf)
    late = (c["flags"] & Flag.LATE) > 0
    for i, sku, place in zip(at.tolist(), skus, places, strict=True):
        cart, milli, when = int(c["cart_hash"][i]), int(c["milli"][i]), int(c["occurred_ms"][i])
        line, on_time_ms = row_key(sku, place), when if shown and not late[i] else None
        if kind[i] == Kind.ORDER_PLACED:
            used = carts.take(cart, line, milli)
            used += carts.take(cart, row_key(sku, ""), milli - used)
            _count(shelf, "converted", line, used)
        elif kind[i] == Kind.CART_CHECKED_OUT:
            carts.check_out(cart, when)
        elif kind[i] == Kind.CART_VIEWED:
            carts.add(cart, line, 0, when)
            _count(shelf, "viewed", line, milli, on_time_ms)
        elif kind[i] == Kind.CART_ADDED:
            carts.add(cart, line, milli, when)
            _count(shelf, "added", line, milli, on_time_ms)
        else:
            carts.take(cart, line, milli, when)
            _count(shelf, "removed", line, milli, on_time_ms)


def _count(shelf: Shelf, name: str, line: str, milli: int, on_time_ms: int | None = None) -> None:
    """Count a cart line at its row; one without location at every location of the SKU.

    With the instant it occurred at it is a signal of its day, too.
    """
    if milli == 0:
        return
    sku, location = split_row_key(line)
    rows = shelf.sku_rows.get(sku, []) if location == "" else [shelf.index[sku, location]]
    for r in rows:
        shelf.hot[name][r] += milli
        shelf.dirty_hot.add_one(r)
        if on_time_ms is not None:
            signals.note(shelf, r, name, milli, on_time_ms)
