"""The forecaster over histories: no leak, no explosion, what it promises, and what it must learn."""

from __future__ import annotations

import numpy as np
import pytest

from models.demand import panel as p
from models.demand import scores
from models.demand.backtest import forecast_history
from models.demand.panel import panel
from models.demand.places import LEVELS as QUANTILES
from models.demand.places import quantiles_of


def shop(seed, rows=50, days=110, censor=0.0):
    """Counts with weekdays, promotions that double demand, and stock-outs in a share of days; truth beside them."""
    rng = np.random.default_rng(seed)
    level = rng.choice([0.2, 1.0, 5.0, 30.0], rows)
    week = np.array([1.0, 0.8, 0.8, 0.9, 1.1, 1.6, 0.8])
    promo = (rng.random((rows, days)) < 0.1).astype(float)
    mean = level[:, None] * week[np.arange(days) % 7] * np.where(promo > 0, 2.0, 1.0)
    demand = rng.poisson(mean * rng.gamma(4.0, 0.25, (rows, days))).astype(float)
    exposure = np.where(rng.random((rows, days)) < censor, rng.uniform(0.0, 0.7, (rows, days)), 1.0)
    return rng.binomial(demand.astype(int), exposure).astype(float), demand, exposure, promo, mean


def test_the_future_cannot_leak():
    """Shuffling everything after an origin, units and exposure alike, changes no byte of the forecast made at it."""
    units, _, exposure, promo, _ = shop(1, rows=12, days=75, censor=0.1)
    origin, rng = 60, np.random.default_rng(2)
    before = forecast_history(panel(units, exposure, flags=(promo,)), [3, 7], [40, origin])
    order = np.concatenate([np.arange(origin + 1), origin + 1 + rng.permutation(75 - origin - 1)])
    after = forecast_history(panel(units[:, order], exposure[:, order], flags=(promo,)), [3, 7], [40, origin])
    for one, two in zip(before, after, strict=True):
        assert one.quantiles.tobytes() == two.quantiles.tobytes()
        assert one.mean.tobytes() == two.mean.tobytes()


@pytest.mark.parametrize("leads", [True, False])
def test_carts_that_lead_orders_sharpen_the_next_day(leads):
    """Where today's carts tell of tomorrow the next day is forecast a tenth better; where they do not, hardly worse."""
    rng = np.random.default_rng(6)
    wave = rng.gamma(8.0, 1 / 8, (24, 101))
    units = rng.poisson(12.0 * wave[:, :-1]).astype(float)
    adds = rng.poisson(30.0 * (wave[:, 1:] if leads else 1.0), units.shape).astype(float)
    signals = np.stack([3 * adds, adds, 0 * adds, 0 * adds, 0 * adds], axis=2)
    origins = list(range(60, 99))
    loss = []
    for known in (None, signals):
        told = forecast_history(panel(units), [1], origins, signals=known)[0].quantiles
        actual = [units[:, origin + 1] for origin in origins]
        loss.append(np.mean([scores.pinball(a, q, QUANTILES).mean() for a, q in zip(actual, told, strict=True)]))
    assert loss[1] < (0.9 if leads else 1.02) * loss[0]


class Fickle:
    """A guest that changes its mind every period, and keeps the final quantiles that came to an end by their origin."""

    name = "fickle"

    def __init__(self, span):
        self.span, self.over = span, {}

    def hear(self, period, told):
        lessons = told["lesson"][:, 0]
        scale = np.where(lessons["taught"] > 0, lessons["scale"], np.nan)[:, None]
        self.over[period - self.span] = quantiles_of(lessons["final"]) * scale

    def quantiles(self, family, state, shared, period, horizons, ahead):
        word = (5.0 if period % 2 else 60.0) * (1.0 + 0.2 * np.arange(len(QUANTILES)))
        return np.broadcast_to(word, (len(state), 1, len(QUANTILES)))


