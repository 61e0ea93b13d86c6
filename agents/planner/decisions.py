"""What is decided for a row as it stands: replenishments proposed and withdrawn, alerts, and when to look again.

A function of the row, the instant and the shelf's facts, so a replay decides the same.
"""

from __future__ import annotations

from agents.planner import alerts, handover, life, messages
from agents.planner.config import NEVER
from agents.planner.row import Row
from agents.planner.shelf import Order, Shelf
from models.stock import reorder
from stream.events.outgoing import Outgoing
from stream.events.units import number_from_milli as units

ONE_FOR_ALL_FROM = 2  # the version from which many small proposals give way to one


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
    """Proposals nobody ordered, where the position is over the reorder point without them or nothing may be ordered.

    Or where there are as many as there may be and they do not suffice: one takes the place of all, at once.
    """
    without = row.position - row.proposed
    full = _full(shelf, row)
    if row.proposed == 0 or (without <= row.reorder_point and row.orderable and not full):
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
    if full:
        text = f"withdrawn: {life.ORDERS_MAX} open orders are too little and the most there may be: one for all follows"
    return [messages.replenishment(shelf, row, o, "cancelled", cause, now_ms, text, {}) for o in gone]


def _full(shelf: Shelf, row: Row) -> bool:
    """A new SKU, sold before it was counted, is proposed unit by unit until its first day closes."""
    may = shelf.version >= ONE_FOR_ALL_FROM and row.orderable and row.reviews(closing=True)
    return may and len(row.orders) >= life.ORDERS_MAX and row.position <= row.reorder_point


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
    expiry = min([o.expires_ms for o in row.orders if o.status == "proposed"], default=NEVER)
    return min(expiry, handover.next_expiry_ms(row), alerts.next_change_ms(shelf, row, age_ms))
