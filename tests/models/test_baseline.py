"""The baseline family keeps the contract, learns what it should, and covers what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.demand import baseline
from models.demand.baseline import FAMILY, NO_BIN, fade_pool
from models.demand.contract import no_ahead, observation
from tests.models import conformance as c

UNITS = st.sampled_from([0.0, 0.001, 1.0, 3.0, 80_995.0, 1e12])


@pytest.mark.parametrize("seed", [1, 2])
def test_slices_cannot_show(seed):
    """Closing rows in any slices gives bit-identical state, shared state and outlook."""
    c.check_cut_invariance(FAMILY, seed)


def test_state_is_its_bytes():
    """State persists as bytes and goes on from them exactly."""
    c.check_persists(FAMILY, 3)


def test_a_fresh_row_asks_for_nothing():
    """Without history the forecast, and so the reorder point, is zero."""
    c.check_fresh_asks_for_nothing(FAMILY)


def test_closing_is_pure():
    """Closing changes neither the state nor the shared state it was given."""
    c.check_closing_touches_no_input(FAMILY, 4)


def test_a_day_not_seen_teaches_nothing():
    """A day of zero exposure moves no level."""
    c.check_unseen_teaches_nothing(FAMILY, 5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.001, 1.0, 3.0, 80_995.0, 1e12]), min_size=5, max_size=5),
        min_size=1,
        max_size=40,
    ),
    st.lists(st.integers(1, 400), min_size=5, max_size=5),
    st.integers(0, 2**31),
)
def test_nothing_explodes(days, horizon, seed):
    """Whatever was sold, answers are finite, not negative, ordered, and of the size of the data."""
    demand = np.array(days)
    exposure = np.random.default_rng(seed).choice([0.0, 0.2, 1.0], demand.shape)
    c.check_bounded(FAMILY, np.where(exposure > 0, demand, 0.0), exposure, np.array(horizon)[:, None])


def closed(demand, horizon=7, exposure=None):
    exposure = np.ones_like(demand) if exposure is None else exposure
    return c.run(FAMILY, c.World(demand, exposure, np.full((demand.shape[1], 1), horizon)))


def asked(state, shared, day, horizon):
    n = len(state)
    return FAMILY.outlook(state, shared, np.full(n, day), np.full((n, 1), horizon), no_ahead(n), c.LEVELS)


def test_steady_demand_is_learnt():
    """Ten a day for a hundred days: 70 over a week, within a unit, at every level."""
    state, shared = closed(np.full((100, 1), 10.0))
    out = asked(state, shared, 99, 7)
    assert out.mean_sum_units[0, 0] == pytest.approx(70.0, abs=1.0)
    assert out.mean_period_units[0] == pytest.approx(10.0, abs=0.15)
    assert out.quantile_sum_units[0, 0, -1] < 77.0
    assert out.cycles[0] == 93


def test_weekdays_are_learnt():
    """Demand on Saturdays only: three days after one expect little, three days before one expect it."""
    demand = np.zeros((140, 1))
    demand[5::7] = 30.0
    state, shared = closed(demand, horizon=3)
    quiet = asked(state, shared, 138, 3).mean_sum_units[0, 0]
    busy = asked(state, shared, 142, 3).mean_sum_units[0, 0]
    assert busy > 5 * quiet
    assert 15.0 < busy < 45.0


def test_stock_outs_are_not_zero_demand():
    """Half of the days out of stock: the learnt rate is that of the days that could be seen."""
    rng = np.random.default_rng(7)
    exposure = (rng.random((300, 200)) < 0.5).astype(float)
    demand = rng.poisson(4.0, (300, 200)) * exposure
    state, shared = closed(demand, exposure=exposure)
    out = asked(state, shared, 299, 7)
    assert out.mean_period_units.mean() == pytest.approx(4.0, rel=0.02)


def test_an_absurd_order_is_not_believed():
    """80,995 units once in a row of three a day lift the weekly forecast by less than the outlier limit, then fade."""
    rng = np.random.default_rng(8)
    demand = rng.poisson(3.0, (120, 1)).astype(float)
    demand[80] = 80_995.0
    state, shared = closed(demand)
    out = asked(state, shared, 119, 7)
    assert out.mean_sum_units[0, 0] < 45.0
    assert out.quantile_sum_units[0, 0, -1] < 400.0


def coverage(demand, horizon, warm, level_at=slice(None)):
    """Share of L-day sums strictly under, and at or under, each quantile (rounded up to whole units)."""
    days, rows = demand.shape
    state, shared = FAMILY.fresh(np.zeros(rows, int)), FAMILY.fresh_shared()
    lo, hi, n = np.zeros(6), np.zeros(6), 0
    spans = np.full(rows, horizon)
    for t in range(days - horizon):
        done = FAMILY.close(state, shared, observation(np.full(rows, t), demand[t], np.ones(rows), spans))
        state, shared = done.state, FAMILY.settle(shared, done.told)
        if t >= warm:
            q = np.ceil(asked(state, shared, t, horizon).quantile_sum_units[:, 0] - 1e-6)
            actual = demand[t + 1 : t + 1 + horizon].sum(axis=0)[:, None]
            lo, hi, n = lo + (actual < q).sum(axis=0), hi + (actual <= q).sum(axis=0), n + rows
    return lo / n, hi / n


@pytest.mark.parametrize("horizon", [3, 9, 30])
def test_promised_levels_are_kept_on_stationary_counts(horizon):
    """Over 120 rows of wild counts, coverage of every level from 80 % on is within two points of its interval."""
    rng = np.random.default_rng(9)
    rate = rng.choice([0.1, 0.8, 5.0, 30.0], 120)
    demand = rng.poisson(rate * rng.gamma(3.0, 1 / 3.0, (330, 120))).astype(float)
    lo, hi = coverage(demand, horizon, warm=200)
    error = np.maximum(0.0, np.maximum(c.LEVELS - hi, lo - c.LEVELS))
    assert (error[1:] < 0.02).all(), (lo, hi)


def test_a_pool_remembers_shape_and_halves_when_full(monkeypatch):
    """Pools add counts of repeated cells and fade by halves beyond their limit."""
    rng = np.random.default_rng(10)
    state, shared = closed(rng.poisson(2.0, (60, 30)).astype(float))
    pool = shared["pool"]
    assert pool.sum() == state[:, baseline.CYCLES].sum()
    monkeypatch.setattr(baseline, "POOL_LIMIT_COUNTS", 10)
    faded = fade_pool(pool)
    full = pool.sum(axis=1) > 10
    assert (faded[full] == pool[full] // 2).all()
    assert (faded[~full] == pool[~full]).all()


def test_horizons_of_which_little_was_seen_teach_nothing():
    """A week of which only two days could be seen gives no error to the pool."""
    state, shared = closed(np.full((50, 1), 4.0))
    for t in range(50, 80):
        seen = np.array([1.0 if t % 7 < 2 else 0.0])
        done = FAMILY.close(state, shared, observation(np.array([t]), 4.0 * seen, seen, np.array([7])))
        state = done.state
        if t >= 57:
            assert done.told["bin"][0] == NO_BIN


def test_it_explains_itself_and_names_what_it_cannot_do():
    """Weights sum to one; a guest, or a stranger's rows, are refused by name."""
    state, _ = closed(np.random.default_rng(11).poisson(2.0, (60, 4)).astype(float))
    c.check_explains(FAMILY, 12)
    assert FAMILY.inherit(FAMILY, state, np.zeros(4, int)).tobytes() == state.tobytes()
    with pytest.raises(ValueError, match="no guest"):
        FAMILY.adopt(state, 0, np.zeros(4, int), np.ones((4, 1), int), np.zeros((4, 1, 1)), np.array([0.5]))
