"""Policies against the textbook (stockpyl as oracle), by hand, and by law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stockpyl import eoq as oracle_eoq
from stockpyl import finite_horizon as oracle_dp
from stockpyl import loss_functions as oracle_loss
from stockpyl import newsvendor as oracle_newsvendor
from stockpyl import rq as oracle_rq
from stockpyl import ss as oracle_ss
from stockpyl.wagner_whitin import wagner_whitin as oracle_wagner_whitin

from models.stock import dynamic, eoq, explain, loss, lot_sizes, newsvendor, policies, portfolio, safety_stock, segments
from models.stock.rates import MixedPeriods, Rate

COSTS = st.floats(0.1, 100.0)
YEAR = "year"


# --- lots -----------------------------------------------------------------------------------------------------------


def test_the_economic_order_quantity_by_hand():
    """10,000 a year, 50 an order, 2 a unit-year: 707.1068 units, 14.14 orders, 1,414.21 a year."""
    lot = eoq.economic_order_quantity(Rate(10_000, YEAR), 50, Rate(2, YEAR))
    assert lot.units == pytest.approx(707.1068, abs=5e-5)
    assert lot.orders == pytest.approx(14.14, abs=5e-3)
    assert lot.cost == pytest.approx(1414.21, abs=5e-3)


def test_mixed_periods_are_refused():
    """Daily demand with yearly holding cost is refused by name, and works once converted."""
    with pytest.raises(MixedPeriods, match="demand is per day, holding_cost is per year"):
        eoq.economic_order_quantity(Rate(10_000 / 365.25, "day"), 50, Rate(2, YEAR))
    lot = eoq.economic_order_quantity(Rate(10_000 / 365.25, "day").to(YEAR), 50, Rate(2, YEAR))
    assert lot.units == pytest.approx(707.1068, abs=5e-5)


def test_a_fixed_period_orders_its_demand():
    """20 a day for 14 days: 280."""
    assert eoq.fixed_period_units(Rate(20.0, "day"), 14) == 280.0


@settings(deadline=None)
@given(COSTS, COSTS, COSTS, COSTS)
def test_lots_equal_the_textbook(fixed, holding, rate, short):
    """EOQ, with and without backorders, equals stockpyl."""
    units, cost = oracle_eoq.economic_order_quantity(fixed, holding, rate)
    ours = eoq.economic_order_quantity(Rate(rate, YEAR), fixed, Rate(holding, YEAR))
    assert (ours.units, ours.cost) == pytest.approx((units, cost))
    units, share, cost = oracle_eoq.economic_order_quantity_with_backorders(fixed, holding, short, rate)
    ours = eoq.economic_order_quantity_with_backorders(Rate(rate, YEAR), fixed, Rate(holding, YEAR), Rate(short, YEAR))
    assert (ours.units, ours.short_share, ours.cost) == pytest.approx((units, share, cost))


@settings(deadline=None)
@given(COSTS, st.floats(0.05, 0.5), st.floats(10, 5_000))
def test_discounted_lots_equal_the_textbook(fixed, interest, rate):
    """All-units and incremental discounts equal stockpyl, one row or many."""
    breaks, prices = [0.0, 400.0, 800.0], [0.75, 0.72, 0.68]
    for all_units, oracle in (
        (True, oracle_eoq.economic_order_quantity_with_all_units_discounts),
        (False, oracle_eoq.economic_order_quantity_with_incremental_discounts),
    ):
        units, _, cost = oracle(fixed, interest, rate, breaks, prices)
        demand = Rate(np.array([rate, 1.0]), YEAR)
        ours = eoq.economic_order_quantity_with_discounts(
            demand, fixed, Rate(interest, YEAR), breaks, prices, on_all_units=all_units
        )
        assert ours.cost[0] == pytest.approx(cost)
        assert ours.units[0] == pytest.approx(units)


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=10).filter(lambda d: d[0] > 0), COSTS, st.floats(0.05, 5.0))
def test_wagner_whitin_equals_the_textbook_and_feeds_every_period(demand, fixed, holding):
    """Cost equals stockpyl's; orders so far never fall short of demand so far, and bring exactly all of it."""
    plan = lot_sizes.wagner_whitin(np.array([demand], dtype=float), fixed, holding)
    _, cost, _, _ = oracle_wagner_whitin(len(demand), holding, fixed, demand)
    assert plan.cost[0] <= cost * (1 + 1e-9)  # the oracle pays for orders of nothing too
    if min(demand) > 0:
        assert plan.cost[0] == pytest.approx(cost)
    assert (np.cumsum(plan.order_units[0]) >= np.cumsum(demand) - 1e-9).all()
    assert plan.order_units.sum() == sum(demand)


