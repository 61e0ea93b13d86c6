"""What receipts and supply events do to a row's open replenishments; the rules of their life are in life.py."""

from __future__ import annotations

from agents.planner import bookings, life, messages
from agents.planner.lead_times import LEARNT_FROM, Wait
from agents.planner.row import Event, Row
from agents.planner.shelf import Order, Shelf
from stream.events.kinds import Kind
from stream.events.outgoing import Outgoing
from stream.events.units import number_from_milli as units


def received(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
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
        out += _tell(shelf, row, order, event)
    row.sum_orders()
    return out


def moved(shelf: Shelf, row: Row, event: Event) -> list[Outgoing]:
    """A supplier or buyer says that an order is placed, confirmed, rescheduled or cancelled."""
    ref = event.reference or ""
    order = next((o for o in row.orders if ref and o.ref == ref), None)
    if order is None and event.replenishment_id:
        order = next((o for o in row.orders if o.id == event.replenishment_id), None)
    try:
        order = _move(shelf, row, event, order, ref)
    except life.Unlawful as wrong:
        shelf.counters[f"unlawful:{wrong.status}:{wrong.move}"] += 1
        order = order or Order(event.replenishment_id or ref, wrong.status, event.milli, 0, event.occurred_ms, ref)
        return [
            messages.replenishment(
                shelf, row, order, "unlawful", event.cause, event.occurred_ms, f"refused: {wrong}", {"move": wrong.move}
            )
        ]
    row.sum_orders()
    return _tell(shelf, row, order, event)


def _move(shelf: Shelf, row: Row, event: Event, order: Order | None, ref: str) -> Order:
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
        day = bookings.day_of(shelf, row, bookings.booked_ms(row, event))
        shelf.lead_times.note(row.number, Wait(day, began_ms, came_ms, share))


def kind_move(kind: int) -> str:
    """The life-cycle move a supply row asks for."""
    return {
        Kind.SUPPLY_ORDERED: "order",
        Kind.SUPPLY_CONFIRMED: "confirm",
        Kind.SUPPLY_RESCHEDULED: "reschedule",
        Kind.SUPPLY_CANCELLED: "cancel",
    }[Kind(kind)]


def _tell(shelf: Shelf, row: Row, order: Order, event: Event) -> list[Outgoing]:
    what = order.status
    shelf.counters[f"replenishments:{what}"] += 1
    if shelf.config.silent:
        return []
    left = f"{units(order.remaining)} still to come"
    text = f"{units(order.quantity)} of {row.sku} for {row.location}: {what.replace('_', ' ')}, {left}"
    return [messages.replenishment(shelf, row, order, what, event.cause, event.occurred_ms, text, {})]
