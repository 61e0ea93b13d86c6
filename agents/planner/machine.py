"""The slow lane: one row, one event at a time, in plain integers. What a row is, and every rule about it.

A `Row` is a row of the shelf taken out of the arrays: attributes named as in `packing.HOT`, plus its orders, alerts and
days kept aside. `apply` gives an event its physical effect; `settle` then decides. Both are functions of the row, the
event and the shelf's facts, so a replay decides the same.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agents.planner import alerts, days, handover, life, messages, transfers
from agents.planner.config import HISTORY_DAYS, LONG_AGO, NEVER
from agents.planner.facts import POLICY
from agents.planner.journal import NO_DAY, LateMove
from agents.planner.lead_times import LEARNT_FROM, Wait
from agents.planner.packing import HOT
from agents.planner.records import put
from agents.planner.shelf import CLOSED_ONCE, FIELDS, Ahead, Alert, Order, Rows, Shelf, Transfer
from models.stock import reorder
from stream.events.cloudevents import dead_letter
from stream.events.instants import text_from_ms as instant
from stream.events.kinds import Flag, Kind, Source, source_name
from stream.events.outgoing import Outgoing
from stream.events.units import number_from_milli as units

PolicyRow: Any = namedtuple("PolicyRow", POLICY.names or ())  # type: ignore[misc]  # as the dtype says


class Event(NamedTuple):
    """One row of `sku-events` for the slow lane."""

    kind: int
    milli: int
    occurred_ms: int
    source: int
    partition: int
    offset: int
    line: int
    order_hash: int
    price: float
    flags: int
    logged_ms: int
    late_ms: int
    expected_ms: int
    reference: str | None
    replenishment_id: str | None
    supplier: str | None
    raw: bytes | None

    @property
    def cause(self) -> str:
        """Source coordinates, as ids derive from them."""
        return f"{source_name(self.source)}-{self.partition}-{self.offset}-{self.line}"

    @property
    def late(self) -> bool:
        """Whether it occurred before its own partition's mark."""
        return bool(self.flags & Flag.LATE)


class Effect(NamedTuple):
    """What the journal keeps of an applied event."""

    delta: int = 0  # added to on hand
    day: int = NO_DAY  # demand day of a placed line; of a late movement the day it is booked on
    late: bool = False


class Row(msgspec.Struct, eq=False):
    """A row of the shelf, taken out. (A Struct is made of a tuple, and gives one back, in a microsecond.)"""

    # as packing.HOT, in its order
    on_hand: int
    allocated: int
    in_transit: int
    on_order: int
    confirmed: int
    proposed: int
    day: int
    day_start_ms: int
    day_end_ms: int
    next_end_ms: int
    opening: int
    flow0: int
    flow1: int
    units0: int
    units1: int
    after0: int
    after1: int
    known_day: int
    counted0: int
    counted1: int
    reorder_point: int
    order_up_to: int
    safety_stock: int
    expected: int
    imminent_point: int
    over_point: int
    cycles: int
    alerting: int
    counted_ms: int
    count_off_day: int
    timer_ms: int
    sent_ms: int
    sent_offset: int
    updated_ms: int
    as_of_offset: int
    zone: int
    flags: int
    ordered: int
    cancelled: int
    returned: int
    fulfilled: int
    received: int
    written_off: int
    late: int
    viewed: int
    added: int
    removed: int
    abandoned: int
    converted: int
    taught: int
    demand_rate: float
    price: float
    # what is kept beside the numbers
    number: int
    sku: str
    location: str
    key: str
    orders: list[Order]
    alerts: dict[str, Alert]
    ahead: dict[int, Ahead]
    transfers: list[Transfer]
    inbound: int
    outbound: int
    policy: Any
    transfers_moved: bool = False

    @property
    def available(self) -> int:
        """On hand less allocated."""
        return self.on_hand - self.allocated

    @property
    def position(self) -> int:
        """Inventory position: available, in transit, on order, proposed, and what transfers will bring or take."""
        coming = self.in_transit + self.on_order + self.proposed + self.inbound - self.outbound
        return self.on_hand - self.allocated + coming

    @property
    def orderable(self) -> bool:
        """Whether anything may be proposed for it today."""
        return bool(self.policy.orderable) and self.policy.order_from <= self.day <= self.policy.last_buy_day

    def reviews(self, closing: bool) -> bool:
        """Whether it may order now: at any time, or as a day closes, every `review_days`."""
        return not self.policy.periodic or (closing and self.day % max(int(self.policy.review_days), 1) == 0)

    @property
    def covered(self) -> int:
        """What low_stock looks at: available, coming by truck, or confirmed by a supplier."""
        return self.on_hand - self.allocated + self.in_transit + self.confirmed

    def sum_orders(self) -> None:
        """Bring the three sums in line with the open replenishments."""
        self.orders = [o for o in self.orders if o.status in life.OPEN and o.remaining > 0]
        self.proposed = sum(o.remaining for o in self.orders if o.status == "proposed")
        placed = [o for o in self.orders if o.status != "proposed"]
        self.on_order = sum(o.remaining for o in placed)
        self.confirmed = sum(o.remaining for o in placed if o.status in life.CONFIRMED or not self.policy.confirms)

    def sum_transfers(self) -> None:
        """Drop transfers that are done and bring both sums in line with the open ones."""
        self.transfers = transfers.open_at(self.transfers)
        counting = [t for t in self.transfers if t.counts]
        self.inbound = sum(t.remaining for t in counting if not t.outbound)
        self.outbound = sum(t.remaining for t in counting if t.outbound)
        self.transfers_moved = True