# --- loss, newsvendor, safety ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0.5, 60), st.floats(0.2, 20), st.integers(0, 90))
def test_expected_shortfalls_equal_the_textbook(mean, sd, x):
    """Normal, Poisson, gamma and negative binomial shortfalls equal stockpyl's loss functions."""
    assert loss.normal_shortfall_units(x, mean, sd) == pytest.approx(oracle_loss.normal_loss(x, mean, sd)[0], abs=1e-9)
    assert loss.poisson_shortfall_units(x, mean) == pytest.approx(oracle_loss.poisson_loss(x, mean)[0], abs=1e-6)
    shape, scale = (mean / sd) ** 2, sd * sd / mean
    ours = loss.gamma_shortfall_units(x, mean, sd)
    assert ours == pytest.approx(max(oracle_loss.gamma_loss(max(x, 1e-12), shape, scale)[0], 0.0), abs=1e-6)
    counts = np.arange(4_000)
    r, p = loss.negative_binomial_parameters(mean, mean + sd)
    direct = (np.maximum(counts - x, 0) * stats.nbinom.pmf(counts, r, p)).sum()
    assert loss.negative_binomial_shortfall_units(x, mean, mean + sd) == pytest.approx(direct, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(COSTS, COSTS, st.floats(1, 60), st.floats(0.2, 10))
def test_newsvendors_equal_the_textbook(over, under, mean, sd):
    """Normal, Poisson and discrete newsvendors equal stockpyl, stock and cost."""
    stock, cost = oracle_newsvendor.newsvendor_normal(over, under, mean, sd)
    assert newsvendor.newsvendor_normal(over, under, mean, sd) == pytest.approx(stock)
    assert newsvendor.newsvendor_normal_cost(stock, over, under, mean, sd) == pytest.approx(cost)
    stock, cost = oracle_newsvendor.newsvendor_poisson(over, under, mean)
    assert newsvendor.newsvendor_poisson(over, under, mean) == stock
    assert newsvendor.newsvendor_poisson_cost(stock, over, under, mean) == pytest.approx(cost, rel=1e-5)
    pmf = stats.poisson.pmf(np.arange(150), mean)
    pmf = pmf / pmf.sum()
    best, at_best = newsvendor.newsvendor_discrete(over, under, pmf)
    around = [over * (np.maximum(q - np.arange(150), 0) @ pmf) + under * (np.maximum(np.arange(150) - q, 0) @ pmf)
              for q in range(150)]  # fmt: skip
    assert at_best == pytest.approx(min(around), abs=1e-9)
    assert around[best] == pytest.approx(min(around), abs=1e-9)


def test_safety_stocks_by_hand():
    """95 %, sd 2 a day, 9 days: 9.87; an uncertain wait needs more, a certain one the same."""
    assert safety_stock.normal_safety_stock_units(0.95, 2.0, 9.0) == pytest.approx(9.87, abs=5e-3)
    assert safety_stock.stochastic_safety_stock_units(0.95, 5.0, 2.0, 9.0, 0.0) == pytest.approx(9.87, abs=5e-3)
    assert safety_stock.stochastic_safety_stock_units(0.95, 5.0, 2.0, 9.0, 2.0) > 19.0
    sums = np.arange(1.0, 101.0)[None]
    assert safety_stock.empirical_safety_stock_units(0.95, sums)[0] == pytest.approx(95.0 - 50.5)
    with pytest.raises(ValueError, match="service_level"):
        safety_stock.normal_safety_stock_units(1.0, 2.0, 9.0)


@settings(deadline=None)
@given(st.floats(0.55, 0.99), st.floats(1, 50), st.floats(1.05, 4.0))
def test_safety_stocks_cover_what_they_promise(level, mean, dispersion):
    """Mean plus safety stock covers the level under the distribution it was made for."""
    sd = np.sqrt(mean * dispersion)
    gamma = mean + safety_stock.gamma_safety_stock_units(level, mean, sd)
    assert stats.gamma.cdf(gamma, (mean / sd) ** 2, scale=sd * sd / mean) == pytest.approx(level)
    whole = mean + safety_stock.negative_binomial_safety_stock_units(level, mean, mean * dispersion)
    r, p = loss.negative_binomial_parameters(mean, mean * dispersion)
    assert stats.nbinom.cdf(round(whole), r, p) >= level - 1e-9
    assert stats.nbinom.cdf(round(whole) - 1, r, p) < level + 1e-9


# --- standing policies ----------------------------------------------------------------------------------------------


def test_r_q_equals_the_textbook():
    """Normal (approximate) and Poisson (exact) (r, Q) equal stockpyl's examples."""
    for args in ((0.225, 7.5, 8, 1300, 150, 1 / 12), (1.0, 30.0, 20, 400, 60, 0.1)):
        point, lot, cost = oracle_rq.r_q_eil_approximation(*args)
        ours = policies.r_q_normal(*args)
        assert (ours.reorder_point, ours.lot, ours.cost) == pytest.approx((point, lot, cost), rel=1e-5)
    for args in ((20, 150, 100, 1.5, 2), (1, 9, 4, 3.0, 1)):
        point, lot, cost = oracle_rq.r_q_poisson_exact(*args)
        ours = policies.r_q_poisson(*args)
        assert (ours.reorder_point, ours.lot) == (point, lot)
        assert ours.cost == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize(
    ("holding", "short", "order", "mean"), [(1, 4, 5, 6), (2, 50, 100, 4), (1, 9, 0.5, 2), (3, 4, 64, 10)]
)
def test_s_s_equals_the_textbook(holding, short, order, mean):
    """Exact (s, S) equals stockpyl's."""
    pmf = stats.poisson.pmf(np.arange(80), mean)
    ours = policies.s_s_discrete(holding, short, order, pmf)
    point, up_to, cost = oracle_ss.s_s_discrete_exact(holding, short, order, True, mean)
    assert ours.cost == pytest.approx(cost, rel=1e-6)
    assert (ours.reorder_point, ours.order_up_to) == (point, up_to)


def test_base_stock_is_the_newsvendor_over_the_wait_and_one():
    """Base stock equals stockpyl's newsvendor with a lead time; (R, S) with review 1 at that level is the same."""
    stock, _ = oracle_newsvendor.newsvendor_normal(0.18, 0.70, 50, 8, lead_time=4)
    assert policies.base_stock_normal(0.18, 0.70, 50, 8, 4) == pytest.approx(stock)
    assert policies.periodic_order_up_to_normal(0.70 / 0.88, 50, 8, 4, 1) == pytest.approx(stock)


# --- dynamic programming --------------------------------------------------------------------------------------------


def test_four_quarters_by_hand():
    """High, mid, low at 0.4/0.5/0.1 costing 20/15/10: 69.5/64.5/59.5 once the first is known, 66.0 before."""
    chance = np.array([0.4, 0.5, 0.1])
    cost = dynamic.chain(np.array([20.0, 15.0, 10.0]), chance, 4)
    np.testing.assert_allclose(cost, [69.5, 64.5, 59.5])
    assert cost @ chance == pytest.approx(66.0)


def test_lots_kept_a_quarter_by_hand():
    """3/2/1 lots at 20/15/10 against demand 3/2/1: a lot short at 5, 10, 20 keeps 1 (16.5), 2 (19), 3 (20)."""
    keep, lots, chance = np.array([20.0, 15.0, 10.0]), np.array([3.0, 2.0, 1.0]), np.array([0.4, 0.5, 0.1])
    for short, best, cost in ((5.0, 1.0, 16.5), (10.0, 2.0, 19.0), (20.0, 3.0, 20.0)):
        at, value = dynamic.best_lot(keep, lots, lots, chance, short)
        assert (lots[at], value) == (best, pytest.approx(cost))


def test_a_season_equals_the_textbook():
    """(s, S) by period and the expected cost of a season equal stockpyl's dynamic program."""
    pmf = stats.norm.cdf(np.arange(0, 45) + 0.5, 20, 4) - stats.norm.cdf(np.arange(0, 45) - 0.5, 20, 4)
    pmf /= pmf.sum()
    ours = dynamic.season(
        np.tile(pmf, (4, 1)), holding_cost=1, shortage_cost=20, unit_cost=2, order_cost=50, cap_units=110,
        floor_units=-40, lost_sales=False, discount=0.98,
    )  # fmt: skip
    points, up_to, cost, _, _, _ = oracle_dp.finite_horizon_dp(4, 1, 20, 0, 2, 2, 50, 20, 4, discount_factor=0.98)
    at_zero = int(np.flatnonzero(ours.stock == 0)[0])
    assert abs(int(ours.order_up_to[0, at_zero]) - up_to[1]) <= 1
    order = ours.order_up_to[0] > ours.stock
    assert abs(int(ours.stock[order].max()) - points[1]) <= 1
    assert ours.cost_to_go[0, at_zero] == pytest.approx(cost, rel=0.01)


def test_a_one_period_season_is_the_newsvendor():
    """Bought once, with salvage: the critical ratio's quantile."""
    pmf = stats.poisson.pmf(np.arange(60), 20)
    pmf /= pmf.sum()
    ours = dynamic.last_buy(pmf, unit_cost=4.0, shortage_cost=10.0, salvage_value=1.0)
    assert ours == newsvendor.newsvendor_discrete(3.0, 6.0, pmf)[0]


def test_what_spoils_is_ordered_less():
    """With a life of one period nothing is kept for tomorrow; a longer life never costs more."""
    pmf = np.tile(stats.binom.pmf(np.arange(7), 6, 0.5), (3, 1))
    costs = []
    for life in (1, 2, 3):
        plan = dynamic.shelf_life(
            pmf, life_periods=life, unit_cost=2.0, holding_cost=0.1, shortage_cost=9.0, waste_cost=1.0, cap_units=9
        )
        costs.append(plan.cost_to_go[0, 0])
    assert costs[0] > costs[1] >= costs[2]
    one = dynamic.shelf_life(
        pmf[:1], life_periods=1, unit_cost=2.0, holding_cost=0.1, shortage_cost=9.0, waste_cost=1.0, cap_units=9
    )
    assert one.order_units[0, 0] == newsvendor.newsvendor_discrete(3.0, 7.0, pmf[0])[0]


# --- portfolio ------------------------------------------------------------------------------------------------------

LEVELS = np.round(np.arange(0.05, 1.0, 0.05), 2)


def curves(seed, n):
    rng = np.random.default_rng(seed)
    return stats.gamma.ppf(LEVELS[None], rng.uniform(0.3, 5.0, n)[:, None], scale=rng.uniform(1, 30, n)[:, None])


def test_equal_costs_mean_equal_quantiles():
    """With equal unit costs and worths, one quantile serves every row."""
    curve = curves(1, 50)
    done = portfolio.for_fill_rate(LEVELS, curve, curve.mean(axis=1), 0.97)
    assert np.ptp(done.service_level) == 0
    assert done.fill_rate == pytest.approx(0.97, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.85, 0.99))
