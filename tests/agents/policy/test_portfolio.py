"""One price of money over all rows: less money for the same total, told as facts that hold once they are folded."""

from __future__ import annotations

import random

import numpy as np
import orjson
import pytest

from agents.planner import plan
from agents.planner.config import DAY_MS, Policy
from agents.policy import portfolio
from models.stock import portfolio as model
from stream.errors import SetupError
from stream.events.kinds import Kind
from stream.events.public import PolicyFact
from tests.agents.planner.test_semantics import DAY0, Shop
from tests.agents.planner.worlds import HOUR_MS

COSTS = {"cheap": 1.0, "usual": 10.0, "dear": 200.0}


@pytest.fixture(scope="module")
def shop() -> Shop:
    """Three SKUs that sell alike and cost differently, one of them with a policy of its own."""
    shop, rng = Shop(), random.Random(3)
    for sku, cost in COSTS.items():
        fact = {"type": "catalog.item", "sku": sku, "unit_cost": cost, "unit_price": 2 * cost, "lead_days": 5.0}
        shop.world.row(Kind.FACT, DAY0, sku="", fact=orjson.dumps(fact).decode())
        shop.world.row(Kind.STOCK_COUNTED, DAY0, sku=sku, units=50_000)
    fact = {"type": "catalog.policy", "sku": "dear", "location": "L", "service_level": 0.98, "pack_units": 2.0}
    shop.world.row(Kind.FACT, DAY0, sku="", fact=orjson.dumps(fact).decode())
    for day in range(60):
        for sku in COSTS:
            shop.world.order(DAY0 + day * DAY_MS + HOUR_MS, 10_000 + day, sku=sku, units=rng.randrange(1, 20))
        shop.tell(DAY0 + (day + 1) * DAY_MS)
    return shop


def test_the_total_is_met_with_less_money_than_by_equal_levels(shop: Shop) -> None:
    """Levels fall with cost; one level for all that serves as much holds more money."""
    found = portfolio.weighed([shop.shelf], fill_rate=0.985)
    assert found.fill_rate >= 0.985
    level = {row.sku: row.level for row in found.rows}
    assert level["cheap"] > level["usual"] > level["dear"]
    assert {row.sku: row.level_now for row in found.rows} == {"cheap": 0.95, "usual": 0.95, "dear": 0.98}
    known = portfolio._known([shop.shelf])
    equal = (np.full(3, at) for at in np.linspace(0.5, 0.999, 500))
    held = (model.at_levels(plan.LEVELS, known.quantile, known.cycle, at, known.cost) for at in equal)
    cheapest = next(p.money for p in held if p.fill_rate >= found.fill_rate)
    assert found.money < 0.95 * cheapest


def test_a_budget_is_kept_and_serves_the_most(shop: Shop) -> None:
    """As much money as the fill rate took serves as much; half of it serves less, and is not passed."""
    asked = portfolio.weighed([shop.shelf], fill_rate=0.985)
    same = portfolio.weighed([shop.shelf], budget=asked.money)
    assert same.fill_rate == pytest.approx(asked.fill_rate, abs=1e-4)
    half = portfolio.weighed([shop.shelf], budget=asked.money / 2)
    assert half.money <= asked.money / 2
    assert half.fill_rate < asked.fill_rate


def test_margin_is_another_worth(shop: Shop) -> None:
    """Where margins grow with costs, serving dear units is worth the money: levels are equal."""
    levels = [row.level for row in portfolio.weighed([shop.shelf], fill_rate=0.985, worth="margin").rows]
    assert max(levels) - min(levels) < 1e-3


def test_facts_say_what_was_said_and_the_level_and_hold_once_folded() -> None:
    """Other terms stay; a second time nothing is left to say."""
    shop = Shop()
    shop.sells(40)
    policy = {"type": "catalog.policy", "sku": "S", "location": "L", "unit_cost": 4.0, "pack_units": 3.0}
    shop.world.row(Kind.FACT, shop.now, sku="", fact=orjson.dumps(policy).decode())
    shop.tell()
    before = shop.get("reorder_point")
    found = portfolio.weighed([shop.shelf], fill_rate=0.9999)
    (record,) = portfolio.facts(found, [shop.shelf], shop.now)
    assert record.key == '["policy","S","L"]'
    fact = PolicyFact.model_validate_json(record.value)
    assert (fact.pack_units, fact.unit_cost, fact.service_measure) == (3.0, 4.0, "cycle")
    assert fact.service_level == found.rows[0].level > 0.95
    shop.world.row(Kind.FACT, shop.now + 1, sku="", fact=record.value.decode())
    shop.tell()
    assert shop.get("reorder_point") > before
    again = portfolio.weighed([shop.shelf], fill_rate=0.9999)
    assert again.rows[0].level_now == fact.service_level
    assert list(portfolio.facts(again, [shop.shelf], shop.now)) == []


def test_rows_without_cost_are_counted_and_nothing_to_weigh_is_said() -> None:
    """The mean of the others stands in; a shelf on which nothing sold has nothing to weigh."""
    shop = Shop(policy=Policy())
    shop.sells(20)
    assert portfolio.weighed([shop.shelf], fill_rate=0.9).without_cost == 1
    with pytest.raises(SetupError, match="no margin is known"):
        portfolio.weighed([shop.shelf], fill_rate=0.9, worth="margin")
    with pytest.raises(SetupError, match="no row can be weighed"):
        portfolio.weighed([Shop().shelf], fill_rate=0.9)
