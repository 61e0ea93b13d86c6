"""The lanes beside the event path: what they fit, that they are bounded, and that they repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest

from models.demand.backtest import forecast_history
from models.demand.online import Online
from models.demand.panel import panel
from models.demand.places import LEVELS as QUANTILES
from models.demand.refit import fits
from models.demand.rowwise.learners import LEARNERS, learner
from models.demand.rowwise.net import NeuralNet
from models.demand.rowwise.watch import AnomalyWatch, DriftWatch

HORIZONS = np.array([7, 14])


def weekly(seed, days=200, level=20.0):
    rng = np.random.default_rng(seed)
    week = np.array([1.0, 0.7, 0.7, 0.8, 1.0, 1.8, 1.0])
    return rng.poisson(level * week[np.arange(days) % 7]).astype(float)


@pytest.mark.parametrize("fit", [fits.arima, fits.smoothing])
def test_a_weekly_row_is_fitted_as_weekly(fit):
    """The criterion takes a seasonal model, its sum covers the truth, and the weekly autocorrelation shows."""
    found = fit(weekly(1), HORIZONS, QUANTILES)
    assert "[7]" in found.name or found.name.endswith("A)")
    assert found.tried[0][0] == found.name
    assert [c for _, c in found.tried] == sorted(c for _, c in found.tried)
    np.testing.assert_allclose(found.means, [140.0, 280.0], rtol=0.06)
    assert found.quantiles[0, 0] < 145 < found.quantiles[0, 3] < 190
    assert found.autocorrelation[7] > 0.4 > found.autocorrelation[3]
    assert len(found.partial_autocorrelation) == fits.LAGS + 1


def test_the_plan_moves_an_arima():
    """A promotion that doubles demand is learnt, and lifts the week it is planned in."""
    rng = np.random.default_rng(2)
    promo = (rng.random((200, 1)) < 0.15).astype(float)
    units = rng.poisson(10.0 * (1.0 + promo[:, 0])).astype(float)
    told = [
        fits.arima(units, np.array([7]), QUANTILES, season=1, plan=promo, ahead=np.full((7, 1), on)).means[0]
        for on in (0.0, 1.0)
    ]
    assert told[1] == pytest.approx(2.0 * told[0], rel=0.15)


@pytest.mark.parametrize("fit", [fits.arima, fits.smoothing])
def test_fits_are_bounded(fit):
    """Gaps, an absurd order, a dead row, a flat row: answers are finite, ordered and of the data's size."""
    lumpy = weekly(3)
    lumpy[50:60], lumpy[100] = np.nan, 80_995.0
    for units in (lumpy, np.zeros(60), np.full(60, 4.0)):
        found = fit(units, HORIZONS, QUANTILES)
        assert np.isfinite(found.quantiles).all()
        assert (np.diff(found.quantiles, axis=1) >= 0).all()
        assert (found.means <= fits.TIMES_LARGEST * HORIZONS * max(np.nanmax(units), 1e-9) + 1e-9).all()


def test_a_short_row_is_refused_with_the_reason():
    """Fewer periods than a fit needs: the error says how many there are and how many it takes."""
    with pytest.raises(ValueError, match="5 periods seen; a fit needs 30"):
        fits.arima(np.ones(5), HORIZONS, QUANTILES)


@pytest.mark.parametrize("name", [*sorted(LEARNERS), "neural net"])
def test_shared_learners_join_as_guests(name):
    """Each learns beside the event path, speaks once it has evidence, repeats itself to the byte, and stays bounded."""
    rng = np.random.default_rng(4)
    units = rng.poisson(rng.choice([0.5, 4.0, 25.0], 24)[:, None], (24, 62)).astype(float)
    units[3, 40] = 80_995.0

    def made(guests):
        return forecast_history(panel(units), [7], [54], guests)[0].quantiles

    def guest():
        return (NeuralNet() if name == "neural net" else learner(name),)

    one, two, alone = made(guest()), made(guest()), made(())
    assert one.tobytes() == two.tobytes()
    assert (one != alone).any()
    assert np.isfinite(one).all()
    assert (one <= 3.0 * 7.0 * units.max(axis=1)[:, None] + 1e-6).all()


def test_drift_is_seen_and_peace_is_not():
    """Errors of usual size raise no hand in 200 periods; errors three times as large do within 40."""
    family, rng = Online(plan=(), slots=(1,), guests=()), np.random.default_rng(5)
    watch, hands = DriftWatch(), []
    for period in range(260):
        told = np.zeros(60, family.told)
        told["lesson"]["taught"] = 1
        told["lesson"]["error"][:, 0] = rng.laplace(0.0, 3.0 if period >= 200 else 1.0, 60)
        hands.append([bool(found[0]) for found in watch.hear(told)])
    assert not np.array(hands)[:200].any()
    assert np.array(hands)[200:240].any(axis=0).all()


def test_an_absurd_period_is_an_anomaly():
    """80,995 units in a row of three a day is listed, and its like afterwards too; usual periods are not."""
    rng, watch = np.random.default_rng(6), AnomalyWatch()
    listed = []
    for period in range(100):
        error = rng.normal(0.0, 1.7, 5)
        if period in (60, 61):
            error[2] = 80_992.0
        listed += [(period, row) for row in watch.hear(np.arange(5), error).tolist()]
    assert {(60, 2), (61, 2)} <= set(listed)
    assert len(listed) < 6