def test_a_portfolio_holds_less_money_than_equal_service(seed, fill):
    """At the same total fill rate no equal service level holds less money, and the dear rows are promised less."""
    curve, rng = curves(seed, 40), np.random.default_rng(seed)
    cost, cycle = rng.gamma(0.5, 20.0, 40) + 0.5, curve.mean(axis=1)
    done = portfolio.for_fill_rate(LEVELS, curve, cycle, fill, unit_cost=cost)
    equal = portfolio.for_fill_rate(LEVELS, curve, cycle, fill)
    shape = portfolio.QuantileCurve(LEVELS, curve)
    units, short = shape.at(equal.service_level)
    assert done.fill_rate >= fill - 1e-9
    assert done.money <= (cost * (units - shape.mean_units + short)).sum() * (1 + 1e-6)
    assert done.service_level[np.argmax(cost)] <= done.service_level[np.argmin(cost)]


def test_a_budget_is_kept_and_spent():
    """Expected money in stock is the budget, and more of it never serves less."""
    curve = curves(3, 30)
    small = portfolio.for_budget(LEVELS, curve, curve.mean(axis=1), 500.0, unit_cost=2.0)
    large = portfolio.for_budget(LEVELS, curve, curve.mean(axis=1), 800.0, unit_cost=2.0)
    assert small.money <= 500.0 * (1 + 1e-6)
    assert small.money == pytest.approx(500.0, rel=1e-3)
    assert large.fill_rate > small.fill_rate


