"""What an order costs without neighbours, stage by stage and by size of a poll: CPU microseconds an order.

    python -m tests.bench.pure [--orders 20000] [--polls 10,100,1000,4000] [--profile fold]

The bytes are those of the end-to-end bench; stages call what a worker calls. Time is CPU time of this process, so that
a busy machine shows less.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agents.app import warm_up
from agents.intake.agent import _frames
from agents.intake.translate import IntakeConfig, translate
from agents.planner import wakes
from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.keeping import changes
from agents.planner.shelf import Shelf
from stream.events.kinds import Source
from stream.events.partition import partition_of
from stream.events.rows import Mark, decode, empty, encode
from stream.ledger.port import Held, Place
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.port import Batch
from tests.bench.orders import LINES_A_CROSSING, Shop, crossings

SHELVES = 4
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class Stages:
    """CPU seconds by stage; one stage may be profiled."""

    def __init__(self, profiled: str) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._profiled, self.profile = profiled, cProfile.Profile()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name == self._profiled:
            self.profile.enable()
        begun = time.process_time()
        yield
        self.spent[name] += time.process_time() - begun
        if name == self._profiled:
            self.profile.disable()


class Line:
    """Intake and planner in a row, by hand."""

    def __init__(self, positions_ms: int) -> None:
        self.shop = Shop(random.Random(7))
        self.config = IntakeConfig(SHELVES, lateness_ms=2_000)
        shape = dict.fromkeys(Source, 4)
        self.shelves = [
            Shelf(
                PlannerConfig(shelf=s, shape=shape, shelves=SHELVES, positions_interval_ms=positions_ms, cover_days=60)
            )
            for s in range(SHELVES)
        ]
        self.held = [Held(s, "t", "", Place(-1), {}, [], {}, 0) for s in range(SHELVES)]
        self.ledger = RedisLedger("redis://127.0.0.1:1/0", "bench")  # never asked anything
        self.marks: dict[tuple[int, int], int | None] = {}
        self.ends: dict[tuple[str, int], int] = defaultdict(int)
        self.at = itertools.count()
        self.offset = [0] * SHELVES
        self.messages = 0

    def batches(self, records: list[tuple[str, int, bytes]]) -> list[Batch]:
        """Records (topic, partition, value) as a poll brings them."""
        parts: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        for topic, partition, value in records:
            parts[topic, partition].append(value)
        out = []
        for (topic, partition), values in parts.items():
            n, start = len(values), self.ends[topic, partition]
            self.ends[topic, partition] = start + n
            offsets, stamps = list(range(start, start + n)), [START_MS + 400 * 86_400_000] * n
            out.append(
                Batch(topic, partition, start, start + n, start + n, offsets, stamps, [None] * n, values, [()] * n)
            )
        return out

    def poll(self, stage: Any, records: list[tuple[str, int, bytes]]) -> None:
        """One poll through everything."""
        batches = self.batches(records)
        with stage("translate"):
            done = translate(self.config, self.marks, batches)
        self.marks.update({m[:2]: m.mark_ms for m in done.marks})
        with stage("frames"):
            sends = [send for shelf, its in sorted(done.shelves.items()) for send in _frames(shelf, its, done.marks)]
        for send in sends:
            self.fold(stage, send.partition, send.value or b"")

    def fold(self, stage: Any, number: int, frame: bytes) -> None:
        """One record of `sku-events` through the planner."""
        shelf, held = self.shelves[number], self.held[number]
        with stage("decode"):
            record = decode(frame, self.offset[number])
        self.offset[number] += 1
        with stage("fold"):
            outcome = fold(shelf, [record])
        shelf.offset = self.offset[number]
        self.messages += len(outcome.messages)
        with stage("changes"):
            write = changes(shelf, held.place, outcome.messages, 0)
        with stage("keep bytes"):
            write.stamp = "s"
            self.ledger._keep_call(held, write)
        held.place = write.next

    def everybody_marks(self, at_ms: int) -> None:
        """Every source partition is complete up to an instant, so that the watermark moves."""
        marks = [Mark(source, p, at_ms, 0) for source in Source for p in range(4)]
        for number in range(SHELVES):
            self.fold(Stages(""), number, encode(empty(), marks))


def orders(line: Line, count: int, at_ms: Callable[[int], int]) -> list[list[tuple[str, int, bytes]]]:
    """Orders on their partitions, each with the receipts that follow it: one every 45 lines."""
    out, total = [], 0
    for n in range(count):
        order_id, value, body = line.shop.order(at_ms(n), line.shop.lines())
        records = [("orders", partition_of(order_id.encode(), 4), value)]
        received = (total + len(body)) // LINES_A_CROSSING - total // LINES_A_CROSSING
        total += len(body)
        for _ in range(received):
            row = line.shop.rng.choice(line.shop.rows)
            movement = line.shop.movement("received", row, 1, at_ms(n))
            records.append(("stock-movements", partition_of(row[0].encode(), 4), movement))
        out.append(records)
    return out


def flat(records: list[list[tuple[str, int, bytes]]]) -> list[tuple[str, int, bytes]]:
    """All of them in order."""
    return [record for of_order in records for record in of_order]


def stock(line: Line, count: int, at_ms: int) -> list[tuple[str, int, bytes]]:
    """A count of every row, such that about one line in 45 of `count` orders crosses a reorder point."""
    over = crossings(count, len(line.shop.rows), line.shop.weights[-1])
    out = []
    for rank, row in enumerate(line.shop.rows):
        partition = partition_of(row[0].encode(), 4)
        shelf = line.shelves[partition]
        units = int(shelf.hot["reorder_point"][shelf.index[row]]) // 1000 + 1 + int(over(rank))
        out.append(("stock-movements", partition, line.shop.movement("counted", row, units, at_ms)))
    return out


def run(size: int, chosen: argparse.Namespace) -> None:
    """One size of a poll."""
    line, quiet = Line(chosen.positions_ms), Stages("")
    counts = [
        ("stock-movements", partition_of(row[0].encode(), 4), line.shop.movement("counted", row, 10_000, START_MS))
        for row in line.shop.rows
    ]
    line.poll(quiet, counts)
    history = orders(line, chosen.history, lambda n: START_MS + n * 6 * 86_400_000 // chosen.history)
    for first in range(0, len(history), 4_000):
        line.poll(quiet, flat(history[first : first + 4_000]))
    now_ms = START_MS + 6 * 86_400_000
    line.everybody_marks(now_ms)
    for shelf in line.shelves:
        wakes.finish(shelf)
    line.poll(quiet, stock(line, chosen.orders, now_ms))
    made = orders(line, chosen.orders, lambda n: now_ms + n * 1000 // chosen.rate)
    before, stage = line.messages, Stages(chosen.profile)
    last_ms = now_ms
    for first in range(0, len(made), size):
        line.poll(stage, flat(made[first : first + size]))
        if (at := now_ms + first * 1000 // chosen.rate) - last_ms >= 1_000:
            line.everybody_marks(at - 2_000)
            last_ms = at
    each = " ".join(f"{name} {1e6 * spent / len(made):6.2f}" for name, spent in stage.spent.items())
    print(
        f"{size:6,} a poll: {1e6 * sum(stage.spent.values()) / len(made):7.2f} us an order: {each}; "
        f"{line.messages - before:,} messages",
        flush=True,
    )
    if chosen.profile:
        pstats.Stats(stage.profile, stream=sys.stdout).sort_stats(chosen.sort).print_stats(45)


def main() -> int:
    """Every size asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--history", type=int, default=60_000, help="orders of the six days before")
    parser.add_argument("--rate", type=int, default=50_000, help="orders a second of event time")
    parser.add_argument("--positions-ms", type=int, default=1_000, help="positions at most once in this time a row")
    parser.add_argument("--polls", default="10,100,1000,4000,16000", help="sizes of a poll, in orders")
    parser.add_argument("--profile", default="", help="profile one stage")
    parser.add_argument("--sort", default="tottime")
    chosen = parser.parse_args()
    warm_up()  # its garbage collection too
    for size in map(int, chosen.polls.split(",")):
        run(size, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
