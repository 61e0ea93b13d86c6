"""Intake at work over logs in memory: whatever fails, the rows are those of an undisturbed run."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import orjson
import pytest

from agents.intake.agent import MOST_FRAME_BYTES, Intake, _frames
from agents.intake.translate import IntakeConfig
from stream.errors import Away
from stream.events import rows
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.rows import Mark
from stream.ledger.memory import MemoryLedger
from stream.ledger.port import SourcePosition
from stream.transport.memory import MemoryLog, MemorySender, Reader, intake_reader
from stream.transport.port import Batch, Send

SHELVES = 3
START_MS = 1_750_000_000_000
WALL = IntakeConfig(SHELVES, lateness_ms=10_000)
EVENT = IntakeConfig(SHELVES, lateness_ms=10_000, clock="event")

Key = tuple[int, int]


class Killed(Exception):
    """The process died here."""


def order(number: int, at_ms: int, lines: int = 2) -> bytes:
    wanted = [
        {"line_id": str(i), "sku": f"sku-{(number + i) % 7}", "location": "shop", "quantity": i + 1}
        for i in range(lines)
    ]
    event = {"event_id": f"e{number}", "type": "order.placed", "occurred_at": text_from_ms(at_ms)}
    return orjson.dumps(event | {"order_id": f"o{number}", "lines": wanted})


def received(number: int, at_ms: int) -> bytes:
    event = {"event_id": f"m{number}", "type": "stock.received", "occurred_at": text_from_ms(at_ms)}
    return orjson.dumps(event | {"sku": f"sku-{number % 7}", "location": "shop", "quantity": 5})


def log_of(seed: int, records: int) -> MemoryLog:
    """Orders and movements over two partitions each, a tenth of them broken, times jumbled."""
    chooser, log = random.Random(seed), MemoryLog(2, 1, SHELVES)
    for number in range(records):
        log.now_ms = START_MS + number * 1_000
        at_ms = log.now_ms - chooser.randint(0, 30_000)
        topic, make = chooser.choice([("orders", order), ("stock-movements", received)])
        value = b"{broken" if chooser.random() < 0.1 else make(number, at_ms)
        log.append(Send(topic, number % 2, b"k", value))
    return log


def admitted(log: MemoryLog) -> dict[tuple[int, Key], list[Any]]:
    """Rows of each shelf and source partition, repeats dropped by source coordinates as the planner does."""
    high: dict[tuple[int, Key], tuple[int, int]] = {}
    found = defaultdict(list)
    for shelf in range(SHELVES):
        for record in log.read("sku-events", shelf):
            assert record.value is not None
            for row in rows.decode(record.value, record.offset).rows.to_pylist():
                key, at = (shelf, (row["source"], row["partition"])), (row["offset"], row["line"])
                if at > high.get(key, (-1, -1)):
                    high[key] = at
                    found[key].append(str(row))
    return dict(found)


def letters(log: MemoryLog) -> set[bytes | None]:
    return {record.key for record in log.read("dead-letters", 0)}


def marks_told(log: MemoryLog, shelf: int) -> dict[Key, int]:
    """The highest mark a shelf was told of each source partition."""
    told: dict[Key, int] = {}
    for record in log.read("sku-events", shelf):
        assert record.value is not None
        for mark in rows.decode(record.value, record.offset).marks:
            told[mark.source, mark.partition] = max(mark.mark_ms, told.get((mark.source, mark.partition), mark.mark_ms))
    return told


async def drain(reader: Reader) -> None:
    while await reader.poll():
        pass


def undisturbed(seed: int, records: int) -> MemoryLog:
    async def run() -> MemoryLog:
        log = log_of(seed, records)
        reader = intake_reader(log, Intake(WALL, MemorySender(log), MemoryLedger()), random.Random(seed))
        await reader.assign_all()
        await drain(reader)
        return log

    return asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_of_an_undisturbed_run_whatever_fails(seed: int) -> None:
    """Sends that half arrive, answers nobody hears, deaths before and after the ledger, a zombie that goes on."""
    calm, chooser, log, ledger = undisturbed(seed, 120), random.Random(seed), log_of(seed, 120), MemoryLedger()

    def applied(count: int) -> int:
        return count if chooser.random() < 0.7 else chooser.randint(-1, count)

    failed: list[str] = []  # also what nobody hears of: a write that the next poll would have waited for

    def die(operation: str, _: int) -> None:
        if operation == "source" and chooser.random() < 0.2:
            failed.append(operation)
            raise Killed

    ledger.before = ledger.after = die

    def worker() -> Reader:
        return intake_reader(log, Intake(WALL, MemorySender(log, applied), ledger), chooser)

    async def run() -> None:
        alive = [worker()]
        await alive[0].assign_all()
        while alive[-1].at_end() != log.of(["orders", "carts", "stock-movements", "supply", "catalog", "calendar"]):
            one = chooser.choice(alive)  # the newest, or a zombie
            try:
                await one.poll()
                if chooser.random() < 0.2:
                    await one.idle()
            except (Away, Killed) as death:
                failed.append(type(death).__name__)
                alive = [*alive[-1:], worker()] if chooser.random() < 0.5 else [worker()]
                await alive[-1].assign_all()

    asyncio.run(run())
    assert failed, f"seed {seed} was no test"
    assert admitted(log) == admitted(calm), f"seed {seed}"
    assert letters(log) == letters(calm), f"seed {seed}"


def worker(log: MemoryLog, ledger: MemoryLedger, config: IntakeConfig = WALL) -> tuple[Intake, Reader]:
    intake = Intake(config, MemorySender(log), ledger)
    return intake, intake_reader(log, intake, random.Random(1))


def test_by_the_wall_clock_a_partition_read_to_its_end_is_complete_up_to_now() -> None:
    """Every shelf hears it, once; the ledger has it first; a partition that lags keeps its own mark."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        log.now_ms = START_MS
        log.append(Send("orders", 0, b"k", order(1, START_MS)))
        intake, reader = worker(log, ledger)
        await reader.assign_all()
        await drain(reader)
        log.now_ms = START_MS + 60_000
        await intake.idle([("orders", 0), ("carts", 0)], log.now_ms)
        before = [log.end("sku-events", shelf) for shelf in range(SHELVES)]
        for shelf in range(SHELVES):
            told = marks_told(log, shelf)
            assert told == {(Source.ORDERS, 0): START_MS + 50_000, (Source.CARTS, 0): START_MS + 50_000}
        kept = await ledger.source_positions([("orders", 0), ("carts", 0), ("supply", 0)])
        assert kept[("orders", 0)] == SourcePosition(1, START_MS + 50_000)
        assert kept[("carts", 0)].mark_ms == START_MS + 50_000
        assert ("supply", 0) not in kept
        await intake.idle([("orders", 0), ("carts", 0)], log.now_ms)
        assert [log.end("sku-events", shelf) for shelf in range(SHELVES)] == before

    asyncio.run(run())


