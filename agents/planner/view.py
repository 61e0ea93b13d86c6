"""Rows as people and programs read them: the readable hash, the `positions` topic, and exact rows from packed bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.planner.records import gathered
from agents.planner.shelf import Rows, Shelf, Transfer, unpack_transfers
from models.stock import reorder
from stream.events.instants import text_from_ms as instant
from stream.events.naming import split_row_key
from stream.events.units import number_from_milli as units
from stream.events.units import text_from_milli

_POSITION = ["on_hand", "allocated", "on_order", "in_transit", "reorder_point", "order_up_to"]
_QUANTITIES = ["on_hand", "allocated", "on_order", "in_transit", "reorder_point", "order_up_to", "safety_stock"]


def readable(shelf: Shelf, rows: Rows) -> dict[str, dict[str, str] | None]:
    """The readable hash of each row, by `sku@location`; quantities are plain decimals of units."""
    h = gathered(shelf.hot, rows)
    available = h["on_hand"] - h["allocated"]
    quantities = {name: h[name] for name in _QUANTITIES}
    quantities["available"], quantities["backordered"] = available, np.maximum(-available, 0)
    quantities["inventory_position"] = available + h["in_transit"] + h["on_order"] + h["proposed"] + shelf.moving(rows)
    quantities["open_proposals"] = h["proposed"]
    texts = {name: [text_from_milli(value) for value in column.tolist()] for name, column in quantities.items()}
    rates = h["demand_rate"].tolist()
    texts["demand_rate_day"] = [f"{rate:.3f}" for rate in rates]
    cover = reorder.days_of_cover(available / 1000, h["demand_rate"])
    texts["days_of_cover"] = [f"{days:.1f}" for days in cover.tolist()]
    texts["alerts"] = [",".join(sorted(shelf.alerts.get(row, ()))) for row in rows.tolist()]
    texts["updated_at"] = [instant(max(at, 0)) for at in h["updated_ms"].tolist()]
    texts["as_of_offset"] = [str(offset) for offset in h["as_of_offset"].tolist()]
    names = list(texts)
    fields = (dict(zip(names, values, strict=True)) for values in zip(*texts.values(), strict=True))
    return {shelf.keys[row].decode(): its for row, its in zip(rows.tolist(), fields, strict=True)}


def position_data(shelf: Shelf, rows: Rows) -> list[dict[str, Any]]:
    """The data of `positions` messages, one a row."""
    h = gathered(shelf.hot, rows)
    columns = [h[name] for name in _POSITION]
    columns.insert(2, h["on_hand"] - h["allocated"])
    out = []
    for row, at_ms, values in zip(
        rows.tolist(), h["updated_ms"].tolist(), zip(*(c.tolist() for c in columns), strict=True), strict=True
    ):
        sku, location = shelf.names[row]
        expected = [o.expected_ms for o in shelf.orders.get(row, ()) if o.expected_ms > 0]
        on_hand, allocated, available, on_order, in_transit, reorder_point, order_up_to = map(units, values)
        out.append(
            {
                "sku": sku,
                "location": location,
                "on_hand": on_hand,
                "allocated": allocated,
                "available": available,
                "on_order": on_order,
                "in_transit": in_transit,
                "next_receipt_at": instant(min(expected)) if expected else None,
                "reorder_point": reorder_point,
                "order_up_to": order_up_to,
                "as_of": instant(max(at_ms, 0)),
            }
        )
    return out


def exact(shelf: Shelf, row: int) -> dict[str, Any]:
    """Everything known of one row, for `restock stock`: numbers in units, open replenishments, alerts, recent days."""
    h = dict(zip(shelf.hot.dtype.names or (), shelf.hot[row].tolist(), strict=True))
    data = position_data(shelf, np.array([row]))[0]
    money_free = {
        k: units(h[k]) for k in ["ordered", "cancelled", "returned", "fulfilled", "received", "written_off", "late"]
    }
    carts = {k: units(h[k]) for k in ["viewed", "added", "removed", "abandoned", "converted"]}
    cover = reorder.days_of_cover([(h["on_hand"] - h["allocated"]) / 1000], [h["demand_rate"]])
    day = h["day"]
    kept = shelf.history.shape[1]
    return {
        **data,
        "backordered": units(max(h["allocated"] - h["on_hand"], 0)),
        "proposed": units(h["proposed"]),
        "safety_stock": units(h["safety_stock"]),
        "expected_demand": units(h["expected"]),
        "demand_rate_day": round(h["demand_rate"], 6),
        "days_of_cover": round(float(cover[0]), 3),
        "price": None if math.isnan(h["price"]) else h["price"],
        "learnt_from_cycles": h["cycles"],
        "as_of_offset": h["as_of_offset"],
        "totals": money_free,
        "carts": carts,
        "open_day_demand": units(h["units0"]),
        "closed_days_demand": [units(int(shelf.history[row, (day - back) % kept])) for back in range(kept, 0, -1)],
        "replenishments": [
            {
                "replenishment_id": o.id,
                "status": o.status,
                "order_ref": o.ref or None,
                "quantity": units(o.quantity),
                "remaining": units(o.remaining),
                "proposed_at": instant(o.proposed_ms),
                "expected_at": instant(o.expected_ms) if o.expected_ms > 0 else None,
            }
            for o in shelf.orders.get(row, ())
        ],
        "transfers": [transfer_data(t, data["location"]) for t in shelf.transfers.get(row, ())],
        "alerts": {
            k: {"alert_id": a.id, "severity": a.severity, "raised_at": instant(a.raised_ms)}
            for k, a in shelf.alerts.get(row, {}).items()
        },
        "policy": dict(zip(shelf.policy.dtype.names or (), shelf.policy[row].tolist(), strict=True)),
    }


def transfer_data(transfer: Transfer, location: str) -> dict[str, Any]:
    """An open transfer as one of its ends, `location`, has it."""
    sender, receiver = (location, transfer.other) if transfer.outbound else (transfer.other, location)
    return {
        "transfer_id": transfer.id,
        "status": transfer.status,
        "from_location": sender,
        "to_location": receiver,
        "quantity": units(transfer.quantity),
        "remaining": units(transfer.remaining),
        "lead_days": transfer.lead_days,
        "proposed_at": instant(max(transfer.proposed_ms, 0)),
        "expires_at": instant(max(transfer.expires_ms, 0)) if transfer.counts else None,
        "plan_id": transfer.plan,
        "reason": transfer.reason,
        **transfer.numbers,
    }


def open_transfers(packed: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """Every open transfer of a shelf's packed ones, each once: as its receiver has it."""
    rows = []
    for key, value in packed.items():
        sku, location = split_row_key(key.decode())
        rows += [{"sku": sku, **transfer_data(t, location)} for t in unpack_transfers(value) if not t.outbound]
    return rows


def on_hand_as_of(shelf: Shelf, row: int, instant_ms: int) -> int:
    """Milli on hand at an instant. Raises ValueError where the journal does not reach back to it."""
    if instant_ms < shelf.journal.horizon_ms:
        raise ValueError(
            f"movements are kept from {instant(shelf.journal.horizon_ms)} on, not from {instant(instant_ms)}"
        )
    return int(shelf.hot["on_hand"][row]) - shelf.journal.moved_after(row, instant_ms)
