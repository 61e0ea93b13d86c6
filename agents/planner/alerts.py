"""Alerts: the conditions of a row, raised once, updated when they worsen, resolved when they clear.

Every condition compares an integer number of the row with a threshold, so `guards.py` can say in which range of
available stock nothing here changes. Hysteresis: a threshold is left by 5 % (a setting) or one unit,
whichever is more, before the alert clears; stocked_out clears with the first unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agents.planner import life, messages
from agents.planner.config import DAY_MS, NEVER
from agents.planner.shelf import Alert, Order
from stream.events.instants import text_from_ms as instant
from stream.events.outgoing import Outgoing
from stream.events.units import number_from_milli as units

if TYPE_CHECKING:
    from agents.planner.row import Row
    from agents.planner.shelf import Shelf

INFO, WARNING, CRITICAL = 1, 2, 3
COUNT_OFF_DAYS = 7  # closings after which a count that was off is history


# What a condition says now: its severity, 0 where it does not hold, and whether it has cleared (with hysteresis).
Verdict = tuple[int, bool]  # a named one costs 0.3 us, five times a row


def slack(share: float, threshold: int) -> int:
    """Hysteresis in milli: a share of the threshold, at least one unit."""
    return max(1000, int(threshold * share))


def low_stock(shelf: Shelf, row: Row, age_ms: int) -> Verdict:
    """Available, coming by truck or confirmed, is at or under the reorder point. A proposal clears nothing."""
    covered = row.covered
    point = row.reorder_point
    if point <= 0 or covered > point:
        return 0, point <= 0 or covered > point + slack(shelf.config.hysteresis, point)
    if covered < row.safety_stock:
        return CRITICAL, False
    since_ms = age_ms - shelf.config.proposal_grace_ms
    young = any(since_ms < o.proposed_ms for o in reversed(row.orders))  # the newest is the last, most often
    return INFO if young else WARNING, False


def stockout_imminent(shelf: Shelf, row: Row, age_ms: int) -> Verdict:  # noqa: ARG001 one signature for all
    """The chance to run out before the next confirmed receipt is over the limit."""
    point, available = row.imminent_point, row.available
    if 0 < available < point:
        return WARNING, False
    return 0, available <= 0 or available >= point + slack(shelf.config.hysteresis, point)


def stocked_out(shelf: Shelf, row: Row, age_ms: int) -> Verdict:  # noqa: ARG001
    """Nothing to sell, and somebody wants it (or is waiting for it)."""
    available = row.available
    return CRITICAL if available < 0 or (available == 0 and row.demand_rate > 0) else 0, available > 0


def overstock(shelf: Shelf, row: Row, age_ms: int) -> Verdict:  # noqa: ARG001
    """More than the maximum, or than order-up-to plus a set cover."""
    held, point = row.available + row.in_transit + row.on_order, row.over_point
    if point >= NEVER:
        return 0, True
    return INFO if held > point else 0, held <= point - slack(shelf.config.hysteresis, point)


def discrepancy(shelf: Shelf, row: Row, age_ms: int) -> Verdict:  # noqa: ARG001
    """The books are wrong: negative stock, or a count that found another number."""
    off = row.count_off_day > 0 and row.day < row.count_off_day + COUNT_OFF_DAYS
    wrong = row.on_hand < 0 or off
    return WARNING if wrong else 0, not wrong


KINDS: dict[str, Callable[[Shelf, Row, int], Verdict]] = {
    "low_stock": low_stock,
    "stockout_imminent": stockout_imminent,
    "stocked_out": stocked_out,
    "overstock": overstock,
    "discrepancy": discrepancy,
}


def settle(shelf: Shelf, row: Row, cause: str, now_ms: int, age_ms: int, closing: bool) -> list[Outgoing]:
    """Bring the row's alerts in line with its numbers; the messages that follow.

    `now_ms` dates the messages; `age_ms` is the clock by which things grow old. It is the watermark, or a timer that
    fell due under it, never an event's own time: so between wakes nothing here changes by time alone.
    """
    out = []
    for kind, condition in KINDS.items():
        severity, cleared = condition(shelf, row, age_ms)
        alert = row.alerts.get(kind)
        if alert is None:
            if severity == 0:
                continue
            alert_id = "A-" + messages.identity(shelf.config.namespace, cause, row.key, kind)
            row.alerts[kind] = alert = Alert(alert_id, severity, now_ms)
            what = "raised"
        elif severity > alert.severity:
            alert.severity, what = severity, "updated"
        elif cleared or (closing and severity == 0):
            del row.alerts[kind]
            what = "resolved"
        else:
            continue
        shelf.counters[f"alerts_{what}:{kind}"] += 1
        money = money_at_risk_day(row, kind)
        out.append(messages.alert(shelf, row, kind, alert, what, cause, now_ms, sentence(row, kind, what), money))
    return out


def money_at_risk_day(row: Row, kind: str) -> float:
    """Money a day the condition may cost.

    Short: a day's demand at the selling price (else the cost). Overstock: a day's holding of the excess. Discrepancy:
    the value of what the books are wrong by, where stock is negative.
    """
    seen = row.price if row.price == row.price else 0.0
    price = float(row.policy.unit_price or seen or row.policy.unit_cost)
    if kind == "overstock":
        excess = max(row.available + row.in_transit + row.on_order - row.over_point, 0) / 1000
        return excess * float(row.policy.unit_cost or price) * float(row.policy.holding_cost_rate_year) / 365
    if kind == "discrepancy":
        return max(-row.on_hand, 0) / 1000 * price
    return row.demand_rate * price


def sentence(row: Row, kind: str, what: str) -> str:
    """What a person reads."""
    text = units
    if what == "resolved":
        numbers = f"{text(row.available)} available, reorder point {text(row.reorder_point)}"
        return f"{kind.replace('_', ' ')} cleared: {numbers}"
    if kind == "low_stock":
        waits = [o for o in row.orders if o.status == "proposed"]
        tail = (
            f"; a replenishment of {text(waits[0].remaining)} waits to be ordered"
            if waits
            else f"; {text(row.on_order)} on order, not confirmed"
            if row.on_order > row.confirmed
            else "; nothing is on order"
        )
        under = f", under safety stock {text(row.safety_stock)}" if row.covered < row.safety_stock else ""
        return (
            f"{text(row.covered)} available or confirmed is at or under reorder point {text(row.reorder_point)}"
            f"{under}{tail}"
        )
    if kind == "stockout_imminent":
        until = min((o.expected_ms for o in row.orders if o.expected_ms > 0), default=0)
        when = f"the receipt expected {instant(until)}" if until else f"{row.policy.lead_days:g} days, the lead time"
        return (
            f"{text(row.available)} available may not last until {when}: demand up to then stays under "
            f"{text(row.imminent_point)} only with the asked certainty"
        )
    if kind == "stocked_out":
        owed = f", {text(-row.available)} owed to customers" if row.available < 0 else ""
        return f"nothing available{owed}; about {row.demand_rate:.3g} a day are wanted"
    if kind == "overstock":
        held = row.available + row.in_transit + row.on_order
        cover = f", {held / 1000 / row.demand_rate:.0f} days of demand" if row.demand_rate > 0 else ""
        return f"{text(held)} available or coming{cover}; {text(row.over_point)} would be enough"
    if row.on_hand < 0:
        return f"on hand is {text(row.on_hand)}: more was taken out than ever came in; count it"
    return f"the last count differed from the books by more than the tolerance; on hand is now {text(row.on_hand)}"


def next_change_ms(shelf: Shelf, row: Row, age_ms: int) -> int:
    """When time alone may change an alert: the youngest replenishment under a low row grows past its grace."""
    alert = row.alerts.get("low_stock")
    if alert is None or alert.severity >= WARNING or not row.orders:
        return NEVER
    old_ms = max([o.proposed_ms for o in row.orders]) + shelf.config.proposal_grace_ms
    return old_ms if old_ms > age_ms else NEVER


def imminent_days(orders: Sequence[Order], lead_days: float, now_ms: int) -> float:
    """Days until the next confirmed receipt, else the lead time; at least one."""
    expected = [o.expected_ms for o in orders if o.expected_ms > 0 and o.status in life.CONFIRMED]
    return max((min(expected) - now_ms) / DAY_MS if expected else float(lead_days), 1.0)
