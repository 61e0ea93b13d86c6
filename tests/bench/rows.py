"""What rows cost: an event's price by their number, a day close in slices, a restart from Redis, bytes a row.

    python -m tests.bench.rows [--rows 1000,10000,100000,1000000]

*close CPU s* is what the fold alone takes, *kept s* with every slice written to Redis, *CPU s* of this process for
that and for orders that come meanwhile; *alerts %* of the rows raised one then. *slice ms* is the slowest slice,
*slice p99* all but one in a hundred, *waited ms* the longest such an order waited: for a slice that had begun, and for
its own poll. A restart is given by the clock and in CPU seconds of this process.

A planner over a real Redis, without Kafka: records of `sku-events` are made here and given to it by hand. Every row has
sold on some days of a week, so each has a forecast and a reorder point, and most move at the close that is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import redis

from agents.app import warm_up
from agents.planner import wakes
from agents.planner.agent import Planner
from agents.planner.config import PlannerConfig
from agents.planner.shelf import Shelf
from agents.planner.versions import NEWEST
from stream.events import rows as sku_events
from stream.events.kinds import Flag, Kind, Source
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.port import Batch
from tests import servers
from tests.bench.bench import say
from tests.bench.machine import command, machine
from tests.bench.stalls import Stalls

DAY_MS = 86_400_000
SAY_EVERY_S = 10.0
PATIENCE_S = 300.0  # with Redis, which writes its file anew while a million rows come
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SHELVES, PLACES, LOT = 4, 10, 8_000
EVENT_POLLS, EVENT_LINES = 40, 2_000  # polls that are timed and lines in each, over all shelves
LIVED_ROWS = 20_000  # live their week; beyond, the others are copies of these under names of their own
STOCK_MILLI = 60_000  # of which a row sells 6 units in the week: few cross their reorder point at a close
SMALL_MILLI = 10  # so little that 80,000 lines, 80 a row where there are few, do not empty the shop
AT_REST_S = 0.005  # between two looks, while a closing's slices wait for something
ARRIVING_LINES = 5  # a shelf's, that come while a slice of the close is in work


COLUMNS = ("us/line", "close CPU s", "kept s", "CPU s", "alerts %", "slice p99", "slice ms", "waited ms")
COLUMNS += ("restart s", "its CPU s", "worker B", "Redis B")  # bytes a row


class Log:
    """Four shelves' `sku-events`, made as they are read."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.each = rows // SHELVES
        self.offset, self.source = [0] * SHELVES, 0

    def batch(self, shelf: int, values: Sequence[bytes]) -> Batch:
        """Records as the shelf's next batch."""
        n, start = len(values), self.offset[shelf]
        self.offset[shelf] += n
        stamps = [START_MS] * n
        return Batch(
            "sku-events",
            shelf,
            start,
            start + n,
            start + n,
            range(start, start + n),
            stamps,
            [None] * n,
            values,
            [()] * n,
        )

    def lines(self, shelf: int, which: np.ndarray, kind: Kind, milli: int, at_ms: int) -> bytes:
        """One line of these rows each."""
        n, first = len(which), self.source
        self.source += n
        columns = {
            "kind": np.full(n, kind, np.uint8),
            "sku": [f"S{shelf}-{row // PLACES:06d}" for row in which.tolist()],
            "location": [f"L{row % PLACES}" for row in which.tolist()],
            "milli": np.full(n, milli),
            "occurred_ms": at_ms + np.arange(n) % 1000,
            "source": np.full(n, Source.ORDERS, np.uint8),
            "offset": np.arange(first, first + n),
            "event_hash": self.rng.integers(1, 2**63, n).astype(np.uint64),
            "order_hash": self.rng.integers(1, 2**63, n).astype(np.uint64),
            "flags": np.full(n, Flag.SOLD_AT_ONCE if kind == Kind.ORDER_PLACED else 0, np.uint8),
            "price": np.full(n, 4.5),
        }
        return sku_events.encode(sku_events.from_columns(**columns), ())

    def mark(self, at_ms: int) -> bytes:
        """Every source partition is complete up to an instant."""
        return sku_events.encode(sku_events.empty(), [sku_events.Mark(source, 0, at_ms, 0) for source in Source])


class Counted(MemoryPublisher):
    """Takes what is published and forgets it: memory is measured here."""

    async def publish(self, shelf: int, messages: Sequence[object]) -> dict[str, int]:
        return {}


