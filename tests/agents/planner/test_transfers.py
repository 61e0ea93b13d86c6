"""The life of a transfer at both its ends, by the front door: rows of `sku-events` in, positions and messages out."""

from __future__ import annotations

from typing import Any

import pytest

from agents.planner import life, transfers
from agents.planner.config import DAY_MS, Policy
from agents.planner.shelf import Transfer
from agents.planner.view import exact, open_transfers
from stream.events.kinds import Kind
from tests.agents.planner.test_semantics import DAY0, Shop, of
from tests.agents.planner.worlds import HOUR_MS, config, run

NEVER_BOUGHT = Policy(status="phase_out", lead_days=2.0)


def shop(**kwargs: Any) -> tuple[Shop, str]:
    """40 units at W, none at L, and 10 of them proposed from W to L for two days."""
    s = Shop(policy=NEVER_BOUGHT, **kwargs)
    s.world.row(Kind.STOCK_COUNTED, DAY0, location="W", units=40)
    s.world.row(Kind.STOCK_COUNTED, DAY0, location="L", units=0)
    s.tell(DAY0)
    name = s.world.propose(DAY0, "S", "W", "L", 10, DAY0 + 2 * DAY_MS)
    s.tell(DAY0)
    return s, name


def position(s: Shop, location: str) -> float:
    """Inventory position of S, units."""
    return float(s.shelf.position(s.shelf.index["S", location])) / 1000


def move(s: Shop, kind: Kind, name: str, units: float, hours: int = 1) -> list[dict[str, Any]]:
    """What the shop says of the transfer; the data of what follows about transfers."""
    s.world.move(kind, DAY0 + hours * HOUR_MS, {"sku": "S", "sender": "W", "receiver": "L", "reference": name}, units)
    out = s.tell(DAY0 + hours * HOUR_MS)
    return [
        data for what in (*transfers.OPEN, "received", "cancelled", "expired") for data in of(out, f"transfer.{what}")
    ]


def test_a_proposal_counts_where_it_would_arrive_and_is_spoken_for_where_it_would_leave() -> None:
    """Positions of both ends move at once; stock does not."""
    s, name = shop()
    assert (position(s, "W"), position(s, "L")) == (30, 10)
    assert (s.get("on_hand", location="W"), s.get("in_transit", location="L")) == (40, 0)
    (said,) = of(s.said, "transfer.proposed")
    assert said["transfer_id"] == name
    assert said["quantity"] == 10
    assert (said["from_location"], said["to_location"], said["reason"]) == ("W", "L", "because")
    assert said["numbers"]["gain"] == 3.0
    at_sender = exact(s.shelf, s.shelf.index["S", "W"])["transfers"]
    assert [(t["from_location"], t["to_location"]) for t in at_sender] == [("W", "L")]


def test_the_whole_life_moves_stock_once() -> None:
    """Approved, shipped, received in two parts: units leave once, travel, and arrive once."""
    s, name = shop()
    assert [d["status"] for d in move(s, Kind.TRANSFER_APPROVED, name, 8)] == ["approved"]
    assert (position(s, "W"), position(s, "L")) == (32, 8)
    assert [d["status"] for d in move(s, Kind.TRANSFER_LEFT, name, 8, 2)] == ["shipped"]
    assert (s.get("on_hand", location="W"), s.get("in_transit", location="L")) == (32, 8)
    assert (position(s, "W"), position(s, "L")) == (32, 8)
    (part,) = move(s, Kind.TRANSFER_ARRIVED, name, 5, 3)
    assert (part["status"], part["remaining"]) == ("shipped", 3)
    assert [d["status"] for d in move(s, Kind.TRANSFER_ARRIVED, name, 3, 4)] == ["received"]
    assert (s.get("on_hand", location="L"), s.get("in_transit", location="L")) == (8, 0)
    assert s.shelf.transfers == {}


def test_nobody_buys_what_is_already_coming() -> None:
    """A row under its reorder point is not ordered for while an inbound proposal covers it; it is once that expires."""
    s = Shop(policy=Policy(lead_days=2.0))
    s.sells(12, units_a_day=4, stock=4 * 12 + 30)
    assert s.orders() == []
    point = s.get("reorder_point")
    s.world.row(Kind.STOCK_COUNTED, s.now, location="W", units=200)
    s.world.propose(s.now, "S", "W", "L", 100, s.now + 20 * HOUR_MS)
    s.tell()
    s.level(point / 2)
    assert of(s.said, "replenishment.proposed") == []
    said = s.tell(s.now + 21 * HOUR_MS)
    assert [d["status"] for d in of(said, "transfer.expired")] == ["expired"]
    assert len(of(said, "replenishment.proposed")) == 1


def test_what_is_spoken_for_is_bought_anew() -> None:
    """Where stock will leave, the position without it decides."""
    s = Shop(policy=Policy(lead_days=2.0))
    s.sells(12, units_a_day=4, stock=4 * 12 + 100)
    assert of(s.said, "replenishment.proposed") == []
    s.world.propose(s.now, "S", "L", "M", 100, s.now + DAY_MS)
    assert len(of(s.tell(), "replenishment.proposed")) == 1


def test_an_approval_gives_it_time_anew() -> None:
    """Two days from the approval, not from the proposal."""
    s, name = shop()
    move(s, Kind.TRANSFER_APPROVED, name, 10, hours=40)
    assert of(s.tell(DAY0 + 50 * HOUR_MS), "transfer.expired") == []
    assert position(s, "L") == 10
    assert len(of(s.tell(DAY0 + 89 * HOUR_MS), "transfer.expired")) == 1
    assert (position(s, "W"), position(s, "L")) == (40, 0)


