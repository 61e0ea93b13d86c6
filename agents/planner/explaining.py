"""Why a row's numbers are what they are: who carries its forecast, what that expects, and the sentence behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.planner import decisions, messages, plan, scorecard, segments, young
from agents.planner.row import take
from agents.planner.shelf import Shelf
from stream.events.units import number_from_milli as units


def explained(shelf: Shelf, row: int) -> dict[str, Any]:
    """The forecast of a row and what follows from it; quantities in units."""
    rows = np.array([row])
    who = shelf.family.explain(shelf.model[rows], shelf.commons.shared)
    spoke = _spoke(shelf, row)
    experts = [
        {
            "expert": name,
            "share": round(float(share), 4),
            "recent_loss": round(float(loss), 4),
            "out": why or None,
            **spoke.get(name, {}),
        }
        for name, share, loss, why in zip(who.experts, who.weights[0], who.loss_units[0], who.out[0], strict=True)
    ]
    days = plan.horizons(shelf, rows)
    made = plan.outlook(shelf, rows, days, plan.LEVELS)
    horizons = [
        {
            "days": int(days[0, j]),
            "mean": round(float(made.mean_sum_units[0, j]), 3),
            "quantiles": {
                f"{level:g}": round(float(q), 3)
                for level, q in zip(plan.LEVELS, made.quantile_sum_units[0, j], strict=True)
            },
        }
        for j in range(days.shape[1])
    ]
    return {
        "family": shelf.family.name,
        "experts": sorted(experts, key=lambda e: -float(e["share"])),
        "horizons": horizons,
        "learnt_from_cycles": int(made.cycles[0]),
        "lead_time": _lead_time(shelf, row),
        "began": young.began(shelf, row),
        "segment": segments.name(shelf, row) or None,
        "shelf": scorecard.card(shelf.counters),
        "sentence": sentence(shelf, row),
    }


def _spoke(shelf: Shelf, row: int) -> dict[str, dict[str, Any]]:
    """By guest, the last day it knew when it spoke last of a row, and how many closed days ago that is."""
    last = int(shelf.hot["day"][row]) - 1
    heard = shelf.family.heard(shelf.model[row : row + 1])[0].tolist()
    said = {name: day for name, day in zip(shelf.family.guests, heard, strict=True) if day >= 0}
    return {name: {"as_of": str(np.datetime64(day, "D")), "age_days": last - day} for name, day in said.items()}


def _lead_time(shelf: Shelf, row: int) -> dict[str, Any]:
    """A row's lead time and where it comes from."""
    learnt = shelf.lead_times.learnt(int(shelf.lead_pool[row]))
    return {
        "days": learnt.lead_days,
        "sd_days": learnt.lead_days_sd,
        "receipts": learnt.receipts,
        "overdue": learnt.overdue,
        "stated_days": learnt.key.lead_days,
        "stated_sd_days": learnt.key.lead_days_sd,
        "supplier": learnt.key.supplier or None,
        "sentence": messages.why_lead(shelf, row),
    }


def sentence(shelf: Shelf, row: int) -> str:
    """What a planner reads: where the position stands, what the reorder point is made of, and what would be ordered."""
    one = take(shelf, [row])[row]
    if one.demand_rate == 0 and one.reorder_point == 0:
        return "nobody has asked for it yet: nothing is expected, and nothing is ordered"
    quantity = decisions.order_quantity(one)
    if one.position <= one.reorder_point and quantity > 0:
        return messages.why_propose(shelf, one, quantity, one.position)
    place = "over" if one.position > one.reorder_point else "at or under"
    return f"position {units(one.position):,} is {place} {messages.why_point(one)}"
