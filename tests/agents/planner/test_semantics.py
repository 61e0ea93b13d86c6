"""What each event means, one story a test. docs/contract.md tells the same in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from agents.planner import effects, life
from agents.planner.config import DAY_MS, PlannerConfig, Policy
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.shelf import Order, Shelf
from agents.planner.view import on_hand_as_of
from stream.events.kinds import Flag, Kind
from stream.events.outgoing import Outgoing
from tests.agents.planner.worlds import HOUR_MS, START_MS, World, at_rest, config

DAY0 = START_MS


class Shop:
    """A world that is folded as it is told."""

    def __init__(self, **kwargs: Any) -> None:
        self.world = World()
        self.config: PlannerConfig = config(**kwargs)
        self.shelf: Shelf = load(self.config, {}, -1)
        self.said: list[Outgoing] = []

    def tell(self, mark_ms: int | None = None) -> list[Outgoing]:
        """Fold what was added; the messages that follow."""
        out = fold(self.shelf, [self.world.record(mark_ms)]).messages + at_rest(self.shelf)
        self.said += out
        return out

    def sells(self, days: int, units_a_day: float = 10, stock: float = 10_000) -> None:
        """A row S@L with a settled demand and no surprises, at the end of `days`."""
        self.world.row(Kind.STOCK_COUNTED, DAY0, units=stock)
        for day in range(days):
            self.world.order(DAY0 + day * DAY_MS + HOUR_MS, 10_000 + day, units=units_a_day)
            self.tell(DAY0 + (day + 1) * DAY_MS)
        self.now = DAY0 + days * DAY_MS

    def level(self, units: float) -> list[Outgoing]:
        """Adjust stock so that `units` are on hand, now."""
        self.now += HOUR_MS
        self.world.row(Kind.STOCK_ADJUSTED, self.now, units=units - self.get("on_hand"))
        return self.tell()

    def count(self, units: float) -> list[Outgoing]:
        """Count `units`, now."""
        self.now += HOUR_MS
        self.world.row(Kind.STOCK_COUNTED, self.now, units=units)
        return self.tell()

    def get(self, name: str, sku: str = "S", location: str = "L") -> float:
        """A number of a row, in units."""
        row = self.shelf.index[sku, location]
        return float(self.shelf.hot[name][row]) / 1000

    def orders(self) -> list[Order]:
        """Open replenishments of S@L."""
        return self.shelf.orders.get(self.shelf.index["S", "L"], [])


def of(messages: list[Outgoing], type: str) -> list[dict[str, Any]]:
    """Data of the messages of a type."""
    return [orjson.loads(m.value) for m in messages if dict(m.headers)["ce_type"] == f"restock.{type}".encode()]


def kinds(messages: list[Outgoing], what: str = "raised") -> list[tuple[str, str]]:
    """(kind, severity) of alert messages."""
    return [(d["kind"], d["severity"]) for d in of(messages, f"alert.{what}")]


# -- stock ------------------------------------------------------------------------------------------------------------


def test_a_placed_order_is_allocated_until_it_is_fulfilled() -> None:
    """Placing allocates, fulfilling takes from hand; both lower available stock once."""
    shop = Shop()
    shop.world.row(Kind.STOCK_RECEIVED, DAY0, units=10)
    shop.world.order(DAY0, 1, at_once=False, units=4)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("allocated")) == (10, 4)
    shop.world.row(Kind.ORDER_FULFILLED, DAY0 + 1, units=3)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("allocated")) == (7, 1)


def test_allocated_is_never_below_zero_and_the_rest_moves_stock() -> None:
    """An unmatched fulfilment or cancellation still moves stock and is counted."""
    shop = Shop()
    shop.world.row(Kind.ORDER_FULFILLED, DAY0, units=3)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("allocated")) == (-3, 0)
    shop.world.row(Kind.ORDER_CANCELLED, DAY0 + 1, units=2)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("allocated")) == (-1, 0)
    assert shop.shelf.counters["unmatched:order.fulfilled"] == 1
    assert shop.shelf.counters["unmatched:order.cancelled"] == 1


def test_cancelling_a_sale_made_at_once_brings_the_units_back() -> None:
    """Units sold from stock at once go back on hand, whatever others have allocated."""
    shop = Shop()
    shop.world.order(DAY0, 1, units=5)
    shop.world.order(DAY0, 2, units=4, at_once=False)
    shop.tell()
    shop.world.row(Kind.ORDER_CANCELLED, DAY0 + 1, units=5, order_hash=2)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("allocated")) == (0, 4)


def test_returns_come_back_and_demand_stays() -> None:
    """A return is sellable stock again and leaves the demand of its day alone."""
    shop = Shop()
    shop.world.order(DAY0, 1, units=5)
    shop.world.row(Kind.ORDER_RETURNED, DAY0 + 1, units=2)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("units0"), shop.get("returned")) == (-3, 5, 2)


def test_negative_stock_is_kept_and_is_a_discrepancy() -> None:
    """Selling what the books do not hold raises a discrepancy; a count resolves it."""
    shop = Shop()
    shop.world.order(DAY0, 1, units=5)
    assert ("discrepancy", "warning") in kinds(shop.tell(DAY0))
    assert shop.get("on_hand") == -5
    shop.world.row(Kind.STOCK_COUNTED, DAY0 + HOUR_MS, units=3)
    assert ("discrepancy", "warning") in kinds(shop.tell(), "resolved")
    assert shop.get("on_hand") == 3


def test_a_late_count_shifts() -> None:
    """A count holds as of its instant: later movements stay; earlier ones that arrive after it are in it already."""
    shop = Shop()
    shop.world.order(DAY0 + 5, 1, units=2)
    shop.tell()
    shop.world.row(Kind.STOCK_COUNTED, DAY0 + 3, units=50)
    shop.world.order(DAY0 + 7, 2, units=1)
    shop.tell()
    assert shop.get("on_hand") == 50 - 2 - 1
    shop.world.order(DAY0 + 2, 3, units=4)
    shop.tell()
    assert shop.get("on_hand") == 47
    assert on_hand_as_of(shop.shelf, 0, DAY0 + 6) == 48_000


def test_a_count_older_than_the_last_changes_nothing() -> None:
    """The last count, by its own instant, is the truth."""
    shop = Shop()
    shop.world.row(Kind.STOCK_COUNTED, DAY0 + 10, units=5)
    shop.world.row(Kind.STOCK_COUNTED, DAY0 + 5, units=80)
    shop.tell()
    assert shop.get("on_hand") == 5
    assert shop.shelf.counters["superseded:stock.counted"] == 1


def test_a_count_the_journal_no_longer_reaches_is_refused_with_its_bytes() -> None:
    """`count_too_old` goes to dead letters with the record's own bytes and place; stock stays as it is."""
    shop = Shop(journal_rows=3)
    for i in range(6):
        shop.world.order(DAY0 + i, i, units=1)
        shop.tell()
    shop.world.row(Kind.STOCK_COUNTED, DAY0, units=9, raw=b'{"the":"bytes"}')
    letters = of(shop.tell(), "record.refused")
    assert [(x["reason"], x["topic"], x["offset"]) for x in letters] == [("count_too_old", "stock-movements", 0)]
    assert letters[0]["value"] == "eyJ0aGUiOiJieXRlcyJ9"
    assert shop.get("on_hand") == -6


