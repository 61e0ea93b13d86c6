"""When and how much a row orders, by its policy: (s, S), base stock, (R, S), fixed period, cycle or fill service."""

from __future__ import annotations

import math
import random

import pytest

from agents.planner.config import DAY_MS, Policy
from tests.agents.planner.test_semantics import Shop, of
from tests.agents.planner.worlds import START_MS

WEEK = 7


def proposals(shop: Shop) -> list[dict]:
    return of(shop.said, "replenishment.proposed")


def next_day(shop: Shop, units: float = 10) -> None:
    """A day of demand, and its end."""
    day = (shop.now - shop.now % DAY_MS) // DAY_MS
    shop.world.order(day * DAY_MS + 1, 50_000 + day, units=units)
    shop.now = (day + 1) * DAY_MS
    shop.tell(shop.now)


def test_periodic_review_orders_only_on_its_day_and_up_to_s() -> None:
    """(R, S): however low the position falls, nothing is ordered before the review; then it reaches S."""
    shop = Shop(policy=Policy(lead_days=2.0, review_days=WEEK, review="periodic", cover_days=0))
    shop.sells(40)
    while (shop.now // DAY_MS) % WEEK != 1:
        next_day(shop)
    shop.said.clear()
    shop.level(5)
    for _ in range(5):
        next_day(shop, units=0.5)
        assert proposals(shop) == []
    next_day(shop, units=0.5)
    assert (shop.now // DAY_MS) % WEEK == 0
    (one,) = proposals(shop)
    assert shop.get("order_up_to") == shop.get("reorder_point")
    assert one["numbers"]["inventory_position_before"] + one["quantity"] == shop.get("order_up_to")
    assert f"to reach {shop.get('order_up_to'):g}" in one["sentence"]


def test_base_stock_orders_what_was_sold() -> None:
    """S = s, reviewed at any time: each sale is ordered again."""
    shop = Shop(policy=Policy(lead_days=2.0, cover_days=0))
    shop.sells(40)
    shop.level(shop.get("reorder_point"))
    shop.said.clear()
    shop.world.order(shop.now + 1, 90_001, units=3)
    shop.tell()
    assert [one["quantity"] for one in proposals(shop)] == [3]


def test_a_fixed_period_quantity_is_its_days_of_demand() -> None:
    """What is expected of 14 average days, about 14 x 20, in whole units: that is what an order brings."""
    shop = Shop(policy=Policy(lead_days=2.0, cover_days=14))
    shop.sells(120, units_a_day=20)
    shop.said.clear()
    shop.level(shop.get("reorder_point"))
    (one,) = proposals(shop)
    rate = float(shop.shelf.hot["demand_rate"][0])
    assert abs(rate / 20 - 1) < 0.15
    assert one["quantity"] == math.ceil(14 * rate - 1e-6)


def test_a_fill_rate_needs_less_than_the_same_chance_of_no_stock_out() -> None:
    """95 % of demand served asks less than 95 % of cycles without a stock-out, and the sentence says which it is."""
    points = {}
    for measure in ("cycle", "fill"):
        shop = Shop(policy=Policy(lead_days=2.0, cover_days=14, service_measure=measure))
        draw = random.Random(3)
        shop.world.order(START_MS + 1, 1, units=10)
        for day in range(60):
            shop.world.order(START_MS + day * DAY_MS + 2, 100 + day, units=draw.randrange(0, 20))
            shop.tell(START_MS + (day + 1) * DAY_MS)
        points[measure] = shop.get("reorder_point")
        said = [one["sentence"] for one in proposals(shop)][-1]
        assert ("95 % of demand served" if measure == "fill" else "95 % service") in said
    assert 0 < points["fill"] < points["cycle"]


@pytest.mark.parametrize("review", [1, 3])
def test_periodic_rows_do_the_same_in_both_lanes(review: int) -> None:
    """Whether lines go through in numpy or one by one does not show, also where only closings order."""
    kept = []
    for slow in (False, True):
        policy = Policy(lead_days=2.0, review_days=review, review="periodic", cover_days=4)
        shop = Shop(policy=policy, force_slow=slow)
        shop.sells(10, stock=60)
        draw = random.Random(5)
        for _ in range(30):
            next_day(shop, units=draw.randrange(0, 25))
        kept.append((shop.shelf.hot[:1].tobytes(), [(m.id, m.value) for m in shop.said]))
    assert kept[0] == kept[1]
    assert any(b"proposed" in value for _, value in kept[0][1])