assert Row.__struct_fields__[: len(FIELDS)] == FIELDS, "a row's numbers are declared in the order of packing.HOT"


def take(shelf: Shelf, numbers: list[int]) -> dict[int, Row]:
    """Take rows out of the arrays."""
    at = np.array(numbers, np.int64)
    columns = (its[at].tolist() for its in (shelf.hot, shelf.inbound, shelf.outbound, shelf.policy))
    return {
        n: Row(*(*values, *_beside(shelf, n), inbound, outbound, PolicyRow._make(policy)))
        for n, values, inbound, outbound, policy in zip(numbers, *columns, strict=True)
    }


def _beside(shelf: Shelf, number: int) -> tuple[Any, ...]:
    """What is kept beside a row's numbers, in the order of its attributes."""
    kept = (shelf.orders.get(number, []), shelf.alerts.get(number, {}), shelf.ahead.get(number, {}))
    return number, *shelf.names[number], shelf.keys[number].decode(), *kept, shelf.transfers.get(number, [])


def put_back(shelf: Shelf, rows: dict[int, Row]) -> Rows:
    """Put rows back into the arrays; returns their numbers."""
    if not rows:
        return np.zeros(0, np.int64)
    numbers = np.fromiter(rows, np.int64, len(rows))
    for row in rows.values():
        row.alerting = sum(a.severity << shift_of(kind) for kind, a in row.alerts.items())
    values = [msgspec.structs.astuple(row)[: len(FIELDS)] for row in rows.values()]
    put(shelf.hot, numbers, np.array(values, HOT))
    for n, row in rows.items():
        shelf.tails.pop(n, None)
        shelf.keep_aside(n, row.orders, row.alerts, row.ahead)
        if row.transfers_moved:
            _put_transfers(shelf, n, row)
    shelf.moved(numbers)
    return numbers


def _put_transfers(shelf: Shelf, number: int, row: Row) -> None:
    if row.transfers:
        shelf.transfers[number] = row.transfers
    else:
        shelf.transfers.pop(number, None)
    shelf.inbound[number], shelf.outbound[number] = row.inbound, row.outbound
    shelf.changed_transfers.add(number)


def shift_of(kind: str) -> int:
    """Where a kind's severity (two bits) stands in `alerting`."""
    return _SHIFTS[kind]


_SHIFTS = {kind: 2 * place for place, kind in enumerate(alerts.KINDS)}


# -- effects ----------------------------------------------------------------------------------------------------------


class Before(NamedTuple):
    """What the log up to an event says that the row itself does not know."""

    placed: dict[
        int, tuple[int, bool]
    ]  # order lines of this record, not in the journal yet: hash -> (day, sold at once)
    moved: int = 0  # for a count: milli this row moved after the counted instant
    late: Sequence[LateMove] = ()  # for a count: late movements of this row


