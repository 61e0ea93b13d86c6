"""How forecasts and service turned out: the sums are what a straight count of the days says."""

from __future__ import annotations

import random

import pytest

from agents.planner import scorecard, versions
from agents.planner.config import DAY_MS
from agents.planner.explaining import explained
from stream.events.kinds import Kind
from tests.agents.planner.test_semantics import DAY0, Shop
from tests.agents.planner.worlds import HOUR_MS


def test_the_card_is_a_straight_count() -> None:
    """Expected, came and missed are those of the days, each by the forecast of the day before."""
    shop, rng, expected, came, missed = Shop(), random.Random(1), 0.0, 0.0, 0.0
    shop.world.row(Kind.STOCK_COUNTED, DAY0, units=10_000)
    for day in range(60):
        if day:
            rate = float(shop.shelf.hot["demand_rate"][0])
        units = rng.randrange(5, 15)
        shop.world.order(DAY0 + day * DAY_MS + HOUR_MS, 10_000 + day, units=units)
        shop.tell(DAY0 + (day + 1) * DAY_MS)
        if day:
            expected, came, missed = expected + rate, came + units, missed + abs(rate - units)
    card = scorecard.card(shop.shelf.counters)
    assert card["days"] == 59
    assert card["bias"] == pytest.approx((expected - came) / came, abs=1e-3)
    assert card["wape"] == pytest.approx(missed / came, abs=1e-3)
    assert card["in_stock"] == 1.0
    assert card["promised"] == 0.95
    assert card["sums"] > 15
    low, high = card["coverage"]["0.95"]
    assert 0.7 < low <= high <= 1.0
    halves = card["coverage"]["0.5"]
    assert halves[0] < low
    assert explained(shop.shelf, 0)["shelf"] == card


def test_days_out_of_stock_are_not_held_against_forecasts_but_against_service() -> None:
    """What could not be sold tells nothing of the forecast."""
    shop = Shop()
    shop.sells(20, units_a_day=10, stock=150)
    card = scorecard.card(shop.shelf.counters)
    assert card["days"] < 19
    assert card["in_stock"] < 0.9


def test_a_shelf_that_decides_as_the_first_release_has_no_card() -> None:
    """Its bytes are the first release's."""
    shop = Shop(version=versions.FIRST)
    shop.sells(20)
    assert not [name for name in shop.shelf.counters if name.startswith(("forecast:", "service:"))]
    assert scorecard.card(shop.shelf.counters)["wape"] is None
