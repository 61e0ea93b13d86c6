"""The planner at work, over a ledger and topics in memory: what it answers to fences, roll-backs and failed relays."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import pytest

from agents.planner import agent as planner_agent
from agents.planner.agent import LEAST_ROWS, SLICE_S, Pace, Planner
from agents.planner.commons import Learnt, Settled
from agents.planner.config import DAY_MS
from agents.planner.shelf import Wake
from stream.errors import Fenced
from stream.events.kinds import Kind
from stream.events.rows import SkuRecord, encode
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.ledger.port import Place
from stream.ledger.relay import Limits
from stream.transport.port import Batch
from tests.agents.planner.worlds import START_MS, World, config


def batch(records: list[SkuRecord], shelf: int = 0) -> Batch:
    """Records as a poll brings them."""
    values = [encode(r.rows, r.marks) for r in records]
    n, first = len(records), records[0].offset
    offsets = [r.offset for r in records]
    return Batch("sku-events", shelf, first, first + n, first + n, offsets, [0] * n, [None] * n, values, [()] * n)


def one_sale() -> Batch:
    """A log of one record: a sale of what is not there, which raises alerts."""
    world = World()
    world.row(Kind.STOCK_COUNTED, START_MS, units=1)
    world.order(START_MS + 1, 1, units=5)
    return batch([world.record(START_MS)])


def planner(ledger: MemoryLedger, topics: MemoryTopics) -> Planner:
    """One worker's planner."""
    return Planner(ledger, MemoryPublisher(topics), lambda shelf: config(shelf=shelf))


def run(story: Any) -> None:
    """Run a story in a loop of its own."""
    asyncio.run(story())


def test_a_poll_is_kept_and_published() -> None:
    """State is in the ledger, messages are in the outgoing topics, each once."""

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker = planner(ledger, topics)
        assert await worker.positions([0]) == {0: 0}
        assert list(await worker.poll([one_sale()])) == []
        while await worker.idle():
            pass
        await worker.release([0])
        ids = [m.id for _, m in topics.committed("stock-alerts", 0)]
        assert len(ids) == len(set(ids)) >= 1
        assert (await ledger.peek(0, {})).place.offset == 1

    run(story)


def test_a_poll_that_takes_long_is_kept_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten days in one leap, records behind it: many writes, each a place further on; nothing is left out."""
    monkeypatch.setattr(planner_agent, "TURN_S", 0.0)

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker, places, keep = planner(ledger, topics), list[Place](), ledger.keep

        async def noting(writes: Any) -> Any:
            places.extend(write.next for _, write in writes)
            return await keep(writes)

        monkeypatch.setattr(ledger, "keep", noting)
        world = World()
        for sku in "ABCDEFGHI":
            world.order(START_MS, ord(sku), sku=sku, units=5)
        for day in (0, 10, 11):
            world.record(START_MS + day * DAY_MS)
        await worker.positions([0])
        assert list(await worker.poll([batch(world.records)])) == []
        assert len(set(places)) > 10
        assert (await ledger.peek(0, {})).place.offset == 3
        await worker.release([0])

    run(story)


def test_a_sweep_waits_until_what_it_said_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that takes its time holds up the next slice, not the next event, whose alert would wait behind it."""
    monkeypatch.setattr(planner_agent, "SWEPT_AHEAD", 0)
    world = World()
    for number in range(12):
        world.row(Kind.STOCK_COUNTED, START_MS, sku=f"S{number}", units=100)
        world.order(START_MS + 1, 1 + number, sku=f"S{number}", units=5)
    records = [world.record(START_MS), world.record(START_MS + DAY_MS)]

    async def story() -> None:
        ledger, topics, gate = MemoryLedger(), MemoryTopics(), asyncio.Event()
        publisher = MemoryPublisher(topics)
        worker = Planner(ledger, publisher, lambda shelf: config(shelf=shelf, version=2, send_rows=2))
        await worker.positions([0])
        await worker.poll([batch(records[:1])])
        owned = worker.owned[0]
        await owned.relay.drained()
        publish = publisher.publish

        async def slowly(shelf: int, messages: Any) -> dict[str, int]:
            await gate.wait()
            return await publish(shelf, messages)

        monkeypatch.setattr(publisher, "publish", slowly)
        await worker.poll([batch(records[1:])])
        assert await worker.idle()
        assert owned.shelf.pending
        assert await worker.idle() is False, "its messages are not out"
        gate.set()
        await owned.relay.drained()
        assert await worker.idle()
        while owned.shelf.pending:
            await worker.idle()
            await asyncio.sleep(0)
        await worker.release([0])
        assert {m.key for _, m in topics.committed("forecasts", 0)} == set(owned.shelf.keys)

    run(story)


