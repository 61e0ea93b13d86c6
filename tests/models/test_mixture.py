"""Who carries the forecast, and how it is held to what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from models.demand.backtest import QUANTILES, forecast_history
from models.demand.mixture import LEAST_SHARE, Calibration, Mixture
from models.demand.panel import panel
from models.demand.pooled_errors import PooledErrors
from models.demand.trees import TreeTrainer


def test_the_cheaper_expert_carries_and_the_other_keeps_a_word():
    """Of two experts the one with less loss has most of the weight; the other never less than its least share."""
    rng = np.random.default_rng(1)
    mixture = Mixture(QUANTILES, 3)
    assert mixture.shares([0, 1]).tolist() == [0.5, 0.5]
    for _ in range(50):
        actual = rng.gamma(4.0, 0.25, 80)
        good = np.tile(np.quantile(rng.gamma(4.0, 0.25, 4000), QUANTILES), (80, 1))
        mixture.learn({0: good, 1: 2.0 * good}, actual)
    share = mixture.shares([0, 1])
    assert share[0] > 0.85
    assert share[1] == pytest.approx(LEAST_SHARE / (1 + LEAST_SHARE), rel=0.2)


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_calibration_repairs_coverage(wrong):
    """Quantiles 10 % too low or too high cover what they promise after 300 periods, within two points."""
    rng = np.random.default_rng(2)
    calibration = Calibration(QUANTILES, 1)
    segment, truth = np.zeros(100, dtype=np.int64), np.quantile(rng.gamma(4.0, 0.25, 100_000), QUANTILES)
    told = np.tile(wrong * truth, (100, 1))
    within = []
    for period in range(500):
        actual = rng.gamma(4.0, 0.25, 100)
        now = calibration.apply(told, np.ones(100), segment)
        calibration.learn(now, actual, segment, np.ones(100, dtype=bool), 0.4)
        if period >= 300:
            within.append((actual[:, None] <= now).mean(axis=0))
    assert np.abs(np.mean(within, axis=0) - QUANTILES).max() < 0.02


def test_coverage_that_whole_units_force_is_left_alone():
    """Where most sums are zero, a median of zero covers more than it says: nothing moves."""
    calibration = Calibration(np.array([0.5]), 1)
    for _ in range(50):
        actual = (np.arange(100) < 20).astype(float)
        calibration.learn(np.zeros((100, 1)), actual, np.zeros(100, dtype=np.int64), np.ones(100, dtype=bool), 0.4)
    assert calibration.shift[0, 0] == 0.0


def test_the_blend_follows_each_rows_best_base():
    """A row whose first base is right and a row whose second is: each is blended towards its own."""
    pooled = PooledErrors(QUANTILES, 2, 2, 1)
    bases, actual = np.array([[10.0, 20.0], [20.0, 10.0]]), np.array([10.0, 10.0])
    for _ in range(60):
        pooled.learn(bases, actual, np.full(2, 10.0), np.zeros(2, dtype=np.int64), np.ones(2, dtype=bool))
    np.testing.assert_allclose(pooled.blend(bases, np.full(2, 10.0)), 10.0, rtol=0.05)
    mean, quantile = pooled.predict(bases, np.full(2, 10.0), np.zeros(2, dtype=np.int64))
    np.testing.assert_allclose(mean, 10.0, rtol=0.1)
    assert (quantile[:, -1] < 13.0).all()


def test_trees_join_as_a_guest():
    """A nightly tree model is one expert more: trained on past lessons only, same bytes every time, bounded answers."""
    pytest.importorskip("lightgbm")
    units = np.random.default_rng(3).poisson(np.linspace(0.5, 20.0, 40)[:, None], (40, 70)).astype(float)
    made = [
        forecast_history(panel(units), [7], range(40, 63, 7), TreeTrainer(QUANTILES, rounds=15))[0].quantiles
        for _ in range(2)
    ]
    assert made[0].tobytes() == made[1].tobytes()
    alone = forecast_history(panel(units), [7], range(40, 63, 7))[0].quantiles
    assert (made[0] != alone).any()
    assert np.isfinite(made[0]).all()
    shuffled = units.copy()
    shuffled[:, 62:] = shuffled[:, 62:][:, ::-1]
    again = forecast_history(panel(shuffled), [7], range(40, 62, 7), TreeTrainer(QUANTILES, rounds=15))[0].quantiles
    assert again.tobytes() == made[0][: len(again)].tobytes()
