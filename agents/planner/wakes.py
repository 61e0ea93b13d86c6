"""Wakes: what the watermark makes due. Days close, proposals expire, alerts grow older, positions are sent.

A row's `due` is the earliest of its day's close, its timer, and the time its changed position may be sent. Waking a row
at (watermark, cause) handles everything due in time order, so a row's story does not depend on when it was woken, only
on the mark that made it due.

From version 2 on a SKU closes its day `Shelf.spread` past its end, so that a shelf's rows do not all close at once: an
event that meets one that is due brings it up to date first. Until then the next day's movements are booked on the next
day, as those are whose mark is still to come. All SKUs of one day's end are one closing: they read what was frozen as
the first of them closed, and what they told is settled once the last one may have (`Shelf.closing_end_ms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner import (
    days,
    decisions,
    forecasts,
    guards,
    learning,
    life,
    plan,
    positions,
    scorecard,
    signals,
    young,
)
from agents.planner.config import DAY_MS, HISTORY_DAYS, LONG_AGO, NEVER
from agents.planner.flags import CLOSED_ONCE, LEARNING
from agents.planner.lead_times import LEARNT_FROM
from agents.planner.records import alike, gathered, put
from agents.planner.row import put_back, take
from agents.planner.shelf import Ahead, Rows, Shelf, Wake
from models.demand.row_levels import FULLY_SEEN
from stream.events.outgoing import Outgoing

FORECASTS_FROM = 2  # the version from which forecasts are published
TAUGHT_FROM = 2  # the version from which a row remembers which of its kept days were taught
CLOSED_AT_ONCE = 32  # rows: what they say, some 70 messages, is published before an alert that comes next
SETTLED_AT_ONCE = 5_000  # rows: what so many told is settled with the last slice, in some 15 ms
TAUGHT_DAYS = (1 << HISTORY_DAYS) - 1


def refresh_due(shelf: Shelf, rows: Rows) -> None:
    """Set when each row is next due."""
    shelf.dues.refresh(shelf.hot, shelf.spread, rows, shelf.config.positions_interval_ms if shelf.live else 0)


def arrive(shelf: Shelf, offset: int, touched: Rows) -> list[Outgoing]:
    """The record at `offset` has been folded, which `touched` rows: wake what its watermark makes due, or in slices.

    In a leap over many days a few rows have many closings: those are left to slices, too.
    Days that end at different instants are woken one after the other, each with its own frozen pool, so that it does
    not show whether the watermark came in steps or in one leap.
    """
    out = list[Outgoing]()
    if shelf.watermark_ms == LONG_AGO or not (shelf.dues.any_by(shelf.watermark_ms) or _over(shelf)):
        return out
    if _said_all(shelf, touched):
        return out
    if closes(shelf):
        following = _next_closing(shelf)
        if following is not None and _waits(shelf, following):
            out += finish(shelf)  # the day before it was still being closed
    _go_on(shelf, f"mark-{shelf.config.shelf}-{offset}", offset)
    few = min(slice_rows(shelf), CLOSED_AT_ONCE if closes(shelf) else shelf.config.send_rows)
    came_now = bool(shelf.pending) and shelf.pending[0].offset == offset  # all that is pending came with this record
    if came_now and not (_ends(shelf, shelf.pending) and shelf.commons.unsettled() > SETTLED_AT_ONCE):
        days = 1 + (shelf.watermark_ms - shelf.pending[0].watermark_ms) // DAY_MS
        if days * len(shelf.dues.by(shelf.watermark_ms)) <= few:
            out += finish(shelf)
    return out


def _said_all(shelf: Shelf, touched: Rows) -> bool:
    """Whether the last pending wake reaches the watermark, and no row that changed since is due by it.

    A wake for each record would concern nobody; hundreds of records come while a close of many rows is under way, and
    every write carries what is pending.
    """
    if not shelf.pending or shelf.pending[-1].closing or shelf.pending[-1].watermark_ms < shelf.watermark_ms:
        return False
    return not (shelf.dues.at[touched] <= shelf.watermark_ms).any()


def leaping(shelf: Shelf) -> bool:
    """Whether the watermark passed more days than are pending: they follow one by one, before the next record."""
    return bool(shelf.pending) and shelf.pending[-1].closing


def closes(shelf: Shelf) -> bool:
    """Whether a closing is pending."""
    return any(wake.closing for wake in shelf.pending)


class _Closing(NamedTuple):
    """What is to be closed next: rows of which day's end (ms), as far as it goes by the watermark (ms)."""

    end_ms: int
    until_ms: int


