"""Whole packs out of fractions and prices, without ever breaking a constraint.

Every coupled arc gets an *allowance*, whole and within all limits together; each block then does its best within its
allowances. Left-over capacity goes to blocks that could use it, wish by wish, each cut to what still fits. Whatever the
wishes are, the result is lawful: only how good it is depends on them, and that the bound tells.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from models.network.apart import best_units
from models.network.circulation import TOLERANCE, Circulation, Floats, Flow, answer, used
from models.network.linear import conservation

EXACT_ARCS = 3_000  # up to here branch and bound settles what rounding leaves open
EXACT_NODES = 2_000
PASSES = 3  # of handing out left-over capacity; a fourth moved nothing in any problem measured


def better(one: Flow | None, other: Flow) -> Flow:
    """The plan that leaves less missing and then costs less."""
    if one is None or (other.shortfall, other.cost) < (one.shortfall, one.cost):
        return other
    return one


def from_fractions(c: Circulation, lp: Flow, exact: bool = True) -> Flow:
    """Whole packs near a fractional optimum; small problems exactly, by branch and bound, if `exact`."""
    coupled = coupled_arcs(c)
    fraction = np.abs(lp.units - np.rint(lp.units))[coupled].max(initial=0.0)
    down = np.where(coupled, np.floor(lp.units + TOLERANCE), c.upper)
    wish = np.where(coupled, np.ceil(lp.units - TOLERANCE), c.upper)
    plan = _settle(c, down, wish, lp.prices, lp.bound, lp.method, lp.rounds)
    small = exact and len(c.tail) <= EXACT_ARCS
    if small and fraction > TOLERANCE and plan.cost + c.reward * plan.shortfall > lp.bound + 1e-9:
        return better(plan, _branch_and_bound(c, lp, plan))
    return plan


def coupled_arcs(c: Circulation) -> np.ndarray:
    """Which arcs any coupling row looks at, shape (m,)."""
    return np.bincount(c.usage.indices, minlength=len(c.tail)) > 0


def _settle(c: Circulation, down: Floats, wish: Floats, prices: Floats, bound: float, method: str, rounds: int) -> Flow:
    """Fill what `down` leaves free, from `wish` first and then from what blocks would do if only they could."""
    coupled = coupled_arcs(c)
    sure = admit(c, np.zeros(len(down)), down * coupled)  # `down` itself may overflow by a rounding
    allowed = np.where(coupled, admit(c, sure, wish * coupled), c.upper)
    units = best_units(c, c.paid(), allowed)
    for _ in range(PASSES):
        kept = np.where(coupled, units, 0.0)
        more = best_units(c, c.paid(), np.where(coupled, kept + room(c, kept), c.upper))
        allowed = np.where(coupled, admit(c, kept, np.maximum(more, kept) * coupled), c.upper)
        now = best_units(c, c.paid(), allowed)
        if c.paid() @ now >= c.paid() @ units - 1e-9:
            break
        units = now
    return answer(c, units, bound, method, prices=prices, rounds=rounds)


def room(c: Circulation, kept: Floats) -> Floats:
    """What each arc alone could still carry on top of `kept`, whole, shape (m,)."""
    slack = np.maximum(c.limit - used(c, kept), 0.0)
    most = np.full(len(c.tail), np.inf)
    rows = np.repeat(np.arange(len(c.limit)), np.diff(c.usage.indptr))
    loads = c.usage.data > 0
    np.minimum.at(most, c.usage.indices[loads], slack[rows[loads]] / c.usage.data[loads])
    return np.minimum(np.floor(most + 1e-9), np.maximum(c.upper - kept, 0.0))


def admit(c: Circulation, kept: Floats, wish: Floats) -> Floats:
    """`kept`, raised towards `wish` arc by arc as far as every row still fits; whole, shape (m,)."""
    columns = c.usage.tocsc()
    slack = (c.limit - used(c, kept)).tolist()
    allowed = kept.copy()
    for arc in np.flatnonzero(wish > kept + 0.5).tolist():
        rows = columns.indices[columns.indptr[arc] : columns.indptr[arc + 1]].tolist()
        loads = columns.data[columns.indptr[arc] : columns.indptr[arc + 1]].tolist()
        most = float(wish[arc] - kept[arc])
        for row, load in zip(rows, loads, strict=True):
            if load > 0:
                most = min(most, np.floor(slack[row] / load + 1e-9))
        if most >= 1:
            allowed[arc] += most
            for row, load in zip(rows, loads, strict=True):
                slack[row] -= load * most
    return allowed


def _branch_and_bound(c: Circulation, lp: Flow, fallback: Flow) -> Flow:
    """The exact whole optimum of a small problem by HiGHS's mixed-integer solver, within EXACT_NODES nodes."""
    rows = conservation(c)
    result = optimize.milp(
        c.paid(),
        integrality=np.ones(len(c.tail)),
        bounds=optimize.Bounds(0.0, c.upper),
        constraints=[
            optimize.LinearConstraint(rows, 0.0, 0.0),
            optimize.LinearConstraint(c.usage, -np.inf, c.limit),
        ],
        options={"node_limit": EXACT_NODES, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        return fallback
    units = np.rint(result.x)
    offset = c.reward * float(c.upper[c.required].sum())
    bound = max(lp.bound, float(result.mip_dual_bound) + offset)
    return answer(c, units, bound, "branch and bound", prices=lp.prices, rounds=lp.rounds)
