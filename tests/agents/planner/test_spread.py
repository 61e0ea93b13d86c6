"""SKUs close a day one after the other: when each does, what is booked meanwhile, and when it is all settled."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from agents.planner import versions, wakes
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.shelf import Shelf
from stream.events.kinds import Kind
from tests.agents.planner.worlds import HOUR_MS, START_MS, Store, World, at_rest, config

SPREAD_MS = 50_000
MIDNIGHT_MS = START_MS + DAY_MS
SKUS = [f"S{i:02}" for i in range(20)]


def selling(world: World) -> None:
    """Twenty SKUs in two places are counted, and sell on the first day."""
    for n, sku in enumerate(SKUS):
        for place in ("L", "M"):
            world.row(Kind.STOCK_COUNTED, START_MS, sku=sku, location=place, units=40)
            world.order(START_MS + 1, 100 * n + ord(place), sku=sku, location=place, units=5)


def closed(shelf: Shelf) -> set[str]:
    """SKUs whose first day is closed, in both of their places."""
    over = np.flatnonzero(shelf.hot["day_start_ms"][: shelf.n] >= MIDNIGHT_MS).tolist()
    skus = [shelf.names[row][0] for row in over]
    assert all(skus.count(sku) == 2 for sku in skus), "one place of a SKU closed before the other"
    return set(skus)


def folded(shelf: Shelf, world: World, mark_ms: int) -> list[bytes]:
    """Fold what was added, with this mark; the topics of the messages that follow."""
    said = fold(shelf, [world.record(mark_ms)]).messages + at_rest(shelf)
    return [orjson.dumps([m.topic, dict(m.headers)["ce_time"].decode()]) for m in said]


def test_skus_close_second_by_second_and_the_pool_is_settled_with_the_last() -> None:
    """Each mark in the window closes some SKUs, whole ones; what they told is settled once the window is over."""
    world, shelf = World(), Shelf(config(close_spread_ms=SPREAD_MS))
    selling(world)
    folded(shelf, world, START_MS + 2)
    seen = [len(closed(shelf))]
    for second in range(0, 51, 5):
        folded(shelf, world, MIDNIGHT_MS + second * 1_000)
        seen.append(len(closed(shelf)))
        assert (shelf.closing_end_ms is None) == (second == 50)
        assert (shelf.commons.unsettled() == 0) == (second == 50)
    assert seen[0] == 0
    assert seen[-1] == len(SKUS)
    assert seen == sorted(seen)
    assert len(set(seen)) > 6, f"they did not close one after the other: {seen}"


def test_a_mark_past_the_window_closes_all_at_once() -> None:
    """A leap costs one pass, not one a second."""
    world, shelf = World(), Shelf(config(close_spread_ms=SPREAD_MS, slice_rows=1_000, send_rows=1_000))
    selling(world)
    folded(shelf, world, START_MS + 2)
    fold(shelf, [world.record(MIDNIGHT_MS + SPREAD_MS + 7)])
    assert [wake.closing for wake in shelf.pending] in ([], [True, False])
    at_rest(shelf)
    assert closed(shelf) == set(SKUS)
    assert shelf.closing_end_ms is None


def test_a_sale_after_midnight_belongs_to_the_next_day_though_its_own_is_open() -> None:
    """What the closed day teaches is what was sold on it, whether its SKU closes early or late."""
    world, shelf = World(), Shelf(config(close_spread_ms=SPREAD_MS))
    selling(world)
    folded(shelf, world, START_MS + 2)
    folded(shelf, world, MIDNIGHT_MS)
    late = [sku for sku in SKUS if sku not in closed(shelf)]
    assert late, "all closed at once"
    for n, sku in enumerate(late):
        world.order(MIDNIGHT_MS + 10, 9_000 + n, sku=sku, location="L", units=3)
    folded(shelf, world, MIDNIGHT_MS + 11)
    rows = [shelf.index[sku, "L"] for sku in late if sku not in closed(shelf)]
    assert rows
    assert shelf.hot["units0"][rows].tolist() == [5_000] * len(rows)
    assert shelf.hot["units1"][rows].tolist() == [3_000] * len(rows)
    folded(shelf, world, MIDNIGHT_MS + SPREAD_MS)
    assert shelf.history[rows, START_MS // DAY_MS % shelf.history.shape[1]].tolist() == [5_000] * len(rows)
    assert shelf.hot["units0"][rows].tolist() == [3_000] * len(rows)


def test_what_a_closing_decides_is_dated_when_its_sku_closed() -> None:
    """So the times of a SKU's messages follow each other."""
    world, shelf = World(), Shelf(config(close_spread_ms=SPREAD_MS))
    selling(world)
    folded(shelf, world, START_MS + 2)
    for sku in SKUS:  # they decide as their day closes: what is open clears without hysteresis
        world.row(Kind.STOCK_ADJUSTED, MIDNIGHT_MS - 5, sku=sku, location="L", units=-38)
    folded(shelf, world, MIDNIGHT_MS - 1)
    times = set()
    for second in range(51):
        said = fold(shelf, [world.record(MIDNIGHT_MS + second * 1_000)]).messages + at_rest(shelf)
        for message in said:
            if message.topic in ("stock-alerts", "replenishments"):
                times.add(dict(message.headers)["ce_time"])
    assert len(times) > 3, "every closing was dated alike"


