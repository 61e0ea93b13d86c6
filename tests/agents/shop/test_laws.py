"""The simulated shop's laws: seeded, physical, by the contract, and its books are what its events say."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from agents.shop.config import DAY_MS, HOUR_MS, Config
from agents.shop.said import Said
from agents.shop.world import World
from stream.events.facts import key_of, key_text
from stream.events.public import INCOMING

BUSY = Config(
    seed=11, rows=90, locations=4, customers_day=6, cart_lead_hours=10, wholesale_share=0.01, shrinkage_share=0.08,
    count_days=9, opening_days=6, promotion_share=0.2, new_share=0.2, ending_share=0.2, restocking="own",
)  # fmt: skip


@cache
def told(config: Config, days: int = 30) -> tuple[list[Said], World]:
    """A world that was told of a proposal and a transfer a day."""
    world, said = World(config), []
    for day in range(1, days + 1):
        said += world.tell(world.now_ms + DAY_MS)
        world.replenish(f"r{day}", "oat-drink-1l", "web", 60)
        world.move(f"m{day}", "milk-chocolate", "berlin", "tokyo", 2)
        world.move(f"all{day}", "cup-blue", "tokyo", "berlin", 10**6)  # after the first there is little to spare
    return said, world


def test_the_same_seed_gives_the_same_events() -> None:
    """Two runs with one seed and the same answers are equal; another seed differs."""
    assert told(BUSY, 6)[0] == told.__wrapped__(BUSY, 6)[0]
    assert told(BUSY, 6)[0] != told(Config(**{**BUSY.__dict__, "seed": 12}), 6)[0]


def test_how_far_it_is_asked_to_go_at_a_time_does_not_show() -> None:
    """An hour at a time or two days at once: the same events."""
    slow, fast = World(BUSY), World(BUSY)
    begin_ms = slow.now_ms
    by_hour = [one for hour in range(1, 49) for one in slow.tell(begin_ms + hour * HOUR_MS)]
    assert by_hour == fast.tell(begin_ms + 2 * DAY_MS)


def test_the_order_of_answers_within_a_step_does_not_show() -> None:
    """Kafka's partitions bring proposals in any order: what the suppliers make of them is the same."""
    asked = [("a", "dark-chocolate-70", "berlin", 40), ("b", "oat-drink-1l", "web", 24), ("c", "cup-blue", "tokyo", 6)]
    said = []
    for proposals in (asked, asked[::-1]):
        world = World(BUSY)
        world.tell(world.now_ms + HOUR_MS)
        for proposal in proposals:
            world.replenish(*proposal)
        said.append(world.tell(world.now_ms + 12 * DAY_MS))
    assert said[0] == said[1]


def test_every_event_keeps_the_contract() -> None:
    """Nothing the shop says would be refused; ids are unique; facts carry the one key that names them."""
    said, _ = told(BUSY)
    for one in said:
        INCOMING[one.topic][one.event["type"]].model_validate(one.event)
        if one.topic in ("catalog", "calendar"):
            assert one.key == key_text(key_of(one.event))
    assert len({one.event["event_id"] for one in said}) == len(said)


def test_everything_a_shop_can_do_is_done() -> None:
    """Every type of the contract is said: no door of the service stays untried."""
    said = {one.event["type"] for one in told(BUSY)[0]}
    assert {type for types in INCOMING.values() for type in types} - said == set()


def test_events_come_in_order_of_their_time() -> None:
    """Everything is told as it happened, and nothing ahead of its time."""
    said, world = told(BUSY)
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(said))
    assert said[-1].at_ms < world.now_ms


def books(said: list[Said]) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Stock and allocated units by the contract's words alone, counts taken at their word."""
    stock: dict[tuple[str, str], float] = defaultdict(float)
    allocated: dict[tuple[str, str], float] = defaultdict(float)
    for one in said:
        event, kind = one.event, one.event["type"]
        if one.topic == "orders":
            for line in event["lines"]:
                row, units = (line["sku"], line["location"]), line["quantity"]
                stock[row] -= units if kind == "order.fulfilled" or event.get("fulfilled") else 0
                stock[row] += units if kind == "order.returned" else 0
                allocated[row] += units if kind == "order.placed" and not event.get("fulfilled") else 0
                allocated[row] -= units if kind in ("order.fulfilled", "order.cancelled") else 0
        elif one.topic == "stock-movements":
            _moved(stock, event, kind)
    return stock, allocated


def _moved(stock: dict[tuple[str, str], float], event: dict[str, Any], kind: str) -> None:
    row, units = (event["sku"], event["location"]), event["quantity"]
    if kind == "stock.counted":
        stock[row] = units
    elif kind == "stock.transfer_received":
        stock[event["sku"], event["to_location"]] += units
    elif kind.startswith("stock."):  # what is approved or cancelled has not moved
        stock[row] += units if kind in ("stock.received", "stock.adjusted") else -units


def test_its_books_are_what_its_events_say() -> None:
    """Counts, receipts, sales, returns, transfers and breakage add up to the books; what was stolen is not there."""
    said, world = told(BUSY)
    stock, allocated = books(said)
    for row in range(BUSY.rows):
        name = (world.sku_of(row), world.location_of(row))
        assert stock[name] == world.book[row], name
        assert allocated[name] == world.allocated[row], name
    assert (world.book >= world.on_hand).all()
    assert (world.book > world.on_hand).any()  # somebody stole and nobody counted yet
    assert (world.on_hand >= 0).all()