def apply(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[Effect, list[Outgoing]]:
    """Give an event its physical effect."""
    day, late = NO_DAY, _is_late(row, event)
    out: list[Outgoing] = []
    kind = event.kind
    if kind == Kind.ORDER_PLACED:
        day = _demand(shelf, row, event, late)
    if kind == Kind.STOCK_COUNTED:
        on_hand, out = _counted(shelf, row, event, before)
        allocated = 0
    else:
        on_hand, allocated = _moves(shelf, row, event, before)
        if kind == Kind.STOCK_RECEIVED:
            out = _receive(shelf, row, event)
        elif kind in handover.KINDS:
            out = handover.moved(shelf, row, event)
        elif kind >= Kind.SUPPLY_ORDERED:
            out = _supply(shelf, row, event)
        on_hand = _book(shelf, row, event, on_hand, allocated)
        if kind in _STATES_STOCK:
            row.known_day = min(row.known_day, _day(shelf, row, booked_ms(row, event)))
    row.on_hand += on_hand
    row.allocated += allocated
    row.updated_ms = max(row.updated_ms, event.occurred_ms)
    if late and on_hand != 0:
        day = _day(shelf, row, booked_ms(row, event))
    return Effect(on_hand, day, late), out


# besides a count: after these we know that something is kept there
_STATES_STOCK = (Kind.STOCK_RECEIVED, Kind.STOCK_ADJUSTED, Kind.TRANSFER_ARRIVED)


def _moves(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[int, int]:
    """What an event other than a count adds to (on hand, allocated); keeps the row's totals."""
    kind, milli = event.kind, event.milli
    if kind == Kind.ORDER_PLACED:
        return _placed(row, event)
    if kind == Kind.ORDER_CANCELLED:
        return _cancelled(shelf, row, event, before.placed)
    if kind == Kind.ORDER_FULFILLED:
        row.fulfilled += milli
        if milli > row.allocated:
            shelf.counters["unmatched:order.fulfilled"] += 1
        return -milli, -min(milli, row.allocated)
    if kind == Kind.TRANSFER_COMING:
        row.in_transit += milli
        return 0, 0
    if kind == Kind.TRANSFER_ARRIVED:
        if milli > row.in_transit:
            shelf.counters["unmatched:stock.transfer_received"] += 1
        row.in_transit -= min(milli, row.in_transit)
        return milli, 0
    sign, total = _PLAIN.get(kind, (0, ""))
    if total:
        setattr(row, total, getattr(row, total) + milli)
    return sign * milli, 0


# the others that move stock: its sign, and the row's total that counts it
_PLAIN: dict[int, tuple[int, str]] = {
    Kind.ORDER_RETURNED: (1, "returned"),
    Kind.STOCK_RECEIVED: (1, "received"),
    Kind.STOCK_ADJUSTED: (1, ""),
    Kind.STOCK_WRITTEN_OFF: (-1, "written_off"),
    Kind.TRANSFER_LEFT: (-1, ""),
}


def _placed(row: Row, event: Event) -> tuple[int, int]:
    row.ordered += event.milli
    if event.price == event.price:
        row.price = event.price
    if event.flags & Flag.SOLD_AT_ONCE:
        row.fulfilled += event.milli
        return -event.milli, 0
    return 0, event.milli


def _demand(shelf: Shelf, row: Row, event: Event, late: bool) -> int:
    """Take demand into its day; returns the day, NO_DAY where it teaches nothing."""
    if late:
        row.late += event.milli
        shelf.counters["late"] += 1
        return NO_DAY
    day = _day(shelf, row, event.occurred_ms)
    _reach(shelf, row, day)
    if day == row.day:
        row.units0 += event.milli
    elif day == row.day + 1:
        row.units1 += event.milli
    else:
        row.ahead.setdefault(day, Ahead()).units += event.milli
    return day


# -- days -------------------------------------------------------------------------------------------------------------


def _is_late(row: Row, event: Event) -> bool:
    return event.late or (event.occurred_ms < row.day_start_ms and bool(row.flags & CLOSED_ONCE))


def booked_ms(row: Row, event: Event) -> int:
    """From when an event counts in a day's level: its own time; of a late one, what its partition's mark then was.

    A mark says nothing earlier is to come, and no day closes before every mark is past it: so whichever way partitions
    interleave, the day is not closed yet, and it is the same one.
    """
    at_ms = event.occurred_ms + event.late_ms
    return max(at_ms, row.day_start_ms) if row.flags & CLOSED_ONCE else at_ms


def _day(shelf: Shelf, row: Row, instant_ms: int) -> int:
    """The number of the day of an instant; for a row that never closed it may be before the open one."""
    if instant_ms < row.day_start_ms:
        return days.day_of(shelf.zones[row.zone], instant_ms)
    if instant_ms < row.day_end_ms:
        return row.day
    if instant_ms < row.next_end_ms:
        return row.day + 1
    return max(days.day_of(_zone_ahead(shelf, row), instant_ms), row.day + 2)


def _zone_ahead(shelf: Shelf, row: Row) -> str:
    """The zone by which days after the open one end."""
    return shelf.zones[int(shelf.fact_zone[row.number])]


def _reach(shelf: Shelf, row: Row, day: int) -> None:
    """A row that has never closed opens an earlier day for what happened on it."""
    if day >= row.day:
        return
    for number, kept in (
        (row.day, Ahead(row.units0, row.after0, row.flow0, row.counted0)),
        (row.day + 1, Ahead(row.units1, row.after1, row.flow1, row.counted1)),
    ):
        if kept != Ahead():
            row.ahead[number] = kept
    zone = shelf.zones[row.zone]
    shelf.next_end_from = LONG_AGO
    row.day = day
    row.day_start_ms = days.midnight_ms(zone, day)
    row.day_end_ms = days.midnight_ms(zone, day + 1)
    row.next_end_ms = days.midnight_ms(zone, day + 2)
    now, then = row.ahead.pop(day, Ahead()), row.ahead.pop(day + 1, Ahead())
    row.units0, row.after0, row.flow0, row.counted0 = now.units, now.after, now.flow, now.counted
    row.units1, row.after1, row.flow1, row.counted1 = then.units, then.after, then.flow, then.counted


# -- levels -----------------------------------------------------------------------------------------------------------


def _book(shelf: Shelf, row: Row, event: Event, on_hand: int, allocated: int) -> int:
    """Book a change of available stock on its day; returns what it adds to on hand.

    One that occurred at or before the last count is in that count already: it adds nothing, and in the levels of days
    it is there from its own day until that of the count, as it would be had it been read before the count.
    """
    if on_hand == allocated == 0:
        return 0
    day = _day(shelf, row, booked_ms(row, event))
    counted = event.occurred_ms <= row.counted_ms
    _flow(shelf, row, day, on_hand - allocated)
    if not counted:
        return on_hand
    _flow(shelf, row, _counted_day(row, day, event.occurred_ms), -on_hand)
    return 0


def _flow(shelf: Shelf, row: Row, day: int, milli: int) -> None:
    if milli == 0:
        return
    _reach(shelf, row, day)
    if day == row.day:
        row.flow0 += milli
    elif day == row.day + 1:
        row.flow1 += milli
    else:
        row.ahead.setdefault(day, Ahead()).flow += milli


def _counted_day(row: Row, day: int, occurred_ms: int) -> int:
    """The first day, from the one a movement is booked on, by whose end a count had seen what occurred then."""
    booked = [(row.day, row.counted0), (row.day + 1, row.counted1), *((d, a.counted) for d, a in row.ahead.items())]
    return max(day, min(number for number, counted_ms in booked if counted_ms >= occurred_ms))


def _mark_counted(row: Row, day: int, counted_ms: int) -> None:
    if day == row.day:
        row.counted0 = max(row.counted0, counted_ms)
    elif day == row.day + 1:
        row.counted1 = max(row.counted1, counted_ms)
    else:
        aside = row.ahead.setdefault(day, Ahead())
        aside.counted = max(aside.counted, counted_ms)


def _cancelled(shelf: Shelf, row: Row, event: Event, placed_now: dict[int, tuple[int, bool]]) -> tuple[int, int]:
    """(on hand, allocated) a cancellation gives back; its demand leaves the day the order was placed on."""
    milli = event.milli
    row.cancelled += milli
    known = placed_now.get(event.order_hash)
    if known is None:
        kept = shelf.journal.placed(event.order_hash)
        known = (kept[1], kept[2]) if kept is not None else None
    if known is not None:
        _undemand(shelf, row, known[0], event)
        if known[1]:
            return milli, 0
    else:
        shelf.counters["cancelled_day_unknown"] += 1
    released = min(milli, row.allocated)
    if released < milli:
        shelf.counters["unmatched:order.cancelled"] += 1
    return milli - released, -released


def _undemand(shelf: Shelf, row: Row, day: int, event: Event) -> None:
    milli, late = event.milli, event.late
    if day == NO_DAY:
        return
    if day < row.day:
        if day >= row.day - HISTORY_DAYS:
            shelf.history[row.number, day % HISTORY_DAYS] -= milli
            shelf.dirty_model.add_one(row.number)
    elif day == row.day:
        if late or event.occurred_ms >= row.day_end_ms:
            row.after0 += milli
        else:
            row.units0 -= milli
    elif day == row.day + 1:
        if late or event.occurred_ms >= row.next_end_ms:
            row.after1 += milli
        else:
            row.units1 -= milli
    else:
        aside = row.ahead.setdefault(day, Ahead())
        if late or event.occurred_ms >= days.midnight_ms(_zone_ahead(shelf, row), day + 1):
            aside.after += milli
        else:
            aside.units -= milli


def _counted(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[int, list[Outgoing]]:
    """The correction a count makes, true as of its instant; a refusal where the journal no longer reaches that far."""
    if event.occurred_ms <= row.counted_ms:
        shelf.counters["superseded:stock.counted"] += 1
        return 0, []
    if event.occurred_ms < shelf.journal.horizon_ms:
        shelf.counters["refused:count_too_old"] += 1
        counted, kept = instant(event.occurred_ms), instant(shelf.journal.horizon_ms)
        detail = f"counted as of {counted}; movements are kept from {kept} on"
        topic = Source(event.source).topic
        letter = dead_letter(
            topic, event.partition, event.offset, event.logged_ms, row.sku.encode(), event.raw, "count_too_old", detail
        )
        return 0, [letter]
    books = row.on_hand - before.moved
    correction = event.milli - books
    tolerance = max(1000, int(abs(books) * shelf.config.count_tolerance))
    row.count_off_day = max(row.day, 1) if row.known_day < NEVER and abs(correction) > tolerance else 0
    _book_count(shelf, row, event, correction, before.late)
    row.counted_ms = event.occurred_ms
    return correction, []


def _book_count(shelf: Shelf, row: Row, event: Event, correction: int, late: Sequence[LateMove]) -> None:
    """Book a count on its day. Late movements booked on days after it that it has seen are no news on those days."""
    day = _day(shelf, row, booked_ms(row, event))
    seen = [m for m in late if m.day > day and row.counted_ms < m.occurred_ms <= event.occurred_ms]
    _flow(shelf, row, day, correction + sum(m.delta for m in seen))
    for move in seen:
        _flow(shelf, row, move.day, -move.delta)
    _reach(shelf, row, day)
    _mark_counted(row, day, event.occurred_ms)
    row.known_day = min(row.known_day, day)


# -- replenishments ---------------------------------------------------------------------------------------------------


def _receive(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
    """A receipt closes what it names; without a reference it reduces the oldest open order, then the next."""
    out: list[Outgoing] = []
    if event.reference:
        matching = [o for o in row.orders if event.reference in (o.ref, o.id)]
        if not matching:
            shelf.counters["unmatched:stock.received"] += 1
    else:
        matching = [o for o in row.orders if o.status in life.ON_ORDER]
    rest = event.milli
    for order in matching:
        if rest == 0:
            break
        share = life.open_share(order)
        rest = life.receive(order, rest)
        _note_wait(shelf, row, order, share, event, event.occurred_ms)
        out += _moved(shelf, row, order, event)
    row.sum_orders()
    return out


def _supply(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
    ref = event.reference or ""
    order = next((o for o in row.orders if ref and o.ref == ref), None)
    if order is None and event.replenishment_id:
        order = next((o for o in row.orders if o.id == event.replenishment_id), None)
    try:
        order = _supply_move(shelf, row, event, order, ref)
    except life.Unlawful as wrong:
        shelf.counters[f"unlawful:{wrong.status}:{wrong.move}"] += 1
        order = order or Order(event.replenishment_id or ref, wrong.status, event.milli, 0, event.occurred_ms, ref)
        return [
            messages.replenishment(
                shelf, row, order, "unlawful", event.cause, event.occurred_ms, f"refused: {wrong}", {"move": wrong.move}
            )
        ]
    row.sum_orders()
    return _moved(shelf, row, order, event)


def _supply_move(shelf: Shelf, row: Row, event: Event, order: Order | None, ref: str) -> Order:
    kind = event.kind
    if order is None and kind in (Kind.SUPPLY_ORDERED, Kind.SUPPLY_CONFIRMED):
        if len(row.orders) >= life.ORDERS_MAX:
            raise life.Unlawful("one of too many open ones", "be added")
        # Placed outside, or for a replenishment that is closed or unknown: it is on order all the same.
        order = Order(
            "X-" + messages.identity(shelf.config.namespace, event.cause, row.key),
            "proposed",
            event.milli,
            event.milli,
            event.occurred_ms,
            ref,
            supplier=event.supplier or "",
        )
        row.orders.append(order)
    if order is None:
        raise life.Unlawful("unknown", kind_move(kind))
    if kind == Kind.SUPPLY_ORDERED:
        life.place(order, ref, event.milli, event.supplier or "")
        if shelf.version >= LEARNT_FROM:
            order.ordered_ms = -1 if event.late else event.occurred_ms
    elif kind == Kind.SUPPLY_CONFIRMED:
        life.confirm(order, ref, event.milli, event.expected_ms)
    elif kind == Kind.SUPPLY_RESCHEDULED:
        life.reschedule(order, event.expected_ms)
    else:
        share = life.open_share(order)
        life.cancel(order, event.milli)
        _note_wait(shelf, row, order, share, event, 0)
    return order


def _note_wait(shelf: Shelf, row: Row, order: Order, share: int, event: Event, came_ms: int) -> None:
    """What of an order came, or will not (0), is a wait that is over; it teaches as the day it is booked on closes."""
    if shelf.config.silent:
        return
    began_ms = life.began_ms(order, shelf.lead_times.keys[int(shelf.lead_pool[row.number])].supplier)
    share -= life.open_share(order)
    if shelf.version >= LEARNT_FROM and began_ms > 0 and share > 0:
        day = _day(shelf, row, booked_ms(row, event))
        shelf.lead_times.note(row.number, Wait(day, began_ms, came_ms, share))


def kind_move(kind: int) -> str:
    """The life-cycle move a supply row asks for."""
    return {
        Kind.SUPPLY_ORDERED: "order",
        Kind.SUPPLY_CONFIRMED: "confirm",
        Kind.SUPPLY_RESCHEDULED: "reschedule",
        Kind.SUPPLY_CANCELLED: "cancel",
    }[Kind(kind)]


def _moved(shelf: Shelf, row: Row, order: Order, event: Event) -> list[Outgoing]:
    what = order.status
    shelf.counters[f"replenishments:{what}"] += 1
    if shelf.config.silent:
        return []
    left = f"{units(order.remaining)} still to come"
    text = f"{units(order.quantity)} of {row.sku} for {row.location}: {what.replace('_', ' ')}, {left}"
    return [messages.replenishment(shelf, row, order, what, event.cause, event.occurred_ms, text, {})]


def expire(shelf: Shelf, row: Row, cause: str, now_ms: int) -> list[Outgoing]:
    """Proposals nobody ordered, and transfers nobody shipped, in time stop counting."""
    out = handover.expire(shelf, row, cause, now_ms)
    for order in [o for o in row.orders if o.status == "proposed" and o.expires_ms <= now_ms]:
        life.expire(order)
        row.sum_orders()
        shelf.counters["replenishments:expired"] += 1
        text = f"nobody ordered {units(order.remaining)} within the time set; it no longer counts as coming"
        out.append(messages.replenishment(shelf, row, order, "expired", cause, now_ms, text, {}))
    return out


# -- decisions --------------------------------------------------------------------------------------------------------


def settle(shelf: Shelf, row: Row, cause: str, now_ms: int, age_ms: int, closing: bool = False) -> list[Outgoing]:
    """Decide: propose where the inventory position is at or under the reorder point, then bring alerts in line.

    At a closing, proposals that are not needed are withdrawn and alerts clear without hysteresis: once a day what is
    open follows from where the row stands, not from how it came there.
    """
    out: list[Outgoing] = []
    if shelf.live:
        now_ms = max(now_ms, shelf.config.warm_until_ms)
        if closing:
            out += withdraw(shelf, row, cause, now_ms)
        if row.reviews(closing):
            out += propose(shelf, row, cause, now_ms)
        if not shelf.config.silent:
            out += alerts.settle(shelf, row, cause, now_ms, age_ms, closing)
    row.timer_ms = next_timer_ms(shelf, row, age_ms)
    return out


def withdraw(shelf: Shelf, row: Row, cause: str, now_ms: int) -> list[Outgoing]:
    """Proposals nobody ordered, where the position is over the reorder point without them or nothing may be ordered."""
    without = row.position - row.proposed
    if row.proposed == 0 or (without <= row.reorder_point and row.orderable):
        return []
    gone = [o for o in row.orders if o.status == "proposed"]
    for order in gone:
        life.withdraw(order)
    row.sum_orders()
    shelf.counters["replenishments:cancelled"] += len(gone)
    if shelf.config.silent:
        return []
    text = f"withdrawn: position {units(without)} without it is over reorder point "
    text += f"{units(row.reorder_point)}" if row.orderable else "or nothing may be ordered"
    return [messages.replenishment(shelf, row, o, "cancelled", cause, now_ms, text, {}) for o in gone]


def propose(shelf: Shelf, row: Row, cause: str, now_ms: int) -> list[Outgoing]:
    """A new replenishment, at most one: it lifts the position over the reorder point."""
    position = row.position
    if position > row.reorder_point or not row.orderable or len(row.orders) >= life.ORDERS_MAX:
        return []
    quantity = order_quantity(row)
    if quantity == 0:
        return []
    order = Order(
        "R-" + messages.identity(shelf.config.namespace, cause, row.key),
        "proposed",
        quantity,
        quantity,
        now_ms,
        expires_ms=now_ms + shelf.config.proposal_expiry_ms,
        supplier=shelf.facts.supplier(row.sku, row.location),
    )
    text = "" if shelf.config.silent else messages.why_propose(shelf, row, quantity, position)
    row.orders.append(order)
    row.sum_orders()
    shelf.counters["replenishments:proposed"] += 1
    if shelf.config.silent:
        return []
    extra = {"inventory_position_before": units(position), "pack": units(row.policy.pack_milli)}
    return [messages.replenishment(shelf, row, order, "proposed", cause, now_ms, text, extra)]


def order_quantity(row: Row) -> int:
    """What an order would bring now, milli; 0 where none is needed or none fits."""
    position, p = row.position, row.policy
    return reorder.order_milli(
        position, row.reorder_point, row.order_up_to, p.pack_milli, p.min_order_milli, p.max_stock_milli
    )


def next_timer_ms(shelf: Shelf, row: Row, age_ms: int) -> int:
    """When time alone may change the row: warm-up ends, a proposal or transfer expires, an alert's grace is over."""
    if not shelf.live:
        return shelf.config.warm_until_ms
    if not row.orders and not row.transfers:
        return NEVER
    expiry = min((o.expires_ms for o in row.orders if o.status == "proposed"), default=NEVER)
    return min(expiry, handover.next_expiry_ms(row), alerts.next_change_ms(shelf, row, age_ms))
