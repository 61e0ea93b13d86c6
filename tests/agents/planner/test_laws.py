"""The planner's laws, on small seeded worlds that hold everything a shop can do."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from agents.planner import fast, guards, versions, wakes
from agents.planner import fold as planner_fold
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from stream.events.kinds import Kind
from tests.agents.planner.worlds import HOUR_MS, START_MS, Store, World, at_rest, busy, by_sku, config, crowded, run

SEEDS = range(6)


def differences(a: Store, b: Store) -> list[str]:
    """Fields whose bytes differ, for a readable failure."""
    out = []
    for section in sorted(a.sections.keys() | b.sections.keys()):
        x, y = a.sections.get(section, {}), b.sections.get(section, {})
        out += [f"{section}/{k!r}" for k in sorted(x.keys() | y.keys()) if x.get(k) != y.get(k)]
    return out


@pytest.mark.parametrize(
    ("version", "spread_ms"),
    [(versions.FIRST, 0), (versions.NEWEST, 0), (versions.NEWEST, 2 * HOUR_MS), (versions.NEWEST, 6 * HOUR_MS)],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_slices_and_crashes_do_not_show(seed: int, version: int, spread_ms: int) -> None:
    """The same log, cut, sliced and reopened anywhere, gives the same bytes and the same messages in order per SKU."""
    records = busy(seed).records
    whole = run(config(version=version, close_spread_ms=spread_ms), records)
    cut = run(config(version=version, close_spread_ms=spread_ms), records, random.Random(seed + 1000), crash=0.1)
    assert differences(whole, cut) == [], f"seed {seed}"
    assert by_sku(whole.messages) == by_sku(cut.messages), f"seed {seed}"
    assert len(whole.messages) > 50, "a world in which nothing happens proves nothing"


def test_a_leap_is_closed_day_by_day() -> None:
    """A mark that passes ten days at once: in slices with a crash after each, or all before the next record, is one."""
    world = World()
    for sku in "ABCDEFGHI":
        world.row(Kind.STOCK_COUNTED, START_MS, sku=sku, units=40)
        world.order(START_MS + 1, ord(sku), sku=sku, units=5)
    world.record(START_MS)
    world.record(START_MS + 10 * DAY_MS)
    world.order(START_MS + 10 * DAY_MS + 1, 7, sku="E", units=30)
    world.record(START_MS + 11 * DAY_MS)
    sliced = Store(config())
    shelf, closings = sliced.open(), set[int]()
    for record in world.records:
        sliced.keep(shelf, fold(shelf, [record]).messages)
        while wakes.leaping(shelf):
            closings.add(shelf.pending[-1].watermark_ms)
            shelf = sliced.open()
            sliced.keep(shelf, wakes.sweep(shelf, 2))
    sliced.keep(shelf, at_rest(shelf))
    assert len(closings) >= 9, "the leap was not closed day by day"
    at_once = run(config(), world.records)
    assert differences(at_once, sliced) == []
    assert by_sku(at_once.messages) == by_sku(sliced.messages)


def test_a_leap_of_few_rows_over_many_days_is_left_to_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that leaps a year with a few rows closes thousands of days: at once they would hold up the worker."""
    world = World()
    for sku in "ABC":
        world.order(START_MS, ord(sku), sku=sku, units=5)
    records = [world.record(START_MS + day * DAY_MS) for day in (0, 365)]
    shelf = Shelf(config())
    said = fold(shelf, records).messages
    assert wakes.leaping(shelf)
    said += at_rest(shelf)
    assert int(shelf.hot["day"][0]) * DAY_MS >= START_MS + 364 * DAY_MS
    monkeypatch.setattr(wakes, "CLOSED_AT_ONCE", 10_000)
    at_once = Shelf(config(slice_rows=10_000, send_rows=10_000))
    together = fold(at_once, records).messages
    assert not at_once.pending
    assert by_sku(said) == by_sku(together)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fast_lane_decides_nothing(seed: int) -> None:
    """Sending every row through the slow lane gives the same bytes and messages."""
    records = busy(seed).records
    both, slow = run(config(), records), run(replace(config(), force_slow=True), records)
    assert differences(both, slow) == [], f"seed {seed}"
    assert by_sku(both.messages) == by_sku(slow.messages), f"seed {seed}"


@pytest.mark.parametrize("together", [0, 32])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_crowded_row_changes_lanes_as_often_as_it_must(
    seed: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records with a hundred events of a few rows, back and forth between the lanes, give what the slow lane gives."""
    records = crowded(seed).records
    slow = run(replace(config(), force_slow=True), records)
    rounds = Mock(side_effect=fast.run)
    monkeypatch.setattr(fast, "run", rounds)
    monkeypatch.setattr(planner_fold, "TOGETHER_ROWS", together)
    both = run(config(), records)
    assert differences(both, slow) == [], f"seed {seed}"
    assert by_sku(both.messages) == by_sku(slow.messages), f"seed {seed}"
    assert rounds.call_count > 2 * len(records), "the lanes were never changed"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_settled_row_stays_settled(seed: int) -> None:
    """At rest no row lies outside its guards, and the flows of days add up to available stock."""
    store = run(config(), busy(seed).records)
    shelf = store.open()
    rows = np.arange(shelf.n)
    h = shelf.hot[rows]
    aside = np.array([sum(a.flow for a in shelf.ahead.get(r, {}).values()) for r in rows.tolist()])
    assert (h["opening"] + h["flow0"] + h["flow1"] + aside == shelf.available(rows)).all()
    assert (h["allocated"] >= 0).all()
    assert (h["in_transit"] >= 0).all()
    off = guards.unsettled(shelf, rows) & (h["count_off_day"] == 0)
    assert not off.any(), [shelf.names[r] for r in rows[off].tolist()]


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_delivered_is_once(seed: int) -> None:
    """Every record sent again by another intake, at once or much later, changes no position and no message."""
    world = busy(seed)
    once = run(config(), world.records)
    rng = random.Random(seed)
    log, late = [], []
    for record in world.records:
        log.append(record)
        if rng.random() < 0.5:
            log.append(record)
        if late and rng.random() < 0.2:
            log.append(rng.choice(late))
        late.append(record)
    again = [replace(r, offset=i) for i, r in enumerate(log)]
    twice = run(config(), again)
    a, b = once.open(), twice.open()
    for name in ("on_hand", "allocated", "units0", "reorder_point", "on_order", "demand_rate"):
        assert (a.hot[name][: a.n] == b.hot[name][: b.n]).all(), (seed, name)
    assert (a.history[: a.n] == b.history[: b.n]).all()
    assert b.counters["repeated:coordinates"] > 0


def test_state_says_which_code_wrote_it() -> None:
    """The version of the state is in the ledger, and newer state is refused."""
    store = run(config(), busy(1, days=1).records)
    assert store.sections["meta"][b"version"] == str(versions.NEWEST).encode()
    store.sections["meta"][b"version"] = str(versions.NEWEST + 1).encode()
    with pytest.raises(Exception, match="newer code"):
        store.open()


def test_a_changed_shape_is_refused() -> None:
    """Another number of partitions than the shelf was begun with is refused by name."""
    store = run(config(), busy(1, days=1).records)
    store.config = config(shape={1: 3, 3: 1})
    with pytest.raises(Exception, match="number of partitions"):
        store.open()


def test_a_record_is_folded_once() -> None:
    """Folding a record again is our own mistake, and stops."""
    world = busy(2, days=1)
    shelf = Store(config()).open()
    fold(shelf, world.records[:5])
    with pytest.raises(AssertionError):
        fold(shelf, world.records[:1])