def test_shortfalls_of_a_curve_are_those_of_its_distribution():
    """From quantiles of an exponential, mean and expected shortfall come out within five percent."""
    levels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99])
    shape = portfolio.QuantileCurve(levels, stats.expon.ppf(levels, scale=10.0)[None])
    assert shape.mean_units[0] == pytest.approx(10.0, rel=0.02)
    for level in (0.5, 0.9, 0.95, 0.99, 0.995):
        units, short = shape.at(np.array([level]))
        assert units[0] == pytest.approx(stats.expon.ppf(level, scale=10.0), rel=1e-6)
        assert short[0] == pytest.approx((1 - level) * 10.0, rel=0.05)


def test_a_promised_fill_rate_becomes_a_level():
    """A row promised a fill rate is stocked where its units short a cycle are the rest."""
    curve = curves(4, 20)
    cycle = curve.mean(axis=1)
    level = portfolio.level_for_fill_rate(LEVELS, curve, cycle, 0.95)
    short = portfolio.QuantileCurve(LEVELS, curve).at(level)[1]
    inside = (level > portfolio.LOWEST_LEVEL * 1.01) & (level < portfolio.HIGHEST_LEVEL)
    np.testing.assert_allclose(short[inside], 0.05 * cycle[inside], rtol=1e-6)