def test_transfers_are_in_transit_between_two_locations() -> None:
    """Shipped units leave here and are coming there; received ones are there; more than was shipped is unmatched."""
    shop = Shop()
    shop.world.row(Kind.TRANSFER_LEFT, DAY0, units=4, location="A")
    shop.world.row(Kind.TRANSFER_COMING, DAY0, units=4, location="B")
    shop.tell()
    assert (shop.get("on_hand", location="A"), shop.get("in_transit", location="B")) == (-4, 4)
    shop.world.row(Kind.TRANSFER_ARRIVED, DAY0 + 1, units=5, location="B")
    shop.tell()
    assert (shop.get("on_hand", location="B"), shop.get("in_transit", location="B")) == (5, 0)
    assert shop.shelf.counters["unmatched:stock.transfer_received"] == 1


def test_the_same_event_again_is_a_repeat() -> None:
    """An upstream repeat comes with new coordinates and the same event: it is dropped and counted."""
    shop = Shop()
    shop.world.order(DAY0, 1, units=2, event_hash=77)
    shop.tell()
    shop.world.order(DAY0, 1, units=2, event_hash=77)
    shop.world.order(DAY0, 3, units=1, event_hash=78)
    shop.world.order(DAY0, 3, units=1, event_hash=78)
    shop.tell()
    assert shop.get("ordered") == 3
    assert shop.shelf.counters["repeated:orders"] == 2
    assert shop.shelf.counters["accepted:orders"] == 2


