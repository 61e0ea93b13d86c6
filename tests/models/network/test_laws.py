"""What holds for every plan, whatever the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import linear, priced, transfer, whole
from models.network.apart import solve_apart
from models.network.circulation import balance, used
from models.network.plan import Plan, plan
from models.network.solve import solve
from models.network.transfer import Picture
from tests.models.network.pictures import random_picture

SEEDS = st.integers(0, 10_000)


def stock_after(p: Picture, answer: Plan) -> np.ndarray:
    out, come = np.zeros_like(p.on_hand), np.zeros_like(p.on_hand)
    np.add.at(out, (answer.sku, p.lanes.origin[answer.lane]), answer.units)
    np.add.at(come, (answer.sku, p.lanes.destination[answer.lane]), answer.units)
    assert np.all(p.on_hand - out >= np.minimum(np.maximum(p.frozen, p.minimum), p.on_hand) - 1e-9)
    return p.on_hand - out + come


def within_limits(p: Picture, answer: Plan) -> None:
    for capacity, load in (
        (p.lanes.capacity_units, np.ones(len(p.on_hand))),
        (p.lanes.capacity_weight, p.goods.weight),
        (p.lanes.capacity_volume, p.goods.volume),
    ):
        carried = np.bincount(answer.lane, answer.units * load[answer.sku], len(capacity))
        assert np.all(carried <= capacity + 1e-6)
    assert float(p.lanes.unit_cost[answer.lane] @ answer.units) <= p.budget + 1e-6


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([1.0, 3.0]), st.sampled_from([np.inf, 30.0]))
def test_plans_are_lawful(seed: int, pack: float, budget: float) -> None:
    """Stock is conserved and stays above what is frozen, packs are whole, no lane and no budget is overdrawn, doing
    nothing is never better, and the bound is below the plan."""
    p = random_picture(6, 4, seed, limited=True, pack=np.full(6, pack), budget=budget, frozen=np.full((6, 4), 2.0))
    answer = plan(p)
    assert stock_after(p, answer).sum() == pytest.approx(p.on_hand.sum())
    within_limits(p, answer)
    assert np.all(answer.units % pack == 0)
    assert answer.objective <= 1e-9
    assert answer.bound <= answer.objective + 1e-9


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1.0, 3.0))
def test_more_capacity_never_hurts(seed: int, factor: float) -> None:
    """Lanes widened by any factor: the optimum is no dearer, and so is the plan up to its stated gap."""
    p = random_picture(6, 4, seed, limited=True)
    wide = replace(
        p.lanes,
        capacity_units=np.floor(p.lanes.capacity_units * factor),
        capacity_weight=p.lanes.capacity_weight * factor,
    )
    tight, loose = transfer.build(p).circulation, transfer.build(replace(p, lanes=wide)).circulation
    before, after = linear.solve_linear(tight, "simplex"), linear.solve_linear(loose, "simplex")
    assert after.cost <= before.cost + 1e-6
    assert solve(loose).cost <= solve(tight).cost + (solve(tight).cost - before.cost) + 1e-6


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_prices_predict_the_change(seed: int) -> None:
    """The optimum is convex in a limit: no step changes it by more than the price says."""
    c = transfer.build(random_picture(8, 4, seed, limited=True)).circulation
    base = linear.solve_linear(c, "simplex")
    for row in np.argsort(-base.prices)[:3]:
        for step in (1e-3, 0.5, 2.0):
            limit = c.limit.copy()
            limit[row] += step
            there = linear.solve_linear(replace(c, limit=limit), "simplex")
            assert base.cost - there.cost <= base.prices[row] * step + 1e-6
            assert base.cost - there.cost >= there.prices[row] * step - 1e-6


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_every_method_agrees(seed: int) -> None:
    """Uncoupled: cost scaling, simplex and interior point cost the same; flow is whole and conserved."""
    c = transfer.build(random_picture(12, 5, seed)).circulation
    alone = solve_apart(c)
    assert alone.cost == pytest.approx(linear.solve_linear(c, "simplex").cost, abs=1e-5)
    assert alone.cost == pytest.approx(linear.solve_linear(c, "interior point").cost, abs=1e-4)
    assert np.all(balance(c, alone.units) == 0)
    assert np.all(alone.units == np.rint(alone.units))


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_prices_come_within_the_gap_they_state(seed: int) -> None:
    """The bound by prices is below the exact optimum, the plan above it, whole, lawful and as near as it says."""
    c = transfer.build(random_picture(60, 5, seed, limited=True)).circulation
    exact = linear.solve_linear(c, "simplex")
    near = priced.solve_priced(c, gap=0.01, rounds_most=25)
    assert near.bound <= exact.cost + 1e-4 * abs(exact.cost) + 1e-6
    assert near.cost >= exact.cost - 1e-6
    assert np.all(used(c, near.units) <= c.limit + 1e-6)
    assert np.all(balance(c, near.units) == 0)
    if near.proven:
        assert near.cost - near.bound <= 0.01 * abs(near.bound) + 1e-6


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_prices_start_anywhere(seed: int) -> None:
    """From prices of nothing the bound still climbs until the optimum is within 2 % of it."""
    c = transfer.build(random_picture(20, 4, seed, limited=True)).circulation
    exact = linear.solve_linear(c, "simplex")
    near = priced.solve_priced(c, gap=0.02, rounds_most=30, start=np.zeros(len(c.limit)))
    assert near.bound >= exact.cost - 0.02 * abs(near.bound) - 1e-6


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_rounding_never_breaks_a_limit_whatever_is_wished(seed: int) -> None:
    """Even absurd fractions become a lawful whole plan."""
    c = transfer.build(random_picture(6, 4, seed, limited=True)).circulation
    rng = np.random.default_rng(seed)
    absurd = replace(solve_apart(c), units=rng.uniform(0, 1, len(c.tail)) * c.upper * 3, bound=-1e18)
    rounded = whole.from_fractions(c, absurd)
    assert np.all(used(c, rounded.units) <= c.limit + 1e-6)
    assert np.all(balance(c, rounded.units) == 0)
    assert rounded.cost <= 1e-9


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_minimums_are_reached_or_said_to_be_missed(seed: int) -> None:
    """What is missing is said place by place, and somebody is to blame exactly when something is."""
    rng = np.random.default_rng(seed)
    p = random_picture(4, 4, seed, limited=True, minimum=np.floor(rng.gamma(0.5, 8.0, (4, 4))))
    answer = plan(p)
    after = stock_after(p, answer)
    within_limits(p, answer)
    assert np.all(after + answer.missing_units >= p.minimum - 1e-6)
    assert answer.feasible == (answer.missing_units.sum() == 0)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_search_that_is_cut_short_still_gives_a_lawful_plan_and_a_true_bound(seed: int) -> None:
    """When time is up after the first round there is a whole plan, never worse than doing nothing, and its bound."""
    c = transfer.build(random_picture(30, 5, seed, limited=True)).circulation
    exact = linear.solve_linear(c, "simplex")
    cut = priced.solve_priced(c, gap=1e-9, enough=lambda: True)
    assert cut.rounds == 1
    assert cut.bound <= exact.cost + 1e-4 * abs(exact.cost) + 1e-6
    assert exact.cost - 1e-6 <= cut.cost <= 1e-9
    assert np.all(used(c, cut.units) <= c.limit + 1e-6)
    assert np.all(balance(c, cut.units) == 0)