def test_a_row_that_is_days_behind_ends_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row that opens a day from before a closing that is pending is closed day by day, and nothing goes round."""
    world, shelf = World(), Shelf(config(close_spread_ms=SPREAD_MS))
    selling(world)
    folded(shelf, world, START_MS + 2)
    fold(shelf, [world.record(MIDNIGHT_MS + SPREAD_MS - 1)])
    assert wakes.closes(shelf), "the closing was not left to slices"
    look, left = wakes._next_closing, iter(range(100))
    monkeypatch.setattr(wakes, "_next_closing", lambda shelf: look(shelf) if next(left) < 99 else pytest.fail("round"))
    world.row(Kind.STOCK_COUNTED, MIDNIGHT_MS - 30 * HOUR_MS, sku="X", units=4)
    folded(shelf, world, MIDNIGHT_MS + SPREAD_MS)
    folded(shelf, world, MIDNIGHT_MS + SPREAD_MS + 1)
    assert set(shelf.hot["day_start_ms"][: shelf.n].tolist()) == {MIDNIGHT_MS}
    assert shelf.closing_end_ms is None
    assert shelf.commons.unsettled() == 0


def test_the_window_is_kept_and_moves_no_row_of_version_1() -> None:
    """A worker that dies within the window goes on in it; the first version knows no window."""
    for version in (versions.FIRST, versions.NEWEST):
        world, store = World(), Store(config(version=version, close_spread_ms=SPREAD_MS))
        selling(world)
        shelf = store.open()
        store.keep(
            shelf, fold(shelf, [world.record(START_MS + 2), world.record(MIDNIGHT_MS)]).messages + at_rest(shelf)
        )
        again = load(store.config, store.sections, store.place.offset)
        assert again.closing_end_ms == (MIDNIGHT_MS if version == versions.NEWEST else None)
        assert (b"closing" in store.sections["meta"]) == (version == versions.NEWEST)
        assert again.spread[: again.n].tolist() == shelf.spread[: shelf.n].tolist()
        assert bool(again.spread.any()) == (version == versions.NEWEST)
        assert again.dues.at[: again.n].tolist() == shelf.dues.at[: shelf.n].tolist()


def test_a_shorter_window_within_the_window_only_moves_closings() -> None:
    """A worker that is started again with fewer seconds goes on: rows due of a sudden close, nothing is lost."""
    world, store = World(), Store(config(close_spread_ms=10 * HOUR_MS, send_rows=2))
    selling(world)
    shelf = store.open()
    store.keep(shelf, fold(shelf, [world.record(START_MS + 2)]).messages + at_rest(shelf))
    first_ms = int(shelf.spread[: shelf.n].min())
    assert first_ms > 60_000, "a SKU closes at once"
    for n, sku in enumerate(SKUS):
        world.order(MIDNIGHT_MS + 1, 7_000 + n, sku=sku, location="L", units=1)
    store.keep(shelf, fold(shelf, [world.record(MIDNIGHT_MS + 60_000)]).messages)
    assert [wake.closing for wake in shelf.pending] == [False], "no positions are pending"
    store.config = config(close_spread_ms=SPREAD_MS, send_rows=2)
    shelf = store.open()
    store.keep(shelf, at_rest(shelf))
    for hour in (1, 25):
        store.keep(shelf, fold(shelf, [world.record(MIDNIGHT_MS + hour * HOUR_MS)]).messages + at_rest(shelf))
    assert set(shelf.hot["day_start_ms"][: shelf.n].tolist()) == {MIDNIGHT_MS + DAY_MS}
    assert shelf.closing_end_ms is None
    assert shelf.commons.unsettled() == 0
