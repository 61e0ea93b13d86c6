"""The demo's shop: seeded, lawful, physical."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise

from agents.demo.shop import DAY_MS, Said, Shop
from stream.events.public import INCOMING

START_MS = 1_780_000_000_000


@cache
def three_weeks(seed: int) -> tuple[list[Said], Shop]:
    """A shop whose buyer is told of one replenishment a day."""
    shop = Shop(seed, START_MS)
    said = shop.opening()
    for day in range(1, 22):
        said += shop.until(START_MS + day * DAY_MS)
        shop.replenish(f"r{day}", "oat-drink-1l", "berlin", 120)
    return said, shop


def test_the_same_seed_gives_the_same_events() -> None:
    """Two runs with one seed are equal to the last byte; another seed differs."""
    assert three_weeks(1)[0] == three_weeks.__wrapped__(1)[0]
    assert three_weeks(1)[0] != three_weeks(2)[0]


def test_every_event_keeps_the_contract() -> None:
    """Nothing the shop says would be refused, and every event has an id of its own."""
    said, _ = three_weeks(1)
    for one in said:
        INCOMING[one.topic][one.event["type"]].model_validate(one.event)
    assert len({one.event["event_id"] for one in said}) == len(said)


def test_events_come_in_order_of_their_time() -> None:
    """After the opening, each topic is told as it happened."""
    said, shop = three_weeks(2)
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(said))
    assert said[-1].at_ms < shop.now_ms


def test_the_shops_own_stock_is_what_its_events_say() -> None:
    """Counts, receipts, sales, returns, transfers and breakage add up to what lies there."""
    said, shop = three_weeks(2)
    stock: dict[tuple[str, str], float] = defaultdict(float)
    for one in said:
        event, kind = one.event, one.event["type"]
        if kind == "stock.counted":
            stock[event["sku"], event["location"]] = event["quantity"]
        elif kind == "stock.received":
            stock[event["sku"], event["location"]] += event["quantity"]
        elif kind in ("stock.written_off", "stock.transfer_shipped"):
            stock[event["sku"], event["location"]] -= event["quantity"]
        elif kind == "stock.transfer_received":
            stock[event["sku"], event["to_location"]] += event["quantity"]
        elif kind == "order.fulfilled" or event.get("fulfilled"):
            for line in event["lines"]:
                stock[line["sku"], line["location"]] -= line["quantity"]
        elif kind == "order.returned":
            for line in event["lines"]:
                stock[line["sku"], line["location"]] += line["quantity"]
    assert {row: units for row, units in stock.items() if units != shop.shelf[row]} == {}


def test_suppliers_answer_replenishments() -> None:
    """Most proposals are ordered, confirmed and delivered; a few are overlooked or cancelled."""
    said, _ = three_weeks(1)
    counts = Counter(one.event["type"] for one in said)
    assert 15 <= counts["supply.ordered"] <= 21
    assert counts["supply.ordered"] >= counts["supply.confirmed"] >= counts["stock.received"] > 10


def test_some_products_run_out_without_replenishment() -> None:
    """Nobody orders: within three weeks customers leave with empty hands, so there is something to be alerted of."""
    shop = Shop(5, START_MS)
    shop.opening()
    shop.until(START_MS + 21 * DAY_MS)
    assert shop.lost_units > 0
    assert min(shop.shelf.values()) == 0