def closing_world(rows: int) -> World:
    """Rows that sold on a day, and the mark that ends it: two records."""
    world = World()
    for number in range(rows):
        world.row(Kind.STOCK_COUNTED, START_MS, sku=f"S{number}", units=100)
        world.order(START_MS + 1, 1 + number, sku=f"S{number}", units=5)
    world.record(START_MS)
    world.record(START_MS + DAY_MS)
    return world


def test_records_that_would_wake_more_than_a_slice_are_kept_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first of them say is out before the rows of the last are closed."""
    world = closing_world(12)
    for number in range(6):
        world.order(START_MS + DAY_MS + 1, 100 + number, sku=f"S{number}", units=1)
        world.record(START_MS + DAY_MS)
    records = world.records

    async def story() -> None:
        ledger, places = MemoryLedger(), list[int]()
        worker = Planner(
            ledger, MemoryPublisher(MemoryTopics()), lambda shelf: config(shelf=shelf, version=2, slice_rows=2)
        )
        await worker.positions([0])
        await worker.poll([batch(records[:2])])
        keep = ledger.keep

        async def noting(writes: Any) -> Any:
            places.extend(write.next.offset for _, write in writes)
            return await keep(writes)

        monkeypatch.setattr(ledger, "keep", noting)
        assert worker.owned[0].shelf.pending
        assert list(await worker.poll([batch(records[2:])])) == []
        assert places == [4, 6, 8]
        await worker.release([0])

    run(story)


@pytest.mark.parametrize("disturbed", [False, True])
def test_what_a_closing_told_is_settled_beside_the_loop(disturbed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settled in a thread, with an event meanwhile or not, the ledger holds what it holds when it is done at once."""
    world = World()
    for number in range(12):
        world.row(Kind.STOCK_COUNTED, START_MS, sku=f"S{number}", units=100)
        world.order(START_MS + 1, 1 + number, sku=f"S{number}", units=5)
    world.record(START_MS)
    world.record(START_MS + DAY_MS)
    world.order(START_MS + DAY_MS + 1, 99, sku="NEW", units=5)
    records = [*world.records, world.record(START_MS + DAY_MS + 2)]
    taken = list[Learnt]()
    take = Settled.take

    def noted(self: Settled, learnt: Learnt) -> bool:
        taken.append(learnt)
        return take(self, learnt)

    monkeypatch.setattr(planner_agent, "QUIET_S", 0.0)
    monkeypatch.setattr(Settled, "take", noted)

    async def story(at_once: int) -> dict[str, Any]:
        monkeypatch.setattr("agents.planner.wakes.SETTLED_AT_ONCE", at_once)
        ledger = MemoryLedger()
        worker = Planner(ledger, MemoryPublisher(MemoryTopics()), lambda shelf: config(shelf=shelf, version=2))
        await worker.positions([0])
        await worker.poll([batch(records[:2])])
        owned = worker.owned[0]
        while owned.shelf.pending:
            await worker.idle()
            if disturbed and owned.settling is not None and owned.shelf.offset == 2:
                await worker.poll([batch(records[2:])])
            await asyncio.sleep(0)
        if owned.shelf.offset == 2:
            await worker.poll([batch(records[2:])])
        while owned.shelf.pending or owned.shelf.dirty_view:
            await worker.idle()
            await asyncio.sleep(0)
        await worker.release([0])
        return {name: its for name, its in (await ledger.dump(0)).items() if name != "place"}

    at_once = asyncio.run(story(10**9))
    assert not taken
    beside = asyncio.run(story(0))
    assert taken
    assert beside == at_once


