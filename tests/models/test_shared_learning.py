"""What rows learn together: regressions, calibration, who carries the forecast, and that trees join."""

from __future__ import annotations

import numpy as np
import pytest

from models.demand import forgetting, row_sums, shared_learning
from models.demand.backtest import forecast_history
from models.demand.exactly import FEATURE_STEP, solve
from models.demand.online import Online
from models.demand.panel import panel
from models.demand.places import LEVELS as QUANTILES
from models.demand.places import quantile_words
from models.demand.trees import NightlyTrees

FAMILY = Online(plan=(), slots=(1,), guests=())
BAND = int(shared_learning.band_of(np.array([7]))[0])


def lessons(features, target, final=None, told=None):
    """What rows tell that saw `features` (n, f) a week ago and `target` (n,) since."""
    n = len(target)
    told_rows = np.zeros(n, FAMILY.told)
    told_rows["closed"] = 1
    lesson = told_rows["lesson"][:, 0]
    lesson["taught"], lesson["band"], lesson["size"], lesson["span"], lesson["scale"] = 1, BAND, 1, 7, 1.0
    lesson["features"][:, : features.shape[1]] = np.rint(features / FEATURE_STEP)
    lesson["target"] = target
    lesson["told"] = quantile_words(QUANTILES if told is None else told)
    lesson["final"] = quantile_words(QUANTILES if final is None else final)
    return told_rows


def settled(shared, period, told):
    told["period"] = period
    return FAMILY.settle(shared, told)