def test_what_is_calibrated_is_what_was_told():
    """The quantiles a finished horizon is judged by are those forecast at its origin, with what its guest said then."""
    units, span = np.random.default_rng(8).gamma(2.0, 2.0, (12, 60)), 3
    guest, origins = Fickle(span), list(range(30, 50))
    told = forecast_history(panel(units), [span], [*origins, 59], (guest,))[0].quantiles
    judged = np.stack([guest.over[origin] for origin in origins])
    over = np.isfinite(judged)
    assert over.mean() > 0.9
    np.testing.assert_allclose(judged[over], told[: len(origins)][over], rtol=2e-3, atol=0.02)


def test_only_the_plan_is_read_ahead():
    """A plan further ahead than the period after the horizon changes nothing; one inside it does."""
    units, _, _, promo, _ = shop(3, rows=20, days=80)
    base = forecast_history(panel(units, flags=(promo,)), [7], [60])[0]
    far, near = promo.copy(), promo.copy()
    far[:, 69:] = 1.0 - far[:, 69:]
    near[:, 61:68] = 1.0
    assert forecast_history(panel(units, flags=(far,)), [7], [60])[0].quantiles.tobytes() == base.quantiles.tobytes()
    assert (forecast_history(panel(units, flags=(near,)), [7], [60])[0].mean > base.mean).mean() > 0.8


def test_promised_levels_are_kept():
    """Over 12 origins each level lies within two points of its coverage interval, overall."""
    _, demand, _, promo, _ = shop(4, rows=80, days=200)
    made = forecast_history(panel(demand, flags=(promo,)), [7], range(110, 192, 7))[0]
    actual = np.concatenate([demand[:, o + 1 : o + 8].sum(axis=1) for o in made.origins])
    told = np.ceil(np.concatenate(list(made.quantiles)) - 1e-6)
    assert (scores.coverage_error(actual, told, QUANTILES)[1:] < 0.02).all()


def test_stock_outs_do_not_bias_demand():
    """With stock-outs in 30 % of days, the mean forecast is within 3 % of true mean demand; read naively it is not."""
    units, _, exposure, promo, mean = shop(5, rows=200, days=120, censor=0.3)
    origins = list(range(60, 113, 7))
    truth = sum(mean[:, o + 1 : o + 8].sum() for o in origins)
    told = forecast_history(panel(units, exposure, flags=(promo,)), [7], origins)[0].mean.sum()
    naive = forecast_history(panel(units, flags=(promo,)), [7], origins)[0].mean.sum()
    assert told == pytest.approx(truth, rel=0.03)
    assert naive < 0.9 * truth


def test_knowing_the_plan_pays():
    """Pinball with the plan known is at least 5 % under pinball without, where promotions double demand."""
    _, demand, _, promo, _ = shop(6, rows=80, days=120)
    origins = list(range(70, 113, 7))
    actual = np.concatenate([demand[:, o + 1 : o + 8].sum(axis=1) for o in origins])
    loss = []
    for flags in ((promo,), ()):
        made = forecast_history(panel(demand, flags=flags), [7], origins)[0]
        loss.append(scores.pinball(actual, np.concatenate(list(made.quantiles)), QUANTILES).sum())
    assert loss[0] < 0.95 * loss[1]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_explodes(seed):
    """Launches, deaths, absurd orders, dead rows, wild prices: answers are finite, ordered, and of the data's size."""
    rng = np.random.default_rng(seed)
    rows, days = 30, 90
    units = rng.poisson(rng.choice([0.0, 0.05, 2.0, 500.0], rows)[:, None], (rows, days)).astype(float)
    units[:10, :60] = 0.0
    units[10:15, 40:] = 0.0
    units[rng.random((rows, days)) < 0.002] = 80_995.0
    units[20:22] = np.nan
    price = np.exp(rng.normal(0, 1, (rows, days)))
    price[rng.random((rows, days)) < 0.1] = np.nan
    holiday = np.broadcast_to((np.arange(days) == 89 - seed).astype(float), (rows, days))
    made = forecast_history(panel(units, prices=(price,), flags=(holiday,)), [1, 7, 28], range(0, days, 5))
    for one in made:
        assert np.isfinite(one.quantiles).all()
        assert np.isfinite(one.mean).all()
        assert (one.quantiles >= 0).all()
        assert (np.diff(one.quantiles, axis=2) >= 0).all()
        most = np.nan_to_num(np.nanmax(np.where(np.isnan(units), 0.0, units), axis=1))
        assert (one.quantiles <= 8.0 * (one.horizon_periods * most + 1.0)[None, :, None]).all()