def _next_closing(shelf: Shelf) -> _Closing | None:
    """What closes next and is not pending; None where nothing has to by the watermark.

    It is looked for once a closing, not at every mark: 250,000 rows take 3 ms. What was found holds as the least it can
    be, as ends only move on; whoever moves one back lowers it.
    """
    lately = _lately(shelf)
    if lately == shelf.next_end_after and shelf.next_end_from > shelf.watermark_ms:
        return None
    spread, ends = shelf.spread[: shelf.n], shelf.hot["day_end_ms"][: shelf.n]
    # rows of the pending closings will be at their next day
    ends = np.where(ends + spread > lately, ends, shelf.hot["next_end_ms"][: shelf.n])
    at = ends + spread
    first, last_ms = int(at.min(initial=NEVER)), _last_ms(shelf)
    shelf.next_end_from = min(first, last_ms) if last_ms > lately else first
    shelf.next_end_after = lately
    if shelf.next_end_from > shelf.watermark_ms:
        return None
    firsts = ends[at == first]
    if shelf.closing_end_ms is not None and (shelf.next_end_from < first or shelf.closing_end_ms in firsts):
        end_ms = shelf.closing_end_ms
    else:
        end_ms = int(firsts.min())
    other = int(at[ends != end_ms].min(initial=NEVER))
    until_ms = max(shelf.next_end_from, min(end_ms + shelf.spread_ms, other - 1))
    return _Closing(end_ms, min(until_ms, shelf.watermark_ms))


def _lately(shelf: Shelf) -> int:
    """How far the closings reach that are pending; LONG_AGO where none is."""
    return max((wake.watermark_ms for wake in shelf.pending if wake.closing), default=LONG_AGO)


def _waits(shelf: Shelf, closing: _Closing) -> bool:
    """Whether a closing comes only once those that are pending are over: it reads what they teach.

    Or it reaches no further than they do: a row is more than a day behind, which they bring up to date.
    """
    if not closes(shelf):
        return False
    return closing.end_ms != shelf.closing_end_ms or closing.until_ms <= _lately(shelf)


def _last_ms(shelf: Shelf) -> int:
    """When the last rows close of the closing that is begun; NEVER where none is."""
    return NEVER if shelf.closing_end_ms is None else shelf.closing_end_ms + shelf.spread_ms


def _over(shelf: Shelf) -> bool:
    """Whether the watermark has passed the last rows of the closing that is begun."""
    return _last_ms(shelf) <= shelf.watermark_ms


def _ends(shelf: Shelf, wakes: Sequence[Wake]) -> bool:
    """Whether with these wakes a closing ends, and is settled."""
    last_ms = LONG_AGO if shelf.closing_end_ms is None else _last_ms(shelf)
    return any(wake.closing and wake.watermark_ms >= last_ms for wake in wakes)


def _begin(shelf: Shelf, end_ms: int) -> None:
    """Rows whose day ended then begin to close, or go on."""
    if shelf.closing_end_ms == end_ms:
        return
    # days of two zones that end within the spread of each other; or rows that a shorter spread made due of a sudden
    shelf.commons.settle(shelf.keys)
    shelf.freeze()
    shelf.closing_end_ms = end_ms if shelf.spread_ms > 0 else None


def _go_on(shelf: Shelf, cause: str, offset: int) -> None:
    """What comes next on the way to the watermark is pending: a closing; where no other follows, all the rest too."""
    while (closing := _next_closing(shelf)) is not None:
        if _waits(shelf, closing):
            return
        _begin(shelf, closing.end_ms)
        shelf.pending.append(Wake(closing.until_ms, cause, offset, True))
    if leaping(shelf) or shelf.dues.any_by(shelf.watermark_ms):
        shelf.pending.append(Wake(shelf.watermark_ms, cause, offset, False))


def finish(shelf: Shelf) -> list[Outgoing]:
    """Everything pending, and days that follow on it, now."""
    out: list[Outgoing] = []
    while shelf.pending:
        out += _catch_up(shelf, shelf.dues.by(_latest_ms(shelf)))
        _passed(shelf, len(shelf.pending))
    return out


