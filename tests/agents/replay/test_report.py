"""The account: read = accepted + repeated + refused, from what the pipeline says it did."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import orjson

from agents.replay.outgoing import Message
from agents.replay.report import (
    Refused,
    Sent,
    account,
    alerts_of,
    positions,
    refusals,
    replenishments_of,
    units_by_sku,
)

SENT = Sent(
    rows=Counter({"orders": 10}),
    added=Counter({"stock-movements": 2}),
    begin={("orders", 0): 100, ("stock-movements", 0): 5},
    end={("orders", 0): 110, ("stock-movements", 0): 8},
    not_rows={("stock-movements", 0, 5), ("stock-movements", 0, 6)},
)


def letter(topic: str, offset: int, value: Any, reason: str = "bad_quantity") -> Message:
    encoded = base64.b64encode(orjson.dumps(value)).decode()
    data = {"topic": topic, "partition": 0, "offset": offset, "reason": reason, "value": encoded}
    return Message("restock.record.refused", data)


def test_a_dead_letter_counts_the_lines_of_its_record() -> None:
    """Only this replay's records count: by coordinates; its own additions apart, ticks as what they are."""
    found = refusals(
        [
            letter("orders", 101, {"lines": [{}, {}]}),
            letter("orders", 102, {"lines": "none"}),
            letter("orders", 99, {"lines": [{}]}),  # before this replay
            letter("orders", 110, {"lines": [{}]}),  # after it
            letter("orders", 103, {"type": "clock.tick"}, "unexpected_tick"),
            letter("stock-movements", 5, {"type": "stock.received"}, "too_old"),
            letter("stock-movements", 7, {"type": "stock.adjusted"}),
            letter("orders", 104, ["no object"], "not_an_object"),
        ],
        SENT,
    )
    assert found.rows == {"bad_quantity": 4, "not_an_object": 1}
    assert found.rows_of == {"orders": 4, "stock-movements": 1}
    assert found.added == {"unexpected_tick": 1, "too_old": 1}
    assert +found.added_of == {"stock-movements": 1}


def test_the_account_adds_up() -> None:
    """What the replay settled itself and what the pipeline did make up the whole file; its additions are taken off."""
    sent = Sent(Counter({"orders": 90, "stock-movements": 5}), Counter({"stock-movements": 7}), {}, {}, set())
    refused = Refused(Counter({"bad_time": 3}), Counter({"orders": 3}))
    counters = {"accepted:orders": 80, "repeated:orders": 7, "accepted:stock-movements": 12, "accepted:supply": 4}
    found = account(100, (Counter({"non_product": 4}), 1), sent, refused, counters)
    assert (found.accepted, found.repeated, found.refused) == (85, 8, {"bad_time": 3, "non_product": 4})
    assert found.unaccounted == 0
    assert found.read == found.accepted + found.repeated + sum(found.refused.values())


def test_additions_sent_before_are_repeats_of_their_own() -> None:
    """The same file replayed twice: all of it is repeated, and the opening stock is not counted as rows."""
    sent = Sent(Counter({"stock-movements": 5}), Counter({"stock-movements": 7}), {}, {}, set())
    found = account(5, (Counter(), 0), sent, Refused(), {"repeated:stock-movements": 12})
    assert (found.accepted, found.repeated, found.unaccounted) == (0, 5, 0)


def test_rows_that_go_to_every_shelf_count_once() -> None:
    """Three shelves count a checked-out cart three times; the report once."""
    sent = Sent(Counter({"carts": 12}), Counter(), {}, {}, set())
    counters = {"accepted:carts": 9 + 2 * 3, "repeated:carts": 1 * 3}
    found = account(12, (Counter(), 0), sent, Refused(), counters, {"carts": (2 * 2, 1 * 2)})
    assert (found.accepted, found.repeated, found.unaccounted) == (11, 1, 0)


def test_a_row_the_pipeline_lost_is_seen() -> None:
    """What was sent and is in no counter is unaccounted, not silently accepted."""
    sent = Sent(Counter({"orders": 10}), Counter(), {}, {}, set())
    assert account(10, (Counter(), 0), sent, Refused(), {"accepted:orders": 8}).unaccounted == 2


def test_units_are_summed_over_locations_since_the_replay_began() -> None:
    """In units, by SKU; what was there before is taken off."""
    row = {"ordered": 0, "cancelled": 0, "returned": 0, "written_off": 0}
    before = {("a", "x"): row | {"ordered": 1_000}}
    after = {("a", "x"): row | {"ordered": 3_500}, ("a", "y"): row | {"returned": 2_000}, ("b", "x"): row}
    assert units_by_sku(before, after) == {
        "a": {"ordered": 2.5, "cancelled": 0, "returned": 2, "written_off": 0},
        "b": {"ordered": 0, "cancelled": 0, "returned": 0, "written_off": 0},
    }


def test_positions_are_in_units() -> None:
    """Every quantity of a position is a decimal number of units."""
    names = (
        "on_hand",
        "allocated",
        "in_transit",
        "on_order",
        "proposed",
        "reorder_point",
        "order_up_to",
        "safety_stock",
    )
    row = dict.fromkeys(names, 1_500) | {"allocated": 500, "demand_rate": 0.1234567}
    [position] = positions({("a", "x"): row})
    assert position["on_hand"] == 1.5
    assert position["available"] == 1
    assert position["demand_rate_day"] == 0.123457


def test_alerts_stand_until_resolved() -> None:
    """Raised, updated, resolved by kind; open are those that were not resolved."""
    messages = [
        Message(f"restock.alert.{verb}", {"alert_id": name, "kind": kind})
        for verb, name, kind in (
            ("raised", "1", "low_stock"),
            ("updated", "1", "low_stock"),
            ("resolved", "1", "low_stock"),
            ("raised", "2", "low_stock"),
            ("raised", "3", "stocked_out"),
        )
    ]
    counts = alerts_of(messages)
    assert {k: counts[k] for k in ("raised", "updated", "resolved", "open")} == {
        "raised": 3,
        "updated": 1,
        "resolved": 1,
        "open": 2,
    }
    assert counts["by_kind"]["low_stock"] == {"raised": 2, "updated": 1, "resolved": 1, "open": 1}


def test_replenishments_are_over_when_received_cancelled_or_expired() -> None:
    """The last status decides; an unlawful move changes none."""
    messages = [
        Message(f"restock.replenishment.{what}", {"replenishment_id": name, "status": status, "quantity": 5})
        for what, name, status in (
            ("proposed", "1", "proposed"),
            ("ordered", "1", "ordered"),
            ("received", "1", "received"),
            ("proposed", "2", "proposed"),
            ("unlawful", "9", "received"),
            ("proposed", "3", "proposed"),
            ("expired", "3", "expired"),
        )
    ]
    counts = replenishments_of(messages)
    assert (counts["raised"], counts["resolved"], counts["open"]) == (3, 2, 1)
    assert (counts["proposed_units"], counts["ordered_units"]) == (15, 5)
    assert counts["by_status"] == {"expired": 1, "proposed": 1, "received": 1}