def planner(ledger: RedisLedger) -> Planner:
    """As a worker makes it; no position messages, which the end-to-end bench has."""
    shape = dict.fromkeys(Source, 1)

    def config(shelf: int) -> PlannerConfig:
        return PlannerConfig(
            shelf=shelf,
            shape=shape,
            shelves=SHELVES,
            positions_interval_ms=0,
            journal_rows=50_000,
            version=NEWEST,
        )

    return Planner(ledger, Counted(MemoryTopics()), config)


async def populated(rows: int, ledger: RedisLedger, client: redis.Redis) -> tuple[Log, Planner]:
    """So many rows with a week behind them, and their planner."""
    log, work = Log(min(rows, LIVED_ROWS), 7), planner(ledger)
    await work.positions(range(SHELVES))
    await history(log, work)
    say(f"{log.each * SHELVES:,} rows have lived a week")
    if rows > LIVED_ROWS:
        await work.release(range(SHELVES))
        lived, log.each = log.each, rows // SHELVES
        for shelf in range(SHELVES):
            copy_rows(client, shelf, lived, log.each)
            say(f"shelf {shelf} has its {log.each:,} rows")
        say(f"{log.each * SHELVES:,} rows are in Redis")
        work = planner(ledger)
        await work.positions(range(SHELVES))
    return log, work


def copy_rows(client: redis.Redis, shelf: int, lived: int, wanted: int) -> None:
    """Rows of a shelf that is nobody's, over and over under other names, until there are as many as wanted."""
    hot, model = f"rows:{{{shelf}}}:hot", f"rows:{{{shelf}}}:model"
    names = [name(shelf, row) for row in range(lived)]
    packed = [bytes(numbers) for numbers in client.hmget(hot, names)]
    models = client.hmget(model, names)
    for first in range(lived, wanted, LOT):
        rows = range(first, min(first + LOT, wanted))
        keys = [name(shelf, row) for row in rows]
        like = [row % lived for row in rows]
        numbered = [row.to_bytes(3, "little") + packed[its][3:] for row, its in zip(rows, like, strict=True)]
        client.hset(hot, mapping=dict(zip(keys, numbered, strict=True)))
        client.hset(model, mapping={key: models[its] for key, its in zip(keys, like, strict=True)})


def name(shelf: int, row: int) -> str:
    """A row's key."""
    return f"S{shelf}-{row // PLACES:06d}@L{row % PLACES}"


async def history(log: Log, work: Planner) -> None:
    """Stock, then a week in which every row sells on two days."""
    for shelf in range(SHELVES):
        for first in range(0, log.each, LOT):
            some = np.arange(first, min(first + LOT, log.each))
            await work.poll([log.batch(shelf, [log.lines(shelf, some, Kind.STOCK_COUNTED, STOCK_MILLI, START_MS)])])
    for day in range(7):
        for shelf in range(SHELVES):
            for first in range(0, log.each, LOT):
                some = np.arange(first, min(first + LOT, log.each))
                some = some[(some * 7919 + day) % 7 < 2]
                at_ms = START_MS + day * DAY_MS + 3_600_000
                await work.poll([log.batch(shelf, [log.lines(shelf, some, Kind.ORDER_PLACED, 3_000, at_ms)])])
        if day < 6:
            await close(log, work, START_MS + (day + 1) * DAY_MS)


async def close(log: Log, work: Planner, at_ms: int, stalls: Stalls | None = None) -> tuple[list[float], list[float]]:
    """A day's close as a worker does it, a slice at a time: the seconds of each, and those an event waited.

    With `stalls`, which notes each slice, a few orders come just as it begins: they wait for it, and for their own
    poll. That poll is not counted as the close's.
    """
    took, waited = [], []
    begun = said = time.perf_counter()
    await work.poll([log.batch(shelf, [log.mark(at_ms)]) for shelf in range(SHELVES)])
    took.append(time.perf_counter() - begun)
    while any(owned.shelf.pending for owned in work.owned.values()):
        few = [orders(log, shelf, ARRIVING_LINES, at_ms) for shelf in range(SHELVES)] if stalls else []
        begun = time.perf_counter()
        going_on = await (stalls.slice() if stalls else work.idle())
        took.append(time.perf_counter() - begun)
        if stalls:
            await stalls.poll(few)
            waited.append(time.perf_counter() - begun)
        if time.perf_counter() - said > SAY_EVERY_S:
            said = time.perf_counter()
            say(f"{100 * closed(work):.0f} % of the rows are closed, in {sum(took):.0f} s")
        await asyncio.sleep(0 if going_on else AT_REST_S)
    return took, [took[0], *waited]


