"""Large coupled problems by prices: each row of the coupling gets a price, blocks then decide alone.

At prices p the blocks' best answers give a bound, `min (cost + usage' p) x - p limit`, concave in p. Where it is
highest is found by a cutting-plane model (one cut a group of blocks and round; Kelley 1960, with the boxed step of
Marsten, Hogan & Blankenship 1975). This is column generation seen from the dual. First prices come from an exact
solution of a sample of blocks with limits shrunk alike.

Near the best prices most blocks answer the same whether prices are a little up or down: they are settled. The *torn*
ones, whose answers change, share what the settled leave of every limit; that is a small linear programme, solved
exactly. Its prices go back into the bound. The gap between plan and bound is what we state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, sparse

from models.network import whole
from models.network.apart import best_units
from models.network.circulation import Bools, Circulation, Floats, Flow, Ints, used
from models.network.linear import solve_linear

GAP = 0.005  # of the bound: a plan this near is not worth another round
GROUPS_MOST = 40  # cuts a round: more say more, and make the model's own programme slower
SAMPLE_ARCS = 100_000  # simplex takes about two seconds for as many
TORN_ARCS = 60_000  # two or three seconds of simplex
IMPROVE_EVERY = 2  # rounds of prices for each exchange
IMPROVED_PART = 10  # one in so many arcs is exchanged at a time
ROOM = 0.9  # of a limit the settled may use: the torn need some to trade in
STEPS = (0.1, 0.03, 0.01, 0.003)  # shares by which prices go up and down to see who is torn
BOX_FIRST = 0.25  # first step allowed, as a share of a row's price (of the mean price where it is small)


class _Cut(NamedTuple):
    cost: Floats  # (g,)
    use: Floats  # (g, r)


def solve_priced(
    c: Circulation,
    gap: float = GAP,
    rounds_most: int = 40,
    start: Floats | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Flow:
    """A whole plan, a bound and prices; stops when the plan is within `gap` of the bound, or after `rounds_most`.

    `start` (r,): prices to begin with, such as the last plan's. `enough` is asked once a round: where it says so (time
    is up), the best plan and bound there are end it; a lawful plan there always is.
    """
    prices = sample_prices(c) if start is None else start
    groups, plan = _groups(c), None
    best, units, cut = _ask(c, groups, prices)
    cuts, box = [cut], BOX_FIRST * (prices + max(float(prices.mean()), _usual(c)))
    number = 0
    for number in range(1, rounds_most + 1):
        wanted, ceiling = _model(c, cuts, prices, box)
        near = ceiling - best <= gap / 2 * abs(best) or number >= rounds_most * 3 // 4
        if near and plan is None:
            plan = whole.from_fractions(c, replace(_torn(c, prices, units), rounds=number), exact=False)
        elif plan is not None and number % IMPROVE_EVERY == 0:
            fractions = _improved(c, prices, units, plan.units, number // IMPROVE_EVERY)
            plan = whole.better(plan, whole.from_fractions(c, fractions, exact=False))
        bound, units_there, cut = _ask(c, groups, wanted)
        cuts.append(cut)
        if bound > best:
            box = box * (1.5 if bound - best >= 0.3 * (ceiling - best) else 1.0)
            prices, best, units = wanted, bound, units_there
        else:
            box = box * 0.5
        if plan is not None and plan.cost + c.reward * plan.shortfall - best <= gap * abs(best):
            return replace(plan, bound=best, prices=prices, rounds=number)
        if enough():
            break
    plan = plan or whole.from_fractions(c, _torn(c, prices, units), exact=False)
    near = plan.cost + c.reward * plan.shortfall - best <= gap * abs(best)
    return replace(plan, bound=best, prices=prices, rounds=number, proven=near)


def _usual(c: Circulation) -> float:
    """A price to try where none is known: a tenth of what an arc costs, by what it uses."""
    return 0.1 * float(np.abs(c.cost).mean()) / max(float(c.usage.data.mean()) if c.usage.nnz else 1.0, 1e-9)


def sample_prices(c: Circulation) -> Floats:
    """Prices of the exact solution of every n-th block, limits shrunk by the share of work sampled."""
    every = int(np.ceil(len(c.tail) / SAMPLE_ARCS))
    names, place = np.unique(c.block, return_inverse=True)
    arcs = np.flatnonzero(place % every == 0)
    share = len(np.unique(place[arcs])) / max(len(names), 1)
    return solve_linear(_part(c, arcs, c.limit * share), "simplex").prices


def _part(c: Circulation, arcs: Ints, limit: Floats) -> Circulation:
    return Circulation(
        c.tail[arcs], c.head[arcs], c.upper[arcs], c.cost[arcs], c.block[arcs], c.required[arcs],
        sparse.csr_array(c.usage[:, arcs]), limit,
    )  # fmt: skip


def _torn(c: Circulation, prices: Floats, units: Floats) -> Flow:
    """The settled blocks' answers with an exact fractional solution of the torn ones; a fractional plan, no bound."""
    names, place = np.unique(c.block, return_inverse=True)
    coupled = whole.coupled_arcs(c)
    torn = np.zeros(len(names), dtype=bool)
    for step in STEPS:
        torn = np.zeros(len(names), dtype=bool)
        for factor in (1 - step, 1 + step):
            there = best_units(c, c.paid() + c.usage.T @ (prices * factor), c.upper)
            torn[place[coupled & (there != units)]] = True
        if np.count_nonzero(torn[place]) <= TORN_ARCS:
            break
    torn = _fitting(c, place, torn, units)
    return _exchanged(c, torn[place], units)