@pytest.mark.parametrize("restocking", ["own", "none"])
def test_units_are_conserved_every_day_in_every_row(restocking: Any) -> None:
    """Opening + in - out = what lies there; books differ from it by what was stolen since the last count."""
    world = World(Config(**{**BUSY.__dict__, "restocking": restocking}))
    missing = np.zeros(BUSY.rows, np.int64)
    for _ in range(30):
        d = world.day()
        came = d.received_units + d.returned_units + d.moved_in_units + d.adjusted_units
        went = d.shipped_units + d.stolen_units + d.written_off_units + d.moved_out_units
        assert (d.opening_units + came - went == d.on_hand_units).all()
        missing += d.stolen_units + d.corrected_units
        assert (d.book_units - d.on_hand_units == missing).all()
        assert (missing >= 0).all()
        assert (d.on_hand_units >= 0).all()
        assert (d.wanted_units == d.sold_units + d.lost_units).all()
        assert (d.sold_units[d.closed] == 0).all()
    assert world.config.restocking == "own" or int(d.lost_units.sum()) > 0


def test_suppliers_answer() -> None:
    """Orders are confirmed, then delivered: in time, late, in parts, short or not at all; proposals are named."""
    world = World(Config(seed=5, rows=400, locations=2, restocking="none", customers_day=0.01))
    world.tell(world.now_ms + HOUR_MS)
    for row in range(400):
        world.replenish(f"r{row}", world.sku_of(row), world.location_of(row), 20)
    said = world.tell(world.now_ms + 35 * DAY_MS)
    orders: dict[str, Counter[str]] = defaultdict(Counter)
    for one in said:
        ref = one.event.get("order_ref") or one.event.get("reference")
        if ref is not None:
            orders[ref][one.event["type"]] += one.event["quantity"]
    ordered = [one.event for one in said if one.event["type"] == "supply.ordered"]
    assert 365 <= len(ordered) < 400  # one in twenty is overlooked
    assert all(event["replenishment_id"].startswith("r") for event in ordered)
    for its in orders.values():
        assert its["supply.confirmed"] == 20
        assert its["stock.received"] + its["supply.cancelled"] == 20
    whole = sum(its["supply.cancelled"] == 20 for its in orders.values())
    short = sum(0 < its["supply.cancelled"] < 20 for its in orders.values())
    assert 2 <= whole <= 30
    assert 4 <= short <= 35
    kinds = Counter(one.event["type"] for one in said)
    assert kinds["supply.rescheduled"] > 15
    assert kinds["stock.received"] > len(ordered)  # some come in two parts
    assert (world.on_order == 0).all()


def test_a_withdrawn_proposal_is_not_ordered() -> None:
    """A need that went away before the buyer wrote the order is not bought."""
    world = World(Config(rows=8, locations=2, restocking="none"))
    world.tell(world.now_ms + HOUR_MS)
    world.replenish("gone", "oat-drink-1l", "berlin", 12)
    world.withdraw("gone")
    assert not [one for one in world.tell(world.now_ms + 2 * DAY_MS) if one.topic == "supply"]


def test_a_transfer_that_is_asked_for_is_shipped_and_received() -> None:
    """As far as units are there; both ends are told, under the name it was asked for."""
    world = World(Config(rows=8, locations=2, restocking="none", shrinkage_share=0))
    world.tell(world.now_ms + HOUR_MS)
    world.move("mine", "oat-drink-1l", "berlin", "web", 5)
    said = [one.event for one in world.tell(world.now_ms + 5 * DAY_MS) if one.event.get("transfer_id") == "mine"]
    assert [(e["type"], e["location"], e["to_location"], e["quantity"]) for e in said] == [
        ("transfer.approved", "berlin", "web", 5),
        ("stock.transfer_shipped", "berlin", "web", 5),
        ("stock.transfer_received", "berlin", "web", 5),
    ]
    assert (world.in_transit == 0).all()


def test_wholesale_orders_are_cancelled_minutes_later() -> None:
    """Four in five, within half an hour; the day's truth counts them apart."""
    world = World(Config(seed=2, rows=60, locations=3, wholesale_share=0.05))
    said = world.tell(world.now_ms + 12 * DAY_MS)
    placed = {o.event["order_id"]: o.at_ms for o in said if o.event.get("channel") == "wholesale"}
    gone = {o.event["order_id"]: o.at_ms for o in said if o.event["type"] == "order.cancelled"}
    after_ms = [gone[order] - at_ms for order, at_ms in placed.items() if order in gone]
    assert len(placed) > 100
    assert 0.7 < len(after_ms) / len(placed) < 0.9
    assert sum(0 < ms <= 35 * 60_000 for ms in after_ms) >= 0.98 * len(after_ms)  # the rest: not there when packed


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rows": 0}, "rows"),
        ({"locations": 5, "rows": 4}, "locations"),
        ({"cart_lead_hours": -1}, "cart_lead_hours"),
        ({"restocking": "hope"}, "restocking"),
        ({"conversion": 0}, "conversion"),
    ],
)
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, Any], named: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=named):
        Config(**wrong)


@pytest.mark.parametrize(("rows", "locations"), [(1, 1), (5, 4), (10, 3), (23, 12)])
def test_any_size_lives(rows: int, locations: int) -> None:
    """Rows that do not divide by locations, one row alone, more places than names."""
    world = World(Config(rows=rows, locations=locations, restocking="own"))
    assert all(len(world.day().sold_units) == rows for _ in range(3))