# -- days -------------------------------------------------------------------------------------------------------------


def test_a_cancelled_order_leaves_the_day_it_was_placed_on() -> None:
    """Cancelled the same day: not learnt. Cancelled later: the kept history is corrected, what was learnt stays."""
    shop = Shop()
    shop.world.order(DAY0 + 1, 1, units=80_995)
    shop.world.order(DAY0 + 2, 2, units=3)
    shop.world.row(Kind.ORDER_CANCELLED, DAY0 + 12 * 60_000, units=80_995, order_hash=2)
    shop.tell(DAY0 + DAY_MS)
    assert shop.shelf.history[0, 20_000 % 42] == 3_000
    learnt = shop.shelf.model[0].tobytes()
    shop.world.row(Kind.ORDER_CANCELLED, DAY0 + DAY_MS + 5, units=3, order_hash=3)
    shop.tell()
    assert shop.shelf.history[0, 20_000 % 42] == 0
    assert shop.shelf.model[0].tobytes() == learnt


def test_a_cancellation_after_the_days_end_is_learnt_the_same_whenever_the_day_closes() -> None:
    """What a day teaches depends on when the cancellation occurred, not on whether the day was still open."""
    early, late = Shop(), Shop()
    for shop in (early, late):
        shop.world.order(DAY0 + 1, 1, units=9)
        shop.world.order(DAY0 + 2, 2, units=3)
    early.tell(DAY0 + DAY_MS)
    for shop in (early, late):
        shop.world.row(Kind.ORDER_CANCELLED, DAY0 + DAY_MS + 5, units=9, order_hash=2)
        shop.tell(DAY0 + DAY_MS)
    assert early.shelf.model[0].tobytes() == late.shelf.model[0].tobytes()
    assert early.shelf.history[0].tobytes() == late.shelf.history[0].tobytes()


def test_a_late_order_moves_stock_and_teaches_nothing() -> None:
    """Late by its own partition's mark: stock moves, the row's late units grow, its day stays as it was."""
    shop = Shop()
    shop.world.order(DAY0, 1, units=2)
    late = Flag.SOLD_AT_ONCE | Flag.LATE
    shop.world.row(Kind.ORDER_PLACED, DAY0 - DAY_MS, units=5, flags=late, late_ms=DAY_MS, order_hash=3)
    shop.tell()
    assert (shop.get("on_hand"), shop.get("units0"), shop.get("late")) == (-7, 2, 5)
    assert shop.shelf.counters["late"] == 1