def closed(work: Planner) -> float:
    """The share of SKUs a close has passed, of all shelves."""
    shelves = [owned.shelf for owned in work.owned.values()]
    left = sum(len(shelf.groups) - shelf.cursor for shelf in shelves if shelf.pending)
    return 1 - left / sum(len(shelf.groups) for shelf in shelves)


def compute(shelves: list[Shelf], at_ms: int) -> float:
    """CPU seconds of a close without keeping it: what the fold alone takes."""
    begun, said = time.process_time(), Counter[str]()
    for shelf in shelves:
        shelf.watermark_ms = at_ms
        wakes.arrive(shelf, shelf.offset, np.zeros(0, np.int64))
        while shelf.pending:
            said.update(message.topic for message in wakes.sweep(shelf, wakes.slice_rows(shelf)))
    took_s, rows = time.process_time() - begun, sum(shelf.n for shelf in shelves)
    say("messages a row: " + ", ".join(f"{topic} {count / rows:.2f}" for topic, count in sorted(said.items())))
    return took_s


async def events(log: Log, work: Planner, at_ms: int) -> float:
    """CPU microseconds a line of polls like those under load."""
    each = EVENT_LINES // SHELVES
    polls = [[orders(log, shelf, each, at_ms) for shelf in range(SHELVES)] for _ in range(EVENT_POLLS)]
    begun = time.process_time()
    for poll in polls:
        await work.poll(poll)
    return (time.process_time() - begun) * 1e6 / EVENT_POLLS / EVENT_LINES


def orders(log: Log, shelf: int, lines: int, at_ms: int) -> Batch:
    """Orders of a shelf's rows, any of them."""
    picked = log.rng.integers(0, log.each, lines)
    return log.batch(shelf, [log.lines(shelf, picked, Kind.ORDER_PLACED, SMALL_MILLI, at_ms)])


def decided(work: Planner) -> int:
    """Alerts raised so far, all shelves."""
    return sum(n for o in work.owned.values() for k, n in o.shelf.counters.items() if k.startswith("alerts_raised"))


def rss_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(rows: int, url: str) -> None:
    """One number of rows."""
    client = redis.Redis.from_url(url, socket_timeout=PATIENCE_S)
    client.flushall()
    before_mb = rss_mb()
    ledger = RedisLedger(url, "rows", timeout_s=PATIENCE_S, command_s=PATIENCE_S)
    log, work = await populated(rows, ledger, client)
    say("orders ...")
    line_us = await events(log, work, START_MS + 6 * DAY_MS + 7_200_000)
    say("a day closes ...")
    cpu, before = time.process_time(), decided(work)
    with Stalls(work, client) as stalls:
        took, waited = await close(log, work, START_MS + 7 * DAY_MS, stalls)
    for line in stalls.lines():
        say(line)
    cpu_s, crossed = time.process_time() - cpu, decided(work) - before
    worker_mb, redis_bytes = rss_mb() - before_mb, client.info("memory")["used_memory"]
    packed = sum(client.hlen(f"rows:{{{s}}}:hot") for s in range(SHELVES))
    await work.release(range(SHELVES))
    del work
    gc.collect()
    say("a restart ...")
    again = planner(ledger)
    begun, cpu = time.perf_counter(), time.process_time()
    await again.positions(range(SHELVES))
    restart = time.perf_counter() - begun, time.process_time() - cpu
    assert packed == log.each * SHELVES == sum(owned.shelf.n for owned in again.owned.values())
    say("a day closes, folded alone ...")
    compute_s = compute([owned.shelf for owned in again.owned.values()], START_MS + 8 * DAY_MS)
    await again.release(range(SHELVES))
    await ledger.close()
    slices = (1000 * float(np.quantile(took, 0.99)), 1000 * max(took), 1000 * max(waited))
    figures = (line_us, compute_s, sum(took), cpu_s, 100 * crossed / rows, *slices, *restart)
    memory = (1e6 * worker_mb / rows, redis_bytes / rows)
    print(f"{rows:9,}" + "".join(f"{figure:12,.2f}" for figure in (*figures, *memory)), flush=True)


def main() -> int:
    """Every number of rows asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000,10000,100000,1000000")
    chosen = parser.parse_args()
    warm_up()  # its garbage collection too
    print(f"{command()}\n{machine('numpy', 'numba', 'pyarrow', 'redis')}\ndeciding version {NEWEST}")
    print("     rows" + "".join(f"{name:>12}" for name in COLUMNS), flush=True)
    server = servers.server()
    try:
        for rows in map(int, chosen.rows.split(",")):
            asyncio.run(measure(rows, server.url))
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