def _improved(c: Circulation, prices: Floats, units: Floats, plan: Floats, turn: int) -> Flow:
    """The plan with its most regretted blocks, and as many dealt in turn to trade with, solved again together.

    A block's regret is what its plan costs at the prices above its best answer; with limits left unused at a price they
    add up to the gap, so that this is where it can be closed.
    """
    names, place = np.unique(c.block, return_inverse=True)
    arcs = np.bincount(place, minlength=len(names))
    most = max(TORN_ARCS, len(place) // IMPROVED_PART) / 2
    regret = np.bincount(place, (c.paid() + c.usage.T @ prices) * (plan - units), len(names))
    chosen = np.zeros(len(names), dtype=bool)
    hands = max(int(len(place) // most), 1)
    dealt = np.roll(np.arange(len(names)), -(turn % hands) * len(names) // hands)
    for order in (np.argsort(-regret, kind="stable"), dealt):
        chosen[order[np.cumsum(arcs[order]) <= most]] = True
    return _exchanged(c, chosen[place], plan)


def _exchanged(c: Circulation, free: Bools, units: Floats) -> Flow:
    """The flow with its `free` arcs (whole blocks) solved exactly within what the others leave."""
    arcs, flow = np.flatnonzero(free), np.where(free, 0.0, units)
    solved = solve_linear(_part(c, arcs, np.maximum(c.limit - used(c, flow), 0.0)), "simplex")
    flow[arcs] = solved.units
    return Flow(flow, float(c.cost @ flow), -np.inf, float(c.short(flow).sum()), solved.prices, "prices")


def _fitting(c: Circulation, place: Ints, torn: Bools, units: Floats) -> Bools:
    """Torn blocks, and as many more as it takes until what is settled leaves room in every row."""
    torn = torn.copy()
    for row in range(len(c.limit)):
        arcs = c.usage.indices[c.usage.indptr[row] : c.usage.indptr[row + 1]]
        load = c.usage.data[c.usage.indptr[row] : c.usage.indptr[row + 1]] * units[arcs]
        held = ~torn[place[arcs]] & (load > 0)
        excess = load[held].sum() - ROOM * c.limit[row]
        if excess > 0:
            enough = np.searchsorted(np.cumsum(load[held]), excess) + 1
            torn[place[arcs[held][:enough]]] = True
    return torn


def _groups(c: Circulation) -> Ints:
    """The group of each arc: blocks dealt out like cards."""
    _, place = np.unique(c.block, return_inverse=True)
    return np.asarray(place % GROUPS_MOST, dtype=np.int64)


def _ask(c: Circulation, groups: Ints, prices: Floats) -> tuple[float, Floats, _Cut]:
    """The bound at these prices, the blocks' answers, and their cut."""
    cost = c.paid()
    units = best_units(c, cost + c.usage.T @ prices, c.upper)
    total = int(groups.max(initial=0)) + 1
    deal = sparse.csr_array((units, (np.arange(len(units)), groups)), shape=(len(units), total))
    cut = _Cut(np.bincount(groups, cost * units, total).astype(float), (c.usage @ deal).toarray().T)
    reward = c.reward * float(c.upper[c.required].sum())
    bound = float(cost @ units + prices @ (used(c, units) - c.limit)) + reward
    return bound, units, cut


def _model(c: Circulation, cuts: list[_Cut], centre: Floats, box: Floats) -> tuple[Floats, float]:
    """Prices within the box at which the cuts still allow the highest bound, and that bound."""
    groups = len(cuts[0].cost)
    level = np.concatenate([cut.cost for cut in cuts])
    slope = np.concatenate([cut.use for cut in cuts])
    pick = sparse.csr_array(np.tile(np.eye(groups), (len(cuts), 1)))
    matrix = sparse.hstack([pick, sparse.csr_array(-slope)], format="csr")
    bounds = [(None, None)] * groups + list(zip(np.maximum(centre - box, 0.0), centre + box, strict=True))
    cost = np.concatenate([-np.ones(groups), c.limit])
    result = optimize.linprog(cost, A_ub=matrix, b_ub=level, bounds=bounds, method="highs-ds")
    if result.status != 0:
        raise ArithmeticError(f"the model of the prices has no optimum: {result.message}")
    reward = c.reward * float(c.upper[c.required].sum())
    return np.maximum(result.x[groups:], 0.0), float(-result.fun) + reward