def test_a_day_further_ahead_waits_for_its_turn() -> None:
    """Orders partitions may run ahead of each other: a day's demand is the same in whichever order it came."""
    straight, skewed = Shop(), Shop()
    times = [DAY0 + d * DAY_MS + 5 for d in range(5)]
    for shop, order in ((straight, times), (skewed, times[::-1])):
        for i, at in enumerate(order):
            shop.world.order(at, i, units=1 + (at - DAY0) // DAY_MS, event_hash=at)
        shop.tell()
        for day in range(1, 6):
            shop.tell(DAY0 + day * DAY_MS)
    assert straight.shelf.history[0].tolist() == skewed.shelf.history[0].tolist()
    assert [straight.shelf.history[0, (20_000 + d) % 42] for d in range(5)] == [1000, 2000, 3000, 4000, 5000]
    assert straight.shelf.model[0].tobytes() == skewed.shelf.model[0].tobytes()


def test_a_location_cuts_its_own_days() -> None:
    """23:30 UTC is tomorrow in Tokyo."""
    shop = Shop()
    shop.world.row(
        Kind.FACT, DAY0, sku="", location="", fact='{"type":"catalog.location","location":"T","timezone":"Asia/Tokyo"}'
    )
    shop.world.order(DAY0 + 23 * HOUR_MS, 1, units=2, location="T")
    shop.world.order(DAY0 + 23 * HOUR_MS, 2, units=3, location="L")
    shop.tell()
    day = shop.shelf.hot["day"]
    assert day[shop.shelf.index["S", "T"]] == day[shop.shelf.index["S", "L"]] + 1


def test_a_change_of_zone_waits_for_the_open_days_end() -> None:
    """The open day ends as it began; the next is cut by the new zone and is no sliver."""
    shop = Shop()
    shop.world.order(DAY0, 1)
    shop.tell(DAY0)
    shop.world.row(
        Kind.FACT,
        DAY0 + 5,
        sku="",
        location="",
        fact='{"type":"catalog.location","location":"L","timezone":"Asia/Tokyo"}',
    )
    shop.tell()
    assert shop.shelf.hot["day_end_ms"][0] == DAY0 + DAY_MS
    shop.tell(DAY0 + DAY_MS)
    assert shop.shelf.hot["day_end_ms"][0] == DAY0 + DAY_MS + 15 * HOUR_MS
    assert shop.shelf.hot["day"][0] == 20_001


def test_the_watermark_is_the_least_mark() -> None:
    """A lagging partition holds the day open; the watermark moves when the last one does."""
    shop = Shop()
    shop.world.order(DAY0, 1)
    record = shop.world.record(DAY0 + 2 * DAY_MS)
    behind = record.marks[0]._replace(mark_ms=DAY0 + HOUR_MS)
    fold(shop.shelf, [replace(record, marks=(behind, *record.marks[1:]))])
    assert shop.shelf.hot["day"][0] == 20_000
    fold(shop.shelf, [shop.world.record(DAY0 + 2 * DAY_MS)])
    assert shop.shelf.hot["day"][0] == 20_002


# -- replenishments ---------------------------------------------------------------------------------------------------


def test_a_replenishment_says_why_in_numbers_that_add_up() -> None:
    """Position, reorder point, expected demand, safety stock and quantity in the sentence are those of the decision."""
    shop = Shop(policy=Policy(lead_days=2.0, pack_milli=12_000))
    shop.sells(28)
    said = of(shop.level(20), "replenishment.proposed")
    assert len(said) == 1
    numbers, quantity = said[0]["numbers"], said[0]["quantity"]
    assert quantity % 12 == 0
    assert numbers["inventory_position_before"] == 20 <= numbers["reorder_point"]
    assert numbers["inventory_position_before"] + quantity >= numbers["order_up_to"]
    assert numbers["expected_demand"] + numbers["safety_stock"] == numbers["reorder_point"]
    assert "position 20 is under reorder point" in said[0]["sentence"]
    assert f"ordering {quantity}" in said[0]["sentence"]


def test_nothing_is_proposed_twice_and_several_may_be_open() -> None:
    """A proposal counts in the position; only a position at or under the reorder point proposes again."""
    shop = Shop()
    shop.sells(28)
    assert len(of(shop.level(20), "replenishment.proposed")) == 1
    shop.world.order(shop.now + 1, 1, units=1)
    assert of(shop.tell(), "replenishment.proposed") == []
    shop.world.order(shop.now + 2, 2, units=90)
    assert len(of(shop.tell(), "replenishment.proposed")) == 1
    assert len(shop.orders()) == 2


def test_the_life_of_a_replenishment() -> None:
    """Proposed, ordered, confirmed, part received, received: the position counts what is still to come all along."""
    shop = Shop()
    shop.sells(28)
    proposal = of(shop.level(20), "replenishment.proposed")[0]
    q, at = proposal["quantity"], shop.now
    supply = {"units": q, "reference": "PO1", "replenishment_id": proposal["replenishment_id"]}
    position = shop.get("on_hand") + q
    steps: list[tuple[Kind, dict[str, Any], str]] = [
        (Kind.SUPPLY_ORDERED, supply, "ordered"),
        (Kind.SUPPLY_CONFIRMED, {**supply, "expected_ms": at + 2 * DAY_MS}, "confirmed"),
        (Kind.SUPPLY_RESCHEDULED, {**supply, "expected_ms": at + 3 * DAY_MS}, "confirmed"),
        (Kind.STOCK_RECEIVED, {"units": 4, "reference": "PO1"}, "part_received"),
        (Kind.STOCK_RECEIVED, {"units": q - 4, "reference": "PO1"}, "received"),
    ]
    for i, (kind, more, status) in enumerate(steps):
        shop.world.row(kind, at + i, **more)
        assert len(of(shop.tell(), f"replenishment.{status}")) == 1, status
        rest = sum(shop.get(f) for f in ("on_hand", "on_order", "proposed")) - shop.get("allocated")
        assert rest == position, status
    assert shop.orders() == []


def test_an_order_placed_outside_counts_as_on_order() -> None:
    """Unknown, closed or no replenishment_id: it is on order all the same, and nothing more is proposed."""
    shop = Shop()
    shop.sells(28)
    shop.world.row(Kind.SUPPLY_ORDERED, shop.now, units=500, reference="PO9", replenishment_id="R-unknown")
    shop.tell()
    assert shop.get("on_order") == 500
    assert of(shop.level(1), "replenishment.proposed") == []


def test_a_receipt_without_reference_reduces_the_oldest_order() -> None:
    """Oldest first, then the next; what is beyond all of them is simply stock."""
    shop = Shop()
    for i, ref in enumerate(("PO1", "PO2")):
        shop.world.row(Kind.SUPPLY_ORDERED, DAY0 + i, units=10, reference=ref)
    shop.world.row(Kind.STOCK_RECEIVED, DAY0 + 9, units=14)
    shop.tell()
    assert [(o.ref, o.remaining) for o in shop.orders()] == [("PO2", 6_000)]
    assert shop.get("on_hand") == 14


def test_an_unlawful_move_is_recorded_and_changes_no_replenishment() -> None:
    """Confirming what is unknown is an order placed outside; rescheduling it is unlawful, counted and published."""
    shop = Shop()
    shop.world.row(Kind.SUPPLY_RESCHEDULED, DAY0, units=5, reference="PO404", expected_ms=DAY0 + DAY_MS)
    said = of(shop.tell(DAY0), "replenishment.unlawful")
    assert [d["order_ref"] for d in said] == ["PO404"]
    assert shop.get("on_order") == 0
    assert shop.shelf.counters["unlawful:unknown:reschedule"] == 1


@pytest.mark.parametrize("status", [*life.OPEN, "received", "cancelled", "expired"])
@pytest.mark.parametrize("move", sorted({m for _, m in life.MOVES}))
def test_the_table_of_moves_is_the_law(status: str, move: str) -> None:
    """A move in the table leads where it says; every other one is a named error that changes nothing."""
    order = Order("R", status, 10, 10, 0, "PO")
    before = (order.status, order.remaining, order.quantity)
    if (status, move) in life.MOVES:
        assert life.after(order, move) == life.MOVES[status, move]
    else:
        with pytest.raises(life.Unlawful, match=move.split("_")[0]):
            life.after(order, move)
    assert (order.status, order.remaining, order.quantity) == before


def test_a_proposal_nobody_orders_expires_and_is_proposed_anew() -> None:
    """After the set time it no longer counts; the need is still there, so a new one is proposed by the same mark."""
    shop = Shop(proposal_expiry_ms=5 * HOUR_MS)
    shop.sells(28)
    first = of(shop.level(20), "replenishment.proposed")[0]
    out = shop.tell(shop.now + 6 * HOUR_MS)
    assert [d["replenishment_id"] for d in of(out, "replenishment.expired")] == [first["replenishment_id"]]
    again = of(out, "replenishment.proposed")
    assert len(again) == 1
    assert again[0]["replenishment_id"] != first["replenishment_id"]


@pytest.mark.parametrize("status", ["phase_out", "do_not_stock"])
def test_what_is_not_to_be_stocked_is_not_proposed(status: str) -> None:
    """Phased out or not stocked: alerts, no proposals."""
    shop = Shop()
    shop.sells(28)
    shop.world.row(
        Kind.FACT, shop.now, sku="S", location="", fact=f'{{"type":"catalog.item","sku":"S","status":"{status}"}}'
    )
    shop.tell()
    out = shop.level(1)
    assert of(out, "replenishment.proposed") == []
    assert "low_stock" in [k for k, _ in kinds(out)]


def test_after_the_last_buying_day_nothing_is_proposed_and_what_was_is_withdrawn() -> None:
    """`last_buy_on` is the last local day on which a proposal is made."""
    shop = Shop()
    shop.sells(28)
    shop.level(20)
    assert len(shop.orders()) == 1
    fact = '{"type":"catalog.item","sku":"S","last_buy_on":"2024-10-31"}'  # the day before, local day 20,027
    shop.world.row(Kind.FACT, shop.now, sku="S", location="", fact=fact)
    out = shop.tell(DAY0 + 29 * DAY_MS)
    assert len(of(out, "replenishment.cancelled")) == 1
    assert of(shop.level(5), "replenishment.proposed") == []


def test_a_proposal_that_is_not_needed_any_more_is_withdrawn_at_the_closing() -> None:
    """A count found the units: what nobody ordered yet stops counting, what was ordered stays."""
    shop = Shop()
    shop.sells(28)
    shop.level(20)
    shop.count(9_000)
    assert len(shop.orders()) == 1
    out = shop.tell(DAY0 + 29 * DAY_MS)
    assert [d["status"] for d in of(out, "replenishment.cancelled")] == ["cancelled"]
    assert shop.orders() == []


def test_a_new_sku_sold_unit_by_unit_is_not_left_with_256_proposals_of_one() -> None:
    """Until its first day closes each sale is proposed by itself; then one proposal takes their place and suffices."""
    shop = Shop(version=2)
    for number in range(300):
        shop.world.order(DAY0 + HOUR_MS + number * 1000, number, units=1)
    shop.tell(DAY0 + 2 * HOUR_MS)
    assert len(shop.orders()) == life.ORDERS_MAX
    out = shop.tell(DAY0 + DAY_MS)
    assert len(of(out, "replenishment.cancelled")) == life.ORDERS_MAX
    [one] = of(out, "replenishment.proposed")
    assert one["quantity"] >= 300 + shop.get("reorder_point")
    assert [order.remaining for order in shop.orders()] == [one["quantity"] * 1000]


def test_a_policy_fact_moves_the_reorder_point_where_it_stands_in_the_log() -> None:
    """A longer lead time raises the reorder point at once; a tombstone takes it back."""
    shop = Shop()
    shop.sells(28)
    before = shop.get("reorder_point")
    shop.world.row(
        Kind.FACT,
        shop.now,
        sku="S",
        location="L",
        fact='{"type":"catalog.policy","sku":"S","location":"L","lead_days":9}',
    )
    shop.tell()
    assert shop.get("reorder_point") > before * 2
    shop.world.row(Kind.FACT_GONE, shop.now + 1, sku="S", location="L", fact='["policy","S","L"]')
    shop.tell()
    assert shop.get("reorder_point") == before


def test_the_maximum_on_the_shelf_wins() -> None:
    """A proposal never lifts the position over max_stock_units."""
    shop = Shop(policy=Policy(lead_days=2.0, max_stock_milli=45_000))
    shop.sells(28)
    assert [d["quantity"] for d in of(shop.level(20), "replenishment.proposed")] == [25]


# -- alerts -----------------------------------------------------------------------------------------------------------


def test_a_normal_cycle_says_little() -> None:
    """Falling under the reorder point raises one `info`; confirmation resolves it; receipts say nothing more."""
    shop = Shop()
    shop.sells(28)
    shop.said.clear()
    shop.level(30)
    q = of(shop.said, "replenishment.proposed")[0]
    assert kinds(shop.said) == [("low_stock", "info")]
    shop.world.row(
        Kind.SUPPLY_ORDERED, shop.now, units=q["quantity"], reference="PO", replenishment_id=q["replenishment_id"]
    )
    shop.world.row(Kind.SUPPLY_CONFIRMED, shop.now, units=q["quantity"], reference="PO", expected_ms=shop.now + HOUR_MS)
    out = shop.tell()
    assert ("low_stock", "info") in kinds(out, "resolved")
    shop.world.row(Kind.STOCK_RECEIVED, shop.now + 5, units=q["quantity"], reference="PO")
    out = shop.tell()
    assert kinds(shop.said) == [("low_stock", "info")]
    assert shop.shelf.alerts == {}


def test_low_stock_worsens_with_age_and_depth_and_is_said_once_each() -> None:
    """Info while the replenishment is young, warning when it grows old, critical under safety stock."""
    shop = Shop(proposal_grace_ms=3 * HOUR_MS)
    shop.sells(28)
    shop.shelf.hot["imminent_point"][0] = 0
    point = shop.get("reorder_point")
    assert ("low_stock", "info") in kinds(shop.level(point - 1))
    assert ("low_stock", "warning") in kinds(shop.tell(shop.now + 4 * HOUR_MS), "updated")
    assert kinds(shop.tell(shop.now + 5 * HOUR_MS), "updated") == []
    if shop.get("safety_stock") > 1:
        assert ("low_stock", "critical") in kinds(shop.level(0.5), "updated")


def test_a_supplier_that_does_not_confirm_counts_as_confirmed_when_ordered() -> None:
    """`confirms: false`: ordering clears low stock."""
    shop = Shop(policy=Policy(lead_days=2.0, confirms=False))
    shop.sells(28)
    shop.level(25)
    assert "low_stock" in shop.shelf.alerts[0]
    shop.world.row(Kind.SUPPLY_ORDERED, shop.now, units=100, reference="PO", replenishment_id=shop.orders()[0].id)
    assert ("low_stock", "info") in kinds(shop.tell(), "resolved")


def test_hysteresis_keeps_an_alert_until_it_is_really_over() -> None:
    """One unit above the reorder point does not resolve; past the hysteresis does."""
    shop = Shop()
    shop.sells(28)
    point = shop.get("reorder_point")
    shop.level(point)
    assert "low_stock" in shop.shelf.alerts[0]
    assert kinds(shop.level(point + 0.5), "resolved") == []
    assert ("low_stock", "info") in kinds(shop.level(point + max(1, point * 0.05) + 1), "resolved")


def test_stocked_out_is_critical_and_clears_with_the_first_unit() -> None:
    """Nothing left where there is demand; one unit received resolves it."""
    shop = Shop()
    shop.sells(28)
    out = shop.level(0)
    assert ("stocked_out", "critical") in kinds(out)
    money = next(d for d in of(out, "alert.raised") if d["kind"] == "stocked_out")
    assert money["money_at_risk_day"] == pytest.approx(shop.shelf.hot["demand_rate"][0] * 3.0, abs=0.01)
    shop.world.row(Kind.STOCK_RECEIVED, shop.now + 1, units=1)
    assert ("stocked_out", "critical") in kinds(shop.tell(), "resolved")


def test_overstock_is_said_when_cover_is_beyond_the_limit() -> None:
    """More than order-up-to plus the set days of demand."""
    shop = Shop(overstock_days=10.0)
    shop.sells(28, stock=400)
    assert ("overstock", "info") in kinds(shop.level(1_000))
    assert ("overstock", "info") in kinds(shop.level(30), "resolved")


def test_a_count_that_finds_another_number_is_a_discrepancy_for_a_week() -> None:
    """Beyond the tolerance it is raised; a count that agrees resolves it, and so do seven closings."""
    shop = Shop()
    shop.sells(7, stock=500)
    assert ("discrepancy", "warning") in kinds(shop.count(200))
    assert ("discrepancy", "warning") in kinds(shop.count(200), "resolved")
    assert ("discrepancy", "warning") in kinds(shop.count(100))
    out: list[Outgoing] = []
    for day in range(1, 9):
        out += shop.tell(DAY0 + (7 + day) * DAY_MS)
    assert ("discrepancy", "warning") in kinds(out, "resolved")


# -- positions, warm-up, carts ----------------------------------------------------------------------------------------


def test_positions_are_sent_when_changed_and_at_most_once_a_second() -> None:
    """Ten sales within a second of event time make one position; a quiet row none."""
    shop = Shop()
    for i in range(10):
        shop.world.order(DAY0 + i, i)
        out = shop.tell(DAY0 + i)
        assert len(of(out, "position.changed")) == (1 if i == 0 else 0)
    assert len(of(shop.tell(DAY0 + 1_000), "position.changed")) == 1
    assert of(shop.tell(DAY0 + 5_000), "position.changed") == []


def test_warm_up_publishes_nothing_and_then_raises_open_conditions_once() -> None:
    """History is folded into state and models; at the end of the warm-up what is open is said once, dated then."""
    end = DAY0 + 10 * DAY_MS
    shop = Shop(warm_until_ms=end)
    shop.sells(9, stock=30)
    assert shop.said == []
    assert shop.get("demand_rate") * 1000 > 5
    out = shop.tell(end)
    assert len(of(out, "replenishment.proposed")) == 1
    assert ("stocked_out", "critical") in kinds(out)
    assert all(dict(m.headers)["ce_time"].decode() >= "2024-10-14" for m in out)
    assert kinds(shop.tell(end + HOUR_MS)) == []


def test_carts_are_counted_converted_and_abandoned() -> None:
    """An order that names its cart converts; a silent cart is abandoned; a checked-out one is not."""
    shop = Shop(cart_silence_ms=HOUR_MS)
    for cart in (1, 2, 3):
        shop.world.row(Kind.CART_ADDED, DAY0, cart_hash=cart, units=2)
    shop.world.row(Kind.CART_CHECKED_OUT, DAY0 + 1, sku="", location="", cart_hash=3)
    shop.world.order(DAY0 + 2, 1, cart_hash=1, units=2)
    shop.tell(DAY0)
    assert (shop.get("added"), shop.get("converted"), shop.get("abandoned")) == (6, 2, 0)
    shop.tell(DAY0 + 2 * HOUR_MS)
    assert (shop.get("converted"), shop.get("abandoned")) == (2, 2)
    assert shop.shelf.carts.open == {}


def test_an_effect_names_what_the_journal_keeps() -> None:
    """A movement already seen by the last count has no effect on hand, and says so to the journal."""
    shop = Shop()
    shop.world.row(Kind.STOCK_COUNTED, DAY0 + 5, units=5)
    shop.world.row(Kind.STOCK_WRITTEN_OFF, DAY0 + 1, units=2)
    shop.tell()
    assert shop.get("on_hand") == 5
    assert [int(d) for d in shop.shelf.journal.chunks[0].entries["delta"]] == [5_000, 0]
    assert effects.Effect() == (0, -(2**31), False)
