"""How fast the transport delivers with work that does nothing, and how soon.

    python -m tests.bench.transport [RECORDS]

Records of 130 bytes over eight partitions of a real Kafka (RESTOCK_TEST_KAFKA or one of our own). Throughput: a
backlog read by one worker, for several sizes of a poll. Latency: from `produce`, and from its
acknowledgement, to the work's `poll`, at 1,000 records a second.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import Producer

from stream.events.topics import SKU_EVENTS, full_name
from stream.transport.app import Config
from stream.transport.port import Batch
from tests.connected.running import config, running, until
from tests.kafka import broker

SHELVES = 8
RATE = 1_000
LATENCY_S = 15.0


class Clocked:
    """A planner that only looks at the clock."""

    def __init__(self) -> None:
        self.records, self.polls = 0, 0
        self.first_s = self.last_s = 0.0
        self.got_s: dict[int, float] = {}  # number of a record -> when the work had it

    async def positions(self, shelves: Sequence[int]) -> dict[int, int | None]:
        return dict.fromkeys(shelves)

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.polls += 1
        for batch in batches:
            self.records += len(batch.values)
            if len(batch.values[0] or b"") < 100:
                self.got_s.update((int(value or b"0"), self.last_s) for value in batch.values)
        return ()

    async def idle(self) -> bool:
        return False

    async def release(self, shelves: Sequence[int]) -> None:
        pass


def backlog(at: Config, count: int) -> None:
    """Records of 130 bytes, spread over the shelves."""
    producer = Producer({"bootstrap.servers": at.brokers, "linger.ms": 5, "queue.buffering.max.messages": 2_000_000})
    topic = full_name(at.namespace, SKU_EVENTS.name)
    for i in range(count):
        producer.produce(topic, b"x" * 130, partition=i % SHELVES)
    assert producer.flush(120) == 0


def throughput(brokers: str, count: int, poll_records: int) -> None:
    """Print records a second of a backlog."""
    at, work = config(brokers, poll_max_records=poll_records, session_timeout_ms=10_000), Clocked()
    backlog(at, count)

    async def run() -> None:
        async with running(at, work):
            await until(lambda: work.records == count, "all delivered")

    cpu_s = time.process_time()
    asyncio.run(run())
    rate = work.records / (work.last_s - work.first_s)
    used_us = (time.process_time() - cpu_s) / count * 1e6
    print(f"polls of {poll_records:>6,}: {rate:>9,.0f} records/s, {used_us:.1f} us CPU a record, {work.polls:,} polls")


def latency(brokers: str) -> None:
    """Print the age of records when the work gets them."""
    at, work, enough = config(brokers, session_timeout_ms=10_000), Clocked(), threading.Event()

    sent_s: dict[int, float] = {}
    taken_s: dict[int, float] = {}

    def produce() -> None:
        producer = Producer({"bootstrap.servers": brokers, "linger.ms": 1})
        topic, begun_s = full_name(at.namespace, SKU_EVENTS.name), time.perf_counter()
        for i in range(int(RATE * LATENCY_S)):
            producer.poll(max(0.0, begun_s + i / RATE - time.perf_counter()))
            sent_s[i] = time.perf_counter()
            note = partial(taken_s.setdefault, i)
            producer.produce(topic, b"%d" % i, None, i % SHELVES, on_delivery=lambda *_, note=note: _note(note))
        producer.flush(30)
        enough.set()

    async def run() -> None:
        async with running(at, work) as app:
            await until(lambda: app.waiting_for() == "", "ready")
            threading.Thread(target=produce).start()
            await until(lambda: enough.is_set() and work.records == int(RATE * LATENCY_S), "all delivered")

    asyncio.run(run())
    print(f"at {RATE:,}/s, {work.records / work.polls:.1f} records a poll:")
    for name, begun_s in (("produce", sent_s), ("acknowledgement", taken_s)):
        ages = sorted((work.got_s[i] - begun_s[i]) * 1000 for i in range(RATE, len(sent_s)))  # less the first second
        p50, p99 = ages[len(ages) // 2], ages[len(ages) * 99 // 100]
        print(f"  from {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def _note(note: Callable[[float], float]) -> None:
    note(time.perf_counter())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    kafka = broker()
    try:
        for size in (500, 2_000, 4_000, 10_000):
            throughput(kafka.bootstrap, int(sys.argv[1]) if len(sys.argv) > 1 else 600_000, size)
        latency(kafka.bootstrap)
    finally:
        kafka.close()
