"""What the network agent sees of shelves, and what it decides from it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from agents.network import snapshot
from agents.network.balance import Answer, Move, made, pack_plan, read_plan, told
from agents.network.decide import decide, later_of
from agents.network.picture import LEVELS, distributions, lanes_of, problem
from agents.planner.config import DAY_MS
from agents.planner.keeping import changes
from agents.planner.plan import horizon_days
from agents.planner.shelf import Shelf
from stream.events.kinds import Kind
from stream.ledger.memory import MemoryLedger
from tests.agents.network.shops import NOW, Net, narrow_shops, two_shops
from tests.agents.planner.worlds import HOUR_MS


def decided(net: Net, budget: float = np.inf) -> list[Move]:
    """The moves of a net, by receiver."""
    moves, _ = decide(problem([net.shelf], budget), [net.shelf], 0.0, lambda: False)
    return sorted(moves, key=lambda move: (move.receiver, move.sku))


def put(net: Net, moves: list[Move]) -> None:
    """Tell the net a plan of these moves."""
    plan = made(Answer(NOW, {"0": 0}, moves, {}), NOW, NOW, 48 * HOUR_MS, "", "restock", 1)
    for _, records in told(plan, 0):
        for _, value in records:
            net.sent(value)


def test_stock_goes_from_where_it_is_over_to_where_it_lacks() -> None:
    """Both shops get what they lack over lead time and review, no more than pays, and each is told why."""
    net = two_shops()
    moves = decided(net)
    assert [(m.sender, m.receiver) for m in moves] == [("W", "L"), ("W", "M")]
    for move in moves:
        assert 10_000 <= move.milli <= 60_000, "four a day over six days is 24; the last units rarely sell"
        assert move.milli % 1000 == 0
        assert move.gain > 0
        assert move.reason.startswith(f"{move.receiver} is expected to run ")


def test_the_distribution_is_the_planners_own() -> None:
    """Mean and quantiles are those the reorder point was made from."""
    net = two_shops()
    rows = np.array([net.shelf.index["A", "L"]])
    mean, quantiles = distributions(net.shelf, rows, horizon_days(net.shelf, rows), LEVELS)
    assert mean[0] == pytest.approx(net.shelf.hot["expected"][rows[0]] / 1000, abs=1)
    assert (np.diff(quantiles[:, 0]) >= 0).all()


def test_what_is_open_is_not_proposed_again() -> None:
    """Once told, the proposals count at both ends: a second look proposes nothing."""
    net = two_shops()
    put(net, decided(net))
    assert len(net.shelf.transfers) == 3
    assert decided(net) == []


def test_what_is_on_its_way_is_not_sent_for() -> None:
    """Stock on order and in transit counts as coming."""
    net = two_shops()
    net.world.row(Kind.SUPPLY_CONFIRMED, NOW, sku="A", location="L", units=100, reference="PO", expected_ms=NOW)
    net.world.row(Kind.TRANSFER_COMING, NOW, sku="A", location="M", units=100)
    net.tell()
    assert decided(net) == []


def test_what_is_left_over_stays_where_it_is() -> None:
    """Lanes that cost nothing, and places that order oftener than the one with too much: they get what they lack."""
    net = two_shops()
    for way in (("W", "L"), ("W", "M"), ("L", "M"), ("M", "L")):
        net.lane(*way, unit_cost=0.0)
    net.fact("catalog.policy", sku="A", location="W", lead_days=60)
    net.tell()
    cheap = {m.receiver: m.milli for m in decided(net)}
    assert max(cheap.values()) <= 60_000, "four a day over six days is 24; 200 are there"


def test_allocated_stock_does_not_leave() -> None:
    """Only what is available can be sent."""
    net = two_shops()
    net.world.order(NOW, 7, sku="A", location="W", units=190, at_once=False)
    net.tell()
    assert sum(m.milli for m in decided(net)) <= 10_000


@pytest.mark.parametrize(
    ("lane", "holds"),
    [
        ({"capacity_units": 5}, lambda m: m.milli == 5_000),
        ({"capacity_weight_kg": 12}, lambda m: m.milli == 6_000),
        ({"capacity_volume_m3": 0.9}, lambda m: m.milli == 9_000),
        ({"unit_cost": 50.0}, lambda m: False),
    ],
)
def test_lanes_carry_what_their_facts_say(lane: dict[str, Any], holds: Any) -> None:
    """Units, weight, volume and money of the lane W-L hold; W-M is free."""
    net = two_shops()
    net.fact("catalog.item", sku="A", unit_cost=4.0, unit_price=10.0, lead_days=5, weight_kg=2.0, volume_m3=0.1)
    for way in (("L", "M"), ("M", "L")):
        net.lane(*way, unit_cost=1000.0)
    net.lane("W", "L", **lane)
    net.tell()
    mine = [m for m in decided(net) if m.receiver == "L"]
    assert all(holds(m) for m in mine)
    assert (len(mine) == 1) == (lane.get("unit_cost") is None)


def test_open_transfers_use_their_lane() -> None:
    """What waits to be shipped leaves that much less room, and money."""
    net = two_shops()
    net.lane("W", "L", capacity_units=5)
    net.tell()
    net.fact("catalog.item", sku="B", unit_cost=4.0, unit_price=10.0, lead_days=5)
    net.sells("B", "W", 50, 0)
    net.sells("B", "L", 0, 4)
    net.tell(NOW)
    assert sum(m.milli for m in decided(net) if m.receiver == "L") == 5_000
    put(net, [m for m in decided(net) if m.receiver == "L" and m.sender == "W"])
    assert [m for m in decided(net) if (m.sender, m.receiver) == ("W", "L")] == []
    assert problem([net.shelf], 2.0).picture.budget == pytest.approx(2.0 - 5 * 0.1)


def test_packs_minimums_and_frozen_stock() -> None:
    """Whole packs only; a minimum is brought although it does not pay; frozen stock stays."""
    net = two_shops()
    net.fact("catalog.item", sku="A", unit_cost=4.0, unit_price=10.0, lead_days=5, pack_units=6)
    net.fact("catalog.policy", sku="A", location="W", frozen_units=170)
    net.fact("catalog.policy", sku="A", location="X", min_stock_units=7)
    net.lane("W", "X", unit_cost=100.0)
    net.tell()
    moves = decided(net)
    assert all(m.milli % 6_000 == 0 for m in moves)
    assert [m.milli for m in moves if m.receiver == "X"] == [12_000]
    assert sum(m.milli for m in moves if m.sender == "W") <= 30_000


def test_the_first_stock_of_a_new_location() -> None:
    """A policy for an item at a new place makes the row; its minimum brings the first stock."""
    net = two_shops()
    net.lane("W", "new")
    net.fact("catalog.policy", sku="A", location="new", min_stock_units=9)
    net.tell()
    assert [m.milli for m in decided(net) if m.receiver == "new"] == [9_000]


def test_scarce_stock_by_days_of_cover_where_the_item_says_so() -> None:
    """Fair: both shops end with the same cover though one earns more; marginal: the dearer one is served first."""

    def shared(rule: str) -> dict[str, int]:
        net = Net()
        for receiver in ("L", "M"):
            net.lane("W", receiver)
        net.fact("catalog.item", sku="A", unit_cost=4.0, unit_price=10.0, lead_days=5, share=rule)
        net.fact("catalog.policy", sku="A", location="M", unit_price=40.0, unit_cost=4.0, lead_days=5)
        net.sells("A", "W", 20, 0)
        net.sells("A", "L", 0, 4)
        net.sells("A", "M", 0, 4)
        net.settle()
        return {m.receiver: m.milli for m in decided(net)}

    fair, marginal = shared("fair"), shared("marginal")
    assert abs(fair["L"] - fair["M"]) <= 2_000
    assert marginal["M"] > marginal.get("L", 0)


def test_where_nothing_may_be_stocked_nothing_arrives() -> None:
    """A place whose policy says do_not_stock gives and does not take."""
    net = two_shops()
    net.fact("catalog.policy", sku="A", location="L", status="do_not_stock")
    net.tell()
    assert {m.receiver for m in decided(net)} == {"M"}


def test_later_periods_are_planned_and_not_proposed() -> None:
    """A lane of five a period, three periods: five are proposed now; the rest has the day it leaves and is not told."""
    net = narrow_shops()
    asked = problem([net.shelf])
    moves, found = decide(asked, [net.shelf], 0.0, lambda: False, periods=3)
    assert found is not None
    later = later_of(found, NOW)
    period_ms = int(asked.horizon_days * DAY_MS) // 3
    assert [m.milli for m in moves if m.receiver == "L"] == [5000]
    assert [m.milli for m in later if m.receiver == "L"][:1] == [5000]
    assert {m.leaves_ms - NOW for m in later} <= {period_ms, 2 * period_ms}
    assert all(move.gain > 0 for move in moves)
    at_once, one = decide(asked, [net.shelf], 0.0, lambda: False)
    assert one is not None
    assert later_of(one, NOW) == []
    assert [m.milli for m in at_once if m.receiver == "L" and m.sender == "W"] == [5000]
    plan = made(Answer(NOW, {}, moves, {}, later), NOW, NOW, 48 * HOUR_MS, "", "restock", 1)
    assert read_plan(pack_plan(plan)).later == later
    told_rows = sum(len(records) for _, records in told(plan, 0))
    assert told_rows == 1, "one record of the first period's moves; later ones are not told"


def test_without_lanes_there_is_nothing_to_decide() -> None:
    """And nobody fails over it."""
    net = Net()
    net.sells("A", "W", 20, 0)
    net.settle()
    assert lanes_of([net.shelf]) == {}
    assert decide(problem([net.shelf]), [net.shelf], 0.0, lambda: False) == ([], None)


def test_a_snapshot_is_the_shelf() -> None:
    """Read through the ledger, slice by slice, without taking it: the same shelf; None while its days close."""
    net = two_shops()
    put(net, decided(net))

    async def look() -> tuple[Shelf | None, Shelf | None, Shelf | None]:
        ledger = MemoryLedger()
        held = await ledger.acquire(0)
        net.shelf.dirty_hot.add(np.arange(net.shelf.n))
        net.shelf.dirty_model.add(np.arange(net.shelf.n))
        net.shelf.changed_transfers = set(net.shelf.transfers)
        net.shelf.changed_facts = set(net.shelf.facts.facts)
        assert await ledger.keep([(held, changes(net.shelf, held.place, [], 0))]) == [None]
        whole = await snapshot.read(ledger, 0, net.config)
        peek, packed = ledger.peek, net.shelf.pack_hot(np.arange(net.shelf.n))
        net.shelf.hot["day"][1] += 1
        later = net.shelf.pack_hot(np.arange(net.shelf.n))
        net.shelf.hot["day"][1] -= 1

        async def closing(shelf: int, wanted: Any) -> Any:
            found = await peek(shelf, wanted)
            if "model" in wanted:
                assert found.sections["hot"] == packed
                found.sections["hot"] = later
            return found

        ledger.peek = closing  # type: ignore[method-assign]
        torn = await snapshot.read(ledger, 0, net.config)
        ledger.peek = peek  # type: ignore[method-assign]
        net.shelf.closing_end_ms = net.shelf.watermark_ms
        assert await ledger.keep([(held, changes(net.shelf, held.place, [], 0))]) == [None]
        return whole, torn, await snapshot.read(ledger, 0, net.config)

    whole, torn, during = asyncio.run(look())
    assert whole is not None
    assert whole.offset == net.shelf.offset
    assert whole.hot[: whole.n].tobytes() == net.shelf.hot[: whole.n].tobytes()
    assert whole.transfers == net.shelf.transfers
    assert torn is None, "a day closed between two readings"
    assert during is None, "some rows of a day are closed and some are not"
