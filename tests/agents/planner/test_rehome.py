"""Moved to another number of shelves, every row is what it was, sums are what they were, and the story goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agents.planner.config import DAY_MS, PlannerConfig
from agents.planner.fold import fold
from agents.planner.rehome import Old, rehome
from agents.planner.shelf import Shelf
from agents.planner.view import exact
from stream.errors import RecordsGone
from stream.events.partition import shelf_of
from stream.events.rows import SkuRecord, decode, moved_frame
from tests.agents.planner.worlds import Store, at_rest, busy, config, run

OURS = ("on_hand", "allocated", "in_transit", "units0", "after0", "opening", "day", "ordered", "cancelled", "received")
CARTS = ("viewed", "added", "removed", "converted")


def of_shelf(records: list[SkuRecord], number: int, shelves: int, first: int = 0) -> list[SkuRecord]:
    """The log of one of so many shelves, as intake writes it; offsets count from `first`."""
    out = []
    for i, record in enumerate(records):
        skus = record.rows.column("sku").to_pylist()
        mine = [not sku or shelf_of(sku, shelves) == number for sku in skus]
        out.append(replace(record, offset=first + i, rows=record.rows.filter(pa.array(mine, pa.bool_()))))
    return out


def configs(shelves: int) -> list[PlannerConfig]:
    silence_ms = 30 * DAY_MS
    return [config(shelf=number, shelves=shelves, cart_silence_ms=silence_ms) for number in range(shelves)]


def moved(stores: list[Store], shelves: int) -> list[Shelf]:
    """All of it among so many shelves; each log begins anew where the old one ended."""
    old = [Old(store.config, store.place.offset, store.sections) for store in stores]
    moved_at = [store.place.offset for store in stores] + [0] * (shelves - len(stores))
    return list(rehome(old, configs(shelves), moved_at))


def by_row(shelves: list[Shelf]) -> dict[tuple[str, str], dict[str, Any]]:
    """Everything known of every row, and what it learnt."""
    out = {}
    for shelf in shelves:
        for row, name in enumerate(shelf.names):
            known = exact(shelf, row)
            del known["as_of_offset"]
            known["learnt"] = shelf.model[row].tobytes(), shelf.history[row].tobytes()
            known["ahead"], known["inbound"] = shelf.ahead.get(row), (shelf.inbound[row], shelf.outbound[row])
            known["zone"] = shelf.zones[shelf.hot["zone"][row]], shelf.zones[shelf.fact_zone[row]]
            known["due"] = min(shelf.hot["day_end_ms"][row], shelf.hot["timer_ms"][row])
            out[name] = known
    return out


def counted(shelves: list[Shelf]) -> Counter[str]:
    total: Counter[str] = Counter()
    for shelf in shelves:
        total.update(shelf.counters)
    return +total


@pytest.mark.parametrize(("before", "after", "seed"), [(2, 4, 8), (2, 3, 4)])
def test_nothing_is_lost_and_what_follows_is_the_same(before: int, after: int, seed: int) -> None:
    """Half a log among so many shelves, then moved: rows, sums and journal are the same; then the other half."""
    log = busy(seed, days=4).records
    half = len(log) // 2
    stores = [run(one, of_shelf(log[:half], one.shelf, before)) for one in configs(before)]
    old = [store.open() for store in stores]
    new = moved(stores, after)

    assert by_row(new) == by_row(old)
    assert all(shelf_of(sku, after) == shelf.config.shelf for shelf in new for sku, _ in shelf.names)
    assert counted(new) == counted(old)
    for shelf in new:
        told = shelf.counters
        open_here = Counter(kind for alerts in shelf.alerts.values() for kind in alerts)
        kinds = {name.split(":")[1] for name in told if name.startswith("alerts_raised:")}
        assert {k: told[f"alerts_raised:{k}"] - told[f"alerts_resolved:{k}"] for k in kinds} == {
            k: open_here[k] for k in kinds
        }
    lines = Counter[str]()
    for shelf in old:
        lines.update(line for cart in shelf.carts.open.values() for line in cart.lines)
    assert lines == Counter(line for shelf in new for cart in shelf.carts.open.values() for line in cart.lines)
    assert sum(lines.values()) > 0
    assert max(shelf.n for shelf in new) > 2, "or nothing was tried"

    messages = []
    for shelf in new:
        again = of_shelf(log[half - 30 : half], shelf.config.shelf, after, shelf.offset)
        rest = of_shelf(log[half:], shelf.config.shelf, after, shelf.offset + 30)
        assert fold(shelf, again).rows == 0, "sent again from an earlier place, everything is recognised"
        messages += fold(shelf, rest).messages
        messages += at_rest(shelf)
    calm = [run(one, of_shelf(log, one.shelf, after)).open() for one in configs(after)]
    ours, theirs = by_row(new), by_row(calm)
    assert ours.keys() == theirs.keys()
    for name in ours:
        a = next(shelf for shelf in new if name in shelf.index)
        b = calm[a.config.shelf]
        for number in (*OURS, *CARTS):
            assert a.hot[number][a.index[name]] == b.hot[number][b.index[name]], (name, number)
        assert a.history[a.index[name]].tobytes() == b.history[b.index[name]].tobytes(), name
    assert len({message.id for message in messages}) == len(messages)
    positions = {dict(m.headers)["ce_subject"] for m in messages if m.topic == "positions"}
    assert positions >= {key for s in new for key in s.keys if s.config.shelf >= before}, "each is told where it is now"


def test_what_was_seen_is_recognised_by_its_event_too() -> None:
    """A producer sends an old event again, at a new place: the journal went with its row, facts and carts with all."""
    log = busy(3, days=2).records
    stores = [run(one, of_shelf(log, one.shelf, 2)) for one in configs(2)]
    accepted = 0
    for shelf in moved(stores, 4):
        for record in of_shelf(log, shelf.config.shelf, 4, shelf.offset):
            n = record.rows.num_rows
            names = record.rows.schema.names
            later = pa.array(np.arange(n, dtype=np.int64) + 1_000_000 + record.offset * 1_000)
            rows = record.rows.set_column(names.index("offset"), record.rows.schema.field("offset"), later)
            accepted += fold(shelf, [replace(record, rows=rows, marks=())]).rows
    assert accepted == 0


def test_a_shelf_from_before_does_not_go_on_behind_a_moved_record() -> None:
    """A ledger put back to before the move holds other SKUs than the log: it is refused, not folded on."""
    store = run(config(), busy(3, days=2).records)
    shelf = store.open()
    with pytest.raises(RecordsGone, match="begins anew at offset"):
        fold(shelf, [decode(moved_frame(8), shelf.offset)])
