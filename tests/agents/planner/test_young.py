"""New rows begin as like rows are and let go of it; a launch says from when on they are ordered and teach."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import orjson
import pytest

from agents.planner.config import DAY_MS, Policy
from agents.planner.explaining import explained
from agents.planner.versions import FIRST
from stream.events.kinds import Kind
from tests.agents.planner.test_laws import differences
from tests.agents.planner.test_semantics import Shop, of
from tests.agents.planner.worlds import START_MS, by_sku, config, run

LEAD, REVIEW = 3.0, 1.0


def state(shop: Shop, sku: str, item: dict[str, Any] | None = None, policy: dict[str, Any] | None = None) -> None:
    """Facts of a SKU, from the end of the last day on; the policy's makes its row."""
    at_ms = shop.now + 1
    for type, said, place in (("catalog.item", item, ""), ("catalog.policy", policy, "L")):
        if said is not None:
            fact = {"type": type, "sku": sku, **({"location": place} if place else {}), **said}
            shop.world.row(Kind.FACT, at_ms, sku=sku, location=place, fact=orjson.dumps(fact).decode())


def days(shop: Shop, units: dict[str, float], count: int) -> None:
    """Days on which so many units of each SKU are wanted."""
    for _ in range(count):
        day = shop.now // DAY_MS
        for i, (sku, wanted) in enumerate(units.items()):
            if wanted:
                shop.world.order(shop.now + 2, 1_000_000 + day * 100 + i, sku=sku, units=wanted)
        shop.now += DAY_MS
        shop.tell(shop.now)


def old_shop(skus: dict[str, float], category: str = "", **kwargs: Any) -> Shop:
    """A shop whose SKUs have sold for five weeks."""
    shop = Shop(policy=Policy(lead_days=LEAD, review_days=REVIEW), **kwargs)
    shop.now = START_MS
    for sku in skus:
        shop.world.row(Kind.STOCK_COUNTED, START_MS, sku=sku, units=10_000)
        if category:
            state(shop, sku, {"category": category})
    days(shop, skus, 35)
    shop.said.clear()
    return shop


def rate(shop: Shop, sku: str) -> float:
    return float(shop.shelf.hot["demand_rate"][shop.shelf.index[sku, "L"]])


def proposed(shop: Shop, sku: str) -> list[dict[str, Any]]:
    return [one for one in of(shop.said, "replenishment.proposed") if one["sku"] == sku]


def day_text(ms: int) -> str:
    return str(np.datetime64(ms // DAY_MS, "D"))


def test_a_new_item_is_ordered_to_be_there_at_its_launch() -> None:
    """Like one of 12 a day: nothing is proposed until lead time and review before the launch, then what it needs."""
    shop = old_shop({"A": 12})
    launch_ms = shop.now + 20 * DAY_MS
    state(shop, "N", {"like_sku": "A", "launch_on": day_text(launch_ms)}, {})
    days(shop, {"A": 12}, 15)
    assert proposed(shop, "N") == []
    days(shop, {"A": 12}, 2)
    (one,) = proposed(shop, "N")
    assert shop.now <= launch_ms - LEAD * DAY_MS
    assert explained(shop.shelf, shop.shelf.index["N", "L"])["began"] == {"as": "like_sku", "name": "A"}
    assert rate(shop, "N") == pytest.approx(12, rel=0.15)
    assert one["quantity"] == pytest.approx(12 * 7, rel=0.3), "a set cover and what is expected up to the next chance"


def test_days_before_the_launch_teach_nothing_and_the_others_let_go_of_the_like_item() -> None:
    """Weeks before the launch leave the level where it began; 3 a day instead of 12 are believed within four weeks."""
    shop = old_shop({"A": 12})
    state(shop, "N", {"like_sku": "A", "launch_on": day_text(shop.now + 4 * DAY_MS), "lead_days": 30}, {})
    shop.world.row(Kind.STOCK_COUNTED, shop.now + 2, sku="N", units=1_000)
    days(shop, {"A": 12}, 4)
    assert rate(shop, "N") == pytest.approx(12, rel=0.15)
    days(shop, {"A": 12, "N": 3}, 7)
    assert 3.5 < rate(shop, "N") < 9
    days(shop, {"A": 12, "N": 3}, 21)
    assert rate(shop, "N") == pytest.approx(3, abs=1.2)


def test_a_category_speaks_for_a_like_item_of_another_shelf() -> None:
    """Of the rows of its category the one of middle size; without enough of them nothing is expected."""
    skus = {"A": 2, "B": 8, "C": 30}
    shop = old_shop(skus, "tea")
    state(shop, "N", {"like_sku": "elsewhere", "category": "tea"}, {})
    state(shop, "M", {"like_sku": "elsewhere", "category": "coffee"}, {})
    days(shop, skus, 2)
    assert rate(shop, "N") == pytest.approx(8, rel=0.15)
    assert explained(shop.shelf, shop.shelf.index["N", "L"])["began"] == {"as": "category", "name": "tea"}
    assert rate(shop, "M") == 0


def test_a_successor_takes_over_once_the_old_one_is_no_longer_bought() -> None:
    """Until then nothing is expected of it; then it begins where the old one stands."""
    shop = old_shop({"A": 12})
    state(shop, "N", {}, {})
    state(shop, "A", {"successor": "N"})
    days(shop, {"A": 12}, 3)
    assert rate(shop, "N") == 0
    state(shop, "A", {"successor": "N", "status": "phase_out"})
    days(shop, {"A": 12}, 2)
    assert rate(shop, "N") == pytest.approx(12, rel=0.15)
    assert proposed(shop, "N")
    assert explained(shop.shelf, shop.shelf.index["N", "L"])["began"] == {"as": "successor", "name": "A"}


def test_an_undescribed_row_begins_with_its_own_demand() -> None:
    """A SKU that comes up somewhere asks for nothing, whatever others sell."""
    shop = old_shop({"A": 12})
    shop.world.row(Kind.STOCK_COUNTED, shop.now + 2, sku="N", units=0)
    days(shop, {"A": 12}, 3)
    assert rate(shop, "N") == 0
    assert proposed(shop, "N") == []


def test_version_1_decides_as_it_did() -> None:
    """There these facts are kept and decide nothing."""
    shop = old_shop({"A": 12}, version=FIRST)
    state(shop, "N", {"like_sku": "A", "launch_on": day_text(shop.now + 2 * DAY_MS)}, {"status": "new"})
    days(shop, {"A": 12}, 3)
    assert rate(shop, "N") == 0
    assert shop.shelf.policy["order_from"][shop.shelf.index["N", "L"]] == 0


@pytest.mark.parametrize("seed", range(2))
def test_neither_slices_nor_crashes_show_in_how_rows_begin(seed: int) -> None:
    """Ten new rows among ten old ones, launched one a day: the same bytes and messages however the log is cut."""
    shop = old_shop({f"S{i}": 2 + i for i in range(10)}, "tea")
    for i in range(10):
        launch = day_text(shop.now + i * DAY_MS)
        state(shop, f"N{i}", {"like_sku": f"S{i}" if i % 2 else "?", "category": "tea", "launch_on": launch}, {})
    days(shop, {f"S{i}": 2 + i for i in range(10)} | {"N3": 4}, 12)
    log = shop.world.records
    cfg = config(policy=Policy(lead_days=LEAD, review_days=REVIEW))
    whole, cut = run(cfg, log), run(cfg, log, random.Random(seed), crash=0.1)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"
    assert not whole.open().young - {whole.open().index[f"N{i}", "L"] for i in range(10)}
