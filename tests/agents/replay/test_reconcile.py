"""A stock list against positions as of its own time: what differs, by how much, in units and money."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.reconcile.compare import Held, counts, differences, held_as_of
from agents.reconcile.stocklist import StockList, read_stock_list
from stream.errors import SetupError
from stream.events import rows
from stream.events.kinds import Kind, Source
from stream.events.public import StockCounted

T0 = 1_767_600_000_000  # 2026-01-05 08:00 UTC
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def listed(**milli: int) -> StockList:
    return StockList({(sku, "shop"): amount for sku, amount in milli.items()}, len(milli), "list")


def test_every_kind_of_difference_is_found_largest_money_first() -> None:
    """Differing, not listed and unknown rows; what agrees and what lies elsewhere is left out."""
    held = {
        ("same", "shop"): Held(5_000, 1.0),
        ("less", "shop"): Held(5_000, 2.0),
        ("gone", "shop"): Held(1_000, 50.0),
        ("none", "shop"): Held(0, 1.0),
        ("less", "depot"): Held(9_000, 2.0),
    }
    found = differences(listed(same=5_000, less=2_500, new=4_000), held)
    assert [(d.sku, d.kind, d.counted, d.on_hand, d.delta_units, d.delta_money) for d in found] == [
        ("gone", "not_listed", 0, 1, -1, -50.0),
        ("less", "differs", 2.5, 5, -2.5, -5.0),
        ("new", "unknown", 4, 0, 4, None),
    ]


def test_differences_within_the_tolerance_are_left_out() -> None:
    """Up to the tolerance is agreement; a thousandth more is not."""
    held = {("a", "shop"): Held(5_000, 1.0), ("b", "shop"): Held(5_000, 1.0)}
    assert [d.sku for d in differences(listed(a=6_000, b=3_999), held, 1_000)] == ["b"]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9_000)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(-9_000, 9_000)),
)
def test_counts_make_list_and_ledger_agree(theirs: dict[str, int], ours: dict[str, int]) -> None:
    """On hand with every difference applied is what the list says; the events are lawful and name list and time."""
    held = {(sku, "shop"): Held(milli, math.nan) for sku, milli in ours.items()}
    found = differences(listed(**theirs), held)
    events = [orjson.loads(record.value) for record in counts(found, "list", T0)]
    for event in events:
        StockCounted.model_validate(event)
    counted = {event["sku"]: round(event["quantity"] * 1000) for event in events}
    after = {sku: counted.get(sku, ours.get(sku, 0)) for sku in ours.keys() | theirs.keys()}
    if theirs:
        assert after == {sku: theirs.get(sku, 0) for sku in after}
    again = [orjson.loads(record.value)["event_id"] for record in counts(found, "list", T0)]
    assert [event["event_id"] for event in events] == again
    assert len(set(again)) == len(again)
    assert not set(again) & {orjson.loads(r.value)["event_id"] for r in counts(found, "list", T0 + 1)}


def shelf_with_sales(days: int = 3, journal_days: int = 35) -> Shelf:
    """A hundred received, then one sold every noon; marks a day after the last."""
    shelf = Shelf(PlannerConfig(shape={int(Source.ORDERS): 1}, journal_days=journal_days))
    kinds = [Kind.STOCK_RECEIVED] + [Kind.ORDER_PLACED] * days
    for n, kind in enumerate(kinds):
        at_ms = T0 + n * DAY_MS
        batch = rows.from_columns(
            kind=[kind],
            sku=["a"],
            location=["shop"],
            milli=[100_000 if n == 0 else 1_000],
            occurred_ms=[at_ms],
            source=[Source.ORDERS],
            offset=[n],
            event_hash=[n + 1],
            flags=[1],
            price=[2.0],
        )
        fold(shelf, [rows.SkuRecord(n, batch, (rows.Mark(Source.ORDERS, 0, at_ms, n),))])
    return shelf


@pytest.mark.parametrize(("after_ms", "units"), [(0, 100), (DAY_MS - 1, 100), (DAY_MS, 99), (3 * DAY_MS, 97)])
def test_positions_are_those_of_the_asked_moment(after_ms: int, units: int) -> None:
    """What moved after the moment is taken off again; what moved at it counts."""
    assert held_as_of(shelf_with_sales(), T0 + after_ms) == {("a", "shop"): Held(units * 1000, 2.0)}


def test_a_moment_out_of_reach_is_refused() -> None:
    """Before what the journal keeps, or after what every partition has told: an error, not a guess."""
    with pytest.raises(SetupError, match="not known any more"):
        held_as_of(shelf_with_sales(days=9, journal_days=2), T0)
    with pytest.raises(SetupError, match="not known yet"):
        held_as_of(shelf_with_sales(), T0 + 3 * DAY_MS + 1)


def test_a_list_is_read_by_its_own_column_names_and_bins_are_added(tmp_path: Path) -> None:
    """Mapped columns, one location for all, rows of the same SKU summed; the name is that of the content."""
    path = tmp_path / "list.csv"
    path.write_text("Code,Qty,Bin\n007,1.5,A\n007,2,B\nb,0,A\n")
    read = read_stock_list(path, {"sku": "Code", "units": "Qty"}, "shop")
    assert read.milli == {("007", "shop"): 3_500, ("b", "shop"): 0}
    assert read.rows == 3
    assert read.locations == {"shop"}
    other = tmp_path / "other.csv"
    other.write_bytes(path.read_bytes())
    assert read_stock_list(other, {"sku": "Code", "units": "Qty"}, "shop").name == read.name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sku,location,units\na,shop,-1\n", "below zero in 1 rows: row 1"),
        ("sku,location,units\na,shop,1\n,shop,1\n", "the SKU is missing in 1 rows: row 2"),
        ("sku,location,units\na,,1\n", "the location is missing"),
        ("sku,location,units\na,shop,few\n", "not a number"),
        ("sku,location,units\na,shop\n", "another number of columns"),
        ("sku,location,units\n", "no rows"),
        ("sku,units\na,1\n", "has no column 'location'"),
    ],
)
def test_a_list_with_a_bad_row_is_refused_whole(tmp_path: Path, text: str, complaint: str) -> None:
    """A full list with holes would zero what it does not list: nothing of it is used."""
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(SetupError) as wrong:
        read_stock_list(path, {}, None)
    assert complaint in str(wrong.value)