def shares(excess, usual, present):
    """Shares (E,) in a row that has no losses of its own."""
    cost, share = np.zeros(len(excess)), np.zeros(len(excess))
    row_sums.costs(np.zeros(FAMILY.row["head"].base.itemsize // 4 + 1), excess, usual, cost)
    row_sums.shares(cost, present, share)
    return share


def test_the_regression_finds_quantiles():
    """Planted quantiles of a spread that grows with a feature are recovered by one pass, within 15 %."""
    rng, shared = np.random.default_rng(4), FAMILY.fresh_shared()
    for period in range(500):
        x = rng.uniform(0.5, 1.5, 60)
        target = 0.5 + 0.5 * x * rng.standard_exponential(60)
        shared = settled(shared, period, lessons(np.stack([np.ones(60), x], axis=1), target))
    seen = np.zeros((3, FAMILY.setting.features))
    seen[:, 0], seen[:, 1] = 1.0, [0.5, 1.0, 1.5]
    told = seen @ shared["coefficients"][BAND, 1].T
    expected = 0.5 + 0.5 * np.array([0.5, 1.0, 1.5])[:, None] * -np.log(1 - QUANTILES)
    np.testing.assert_allclose(told[:, :5], expected[:, :5], rtol=0.15)
    np.testing.assert_allclose(told[:, 5], expected[:, 5], rtol=0.3)


def test_equations_forget_and_are_solved_as_in_plain_columns():
    """One pass gives the bytes of fading, adding and solving array by array."""
    rng, (memories, sizes, levels, p) = np.random.default_rng(8), (2, 3, 2, 5)
    roots = rng.normal(size=(memories, sizes, levels, p, p))
    old, side = roots @ roots.swapaxes(3, 4), rng.normal(size=(memories, sizes, levels, p))
    kept, taught, prior = np.array([0.9, 0.99]), (old[1] / 7, side[0] / 3), rng.normal(size=(levels, p))
    normal, right, mean = forgetting.learnt((old, side), kept, taught, prior, (0.1, 0.5))
    faded, told = kept[:, None, None, None, None] * old + taught[0], kept[:, None, None, None] * side + taught[1]
    everybody, all_told = (part[:, 0] + part[:, 1] + part[:, 2] for part in (faded, told))
    drawn = solve((everybody + 0.1 * np.eye(p)).reshape(-1, p, p), (all_told + 0.1 * prior).reshape(-1, p))
    drawn = drawn.reshape(memories, 1, levels, p)
    own = solve((faded + 0.5 * np.eye(p)).reshape(-1, p, p), (told + 0.5 * drawn).reshape(-1, p)).reshape(told.shape)
    assert normal.tobytes() == faded.tobytes()
    assert right.tobytes() == told.tobytes()
    assert mean.tobytes() == ((own[0] + own[1]) / memories).tobytes()


def test_coverage_that_whole_units_force_is_left_alone():
    """Where most sums are zero, a median of zero covers more than it says: nothing moves."""
    shared = FAMILY.fresh_shared()
    for period in range(80):
        actual = (np.arange(100) < 20).astype(float)
        shared = settled(shared, period, lessons(np.ones((100, 1)), actual, final=np.zeros((100, 6))))
    assert (shared["shift"][BAND, :, 0] == 0.0).all()


def test_the_cheaper_expert_carries_and_the_other_keeps_a_word():
    """Of two experts the one with less loss has most of the weight; the other never less than its least share."""
    rng, shared = np.random.default_rng(1), FAMILY.fresh_shared()
    good = np.quantile(rng.gamma(4.0, 0.25, 4000), QUANTILES)
    for period in range(60):
        told = np.tile(np.stack([good, 2.0 * good]), (80, 1, 1))
        shared = settled(shared, period, lessons(np.ones((80, 1)), rng.gamma(4.0, 0.25, 80), told=told))
    excess, usual = shared_learning.expert_excess(shared, BAND)
    share = shares(excess[1], usual[1], np.ones(2))
    assert share[0] > 0.85
    assert share[1] == pytest.approx(row_sums.LEAST_SHARE / (1 + row_sums.LEAST_SHARE), rel=0.2)


def corrected(seed, missing, shock):
    """What rows' means are multiplied by, and the plain ratio, after 60 periods in which each brings a shock to all."""
    rng, shared = np.random.default_rng(seed), FAMILY.fresh_shared()
    for period in range(60):
        shared_shock = np.exp(shock * rng.normal() - 0.5 * shock**2)
        told = lessons(np.ones((200, 1)), (1.0 + missing) * shared_shock * rng.gamma(4.0, 0.25, 200))
        told["lesson"]["mean"] = 1.0
        shared = settled(shared, period, told)
    came, mean = shared["came"][BAND, 1, :2]
    return shared_learning.came_over_mean(shared, BAND)[1], came / mean


def test_a_mean_is_corrected_as_far_as_periods_agree():
    """A fifth too little in every period is made up for; what shared shocks seem to say is hardly believed."""
    assert corrected(6, missing=0.2, shock=0.0)[0] == pytest.approx(1.2, rel=0.01)
    believed, plain = np.array([corrected(seed, missing=0.0, shock=0.8) for seed in range(4)]).T
    assert np.abs(plain - 1.0).mean() > 0.1
    assert np.abs(believed - 1.0).mean() < 0.5 * np.abs(plain - 1.0).mean()


def test_what_came_at_this_time_of_the_year_is_expected_again():
    """Demand that trebles in the same two weeks each year is told in the third, and was not in the first."""
    weeks = np.arange(2 * 52 + 31)
    peak = (weeks % 52 >= 30) & (weeks % 52 < 32)
    units = np.random.default_rng(7).poisson(np.where(peak, 60.0, 20.0), (60, len(weeks))).astype(float)
    origins = [29, 2 * 52 + 25, 2 * 52 + 29]
    made = forecast_history(panel(units, season=1, year=52), [1], origins)[0]
    first, usual, again = np.median(made.quantiles[:, :, 0], axis=1)
    assert first == pytest.approx(20.0, abs=2.0)
    assert usual == pytest.approx(20.0, abs=3.0)
    assert again > 35.0


def test_a_guest_fades_with_age():
    """Half as fresh is about half the weight, and a guest that is gone has none."""
    made = [shares(np.zeros(3), 0.1, np.array([1.0, 1.0, fresh])) for fresh in (1.0, 0.5, 0.0)]
    np.testing.assert_allclose([share[2] for share in made], [1 / 3, 0.5 / 2.5, 0.0], rtol=1e-6)
    np.testing.assert_allclose(np.sum(made, axis=1), 1.0)


def test_a_shelf_that_slept_wakes_up():
    """Months without a closing fade what was known and break nothing."""
    rng, shared = np.random.default_rng(5), FAMILY.fresh_shared()
    for period in (0, 1, 2, 900, 901):
        shared = settled(shared, period, lessons(np.ones((50, 1)), rng.gamma(4.0, 0.25, 50)))
    assert all(np.isfinite(a).all() for a in shared.values() if a.dtype.kind == "f")


def test_trees_join_as_a_guest():
    """A nightly tree model is one expert more: trained on past lessons only, same bytes every time, bounded answers."""
    pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install restock[trees]")
    units = np.random.default_rng(3).poisson(np.linspace(0.5, 20.0, 40)[:, None], (40, 70)).astype(float)
    origins = range(40, 63, 7)

    def told(units, origins):
        return forecast_history(panel(units), [7], origins, (NightlyTrees(panel(units), rounds=15),))[0].quantiles

    made = [told(units, origins) for _ in range(2)]
    assert made[0].tobytes() == made[1].tobytes()
    alone = forecast_history(panel(units), [7], origins)[0].quantiles
    assert (made[0] != alone).any()
    assert np.isfinite(made[0]).all()
    shuffled = units.copy()
    shuffled[:, 62:] = shuffled[:, 62:][:, ::-1]
    again = told(shuffled, range(40, 62, 7))
    assert again.tobytes() == made[0][: len(again)].tobytes()