# --- segments and words ---------------------------------------------------------------------------------------------


def test_segments_have_defaults():
    """Every ABC x XYZ segment has a service level, higher for value, lower for risk."""
    names = [(a, x) for a in "ABC" for x in "XYZ"]
    level = segments.default_service_level(np.array([a for a, _ in names]), np.array([x for _, x in names]))
    assert ((level > 0.8) & (level < 1)).all()
    assert (np.diff(level.reshape(3, 3), axis=0) <= 0).all()
    assert (np.diff(level.reshape(3, 3), axis=1) <= 0).all()


def test_the_sentence_has_its_numbers():
    """An order's sentence names position, reorder point, both parts of it, the promise, the evidence and the packs."""
    said = explain.why_ordered(
        position=12, reorder_point=31, mean_over_wait=22, wait_days=9, service_level=0.95, cycles=41, quantity=48,
        order_up_to=60, pack=12,
    )  # fmt: skip
    assert said == (
        "position 12 is under reorder point 31 = 22 expected over 9 days + 9 for 95 % service, learnt from 41 cycles; "
        "ordering 48 to reach 60, in packs of 12"
    )


def test_a_curve_is_right_under_its_median_too() -> None:
    """Of normal demand known by its upper quantiles, the mean, low quantiles and their shortfall are the normal's."""
    levels = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995])
    curve = portfolio.QuantileCurve(levels, 100.0 + 10.0 * stats.norm.ppf(levels)[None])
    assert curve.mean_units[0] == pytest.approx(100.0, rel=0.005)
    for level in (0.1, 0.3):
        z = stats.norm.ppf(level)
        units, short = (float(v[0]) for v in curve.at(np.array([level])))
        assert units == pytest.approx(100.0 + 10.0 * z, rel=0.02)
        assert short == pytest.approx(10.0 * (stats.norm.pdf(z) - z * (1.0 - level)), rel=0.1)
