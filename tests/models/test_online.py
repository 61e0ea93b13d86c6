"""The production family keeps the contract: slices cannot show, nothing explodes, rows are taken over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.demand import baseline
from models.demand.contract import no_ahead, observation
from models.demand.online import FAMILY, Online
from tests.models import conformance as c

UNITS = st.sampled_from([0.0, 0.001, 1.0, 3.0, 80_995.0, 1e12])


@pytest.mark.parametrize("seed", [1, 2])
def test_slices_cannot_show(seed):
    """Closing rows in any slices gives bit-identical state, shared state and outlook."""
    c.check_cut_invariance(FAMILY, seed, rows=11, periods=32)


def test_state_is_its_bytes():
    """State persists as bytes, within a row's budget, and goes on from them exactly."""
    c.check_persists(FAMILY, 3)


def test_a_fresh_row_asks_for_nothing():
    """Without history the forecast, and so the reorder point, is zero."""
    c.check_fresh_asks_for_nothing(FAMILY)


def test_a_new_row_starts_as_another_and_lets_go():
    """Levels of the like row, forgotten for the row's own within four weeks."""
    c.check_starts(FAMILY, 10)


def test_low_quantiles_of_skewed_demand():
    """Of gamma demand over a week, quantiles under the median are reached about as often as they say."""
    rng, family, rows, days = np.random.default_rng(9), Online(plan=(), slots=(4,), guests=()), 40, 160
    state, shared, levels = family.fresh(np.arange(rows)), family.fresh_shared(), np.array([0.05, 0.1, 0.2])
    horizons, under = np.full((rows, 1), 7, np.int64), []
    demand = rng.gamma(0.35, 20.0, (rows, days))
    for day in range(days - 7):
        period = np.full(rows, day)
        closed = family.close(state, shared, observation(period, demand[:, day], np.ones(rows), horizons))
        state, shared = closed.state, family.settle(shared, closed.told)
        if day >= 90 and day % 7 == 0:
            told = family.outlook(state, shared, period, horizons, no_ahead(rows), levels).quantile_sum_units[:, 0]
            under.append(demand[:, day + 1 : day + 8].sum(axis=1)[:, None] < told)
    np.testing.assert_allclose(np.concatenate(under).mean(axis=0), levels, atol=0.035)


def test_closing_is_pure():
    """Closing and settling change neither the state nor the shared state they were given."""
    c.check_closing_touches_no_input(FAMILY, 4)


def test_a_day_not_seen_teaches_nothing():
    """A day of zero exposure moves no level."""
    c.check_unseen_teaches_nothing(FAMILY, 5)


@pytest.mark.parametrize("others", [0, 20])
def test_steady_demand_is_forecast_as_it_is(others):
    """A row that sells 20 a day is forecast at 20 a day, alone or beside rows of every kind."""
    c.check_steady(FAMILY, others, 12)


def test_it_explains_itself():
    """Weights sum to one, losses are finite, guests that never came say so."""
    c.check_explains(FAMILY, 6)


def test_rows_of_the_baseline_are_taken_over():
    """A shelf kept by the baseline family goes on in this one with what it knew."""
    c.check_inherits(FAMILY, baseline.FAMILY, 7)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(UNITS, min_size=5, max_size=5), min_size=1, max_size=40),
    st.lists(st.integers(1, 400), min_size=5, max_size=5),
    st.integers(0, 2**31),
)
def test_nothing_explodes(days, horizon, seed):
    """Whatever was sold, planned and shown, answers are finite, not negative, ordered, and of the size of the data."""
    rng = np.random.default_rng(seed)
    demand = np.array(days)
    exposure = rng.choice([0.0, 0.2, 1.0], demand.shape)
    horizons = np.stack([np.array(horizon), np.full(5, 7), np.full(5, 14)], axis=1)
    plan = c.wild_plan(FAMILY, rng, len(days) + c.AHEAD_PERIODS, 5)
    c.check_bounded(FAMILY, np.where(exposure > 0, demand, 0.0), exposure, horizons, plan)


@pytest.mark.parametrize("season", [1, 12, 52])
def test_other_periods(season):
    """Weeks and months are periods like days: the same laws with another season."""
    family = Online(plan=("price",), season=season, year=12 if season == 12 else 52, slots=(2,), guests=())
    c.check_cut_invariance(family, 8, rows=11, periods=30)
    c.check_persists(family, 9)


def flagged(rows, days, every, seed=6):
    """Demand of 20 a day that doubles before a flag and halves after it; the flag (days + ahead, rows, 1) itself."""
    plan, rng = np.zeros((days + c.AHEAD_PERIODS, rows, 1)), np.random.default_rng(seed)
    plan[every - 1 :: every] = 1.0
    here = plan[:, :, 0]
    rate = np.full((days, rows), 20.0)
    rate[here[1 : days + 1] > 0] = 40.0
    rate[1:][here[: days - 1] > 0] = 10.0
    return rng.poisson(rate).astype(float), plan


@pytest.mark.parametrize(("day", "factor"), [(-1, 2.0), (1, 0.5), (4, 1.0)])
def test_the_days_beside_a_flag_are_known(day, factor):
    """What the day before a promotion or holiday brings, and the one after, is learnt and told: x 2 and x 1/2 here."""
    family, every = Online(plan=("holiday",), slots=(2,), guests=()), 11
    units, plan = flagged(30, 400, every)
    closed = 36 * every - 1 + day  # so many periods: the next is the one asked for
    world = c.World(units[:closed], np.ones((closed, 30)), np.ones((30, 1), int), plan)
    told = c.look(family, world, *c.run(family, world)).mean_sum_units[:, 0]
    assert abs(np.median(told) / (20.0 * factor) - 1.0) < 0.1


def test_a_row_that_has_nearly_died_moves_no_plan_effect():
    """One unit of a row that sold nothing for months, on the day of a flag, says nothing of what the flag brings."""
    family, rows, days = Online(plan=("holiday",), slots=(2,), guests=()), 8, 300
    units = np.random.default_rng(7).poisson(20.0, (days, rows)).astype(float)
    plan = np.zeros((days + c.AHEAD_PERIODS, rows, 1))
    units[60:, 0], units[280, 0], plan[280] = 0.0, 1.0, 1.0
    _, shared = c.run(family, c.World(units, np.ones((days, rows)), np.full((rows, 1), 7), plan))
    assert (np.abs(shared["effect"]) < 0.2).all()
