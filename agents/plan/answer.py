"""A plan as rows, JSON and words: one shape for one period and for several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.plan.tables import Problem
from models.network import explain
from models.network.cuts import Cuts
from models.network.periods import Schedule
from models.network.plan import Plan

SENTENCES_MOST = 50  # of one kind in plan.json; the rest is counted

TRANSFERS = pa.schema(
    [
        ("period", pa.int32()),  # 0 is to be carried out; later ones are a plan to share
        ("sku", pa.string()),
        ("from", pa.string()),
        ("to", pa.string()),
        ("quantity", pa.float64()),  # units, whole packs
        ("lead_days", pa.float64()),
        ("cost", pa.float64()),  # money on the lane
        # money saved there, less given up here and the lane, were nothing sent later; null beyond period 0
        ("gain", pa.float64()),
        ("fixed", pa.bool_()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Answer:
    """What both solvers say, in the same words."""

    problem: Problem
    periods: int
    period: npt.NDArray[np.int64]
    sku: npt.NDArray[np.int64]
    lane: npt.NDArray[np.int64]
    units: npt.NDArray[np.float64]
    fixed: npt.NDArray[np.bool_]
    status: str  # optimal, within gap, not proven, infeasible
    objective: float
    bound: float
    gap: float
    missing_units: npt.NDArray[np.float64]
    conflict: list[str]
    limits: list[dict[str, Any]]  # a row each: name, limit, used, price, words
    cuts: list[str]
    cut_count: int
    method: str
    rounds: int


def of_plan(problem: Problem, plan: Plan, gap: float) -> Answer:
    """One period."""
    lanes = problem.lanes
    conflict = [explain.blame_words(b, problem.skus, problem.places, lanes) for b in plan.blames]
    priced = plan.feasible  # a price that only says "otherwise impossible" is no price
    limits = [
        _limit(problem, lanes, int(kind), int(lane), None, float(limit), float(uses), float(price) if priced else 0.0)
        for kind, lane, limit, uses, price in zip(
            plan.row_kind, plan.row_lane, plan.row_limit, plan.row_used, plan.prices, strict=True
        )
    ]
    period = np.zeros(len(plan.sku), dtype=np.int64)
    status = _status(plan.feasible, plan.gap, gap)
    return Answer(
        problem, 1, period, plan.sku, plan.lane, plan.units, plan.fixed, status, plan.objective, plan.bound, plan.gap,
        plan.missing_units, conflict, limits, _cut_words(problem, plan.cuts), len(plan.cuts.sku), plan.method,
        plan.rounds,
    )  # fmt: skip


def _cut_words(problem: Problem, cuts: Cuts) -> list[str]:
    worst = np.argsort(cuts.got - cuts.wanted, kind="stable")[:SENTENCES_MOST]
    return [
        explain.cut_words(
            problem.skus[cuts.sku[n]],
            problem.places[cuts.location[n]],
            float(cuts.wanted[n]),
            float(cuts.got[n]),
            int(cuts.why[n]),
        )
        for n in worst
    ]


def of_schedule(problem: Problem, schedule: Schedule, periods: int, gap: float) -> Answer:
    """Several periods."""
    lanes, u = problem.lanes, schedule.unrolled
    conflict = []
    for kind, sku, place in schedule.blamed:
        if kind in ("need", "stock"):
            who = f"{problem.skus[sku]}: {problem.places[place]}"
            conflict.append(f"{who} lacks its minimum" if kind == "need" else f"{who} has no more to give")
        elif kind == "fixed":
            conflict.append(f"{problem.skus[sku]}: what is to be sent on {lanes[place]}")
        else:
            conflict.append("the budget" if kind == "budget" else f"{lanes[place]} ({kind.replace('_', ' ')})")
    uses = np.asarray(u.circulation.usage @ schedule.flow.units)
    limits = [
        _limit(problem, lanes, int(kind), int(lane), int(when), float(limit), float(used), float(price), periods)
        for kind, lane, when, limit, used, price in zip(
            u.row_kind, u.row_lane, u.row_period, u.circulation.limit, uses, schedule.prices, strict=True
        )
    ]
    order = np.lexsort((schedule.lane, schedule.sku, schedule.period))
    return Answer(
        problem, periods, schedule.period[order], schedule.sku[order], schedule.lane[order], schedule.units[order],
        schedule.fixed[order], _status(schedule.feasible, schedule.gap, gap), schedule.objective, schedule.bound,
        schedule.gap, schedule.missing_units, conflict, limits, _cut_words(problem, schedule.cuts),
        len(schedule.cuts.sku), schedule.flow.method, schedule.flow.rounds,
    )  # fmt: skip


def _status(feasible: bool, reached: float, wanted: float) -> str:
    if not feasible:
        return "infeasible"
    if reached <= 1e-6:
        return "optimal"
    return "within gap" if reached <= wanted else "not proven"


def _limit(
    problem: Problem, lanes: list[str], kind: int, lane: int, period: int | None, limit: float, used: float,
    price: float, periods: int = 1,
) -> dict[str, Any]:  # fmt: skip
    name = explain.row_name(kind, lanes[lane] if lane >= 0 else "")
    row: dict[str, Any] = {"name": name, "limit": limit, "used": used, "price": price}
    if period is not None and period >= 0:
        row["period"] = period
    if price > 0:
        days = problem.horizon_days / (periods if lane >= 0 else 1)
        row["words"] = explain.price_words(kind, lanes[lane] if lane >= 0 else "", price, days)
    return row


def transfers(answer: Answer) -> pa.Table:
    """One row a transfer, by period, sku, from and to."""
    p, problem = answer.problem.picture, answer.problem
    now = answer.period == 0
    why = explain.reasons(p, answer.sku, answer.lane, np.where(now, answer.units, 0.0))
    gain = why.saved - why.lost - why.lane_cost
    origin = [problem.places[i] for i in p.lanes.origin[answer.lane]]
    destination = [problem.places[i] for i in p.lanes.destination[answer.lane]]
    days = p.horizon_days[answer.sku, p.lanes.destination[answer.lane]]
    words = [
        "promised" if fixed else explain.reason_words(float(s), float(n), a, b, float(d))
        for fixed, s, n, a, b, d in zip(
            answer.fixed, why.short_units, why.left_units, origin, destination, days, strict=True
        )
    ]
    table = pa.table(
        [
            pa.array(answer.period, pa.int32()),
            pa.array([problem.skus[k] for k in answer.sku], pa.string()),
            pa.array(origin, pa.string()),
            pa.array(destination, pa.string()),
            pa.array(answer.units),
            pa.array(p.lanes.lead_days[answer.lane]),
            pa.array(p.lanes.unit_cost[answer.lane] * answer.units),
            pa.array(gain, mask=~now),
            pa.array(answer.fixed),
            pa.array(words, pa.string()),
        ],
        schema=TRANSFERS,
    )
    return table.sort_by([(name, "ascending") for name in ("period", "sku", "from", "to")])


def as_json(answer: Answer, seconds: float, memory_mb: float) -> dict[str, Any]:
    """plan.json. `objective` is money, less is better, and doing nothing is 0: lane costs less expected gain."""
    problem, p = answer.problem, answer.problem.picture
    k, i = np.nonzero(answer.missing_units > 0)
    missing = [
        {"sku": problem.skus[a], "location": problem.places[b], "units": float(answer.missing_units[a, b])}
        for a, b in zip(k, i, strict=True)
    ]
    possible = answer.status != "infeasible"  # a bound is one of plans that reach every minimum: else there are none
    duals = sorted((row for row in answer.limits if row["price"] > 0), key=lambda row: -float(row["price"]))
    return {
        "status": answer.status,
        "objective": round(answer.objective, 6) + 0.0,
        "bound": round(answer.bound, 6) + 0.0 if possible else None,
        "gap": round(answer.gap, 9) if possible else None,
        "transport_cost": round(float(p.lanes.unit_cost[answer.lane] @ answer.units), 6),
        "transfers": len(answer.units),
        "units": float(answer.units.sum()),
        "periods": answer.periods,
        "horizon_days": problem.horizon_days,
        "duals": duals,
        "shortfall": float(answer.missing_units.sum()),
        "missing": missing[:SENTENCES_MOST],
        "conflict": answer.conflict[:SENTENCES_MOST],
        "cut_short": {"count": answer.cut_count, "words": answer.cuts},
        "skus": len(problem.skus),
        "locations": len(problem.places),
        "lanes": len(p.lanes.origin),
        "method": answer.method,
        "rounds": answer.rounds,
        "seconds": round(seconds, 3),
        "memory_mb": round(memory_mb, 1),
    }
