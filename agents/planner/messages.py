"""What the planner says to the world: replenishments, alerts and positions, with their numbers and a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.planner.lead_times import LEARNT_FROM
from stream.events.cloudevents import Envelope, outgoing_event
from stream.events.instants import text_from_ms as instant
from stream.events.outgoing import Outgoing
from stream.events.public import FORECAST_EVENT
from stream.events.units import number_from_milli as units
from stream.events.units import numbers_from_milli

if TYPE_CHECKING:
    from agents.planner.row import Row
    from agents.planner.shelf import Alert, Order, Shelf, Transfer

_ID_BYTES = 12
SEVERITY = ("none", "info", "warning", "critical")


def identity(*parts: str) -> str:
    """A short id that the same cause always gives: 96 bits of BLAKE2b."""
    return hashlib.blake2b("\x00".join(parts).encode(), digest_size=_ID_BYTES).hexdigest()


def identities(begins: Sequence[str], keys: Iterable[bytes], ends: str) -> list[bytes]:
    """The identity of `begins`, each key and what it `ends` in, all of one cause: the first part is hashed once.

    >>> identities(["shop", "mark-0-7"], [b"a@b"], "p") == [identity("shop", "mark-0-7", "a@b", "p").encode()]
    True
    """
    begun = hashlib.blake2b("\x00".join([*begins, ""]).encode(), digest_size=_ID_BYTES)
    end, out = b"\x00" + ends.encode(), []
    for key in keys:
        hashed = begun.copy()
        hashed.update(key + end)
        out.append(hashed.hexdigest().encode())
    return out


def _text(milli: int) -> str:
    return f"{units(milli):,}"


def replenishment(
    shelf: Shelf, row: Row, order: Order, what: str, cause: str, time_ms: int, sentence: str, extra: Mapping[str, Any]
) -> Outgoing:
    """`restock.replenishment.<what>`: the replenishment as it now stands."""
    data = {
        "replenishment_id": order.id,
        "status": order.status,
        "sku": row.sku,
        "location": row.location,
        "quantity": units(order.quantity),
        "remaining": units(order.remaining),
        "order_ref": order.ref or None,
        "supplier": order.supplier or None,
        "expected_at": None,
        "numbers": {**numbers(row), **lead_numbers(shelf, row), **extra},
        "sentence": sentence,
    }
    if order.expected_ms > 0:
        data["expected_at"] = instant(order.expected_ms)
    return _send(shelf, "replenishments", row, f"restock.replenishment.{what}", cause, time_ms, data, order.id)


def transfer(
    shelf: Shelf, row: Row, transfer: Transfer, what: str, cause: str, time_ms: int, sentence: str
) -> Outgoing:
    """`restock.transfer.<what>`: the transfer as its receiver, `row`, sees it."""
    data = {
        "transfer_id": transfer.id,
        "status": transfer.status,
        "sku": row.sku,
        "from_location": transfer.other or None,
        "to_location": row.location,
        "quantity": units(transfer.quantity),
        "remaining": units(transfer.remaining),
        "lead_days": transfer.lead_days if transfer.other else None,
        "proposed_at": instant(max(transfer.proposed_ms, 0)) if transfer.other else None,
        "expires_at": instant(max(transfer.expires_ms, 0)) if transfer.counts else None,
        "plan_id": transfer.plan or None,
        "reason": transfer.reason or None,
        "numbers": {**numbers(row), **transfer.numbers},
        "sentence": sentence,
    }
    return _send(shelf, "transfers", row, f"restock.transfer.{what}", cause, time_ms, data, transfer.id)


def alert(
    shelf: Shelf, row: Row, kind: str, state: Alert, what: str, cause: str, time_ms: int, sentence: str, money: float
) -> Outgoing:
    """`restock.alert.<raised|updated|resolved>`."""
    data = {
        "alert_id": state.id,
        "kind": kind,
        "severity": SEVERITY[state.severity],
        "sku": row.sku,
        "location": row.location,
        "money_at_risk_day": round(money, 2),
        "currency": shelf.config.currency,
        "raised_at": instant(state.raised_ms),
        "numbers": numbers(row),
        "sentence": sentence,
    }
    return _send(shelf, "stock-alerts", row, f"restock.alert.{what}", cause, time_ms, data, kind)


class Forecasts:
    """`restock.forecast.made`, key sku@location, of rows whose day ended at one instant, as text `time`."""

    def __init__(self, shelf: Shelf, cause: str, time: str) -> None:
        self._envelope = Envelope("forecasts", FORECAST_EVENT, f"/restock/{shelf.config.namespace}", time)
        self._cause = identity(shelf.config.namespace, cause, "forecast").encode() + b"/"

    def messages(self, keys: Sequence[bytes], data: Iterable[bytes]) -> list[Outgoing]:
        """What is told of the rows `keys`; an id is that of the cause, and the key: to hash each costs 1 us a row."""
        return self._envelope.messages(keys, map(self._cause.__add__, keys), data)


def _send(
    shelf: Shelf, topic: str, row: Row, type: str, cause: str, time_ms: int, data: Mapping[str, Any], what: str
) -> Outgoing:
    ce_id = identity(shelf.config.namespace, cause, row.key, type, what)
    source = f"/restock/{shelf.config.namespace}"
    return outgoing_event(topic, row.sku, type, ce_id, source, max(time_ms, 0), row.key, data)


def numbers(row: Row) -> dict[str, Any]:
    """The numbers behind a decision; units, days and shares."""
    stock = row.on_hand, row.allocated, row.available, row.in_transit, row.on_order, row.proposed, row.position
    decided = row.reorder_point, row.order_up_to, row.safety_stock, row.expected
    told: dict[str, Any] = dict(zip(_IN_UNITS, numbers_from_milli(stock + decided), strict=True))
    if row.inbound or row.outbound:
        told["inbound_transfers"], told["outbound_transfers"] = numbers_from_milli((row.inbound, row.outbound))
    told["protection_days"], told["service_level"] = protection(row), row.policy.service_level
    told["demand_rate_day"], told["learnt_from_cycles"] = round(row.demand_rate, 3), row.cycles
    return told


_IN_UNITS = (
    "on_hand", "allocated", "available", "in_transit", "on_order", "proposed", "inventory_position",
    "reorder_point", "order_up_to", "safety_stock", "expected_demand",
)  # fmt: skip


def lead_numbers(shelf: Shelf, row: Row) -> dict[str, Any]:
    """The lead time behind a decision: as it is used, as it is stated, and from how many receipts it is learnt."""
    if shelf.version < LEARNT_FROM:
        return {}
    learnt = shelf.lead_times.learnt(int(shelf.lead_pool[row.number]))
    return {
        "lead_days": learnt.lead_days,
        "lead_days_sd": learnt.lead_days_sd,
        "lead_days_stated": learnt.key.lead_days,
        "lead_days_learnt_from_receipts": learnt.receipts,
    }


def why_lead(shelf: Shelf, row: int) -> str:
    """Where a lead time comes from, in words."""
    learnt = shelf.lead_times.learnt(int(shelf.lead_pool[row]))
    sd = f" +- {learnt.lead_days_sd:.2g}" if learnt.lead_days_sd else ""
    text = f"lead time {learnt.lead_days:.3g}{sd} days, "
    if learnt.receipts == learnt.overdue == 0:
        return text + "as stated"
    late = f" and {learnt.overdue:,} overdue orders" if learnt.overdue else ""
    whom = f" of supplier {learnt.key.supplier}" if learnt.key.supplier else ""
    return text + f"learnt from {learnt.receipts:,} receipts{late}{whom}; stated {learnt.key.lead_days:g}"


def _learnt_lead(shelf: Shelf, row: int) -> str:
    learnt = shelf.lead_times.any and shelf.lead_times.learnt(int(shelf.lead_pool[row])).receipts
    return f", {why_lead(shelf, row)}" if learnt else ""


def protection(row: Row) -> float | int:
    """Lead time plus review, days."""
    days = row.policy.lead_days + row.policy.review_days
    return int(days) if days == int(days) else float(days)


def why_point(row: Row) -> str:
    """What the reorder point is made of."""
    p = row.policy
    promise = f"{p.service_level * 100:g} % {'of demand served' if p.fill else 'service'}"
    learnt = f"learnt from {row.cycles} cycles" if row.cycles else "no cycle learnt yet"
    return (
        f"reorder point {_text(row.reorder_point)} = {_text(row.expected)} expected over {protection(row):g} days "
        f"+ {_text(row.reorder_point - row.expected)} for {promise}, {learnt}"
    )


def why_propose(shelf: Shelf, row: Row, quantity: int, position_milli: int) -> str:
    """The reason in a sentence a planner can check."""
    p = row.policy
    pack = f", in packs of {_text(p.pack_milli)}" if p.pack_milli != 1000 else ""
    return (
        f"position {_text(position_milli)} is {'at' if position_milli == row.reorder_point else 'under'} "
        f"{why_point(row)}{_learnt_lead(shelf, row.number)}; ordering {_text(quantity)} "
        f"to reach {_text(position_milli + quantity)}{pack}"
    )
