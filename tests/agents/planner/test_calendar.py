"""The plan of the days ahead, as calendar facts and closed weekdays tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from agents.planner.calendar import COLUMNS, DISCOUNT, HOLIDAY, OPEN, PRICE, PROMOTION, ArrayPlan
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.keeping import changes, load
from agents.planner.shelf import Shelf
from stream.events.facts import key_of, key_text
from stream.events.kinds import Kind
from stream.ledger.port import Place
from tests.agents.planner.worlds import HOUR_MS, START_MS, World, config

TODAY = START_MS // DAY_MS


def entry(kind: str, first: int, last: int, **said: Any) -> dict[str, Any]:
    """A calendar fact over the days `first` to `last` after today."""
    dates = {"first_day": str(np.datetime64(TODAY + first, "D")), "last_day": str(np.datetime64(TODAY + last, "D"))}
    return {"type": f"calendar.{kind}", "entry_id": said.pop("entry_id", "e"), **dates, **said}


def told(*facts: dict[str, Any], gone: list[dict[str, Any]] | None = None) -> Shelf:
    """A shelf with rows A@L, A@M (a fruit), B@L (no category), that was told `facts`, then that some are gone."""
    w = World()
    w.row(Kind.FACT, START_MS, sku="A", fact=text({"type": "catalog.item", "sku": "A", "category": "fruit"}))
    for sku, location in (("A", "L"), ("A", "M"), ("B", "L")):
        w.row(Kind.STOCK_COUNTED, START_MS, sku=sku, location=location, units=5)
    for fact in facts:
        w.row(Kind.FACT, START_MS + HOUR_MS, sku="", fact=text(fact))
    for fact in gone or []:
        w.row(Kind.FACT_GONE, START_MS + HOUR_MS, sku="", fact=key_text(key_of(fact)))
    shelf = load(config(), {}, -1)
    w.record()
    fold(shelf, w.records)
    return shelf


def text(fact: dict[str, Any]) -> str:
    """A fact's canonical JSON."""
    return orjson.dumps(fact, option=orjson.OPT_SORT_KEYS).decode()


def ahead(shelf: Shelf, column: int, days: int = 5) -> list[list[float]]:
    """One plan column of all rows over the days after yesterday: today is the first."""
    rows = np.arange(shelf.n)
    found = shelf.plan.ahead(shelf, rows, np.full(shelf.n, TODAY - 1), days)
    assert found.shape == (shelf.n, days, len(COLUMNS))
    return np.asarray(found[:, :, column]).tolist()


def test_nothing_is_planned_where_nobody_planned_anything() -> None:
    """Without facts, days are open, without promotion, and their price is not said."""
    shelf = told()
    assert ahead(shelf, OPEN) == [[1.0] * 5] * 3
    assert ahead(shelf, PROMOTION) == ahead(shelf, HOLIDAY) == ahead(shelf, DISCOUNT) == [[0.0] * 5] * 3
    assert np.isnan(ahead(shelf, PRICE)).all()


def test_an_entry_concerns_its_target_and_its_days() -> None:
    """A category's promotion, a location's holiday and a closure for all reach their rows on their days, no others."""
    shelf = told(
        entry("promotion", 1, 2, category="fruit", location="L", discount_share=0.25),
        entry("holiday", 3, 3, location="L"),
        entry("closure", 4, 9),
    )
    assert ahead(shelf, PROMOTION) == [[0, 1, 1, 0, 0], [0] * 5, [0] * 5]
    assert ahead(shelf, DISCOUNT) == [[0, 0.25, 0.25, 0, 0], [0] * 5, [0] * 5]
    assert ahead(shelf, HOLIDAY) == [[0, 0, 0, 1, 0], [0] * 5, [0, 0, 0, 1, 0]]
    assert ahead(shelf, OPEN) == [[1, 1, 1, 1, 0]] * 3


def test_the_nearest_entry_says_the_price() -> None:
    """A SKU's price goes before its category's, and that before one for all."""
    shelf = told(
        entry("price", 0, 4, unit_price=9.0, entry_id="all"),
        entry("price", 1, 4, unit_price=8.0, category="fruit", entry_id="fruit"),
        entry("price", 2, 2, unit_price=7.0, sku="A", location="M", entry_id="own"),
    )
    assert ahead(shelf, PRICE) == [[9, 8, 8, 8, 8], [9, 8, 7, 8, 8], [9] * 5]


def test_a_location_is_closed_on_its_weekdays() -> None:
    """`closed_weekdays` count 1 Monday to 7 Sunday, in every week."""
    weekday = np.datetime64(TODAY, "D").item().isoweekday()
    shelf = told({"type": "catalog.location", "location": "L", "closed_weekdays": [weekday]})
    assert ahead(shelf, OPEN, 8) == [[0, 1, 1, 1, 1, 1, 1, 0], [1] * 8, [0, 1, 1, 1, 1, 1, 1, 0]]


def test_what_is_taken_back_is_not_planned() -> None:
    """A tombstone ends an entry."""
    holiday = entry("holiday", 0, 9)
    assert ahead(told(holiday, gone=[holiday]), HOLIDAY) == [[0.0] * 5] * 3


def test_a_category_changes_what_is_planned() -> None:
    """A SKU that becomes a fruit has the fruits' promotion from then on; rows made later have it too."""
    shelf = told(entry("promotion", 0, 9, category="fruit"))
    assert ahead(shelf, PROMOTION, 1) == [[1], [1], [0]]
    w, fruit = World(), {"type": "catalog.item", "sku": "B", "category": "fruit"}
    w.row(Kind.FACT, START_MS, sku="B", offset=98, event_hash=98, fact=text(fruit))
    w.row(Kind.STOCK_COUNTED, START_MS, sku="B", location="N", units=5, offset=99, event_hash=99)
    record = w.record()
    fold(shelf, [type(record)(shelf.offset, record.rows, record.marks)])
    assert ahead(shelf, PROMOTION, 1) == [[1], [1], [1], [1]]


def test_a_restored_shelf_knows_the_plan() -> None:
    """The calendar is rebuilt from the facts that are kept."""
    shelf = told(entry("promotion", 1, 2, category="fruit", discount_share=0.5), entry("closure", 3, 3, location="M"))
    sections = {
        name: {f: v for f, v in fields.items() if v is not None}
        for name, fields in changes(shelf, Place(-1), [], 0).changes.items()
    }
    back = load(config(), sections, shelf.offset)
    for column in (DISCOUNT, PROMOTION, OPEN):
        assert ahead(back, column) == ahead(shelf, column)


def test_a_plan_of_arrays_says_the_same_way() -> None:
    """An ArrayPlan gives its own days, and nothing beyond them; other shapes are refused."""
    shelf = told()
    columns = np.zeros((3, 2, len(COLUMNS)))
    columns[:, :, OPEN] = 1.0
    columns[1, 1, PROMOTION] = 1.0
    shelf.plan = ArrayPlan(columns, TODAY)
    assert ahead(shelf, PROMOTION, 3) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert np.isnan(ahead(shelf, PRICE, 3)[0][2])
    with pytest.raises(ValueError, match="columns must have shape"):
        ArrayPlan(columns[:, :, :2], TODAY)
