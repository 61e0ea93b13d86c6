"""What every classical forecaster must pass, whatever it computes, and a few numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.demand.lines import least_squares, mean_forecast, support_vector_line
from models.demand.smoothing import FAMILY, Croston, HoltWinters, SeasonalNaive, SimpleSmoothing, Tsb

EVERY = pytest.mark.parametrize("name", sorted(FAMILY))
DAY = st.sampled_from([0.0, 0.0, 1.0, 3.5, 80_995.0, np.nan])


def taught(name, demand, exposure=None):
    forecaster = FAMILY[name](demand.shape[1])
    seen = np.ones_like(demand) if exposure is None else exposure
    for t, (units, share) in enumerate(zip(demand, seen, strict=True)):
        forecaster.learn(t, units, share)
    return forecaster


@EVERY
def test_steady_demand_is_forecast(name):
    """Five a day, always: 35 over a week, 150 over a month."""
    forecaster = taught(name, np.full((80, 3), 5.0))
    np.testing.assert_allclose(forecaster.mean_sum(79, 7), 35.0, rtol=1e-6)
    np.testing.assert_allclose(forecaster.mean_sum(79, 30), 150.0, rtol=1e-6)


@EVERY
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(DAY, DAY, st.sampled_from([0.0, 0.3, 1.0])), min_size=1, max_size=40))
def test_nothing_explodes(name, days):
    """Whatever came in, the forecast is finite, not negative, and at most the largest period seen, every period."""
    exposure = np.array([[e, 1.0] for _, _, e in days])
    demand = np.array([[a, b] for a, b, _ in days])
    forecaster = taught(name, np.nan_to_num(demand), exposure)
    for horizon in (1, 7, 90):
        told = forecaster.mean_sum(len(days) - 1, horizon)
        assert np.isfinite(told).all()
        assert (told >= 0).all()
        assert (told <= horizon * 80_995.0 / 0.3 * (1 + 1e-9)).all()


@EVERY
def test_nobody_asked_nothing_is_forecast(name):
    """Zeros, or nothing at all, forecast zero."""
    assert (FAMILY[name](4).mean_sum(0, 7) == 0).all()
    assert (taught(name, np.zeros((30, 4))).mean_sum(29, 7) == 0).all()


@EVERY
def test_unseen_periods_teach_nothing(name):
    """Ten periods of exposure 0 leave the forecast where it was."""
    rng = np.random.default_rng(1)
    demand = rng.poisson(3.0, (70, 5)).astype(float)
    before = taught(name, demand)
    after = taught(
        name, np.concatenate([demand, np.zeros((14, 5))]), np.concatenate([np.ones((70, 5)), np.zeros((14, 5))])
    )
    tolerance = 0.5 if name == "autoregression" else 1e-9  # its past fills with the mean
    np.testing.assert_allclose(after.mean_sum(83, 7), before.mean_sum(69, 7), rtol=tolerance)


@EVERY
def test_rows_do_not_touch_each_other(name):
    """A row forecast among others is forecast as if alone."""
    demand = np.random.default_rng(2).poisson(2.0, (60, 6)).astype(float)
    together = taught(name, demand).mean_sum(59, 9)
    alone = [taught(name, demand[:, i : i + 1]).mean_sum(59, 9)[0] for i in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


@EVERY
def test_half_seen_days_count_as_half(name):
    """Two of four units seen in half a day are four a day."""
    forecaster = taught(name, np.full((90, 2), 2.0), np.full((90, 2), 0.5))
    np.testing.assert_allclose(forecaster.mean_sum(89, 10), 40.0, rtol=1e-6)


def test_smoothing_by_hand():
    """100, 120, 150, 130, 180 smoothed by 0.3 from the first: 139.708 tomorrow; the mean is 136, 4,080 over 30 days."""
    values = np.array([100.0, 120, 150, 130, 180])
    forecaster = SimpleSmoothing(1, step=0.3, from_first=True)
    for t, units in enumerate(values):
        forecaster.learn(t, np.array([units]), np.ones(1))
    assert forecaster.mean_sum(4, 1)[0] == pytest.approx(139.708)
    plain = mean_forecast(values, "day", 30)
    assert (plain.mean, plain.period, plain.periods, plain.total) == (136.0, "day", 30, 4080.0)


def test_seasons_are_learnt():
    """Ten on Saturdays only: Holt-Winters and the seasonal naive know which day comes next."""
    demand = np.zeros((140, 1))
    demand[5::7] = 10.0
    for name, least in (("holt_winters", 3.0), ("seasonal_naive", 9.9)):
        forecaster = taught(name, demand)
        assert forecaster.mean_sum(137, 1)[0] > least  # day 138 is a Saturday
        assert forecaster.mean_sum(139, 1)[0] < 1.0
    assert isinstance(FAMILY["holt_winters"](1), HoltWinters)
    assert isinstance(FAMILY["seasonal_naive"](1), SeasonalNaive)


def test_intermittent_forecasters_by_hand():
    """Six every third day: Croston 2 a day, SBA 5 % less; of a dead item TSB forgets, Croston does not."""
    demand = np.zeros((60, 1))
    demand[2::3] = 6.0
    plain, debiased = Croston(1), Croston(1, debiased=True)
    tsb, dead = Tsb(1), Croston(1)
    for t, units in enumerate(np.concatenate([demand, np.zeros((100, 1))])):
        for forecaster in (tsb, dead) if t >= 60 else (plain, debiased, tsb, dead):
            forecaster.learn(t, units, np.ones(1))
    assert plain.mean_sum(59, 1)[0] == pytest.approx(2.0)
    assert debiased.mean_sum(59, 1)[0] == pytest.approx(1.9)
    assert tsb.mean_sum(159, 1)[0] < 0.05
    assert dead.mean_sum(159, 1)[0] == pytest.approx(2.0)


def test_lines_by_hand():
    """Through (1,2) .. (5,10) both say 12 at 6; a tube of 1 ignores what lies within; an outlier bends only one."""
    x, y = np.arange(1.0, 6.0), np.arange(2.0, 11.0, 2.0)
    assert least_squares(x, y).at(np.array([6.0]))[0] == pytest.approx(12.0)
    assert support_vector_line(x, y).at(np.array([6.0]))[0] == pytest.approx(12.0)
    assert support_vector_line(x, y + np.array([1, -1, 1, -1, 1.0]), epsilon=1.0).slopes[0] <= 2.0
    bent = y + np.array([0, 0, 0, 0, 30.0])
    assert support_vector_line(x, bent).at(np.array([6.0]))[0] == pytest.approx(12.0)
    assert least_squares(x, bent).at(np.array([6.0]))[0] > 20.0


def test_planted_coefficients_are_recovered():
    """Demand = 5 + 0.8 past sales - 1.5 abandoned carts: least squares, the tube and the online regression find it."""
    rng = np.random.default_rng(3)
    features = np.stack([rng.uniform(0, 20, 400), rng.uniform(0, 5, 400)], axis=1)
    values = 5.0 + features @ np.array([0.8, -1.5]) + rng.normal(0, 0.3, 400)
    for plane in (least_squares(features, values), support_vector_line(features, values)):
        np.testing.assert_allclose(plane.slopes, [0.8, -1.5], atol=0.05)
        assert plane.intercept == pytest.approx(5.0, abs=0.3)
