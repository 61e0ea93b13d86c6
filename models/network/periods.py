"""Several periods at once: what to send now, knowing what will arrive and what can still be sent later.

Only the first period is carried out; the rest is a plan to share, made again next time (a rolling horizon). Costs are
measured from everything staying unsold where it is; `idle` is the cost of sending nothing, found by the same solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.network.apart import solve_apart
from models.network.circulation import Bools, Floats, Flow, Ints
from models.network.cuts import Cuts, cuts_of_periods
from models.network.fixed import NOTHING_FIXED, Fixed
from models.network.priced import GAP
from models.network.shortfall import conflict
from models.network.solve import ARCS_EXACT, solve
from models.network.transfer import Picture
from models.network.unroll import CARRY, FIXED, PASS, RECEIPT, SEND, STAY, STOCK, Unrolled, unroll


@dataclass(frozen=True)
class Schedule:
    """Transfers of all periods, one row each; period 0 is to be carried out. Money; less is better; idle costs 0.

    What was promised leaves anyhow: idle is to send that and nothing else, and its lanes cost what they cost.
    """

    sku: Ints
    lane: Ints
    period: Ints
    units: Floats
    fixed: Bools  # whether the send-out was given
    objective: float
    bound: float
    lane_cost: float
    missing_units: Floats  # (k, l) of the minimum
    blamed: tuple[tuple[str, int, int], ...]  # kind, SKU (-1), place or lane (-1)
    prices: Floats
    cuts: Cuts
    unrolled: Unrolled
    flow: Flow

    @property
    def feasible(self) -> bool:
        """Whether every minimum is reached and every fixed send-out leaves."""
        return self.flow.feasible

    @property
    def gap(self) -> float:
        """How far from the best schedule at most, as a share of the bound."""
        return max(self.objective - self.bound, 0.0) / max(abs(self.bound), 1e-9)


def schedule(
    p: Picture,
    periods: int,
    receipts: Floats | None = None,
    gap: float = GAP,
    rounds_most: int = 40,
    arcs_exact: int = ARCS_EXACT,
    fixed: Fixed = NOTHING_FIXED,
    enough: Callable[[], bool] = lambda: False,
) -> Schedule:
    """The best transfers over `periods`, with expected `receipts` (n, k, l) at the start of each.

    Lane limits hold in every period, the budget over all. Raises ValueError for fixed send-outs that fit no period.
    """
    u = unroll(p, periods, receipts, fixed)
    c, pack = u.circulation, p.goods.pack_units
    flow = solve(c, gap, rounds_most, arcs_exact, enough=enough)
    idle = solve_apart(c.with_upper(np.where(u.kind == SEND, 0.0, c.upper))).cost
    sends = np.flatnonzero(np.isin(u.kind, (SEND, FIXED)) & (flow.units > 0.5))
    promised = u.kind[sends] == FIXED
    units, lane_cost = flow.units[sends] * pack[u.sku[sends]], p.lanes.unit_cost[u.ref[sends]]
    above = float(lane_cost[promised] @ units[promised]) - idle
    missing = np.zeros_like(p.on_hand)
    stay = np.flatnonzero(u.kind == STAY)
    short = c.short(flow.units)[stay]
    np.add.at(missing, (u.sku[stay], u.ref[stay]), np.where(short > 0.5, short, 0.0) * pack[u.sku[stay]])
    return Schedule(
        u.sku[sends],
        u.ref[sends],
        u.period[sends],
        units,
        promised,
        flow.cost + above,
        flow.bound - c.reward * flow.shortfall + above,
        float(lane_cost @ units),
        missing,
        _blamed(u) if not flow.feasible else (),
        flow.prices,
        cuts_of_periods(p, u, flow),
        u,
        flow,
    )


def _blamed(u: Unrolled) -> tuple[tuple[str, int, int], ...]:
    why = conflict(u.circulation, np.isin(u.kind, (SEND, PASS, CARRY)))
    names = ("capacity_units", "capacity_weight", "capacity_volume", "budget")
    found = [("fixed" if u.kind[a] == FIXED else "need", int(u.sku[a]), int(u.ref[a])) for a in why.needs]
    stock = why.widths[np.isin(u.kind[why.widths], (STOCK, RECEIPT))]
    found += [("stock", int(u.sku[a]), int(u.ref[a])) for a in stock]
    found += [(names[u.row_kind[r]], -1, int(u.row_lane[r])) for r in why.rows]
    return tuple(dict.fromkeys(found))