def test_a_mark_of_an_empty_partition_says_nothing_of_where_to_read() -> None:
    """After it the partition is still read from the beginning of the log, wherever that is."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        log.append(Send("carts", 0, b"k", b"old"))
        log.delete_below("carts", 0, 1)
        first, reader = worker(log, ledger)
        await reader.assign_all()
        await first.idle([("carts", 0)], START_MS)
        second, again = worker(log, ledger)
        await again.assign_all()  # refused, were the ledger's offset 0
        assert (await second.positions([("carts", 0)])) == {("carts", 0): None}

    asyncio.run(run())


def test_by_the_event_clock_only_events_move_marks() -> None:
    """An idle moment tells every shelf what the events said, and nothing of the wall clock."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        log.now_ms = START_MS
        log.append(Send("orders", 0, b"k", order(1, START_MS)))
        intake, reader = worker(log, ledger, EVENT)
        await reader.assign_all()
        await drain(reader)
        await intake.idle([("orders", 0), ("carts", 0)], START_MS + 60_000)
        for shelf in range(SHELVES):
            assert marks_told(log, shelf) == {(Source.ORDERS, 0): START_MS - 10_000}

    asyncio.run(run())


def test_a_mark_is_in_the_ledger_before_a_shelf_hears_of_it() -> None:
    """Dying in between, a successor judges lateness by the mark that may have been told."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        intake = Intake(WALL, MemorySender(log, lambda _: 0), ledger)
        await intake.positions([("orders", 0)])
        with pytest.raises(Away):
            await intake.idle([("orders", 0)], START_MS)
        assert (await ledger.source_positions([("orders", 0)]))["orders", 0].mark_ms == START_MS - 10_000

    asyncio.run(run())


def test_rows_are_acknowledged_before_the_position_is_kept() -> None:
    """A send that fails leaves the ledger where it was."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        log.now_ms = START_MS
        log.append(Send("orders", 0, b"k", order(1, START_MS)))
        reader = intake_reader(log, Intake(WALL, MemorySender(log, lambda _: -1), ledger), random.Random(1))
        await reader.assign_all()
        with pytest.raises(Away):
            await drain(reader)
        assert await ledger.source_positions([("orders", 0)]) == {}

    asyncio.run(run())


def test_a_batch_that_does_not_follow_is_our_own_mistake() -> None:
    """A gap between what was kept and what is brought stops the process."""

    async def run() -> None:
        log, ledger = MemoryLog(1, 1, SHELVES), MemoryLedger()
        intake = Intake(WALL, MemorySender(log), ledger)
        await ledger.source_done({("orders", 0): SourcePosition(5, None)})
        await intake.positions([("orders", 0)])
        with pytest.raises(AssertionError, match="7 came after 5"):
            await intake.poll([Batch("orders", 0, 7, 8, 8, [7], [START_MS], [b"k"], [order(1, START_MS)], [()])])

    asyncio.run(run())


def test_a_shelf_with_very_much_gets_several_records_and_the_marks_with_the_last() -> None:
    """Frames stay far under what a topic takes; rows keep their order; marks are said after all rows."""
    n = 2_000
    its = rows.from_columns(kind=[1] * n, sku=["s" * 10_000] * n, line=list(range(n)))
    frames = [rows.decode(send.value or b"", i) for i, send in enumerate(_frames(1, its, [Mark(1, 0, 5, 9)]))]
    assert len(frames) == -(-its.nbytes // MOST_FRAME_BYTES) > 1
    assert rows.same(rows.concat([frame.rows for frame in frames]), its)
    assert [frame.marks for frame in frames] == [()] * (len(frames) - 1) + [(Mark(1, 0, 5, 9),)]
    assert all(frame.rows.nbytes <= MOST_FRAME_BYTES for frame in frames)
