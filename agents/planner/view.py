"""Rows as people and programs read them: the readable hash, the `positions` topic, and exact rows from packed bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agents.planner.messages import instant, units
from agents.planner.shelf import Rows, Shelf
from stream.events.naming import split_row_key
from stream.events.units import text_from_milli

FOREVER_DAYS = 9_999.0
READABLE = [
    "on_hand",
    "allocated",
    "available",
    "on_order",
    "in_transit",
    "backordered",
    "inventory_position",
    "demand_rate_day",
    "reorder_point",
    "order_up_to",
    "safety_stock",
    "days_of_cover",
    "open_proposals",
    "alerts",
    "updated_at",
    "as_of_offset",
]
_QUANTITIES = ["on_hand", "allocated", "on_order", "in_transit", "reorder_point", "order_up_to", "safety_stock"]


def readable(shelf: Shelf, rows: Rows) -> dict[str, dict[str, str] | None]:
    """The readable hash of each row, by `sku@location`; quantities are plain decimals of units."""
    out: dict[str, dict[str, str] | None] = {}
    names = shelf.hot.dtype.names or ()
    for row, values in zip(rows.tolist(), shelf.hot[rows].tolist(), strict=True):
        h = dict(zip(names, values, strict=True))
        available = h["on_hand"] - h["allocated"]
        position = available + h["in_transit"] + h["on_order"] + h["proposed"]
        fields = {name: text_from_milli(h[name]) for name in _QUANTITIES}
        fields["available"] = text_from_milli(available)
        fields["backordered"] = text_from_milli(max(-available, 0))
        fields["inventory_position"] = text_from_milli(position)
        fields["open_proposals"] = text_from_milli(h["proposed"])
        fields["demand_rate_day"] = f"{h['demand_rate']:.3f}"
        fields["days_of_cover"] = f"{cover_days(available, h['demand_rate']):.1f}"
        fields["alerts"] = ",".join(sorted(shelf.alerts.get(row, ())))
        fields["updated_at"] = instant(max(h["updated_ms"], 0))
        fields["as_of_offset"] = str(h["as_of_offset"])
        out[shelf.keys[row].decode()] = fields
    return out


def cover_days(available_milli: int, rate_day: float) -> float:
    """Days the available stock lasts at the expected rate; 9,999 where nothing is asked for."""
    if rate_day <= 0:
        return FOREVER_DAYS
    return min(max(available_milli, 0) / 1000 / rate_day, FOREVER_DAYS)


def position_data(shelf: Shelf, rows: Rows) -> list[dict[str, Any]]:
    """The data of `positions` messages, one a row."""
    out = []
    names = shelf.hot.dtype.names or ()
    for row, values in zip(rows.tolist(), shelf.hot[rows].tolist(), strict=True):
        h = dict(zip(names, values, strict=True))
        sku, location = shelf.names[row]
        expected = [o.expected_ms for o in shelf.orders.get(row, ()) if o.expected_ms > 0]
        out.append(
            {
                "sku": sku,
                "location": location,
                "on_hand": units(h["on_hand"]),
                "allocated": units(h["allocated"]),
                "available": units(h["on_hand"] - h["allocated"]),
                "on_order": units(h["on_order"]),
                "in_transit": units(h["in_transit"]),
                "next_receipt_at": instant(min(expected)) if expected else None,
                "reorder_point": units(h["reorder_point"]),
                "order_up_to": units(h["order_up_to"]),
                "as_of": instant(max(h["updated_ms"], 0)),
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
    day = h["day"]
    kept = shelf.history.shape[1]
    return {
        **data,
        "backordered": units(max(h["allocated"] - h["on_hand"], 0)),
        "proposed": units(h["proposed"]),
        "safety_stock": units(h["safety_stock"]),
        "expected_demand": units(h["expected"]),
        "demand_rate_day": round(h["demand_rate"], 6),
        "days_of_cover": round(cover_days(h["on_hand"] - h["allocated"], h["demand_rate"]), 3),
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
        "alerts": {
            k: {"alert_id": a.id, "severity": a.severity, "raised_at": instant(a.raised_ms)}
            for k, a in shelf.alerts.get(row, {}).items()
        },
        "policy": dict(zip(shelf.policy.dtype.names or (), shelf.policy[row].tolist(), strict=True)),
    }


def on_hand_as_of(shelf: Shelf, row: int, instant_ms: int) -> int:
    """Milli on hand at an instant. Raises ValueError where the journal does not reach back to it."""
    if instant_ms < shelf.journal.horizon_ms:
        raise ValueError(
            f"movements are kept from {instant(shelf.journal.horizon_ms)} on, not from {instant(instant_ms)}"
        )
    return int(shelf.hot["on_hand"][row]) - shelf.journal.moved_after(row, instant_ms)


def split(key: str) -> tuple[str, str]:
    """SKU and location of a readable key."""
    return split_row_key(key)