def _passed(shelf: Shelf, wakes: int) -> None:
    """The first `wakes` of what was pending have reached every row."""
    passed, leap = shelf.pending[:wakes], leaping(shelf) and wakes == len(shelf.pending)
    if _ends(shelf, passed):
        shelf.commons.settle(shelf.keys)
        shelf.closing_end_ms = None
    del shelf.pending[:wakes]
    shelf.cursor = shelf.pass_wakes = 0
    if leap:
        _go_on(shelf, passed[-1].cause, passed[-1].offset)


def _due(shelf: Shelf) -> npt.NDArray[np.bool_]:
    """Which rows some pending wake may concern, shape (n,)."""
    return np.asarray(shelf.dues.at[: shelf.n] <= _latest_ms(shelf))


def _latest_ms(shelf: Shelf) -> int:
    return max(wake.watermark_ms for wake in shelf.pending)


def slice_rows(shelf: Shelf) -> int:
    """Most rows of a slice of what is pending: to close a row's day costs several times its position."""
    return shelf.config.slice_rows if closes(shelf) else min(shelf.config.slice_rows, shelf.config.send_rows)


def sweep(shelf: Shelf, most_rows: int) -> list[Outgoing]:
    """One slice of what is pending: the next `most_rows` rows that are due. Those that are not cost nothing.

    A slice holds whole SKUs, so that it does not show in the order of a SKU's messages.
    """
    if not shelf.pending:
        return []
    if shelf.cursor == 0:
        shelf.pass_wakes = len(shelf.pending)
    rows, end = _next_due(shelf, most_rows), len(shelf.groups)
    if len(rows) > most_rows:
        skus = shelf.sku_number[rows]
        last = int(np.partition(skus, most_rows - 1)[most_rows - 1])
        rows, end = rows[skus <= last], last + 1
    last = end == len(shelf.groups)
    told = shelf.commons.unsettled() + len(rows) if last and _ends(shelf, shelf.pending[: shelf.pass_wakes]) else 0
    waits = shelf.cursor < end and told > SETTLED_AT_ONCE
    out = _catch_up(shelf, rows)
    shelf.cursor = end
    if last and not waits:
        _passed(shelf, shelf.pass_wakes)
    return out


def settles(shelf: Shelf) -> bool:
    """Whether every row was swept, and so much was told that settling it is the next slice of its own."""
    swept = bool(shelf.pending) and shelf.cursor == len(shelf.groups)
    return swept and _ends(shelf, shelf.pending[: shelf.pass_wakes]) and shelf.commons.unsettled() > SETTLED_AT_ONCE


def _next_due(shelf: Shelf, most_rows: int) -> Rows:
    """Rows that are due from the cursor on: all of the next SKUs, more than `most_rows` rows where there are more.

    Of 250,000 rows a slice of 500 is found in 0.3 ms; to gather and order all that is left took 3.6.
    """
    sku = shelf.sku_number[: shelf.n]
    left, reach = _due(shelf) & (sku >= shelf.cursor), most_rows
    while shelf.cursor + reach < len(shelf.groups):
        near = left & (sku < shelf.cursor + reach)
        if np.count_nonzero(near) > most_rows:
            return np.flatnonzero(near)
        reach *= 4
    return np.flatnonzero(left)


def catch_up(shelf: Shelf, rows: Rows) -> list[Outgoing]:
    """Bring rows up to date with every pending wake before an event touches them, and with them their SKUs' others.

    Messages are in order per SKU: had a sweep passed before the event, it would have woken them all before it.
    """
    return _catch_up(shelf, shelf.with_siblings(rows)) if shelf.pending else []


def waiting(shelf: Shelf, rows: Rows) -> Rows:
    """Of these rows and the others of their SKUs, those that some pending wake may concern."""
    if not shelf.pending or len(rows) == 0:
        return rows[:0]
    siblings = shelf.with_siblings(rows)
    return np.asarray(siblings[shelf.dues.at[siblings] <= _latest_ms(shelf)])


def _catch_up(shelf: Shelf, rows: Rows) -> list[Outgoing]:
    """While a close is under way there is a wake a record, hundreds of them: most concern none of `rows`.

    A row that changed after a wake was brought up to it before it changed; only later ones concern it.
    """
    out: list[Outgoing] = []
    live, due, touched = shelf.live, shelf.dues.at, shelf.hot["as_of_offset"]
    latest_ms = _latest_ms(shelf)
    left, earliest_ms, since = rows, LONG_AGO, -1
    for wake in shelf.pending:
        if wake.watermark_ms < earliest_ms or wake.offset < since:
            continue
        mine = left[(due[left] <= wake.watermark_ms) & (touched[left] <= wake.offset)]
        if len(mine):
            shelf.live = wake.watermark_ms >= shelf.config.warm_until_ms
            out += _wake(shelf, mine, wake)
        left = left[due[left] <= latest_ms]
        if len(left) == 0:
            break
        earliest_ms, since = int(due[left].min()), int(touched[left].min())
    shelf.live = live
    return out


