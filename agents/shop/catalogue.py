"""What the shop says of itself in `catalog`: locations, lanes, suppliers, items; at the start and as they change."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from agents.shop.draws import Ints
from agents.shop.items import CATEGORIES, NEVER_DAY
from agents.shop.plan import AHEAD_DAYS, text_of
from agents.shop.state import State
from agents.shop.transfers import lane_days

UNIT_COST_SHARE = 0.55  # of the price
ORDER_COST = 4.0  # money
LANE_COST = 6.0  # money
BEST_MOST, BEST_SERVICE = 1_000, 0.98  # the best twentieth of SKUs
MOST_LANES_PLACES = 12  # with more locations only neighbours in the list have lanes


def opening(s: State, day: int) -> list[dict[str, Any]]:
    """Everything known at the start."""
    told: list[dict[str, Any]] = [
        {"type": "catalog.location", "location": p.name, "timezone": p.zone, "closed_weekdays": list(p.closed_weekdays)}
        for p in s.places
    ]
    for name, mean, sd in zip(s.suppliers.names, s.suppliers.lead_days, s.suppliers.lead_days_sd, strict=True):
        told.append(
            {"type": "catalog.supplier", "supplier": name, "lead_days": float(mean), "lead_days_sd": float(sd),
             "order_cost": ORDER_COST}
        )  # fmt: skip
    for here, there in permutations(range(len(s.places)), 2):
        if len(s.places) > MOST_LANES_PLACES and abs(here - there) > 1:
            continue
        told.append(
            {"type": "catalog.lane", "from_location": s.places[here].name, "to_location": s.places[there].name,
             "lead_days": lane_days(s.places, here, there), "order_cost": LANE_COST}
        )  # fmt: skip
    return told + items(s, np.flatnonzero(s.items.launch_day <= day + AHEAD_DAYS), day) + _policies(s)


def _policies(s: State) -> list[dict[str, Any]]:
    """Best sellers are to run out less often, everywhere."""
    best = min(max(s.config.skus // 20, 1), BEST_MOST)
    return [
        {"type": "catalog.policy", "sku": s.items.names[sku], "location": place.name, "service_level": BEST_SERVICE}
        for location, place in enumerate(s.places)
        for sku in range(min(best, len(s.demand.base[location])))
    ]


def changes(s: State, day: int) -> list[dict[str, Any]]:
    """Items of which something new is said on a day: to be launched, launched, ending, at another price."""
    launch, ending = s.items.launch_day, s.items.ending_day
    about = (launch == day + AHEAD_DAYS) | (launch == day) | (ending == day)
    week = s.plan.week_of(day)
    if day == s.plan.first_day(week):
        about |= (s.plan.price_changes(week) != 1.0) & (launch <= day + AHEAD_DAYS)
    return items(s, np.flatnonzero(about), day)


def items(s: State, skus: Ints, day: int) -> list[dict[str, Any]]:
    """The records of items as of a day."""
    prices = s.plan.prices(day)
    return [_item(s, sku, day, float(prices[sku])) for sku in skus.tolist()]


def _item(s: State, sku: int, day: int, price: float) -> dict[str, Any]:
    its = s.items
    about: dict[str, Any] = {
        "type": "catalog.item",
        "sku": its.names[sku],
        "category": CATEGORIES[its.category[sku]],
        "supplier": s.suppliers.names[its.supplier[sku]],
        "pack_units": int(its.pack[sku]),
        "unit_price": price,
        "unit_cost": round(float(its.price[sku]) * UNIT_COST_SHARE, 2),
        "status": "active",
    }
    if day < its.launch_day[sku]:
        about |= {"status": "new", "launch_on": text_of(int(its.launch_day[sku])), "like_sku": its.names[its.like[sku]]}
    if its.ending_day[sku] < NEVER_DAY and day >= its.ending_day[sku]:
        about |= {"status": "phase_out", "last_buy_on": text_of(int(its.ending_day[sku]))}
    return about
