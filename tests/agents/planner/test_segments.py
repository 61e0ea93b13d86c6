"""Segments say the service level where no fact does, if the setting lets them."""

from __future__ import annotations

import random

import numpy as np
import orjson
import pytest

from agents.planner import segments
from agents.planner.config import DAY_MS, Policy
from agents.planner.versions import FIRST
from stream.events.kinds import Kind
from tests.agents.planner.test_laws import differences
from tests.agents.planner.test_semantics import Shop
from tests.agents.planner.worlds import START_MS, Store, by_sku, config, run

POLICY = Policy(lead_days=2.0, service_level=0.9)
DAYS = 36


def shop_of(*, new: bool = False, **kwargs: object) -> Shop:
    """Steady and dear, steady and cheap, and one that sells 40 a month at once, for five weeks.

    With `new`, a SKU nobody knew sells just past midnight once a week, before that day is closed.
    """
    shop = Shop(policy=POLICY, **kwargs)
    for day in range(DAYS):
        now = START_MS + day * DAY_MS
        for i, (sku, units, price) in enumerate(
            (("A", 10, 50.0), ("C", 10, 1.0), ("Z", 40 if day % 28 == 3 else 0, 9.0))
        ):
            if units:
                shop.world.order(now + 1, 1_000 + day * 10 + i, sku=sku, units=units, price=price)
        if new and now // DAY_MS % segments.EVERY_DAYS == 0:
            shop.world.order(now + DAY_MS + 1, 9_000 + day, sku=f"N{day}", units=1)
        shop.tell(now + DAY_MS)
    return shop


def told(shop: Shop) -> dict[str, tuple[str, float]]:
    """Segment and service level by SKU."""
    level = shop.shelf.policy["service_level"]
    return {sku: (segments.name(shop.shelf, row), float(level[row])) for row, (sku, _) in enumerate(shop.shelf.names)}


def test_dear_and_steady_rows_are_promised_more() -> None:
    """Value makes A, B and C, weekly sums X, Y and Z; the level follows at the next week's closing."""
    assert told(shop_of(segments=True)) == {"A": ("AX", 0.98), "C": ("CX", 0.95), "Z": ("BZ", 0.93)}


def test_a_new_row_puts_off_no_sorting() -> None:
    """It is a day ahead of all others as they close theirs, and on no week."""
    assert {sku: told(shop_of(segments=True, new=True))[sku][0] for sku in "ACZ"} == {"A": "AX", "C": "CX", "Z": "BZ"}


def test_a_shop_that_sells_nothing_has_no_segments() -> None:
    """A fortnight of closings without a sale."""
    shop = Shop(policy=POLICY, segments=True)
    shop.world.row(Kind.STOCK_COUNTED, START_MS, units=5)
    for day in range(14):
        shop.tell(START_MS + (day + 1) * DAY_MS)
    assert told(shop) == {"S": ("", 0.9)}


def test_without_the_setting_or_in_version_1_the_default_holds() -> None:
    """Nobody is put into a segment."""
    for kwargs in ({}, {"segments": True, "version": FIRST}):
        assert set(told(shop_of(**kwargs)).values()) == {("", 0.9)}


def test_what_a_fact_says_goes_before_it() -> None:
    """A stated level stays; taken back, the segment's holds at once."""
    shop = shop_of(segments=True)
    fact = {"type": "catalog.policy", "sku": "A", "location": "L", "service_level": 0.8}
    now = START_MS + DAYS * DAY_MS
    shop.world.row(Kind.FACT, now + 1, sku="A", location="L", fact=orjson.dumps(fact).decode())
    shop.tell()
    assert told(shop)["A"] == ("AX", 0.8)
    shop.world.row(Kind.FACT_GONE, now + 2, sku="A", location="L", fact='["policy","A","L"]')
    shop.tell()
    assert told(shop)["A"] == ("AX", 0.98)


@pytest.mark.parametrize("seed", range(2))
def test_restarts_and_cuts_do_not_show(seed: int) -> None:
    """The same bytes and messages however the log is cut; read back, rows promise what they did."""
    shop = shop_of(segments=True)
    cfg = config(policy=POLICY, segments=True)
    whole, cut = run(cfg, shop.world.records), run(cfg, shop.world.records, random.Random(seed), crash=0.1)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"
    store = Store(cfg)
    store.keep(shop.shelf, [])
    assert np.array_equal(store.open().policy[:3], shop.shelf.policy[:3])