def _wake(shelf: Shelf, rows: Rows, wake: Wake) -> list[Outgoing]:
    out: list[Outgoing] = []
    while True:
        due = rows[shelf.dues.at[rows] <= wake.watermark_ms]
        if len(due) == 0:
            return out
        day_end, timer = shelf.hot["day_end_ms"][due] + shelf.spread[due], shelf.hot["timer_ms"][due]
        first = np.minimum(day_end, timer)
        timed = due[(timer < day_end) & (timer <= wake.watermark_ms)]
        closing = due[(day_end <= timer) & (day_end <= wake.watermark_ms)]
        sending = due[first > wake.watermark_ms]
        if wake.closing and len(timed) == len(closing) == 0:
            return out  # positions wait for the wake that follows, so that each shows all that happened
        if len(timed):
            out += _timers(shelf, timed, wake)
        if len(closing):
            out += close(shelf, closing, wake)
        if len(sending) and not wake.closing:
            out += send_positions(shelf, sending, wake)
        refresh_due(shelf, due)


def _timers(shelf: Shelf, numbers: Rows, wake: Wake) -> list[Outgoing]:
    rows = take(shelf, numbers.tolist())
    out: list[Outgoing] = []
    for row in rows.values():
        now_ms = row.timer_ms
        out += decisions.expire(shelf, row, wake.cause, now_ms)
        out += decisions.settle(shelf, row, f"{wake.cause}-{now_ms}", now_ms, now_ms)
        row.as_of_offset = max(row.as_of_offset, wake.offset)
    guards.unsettled(shelf, put_back(shelf, rows))
    return out


def close(shelf: Shelf, rows: Rows, wake: Wake) -> list[Outgoing]:
    """Close the open day of these rows: teach it, move the thresholds, open the next one."""
    hot = shelf.hot
    h = gathered(hot, rows)
    end_ms = h["day_end_ms"]
    if shelf.version >= TAUGHT_FROM:
        hot["taught"][rows] = h["taught"] << 1 & TAUGHT_DAYS
    _learn(shelf, rows, h["units0"])
    signals.close(shelf, rows, h["day"])
    _learn_waits(shelf, rows, h)
    shelf.history[rows, h["day"] % HISTORY_DAYS] = h["units0"] - h["after0"]
    _next_day(shelf, rows)
    hot["flags"][rows] |= CLOSED_ONCE
    hot["as_of_offset"][rows] = np.maximum(h["as_of_offset"], wake.offset)
    tells = shelf.live and shelf.config.forecasts != "off" and shelf.version >= FORECASTS_FROM
    wanted = plan.replan(shelf, rows, end_ms + shelf.spread[rows], shelf.config.forecast_days if tells else ())
    for changed in (shelf.dirty_hot, shelf.dirty_model, shelf.dirty_view):
        changed.add(rows)
    out = forecasts.made(shelf, rows, h, wanted, wake.cause) if tells else []
    unsettled = rows[guards.unsettled(shelf, rows, closing=True)]
    if len(unsettled):
        several = take(shelf, unsettled.tolist())
        for row in several.values():
            now_ms = row.day_start_ms + int(shelf.spread[row.number])
            out += decisions.settle(shelf, row, f"{wake.cause}-{now_ms}-close", now_ms, now_ms, closing=True)
        guards.unsettled(shelf, put_back(shelf, several))
    return out


def _learn(shelf: Shelf, rows: Rows, units_milli: Rows) -> None:
    """Teach the open day's demand to rows that have begun to sell."""
    begun = (shelf.hot["flags"][rows] & LEARNING > 0) | (units_milli > 0)
    rows, units_milli = rows[begun], units_milli[begun]
    if len(rows) == 0:
        return
    units = np.maximum(units_milli, 0) / 1000.0
    day = learning.seen(shelf, rows, units, exposure(shelf, rows), plan.horizons(shelf, rows))
    closed = shelf.family.close(gathered(shelf.model, rows), shelf.commons.shared, day)
    scorecard.score(shelf, rows, units, day.exposure, shelf.family.verdict(closed.told))
    put(shelf.model, rows, closed.state)
    shelf.hot["flags"][rows] |= LEARNING
    if shelf.version >= TAUGHT_FROM:
        shelf.hot["taught"][rows] |= day.exposure >= FULLY_SEEN
    shelf.commons.tell(rows, closed.told)