def test_settling_stands_still_while_a_poll_or_a_slice_is_in_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its steps it waits until that is over."""
    monkeypatch.setattr(planner_agent, "YIELD_S", 60.0)
    worker = planner(MemoryLedger(), MemoryTopics())
    worker._let_others_by()  # nothing is in work
    with ThreadPoolExecutor(1) as pool:
        with worker._undisturbed():
            waiting = pool.submit(worker._let_others_by)
            assert not wait([waiting], 0.1).done
        waiting.result(30)


def test_slices_grow_and_shrink_with_the_time_they_take() -> None:
    """Drawn to the rows that fit, never under the least, at most twice as many at once."""
    pace = Pace()
    begun = pace.rows
    pace.took(begun, 0.0)
    assert pace.rows == 2 * begun
    for _ in range(30):
        pace.took(pace.rows, pace.rows * SLICE_S / 200)
    assert abs(pace.rows - 200) <= 2
    pace.took(pace.rows, 100 * SLICE_S)
    pace.took(pace.rows, 100 * SLICE_S)
    assert pace.rows == LEAST_ROWS


def test_slices_that_only_send_positions_say_nothing_of_those_that_close_days() -> None:
    """They are quick, and bounded: a pace that took them for closings grew without end, and a slice took 0.15 s."""

    async def story() -> None:
        worker = planner(MemoryLedger(), MemoryTopics())
        await worker.positions([0])
        shelf = worker.owned[0].shelf
        for _ in range(50):
            pace, rows = worker._slice(shelf)
            assert rows <= shelf.config.send_rows
            pace.took(rows, 0.001)
        assert pace.rows <= shelf.config.send_rows * SLICE_S / 0.001
        shelf.pending.append(Wake(1, "mark-0-1", 1, True))
        assert worker._slice(shelf) == (worker._paces[True], min(Pace().rows, shelf.config.slice_rows))
        assert worker._paces[True].rows == Pace().rows

    run(story)


def test_a_zombie_is_refused_and_says_so() -> None:
    """After another planner took the shelf, a write of the first raises Fenced and changes nothing."""

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        zombie, owner = planner(ledger, topics), planner(ledger, topics)
        await zombie.positions([0])
        await owner.positions([0])
        with pytest.raises(Fenced):
            await zombie.poll([one_sale()])
        assert (await ledger.peek(0, {})).place.offset == -1
        await owner.release([0])

    run(story)


def test_a_relay_that_gives_up_after_its_shelf_was_let_go_is_forgotten() -> None:
    """Its failure must not fence what the worker holds now: that would join the group anew for ever."""

    async def story() -> None:
        worker = planner(MemoryLedger(), MemoryTopics())
        await worker.positions([0, 1])
        held = worker.owned[1].held
        await worker.release([1])
        worker._relay_failed(held, 1, Fenced("too late"))
        assert await worker.idle() is False
        worker._relay_failed(worker.owned[0].held, 0, Fenced("in time"))
        with pytest.raises(Fenced, match="in time"):
            await worker.idle()
        await worker.release([0])

    run(story)


def test_a_rolled_back_shelf_is_taken_again() -> None:
    """Redis lost the last write: the poll names the shelf as stale, and taking it again reads on from there."""

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker = planner(ledger, topics)
        await worker.positions([0])
        world = World()
        world.order(START_MS, 1)
        first = world.record(START_MS)
        world.order(START_MS + 1, 2)
        second = world.record(START_MS)
        past = ledger.copy()
        await worker.poll([batch([first])])
        ledger.restore(past)
        assert list(await worker.poll([batch([second])])) == [0]
        assert await worker.positions([0]) == {0: 0}
        await worker.poll([batch([first, second])])
        assert (await ledger.peek(0, {})).place.offset == 2
        await worker.release([0])

    run(story)


def test_a_shelf_rolled_back_at_rest_is_noticed_without_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis lost the last write and nothing comes any more: an idle moment joins the group anew."""
    monkeypatch.setattr(planner_agent, "QUIET_S", 0.0)
    monkeypatch.setattr(planner_agent, "LOOK_S", 0.0)

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker = planner(ledger, topics)
        await worker.positions([0])
        await worker.poll([one_sale()])
        while await worker.idle():
            pass
        past, left = ledger.copy(), ledger.operations
        ledger.roll_back(1)
        assert ledger.operations == left - 1
        with pytest.raises(Fenced, match="rolled back"):
            await worker.idle()
        ledger.restore(past)
        assert await worker.idle() is False
        await worker.release([0])

    run(story)


def test_a_shelf_found_rolled_back_while_its_relay_is_full_is_taken_again() -> None:
    """The relay hears of it first, while a poll waits for room: the poll names the shelf, the process lives on."""

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker = planner(ledger, topics)
        await worker.positions([0])
        past = ledger.copy()
        await worker.poll([one_sale()])
        ledger.restore(past)
        worker.owned[0].relay._limits = Limits(waiting_messages=0, note_every_s=0.01)
        again = replace(one_sale(), start=1, next=2, offsets=[1])
        assert list(await worker.poll([again])) == [0]
        assert await worker.positions([0]) == {0: 0}
        assert list(await worker.poll([one_sale()])) == []
        await worker.release([0])

    run(story)


def test_what_is_not_ours_in_the_log_is_quarantined_and_its_neighbours_go_through() -> None:
    """A record somebody else wrote to `sku-events` becomes a dead letter with its bytes."""

    async def story() -> None:
        ledger, topics = MemoryLedger(), MemoryTopics()
        worker = planner(ledger, topics)
        await worker.positions([0])
        world = World()
        world.order(START_MS, 1, units=2)
        good = batch([SkuRecord(1, world.record(START_MS).rows, ())])
        values = [b"\x00 not ours", *good.values]
        await worker.poll([Batch("sku-events", 0, 0, 2, 2, [0, 1], [0, 0], [None, None], values, [(), ()])])
        await worker.release([0])
        letters = [m for _, m in topics.committed("dead-letters", 0)]
        assert [m.id for m in letters] == ["dead-letter/sku-events/0/0"]
        assert b'"reason":"not_ours"' in letters[0].value
        assert (await ledger.peek(0, {"hot": None})).sections["hot"].keys() == {b"S@L"}

    run(story)
