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

from agents.planner import days, decisions, effects, fast, guards, guests, journal, plan, signals, wakes, young
from agents.planner.admitting import admit
from agents.planner.config import LONG_AGO
from agents.planner.journal import CARTS, FACTS, FROM_CARTS, LATE, LateMove, demand_day, late_moves
from agents.planner.row import Event, Row, put_back, take
from agents.planner.shelf import Rows, Shelf
from stream.errors import RecordsGone
from stream.events.facts import key_of, key_text
from stream.events.kinds import Flag, Kind
from stream.events.naming import row_key, split_row_key
from stream.events.outgoing import Outgoing
from stream.events.rows import SkuRecord, numbers

Columns = dict[str, npt.NDArray[Any]]
Said = tuple[int, Outgoing]  # a message and the place in its record of the row that made it
_CARTS = (Kind.CART_VIEWED, Kind.CART_ADDED, Kind.CART_REMOVED, Kind.CART_CHECKED_OUT)
_FACTS = (Kind.FACT, Kind.FACT_GONE)
_IN_CART, _IN_FACTS = (np.isin(np.arange(256), group) for group in (_CARTS, _FACTS))
TOGETHER_ROWS = 32  # what the fast lane left over: so few events go slowly at once, another round costs as much
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
    rows = np.unique(shelf.row_index.find(shelf.names, record.rows.column("sku"), record.rows.column("location")))
    return np.asarray(rows[rows >= 0])


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
    rows, columns, touched = record.rows, numbers(record.rows), NOBODY
    keep, repeated = admit(shelf, columns)
    out.rows += len(keep)
    out.repeated += repeated
    if len(keep):
        if repeated:
            rows = rows.take(pa.array(keep))
            columns = numbers(rows)
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
    wakes.refresh_due(shelf, np.arange(shelf.n))
    guards.unsettled(shelf, np.arange(shelf.n))


def _of_other_shelves(shelf: Shelf, record: SkuRecord) -> RecordsGone:
    """A ledger stands behind a moved record; whoever comes to one from before it holds other SKUs than the log."""
    return RecordsGone(
        f"the log of shelf {shelf.config.shelf} begins anew at offset {record.offset:,}",
        f"its SKUs came from other shelves there, when `restock repartition` made them {record.moved}; what is before "
        "that is not in this log",
        'restore a backup of Redis or use a snapshot from after it: see runbook, "Redis lost"',
    )


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
    """Give every admitted row its effect; returns the rows of the shelf that were touched, each once."""
    entries, holds = journal.entered(c)
    kind, n_before, nothing = c["kind"], shelf.n, np.zeros(len(entries), np.bool_)
    in_cart = _IN_CART[kind] if holds & CARTS else nothing
    in_facts = _IN_FACTS[kind] if holds & FACTS else nothing
    row = np.full(len(kind), -1, np.int64)
    named = ~in_facts & ~in_cart
    located = in_cart & (rows.column("location").to_numpy(zero_copy_only=False) != "") if holds & CARTS else in_cart
    if not holds & FACTS:
        _find_rows(shelf, rows, c["occurred_ms"], named | located, row)
        if shelf.pending:
            out.messages += wakes.catch_up(shelf, np.unique(row[named]))
    at, said = np.flatnonzero(named), list[Said]()
    if holds & FACTS:  # event by event, rows too: what a fact says of a row holds from its place in the log on
        slow = np.flatnonzero(named | in_facts)
        touched = [row[at], _slow_lane(shelf, rows, c, row, slow, entries, offset, said)]
    else:
        touched = [_both_lanes(shelf, rows, c, row, at, entries, offset, said)]
    out.messages += [message for _, message in sorted(said, key=itemgetter(0))]
    entries["row"] = row
    if holds & FACTS:
        _find_rows(shelf, rows, c["occurred_ms"], located, row)
    if holds & (CARTS | FROM_CARTS):
        _carts(shelf, rows, c, kind, in_cart)
    shelf.journal.append(offset, entries, shelf.watermark_ms)
    if holds & (CARTS | FACTS):
        every = np.unique(np.concatenate([*touched, np.arange(n_before, shelf.n)]))  # new rows too, whatever made them
        return every[every >= 0]
    return touched[0]


def _both_lanes(
    shelf: Shelf,
    rows: pa.RecordBatch,
    c: Columns,
    row: Rows,
    at: Rows,
    entries: npt.NDArray[Any],
    offset: int,
    said: list[Said],
) -> Rows:
    """The fast lane; where it stops at an event of a row, that one slowly; the fast lane again for what follows; etc.

    Twice as many events a row go slowly each time, so that a row that never settles costs a few rounds, not one an
    event. Returns the rows that were touched, each once.
    """
    lines = fast.Lines._make([row, *(c[name] for name in _LINE), _unnamed(rows.column("reference"))])
    touched, most = NOBODY, 1
    while len(at):
        at, met = fast.run(shelf, lines, at, entries, offset)
        touched = met if most == 1 else touched
        now = _rank(row[at]) < most if len(at) > TOGETHER_ROWS else np.ones(len(at), np.bool_)
        if len(at):
            _slow_lane(shelf, rows, c, row, at[now], entries, offset, said)
        at, most = at[~now], 2 * most
    return touched


def _unnamed(reference: pa.Array) -> npt.NDArray[np.bool_]:
    """Which of these texts are null; most often all."""
    if reference.null_count == len(reference):
        return np.ones(len(reference), np.bool_)
    return np.array(reference.is_null().to_numpy(zero_copy_only=False))


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
    found, n_before = shelf.row_index.find(shelf.names, rows.column("sku"), rows.column("location")), shelf.n
    np.copyto(row, found, where=named)
    new = np.flatnonzero(named & (found < 0))
    if len(new):
        names = zip(*(_picked(rows, name, new) for name in ("sku", "location")), strict=True)
        for i, (sku, place) in zip(new.tolist(), names, strict=True):
            row[i] = shelf.row_of(sku, place, int(occurred_ms[i]))
        # without guards the fast lane would decide nothing for a new row's first events
        guards.unsettled(shelf, np.arange(n_before, shelf.n))


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
    if (c["kind"] >= Kind.FACT).any():  # rows one by one as they come
        facts, skus, places = (_picked(batch, name, slow) for name in ("fact", "sku", "location"))
        known = row[:0]
    else:
        facts, skus, places, known = [], [], [], row[slow]
    taken: dict[int, Row] = take(shelf, np.unique(known).tolist())
    touched: list[Rows] = []
    counts = _Counts(shelf, c, row, slow)
    deltas, its_days = entries["delta"], entries["day"]
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
        deltas[place], its_days[place] = effect.delta, effect.day
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