def test_cancelled_in_part_and_whole() -> None:
    """What will not be sent stops counting at both ends."""
    s, name = shop()
    (part,) = move(s, Kind.TRANSFER_CANCELLED, name, 4)
    assert (part["status"], part["remaining"], position(s, "W")) == ("proposed", 6, 34)
    (whole,) = move(s, Kind.TRANSFER_CANCELLED, name, 6, 2)
    assert (whole["status"], position(s, "W"), position(s, "L")) == ("cancelled", 40, 0)


def test_nothing_is_proposed_twice_while_open() -> None:
    """A second proposal on the same lane is dropped at both ends, until the first is shipped."""
    s, name = shop()
    s.world.propose(DAY0, "S", "W", "L", 5, DAY0 + DAY_MS)
    s.tell()
    assert (position(s, "W"), position(s, "L")) == (30, 10)
    assert s.shelf.counters["transfers:repeated"] == 1
    s.world.propose(DAY0, "S", "V", "L", 5, DAY0 + DAY_MS)
    s.tell()
    assert position(s, "L") == 15, "another lane is another transfer"
    move(s, Kind.TRANSFER_LEFT, name, 10)
    s.world.propose(DAY0, "S", "W", "L", 5, DAY0 + DAY_MS)
    s.tell()
    assert position(s, "L") == 20
    assert len(open_transfers({k: v for k, v in s.shelf.pack_transfers().items() if v})) == 3


def test_an_unlawful_move_is_told_and_the_units_count_all_the_same() -> None:
    """Approving what is on the road, cancelling what nobody knows, receiving what was never shipped."""
    s, name = shop()
    move(s, Kind.TRANSFER_ARRIVED, name, 2)
    assert s.get("on_hand", location="L") == 2
    assert position(s, "L") == 12, "what was proposed may still be shipped"
    move(s, Kind.TRANSFER_LEFT, name, 10, 2)
    move(s, Kind.TRANSFER_APPROVED, name, 10, 3)
    move(s, Kind.TRANSFER_CANCELLED, "nobody's", 1, 4)
    said = of(s.said, "transfer.unlawful")
    assert [(d["status"], d["sentence"].split(" a transfer ")[1]) for d in said] == [
        ("proposed", "that is proposed cannot receive part"),
        ("shipped", "that is shipped cannot approve"),
        ("unknown", "that is unknown cannot cancel"),
    ]
    assert s.get("in_transit", location="L") == 10


def test_transfers_made_outside_only_move_stock() -> None:
    """As ever: an id nobody proposed is shipped and received without a life."""
    s, _ = shop()
    move(s, Kind.TRANSFER_LEFT, "outside", 5)
    assert s.get("in_transit", location="L") == 5
    assert of(s.said, "transfer.unlawful") == []


def test_a_plan_told_twice_is_told_once() -> None:
    """By its coordinates: the planner's high-water mark knows the plan's number and row."""
    s, _ = shop()
    again = s.world.records[-1]
    s.world.rows = again.rows.to_pylist()
    s.tell()
    assert len(of(s.said, "transfer.proposed")) == 1
    assert position(s, "L") == 10
    assert s.shelf.counters["repeated:coordinates"] == 2


def test_open_transfers_survive_a_restart() -> None:
    """What is kept is what is loaded, with the sums that follow from it."""
    s, _ = shop()
    store = run(config(policy=NEVER_BOUGHT), s.world.records)
    shelf = store.open()
    assert shelf.transfers == s.shelf.transfers
    assert int(shelf.inbound[shelf.index["S", "L"]]) == int(shelf.outbound[shelf.index["S", "W"]]) == 10_000


@pytest.mark.parametrize("status", [*transfers.OPEN, "received", "cancelled", "expired"])
@pytest.mark.parametrize("move", ["approve", "ship", "receive", "cancel", "expire"])
def test_the_table_of_moves_is_the_law(status: str, move: str) -> None:
    """A move goes where the table says, or is refused and changes nothing."""
    one = Transfer("T", status, False, "W", 10, 10, 0, 0, "P", 1.0, "", {})
    acts = {
        "approve": lambda: transfers.approve(one, 10, 5),
        "ship": lambda: transfers.ship(one, 10),
        "receive": lambda: transfers.receive(one, 10),
        "cancel": lambda: transfers.cancel(one, 10),
        "expire": lambda: transfers.expire(one),
    }
    whole = {"receive": "receive_rest", "cancel": "cancel_rest"}.get(move, move)
    if (status, whole) in transfers.MOVES:
        acts[move]()
        assert one.status == transfers.MOVES[status, whole]
        return
    with pytest.raises(life.Unlawful, match="a transfer that is"):
        acts[move]()
    assert one == Transfer("T", status, False, "W", 10, 10, 0, 0, "P", 1.0, "", {})


def test_the_readme_shows_the_table() -> None:
    """agents/planner/README.md has every lawful move, and no other."""
    from pathlib import Path

    page = (Path(transfers.__file__).parent / "README.md").read_text()
    table = page.split("## Transfers")[1].split("\n## ")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    head = [name.replace(" ", "_") for name in rows[0][1:]]
    shown = {(row[0], move): to for row in rows[2:] for move, to in zip(head, row[1:], strict=True) if to != "-"}
    assert shown == transfers.MOVES