def _learn_waits(shelf: Shelf, rows: Rows, closing: npt.NDArray[np.void]) -> None:
    """Teach what came on the day that closes, `closing` (n,) its numbers, and what has not come by its end."""
    orders, waits, pools = shelf.orders, shelf.lead_times.waits, shelf.lead_pool[rows]
    if shelf.version < LEARNT_FROM or shelf.config.silent:
        return
    shelf.lead_times.close(pools)
    if not (orders or waits):
        return
    told = (pools.tolist(), closing["day"].tolist(), closing["day_end_ms"].tolist())
    for row, pool, day, end_ms in zip(rows.tolist(), *told, strict=True):
        if row in orders or row in waits:
            shelf.tails.pop(row, None)
            supplier = shelf.lead_times.keys[pool].supplier
            placed = [o for o in orders.get(row, ()) if o.status in life.ON_ORDER]
            still = [(life.began_ms(o, supplier), life.open_share(o)) for o in placed]
            shelf.lead_times.tell(row, pool, day, end_ms, [one for one in still if one[0] > 0])


def exposure(shelf: Shelf, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of the open day in which demand could be seen, from the stock at both its ends; shape (n,)."""
    h = gathered(shelf.hot, rows)
    if shelf.exposure is not None:
        return shelf.exposure(rows, h["day"])
    had, has = h["opening"] > 0, h["opening"] + h["flow0"] > 0
    share = np.where(had & has, 1.0, np.where(had | has, 0.5, np.where(h["units0"] > 0, 1.0, 0.0)))
    nothing_yet = young.began_as_another(h["flags"]) & (h["units0"] == 0)  # its first stock is still to come
    return np.where(h["known_day"] <= h["day"], share, np.where(nothing_yet, 0.0, 1.0))


def _next_day(shelf: Shelf, rows: Rows) -> None:
    hot = shelf.hot
    h = gathered(hot, rows)
    hot["day_start_ms"][rows] = h["day_end_ms"]
    hot["opening"][rows] += h["flow0"]
    for now, then in (("flow0", "flow1"), ("units0", "units1"), ("after0", "after1")):
        hot[now][rows], hot[then][rows] = h[then], 0
    hot["counted0"][rows], hot["counted1"][rows] = np.maximum(h["counted0"], h["counted1"]), LONG_AGO
    zone = shelf.fact_zone[rows]
    hot["zone"][rows] = zone
    calendar = np.stack([zone, h["day_end_ms"], h["day"]], axis=1)
    first, which = alike(calendar)
    opened = []
    for zone_id, end_ms, day in calendar[first].tolist():
        name = shelf.zones[zone_id]
        next_day, next_end = days.day_after(name, end_ms, day)
        opened.append((next_day, next_end, days.day_after(name, next_end, next_day)[1]))
    table = np.array(opened, np.int64)[which]
    hot["day"][rows], hot["day_end_ms"][rows], hot["next_end_ms"][rows] = table.T
    if shelf.ahead:
        for row in rows.tolist():
            if row in shelf.ahead:
                _fetch_ahead(shelf, row)


def _fetch_ahead(shelf: Shelf, row: int) -> None:
    """Days kept aside that are now the open one or the next."""
    shelf.tails.pop(row, None)
    aside, hot = shelf.ahead[row], shelf.hot
    day = int(hot["day"][row])
    for at, slot in ((day, "0"), (day + 1, "1")):
        kept = aside.pop(at, Ahead())
        hot["units" + slot][row] += kept.units
        hot["after" + slot][row] += kept.after
        hot["flow" + slot][row] += kept.flow
        hot["counted" + slot][row] = max(hot["counted" + slot][row], kept.counted)
    if not aside:
        del shelf.ahead[row]


def send_positions(shelf: Shelf, rows: Rows, wake: Wake) -> list[Outgoing]:
    """The changed positions of rows, each at most once an interval of event time."""
    out = positions.changed(shelf, rows, wake.cause, wake.watermark_ms)
    shelf.hot["sent_ms"][rows] = wake.watermark_ms
    shelf.hot["sent_offset"][rows] = shelf.hot["as_of_offset"][rows]
    shelf.dirty_hot.add(rows)
    return out