def test_a_row_without_demand_asks_for_nothing():
    """Until its first demand a row forecasts zero."""
    units = np.random.default_rng(1).poisson(3.0, (6, 60)).astype(float)
    units[2] = 0.0
    made = forecast_history(panel(units), [7], [30, 52])[0]
    assert (made.quantiles[:, 2] == 0).all()
    assert (made.quantiles[:, 3] > 0).all()


def test_one_absurd_order_teaches_nobody():
    """80,995 units in one row move others' forecasts by less than a fifth, and its own by less than six times."""
    rng = np.random.default_rng(7)
    units = rng.poisson(4.0, (30, 120)).astype(float)
    wrong = units.copy()
    wrong[5, 100] = 80_995.0
    clean, dirty = (forecast_history(panel(u), [7], [112])[0].mean[0] for u in (units, wrong))
    others = np.arange(30) != 5
    np.testing.assert_allclose(dirty[others], clean[others], rtol=0.2)
    assert dirty[5] < 6 * clean[5]


def test_gaps_and_outliers_have_policies():
    """Every repair fills what it says and says what it believes; every rule flags the absurd and leaves the usual."""
    units = np.array([[1.0, np.nan, np.nan, 4.0, 7.0], [np.nan] * 5])
    expected = {"mean": [4.0, 4.0], "median": [4.0, 4.0], "nearest": [1.0, 4.0], "interpolate": [2.0, 3.0]}
    for how, gap in expected.items():
        filled, exposure = p.repaired(units, how)
        assert filled[0, 1:3].tolist() == gap
        assert exposure[0].tolist() == [1.0] * 5
        assert exposure[1].tolist() == [0.0] * 5
    assert p.repaired(units, "censor")[1][0].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0]
    errors = np.random.default_rng(8).normal(0, 1, (3, 200))
    errors[1, 50] = 80_995.0
    for rule in p.OUTLIER_RULES:
        found = p.outliers(errors, rule)
        assert found.flagged[1, 50]
        assert found.flagged.mean() < 0.02
    with pytest.raises(ValueError, match="unknown rule"):
        p.outliers(errors, "guess")


def test_scores_by_hand():
    """Pinball, PIT, MASE, CRPS and the rest on numbers one can check."""
    actual, mean = np.array([10.0, 0.0, 4.0]), np.array([8.0, 1.0, 4.0])
    assert scores.mae(actual, mean) == 1.0
    assert scores.wape(actual, mean) == pytest.approx(3 / 14)
    assert scores.bias(actual, mean) == pytest.approx(-1 / 14)
    assert scores.rmse(actual, mean) == pytest.approx(np.sqrt(5 / 3))
    assert scores.mase(actual, mean, np.array([2.0, 1.0, 0.0])) == 1.0
    assert scores.rmsse(actual, mean, np.array([4.0, 1.0, 0.0])) == 1.0
    assert scores.r2(actual, actual) == 1.0
    rng = np.random.default_rng(9)
    levels = np.arange(0.05, 1.0, 0.05)
    drawn = rng.normal(0, 1, 20_000)
    told = np.tile(np.quantile(drawn, levels), (20_000, 1))
    assert scores.crps(drawn, told, levels).mean() == pytest.approx(1 / np.sqrt(np.pi), rel=0.03)
    spread = scores.pit(drawn, told, levels, rng.random(20_000))
    assert np.histogram(spread, bins=10, range=(0, 1))[0] == pytest.approx([2000] * 10, rel=0.1)
