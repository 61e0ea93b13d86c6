"""What was said about items, policies, locations, suppliers, lanes and the calendar, and what follows for a row.

A row's policy is the default, overridden by its supplier's facts, its item's, and its own policy's, in that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from agents.planner.calendar import Calendar
from agents.planner.config import Policy
from agents.planner.names import Names
from stream.events.instants import parse_day

POLICY = np.dtype(
    [
        ("lead_days", "<f8"),
        ("lead_days_sd", "<f8"),
        ("review_days", "<f8"),
        ("service_level", "<f8"),
        ("unit_cost", "<f8"),
        ("unit_price", "<f8"),
        ("order_cost", "<f8"),
        ("holding_cost_rate_year", "<f8"),
        ("pack_milli", "<i8"),
        ("min_order_milli", "<i8"),
        ("max_stock_milli", "<i8"),
        ("orderable", "<i8"),
        ("last_buy_day", "<i8"),
        ("confirms", "<i8"),
        ("periodic", "<i8"),
        ("fill", "<i8"),
        ("cover_days", "<f8"),
        ("launch_day", "<i8"),
        ("order_from", "<i8"),
        ("level_stated", "<i8"),
    ]
)
_MONEY_AND_TIME = [
    "lead_days",
    "lead_days_sd",
    "review_days",
    "service_level",
    "unit_cost",
    "unit_price",
    "order_cost",
    "holding_cost_rate_year",
    "cover_days",
]
_UNITS = {"pack_units": "pack_milli", "min_order_units": "min_order_milli", "max_stock_units": "max_stock_milli"}


class FactBook:
    """Facts by canonical JSON key; values are canonical JSON too, so that they persist as they came."""

    def __init__(self, default: Policy) -> None:
        self.default = default
        self.facts: dict[str, str] = {}
        self.categories = Names()
        self.calendar = Calendar()
        self.follows: dict[str, set[str]] = {}  # a successor -> the SKUs that name it
        self._parsed: dict[str, dict[str, Any]] = {}

    def put(self, key: str, fact: str | None) -> None:
        """Learn a fact, or forget it (None)."""
        key_parts = tuple(orjson.loads(key))
        if key_parts[0] == "item":
            self._put_successor(key_parts[1], fact)
        self._parsed.pop(key, None)
        if fact is None:
            self.facts.pop(key, None)
        else:
            self.facts[key] = fact
        if key_parts[0] == "calendar":
            self.calendar.put(key_parts, None if fact is None else orjson.loads(fact))
        elif key_parts[0] == "location":
            self.calendar.put_location(key_parts[1], None if fact is None else orjson.loads(fact))

    def _put_successor(self, sku: str, fact: str | None) -> None:
        if before := self.get("item", sku).get("successor"):
            self.follows.get(before, set()).discard(sku)
        if fact is not None and '"successor"' in fact and (after := orjson.loads(fact).get("successor")):
            self.follows.setdefault(after, set()).add(sku)

    def get(self, *key: str) -> dict[str, Any]:
        """The fact under a key, empty where nothing was said."""
        name = fact_key(*key)
        if name not in self.facts:
            return {}
        if name not in self._parsed:
            self._parsed[name] = orjson.loads(self.facts[name])
        return self._parsed[name]

    def stated(self, kind: str) -> set[Any]:
        """Of whom there is a fact of this kind: names, or (SKU, location) of policies."""
        head = f'["{kind}",'
        keys = [tuple(orjson.loads(key))[1:] for key in self.facts if key.startswith(head)]
        return {key[0] if len(key) == 1 else key for key in keys}

    def zone(self, location: str) -> str:
        """The IANA time zone of a location."""
        return str(self.get("location", location).get("timezone") or "UTC")

    def policy(self, sku: str, location: str) -> Policy:
        """How this SKU-location is to be replenished."""
        item, own, supplier = self.get("item", sku), self.get("policy", sku, location), self.supplier(sku, location)
        merged = {**self._of_supplier(supplier), **_said(item), **_said(own)}
        fields: dict[str, Any] = {"supplier": supplier}
        for name in (*_MONEY_AND_TIME, "status", "category", "confirms", "review", "service_measure"):
            if name in merged:
                fields[name] = merged[name]
        for said, kept in _UNITS.items():
            if said in merged:
                fields[kept] = round(merged[said] * 1000)
        fields["level_stated"] = "service_level" in merged
        if "last_buy_on" in merged:
            fields["last_buy_day"] = parse_day(merged["last_buy_on"])
        if "launch_on" in merged:
            fields["launch_day"] = parse_day(merged["launch_on"])
        return Policy(**{**self.default.__dict__, **fields})

    def supplier(self, sku: str, location: str) -> str:
        """Who brings it; empty where nobody was named."""
        own, item = self.get("policy", sku, location), self.get("item", sku)
        return str(own.get("supplier") or item.get("supplier") or "")

    def _of_supplier(self, supplier: str) -> dict[str, Any]:
        said = _said(self.get("supplier", supplier)) if supplier else {}
        return {
            k: v for k, v in said.items() if k in ("lead_days", "lead_days_sd", "review_days", "confirms", "order_cost")
        }

    def policy_record(self, sku: str, location: str) -> tuple[Any, ...]:
        """The policy as one record of POLICY."""
        p = self.policy(sku, location)
        return tuple(getattr(p, name) for name in POLICY.names or ())

    def category_number(self, sku: str, location: str) -> int:
        """The number of the row's category in `categories`."""
        return self.categories.number(self.policy(sku, location).category)

    def rows_of(self, key: tuple[str, ...], names: list[tuple[str, str]], sku_rows: dict[str, list[int]]) -> list[int]:
        """Rows a fact under this key is about, as the facts now stand, in row order."""
        kind = key[0]
        if kind == "item":
            return sku_rows.get(key[1], [])
        if kind == "policy":
            return [r for r in sku_rows.get(key[1], []) if names[r][1] == key[2]]
        if kind == "location":
            return [r for r, (_, location) in enumerate(names) if location == key[1]]
        if kind == "supplier":
            return [r for r, (sku, location) in enumerate(names) if self.policy(sku, location).supplier == key[1]]
        return []


def _said(fact: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fact.items() if v is not None}


def fact_key(*parts: str) -> str:
    """The canonical JSON key of a fact.

    >>> fact_key("policy", "a", "b")
    '["policy","a","b"]'
    """
    return orjson.dumps(list(parts)).decode()
