"""A log in memory and its reader: the transport without Kafka, for simulations.

`Reader` drives a work exactly as the transport does - take, seek, polls over all partitions, stale shelves taken again,
release - but where polls are cut is up to a seeded chooser. `MemorySender` may fail with any part of a send applied.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from faust.types import TP

from stream.errors import Away, Fenced
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, partitions
from stream.transport.bounds import check_in_log
from stream.transport.desk import IntakeDesk, PlannerDesk
from stream.transport.port import Batch, IntakeWork, PlannerWork, Send

POLL_RECORDS = 50  # longest cut of one partition in a poll: small, so that there are many cuts


class Record(NamedTuple):
    """One record at its offset."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class _Partition:
    begin: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.begin + len(self.records)


class MemoryLog:
    """Partitions of records by short topic name, with as many partitions as an installation has."""

    def __init__(self, source_partitions: int, fact_partitions: int, shelves: int) -> None:
        sizes = {t.name: partitions(t, source_partitions, fact_partitions, shelves) for t in BY_NAME.values()}
        self._partitions = {TP(name, p): _Partition() for name, size in sizes.items() for p in range(size)}
        self.now_ms = 0  # the timestamp new records get

    def append(self, record: Send) -> int:
        """Append a record; its offset."""
        part = self._partitions[TP(record.topic, record.partition)]
        part.records.append(Record(part.end, self.now_ms, record.key, record.value, record.headers))
        return part.end - 1

    def read(self, topic: str, partition: int, start: int = 0, most: int | None = None) -> list[Record]:
        """Records from an offset on, at most `most`."""
        part = self._partitions[TP(topic, partition)]
        first = max(0, start - part.begin)
        return part.records[first : None if most is None else first + most]

    def begin(self, topic: str, partition: int) -> int:
        """The oldest offset that is kept."""
        return self._partitions[TP(topic, partition)].begin

    def end(self, topic: str, partition: int) -> int:
        """The offset the next record gets."""
        return self._partitions[TP(topic, partition)].end

    def delete_below(self, topic: str, partition: int, offset: int) -> None:
        """What retention does: records below an offset are gone."""
        part = self._partitions[TP(topic, partition)]
        part.records = self.read(topic, partition, offset)
        part.begin = max(part.begin, offset)

    def of(self, topics: Sequence[str]) -> list[TP]:
        """All partitions of these topics."""
        return sorted(tp for tp in self._partitions if tp.topic in topics)


class MemorySender:
    """`port.Sender` into a `MemoryLog`.

    `applied` is asked before each send, with the number of records, how many of them reach the log; fewer than all, or
    -1 for "all, but nobody heard", ends in Away.
    """

    def __init__(self, log: MemoryLog, applied: Callable[[int], int] | None = None) -> None:
        self._log = log
        self.applied = applied or (lambda count: count)

    async def send(self, records: Sequence[Send]) -> None:
        """Append in order."""
        reached = self.applied(len(records))
        for record in records[: None if reached < 0 else reached]:
            self._log.append(record)
        if reached != len(records):
            raise Away("Kafka did not take what we send", f"{reached} of {len(records)} records were applied")


class Reader:
    """What the transport is to one work: partitions, cursors, polls."""

    def __init__(self, log: MemoryLog, work: IntakeDesk | PlannerDesk, chooser: random.Random) -> None:
        self._log, self._work, self._chooser = log, work, chooser
        self._cursors: dict[TP, int] = {}

    async def assign(self, tps: Sequence[TP]) -> None:
        """A rebalance: let go of everything, take these. Raises RecordsGone."""
        await self.revoke()
        await self._take(tps)

    async def assign_all(self) -> None:
        """Take every partition the work reads."""
        await self.assign(self._log.of(self._work.topics))

    async def revoke(self) -> None:
        """Let go of everything."""
        ours, self._cursors = sorted(self._cursors), {}
        if ours:
            await self._work.release(ours)

    async def _take(self, tps: Sequence[TP]) -> None:
        found: Mapping[TP, int | None] = await self._work.take(tps) if tps else {}
        for tp, at in found.items():
            start = self._log.begin(*tp) if at is None else at
            check_in_log(tp, start, self._log.begin(*tp), self._log.end(*tp))
            self._cursors[tp] = start

    async def poll(self) -> bool:
        """One poll, cut by the chooser; False where there is nothing to read.

        Stale shelves are taken again; a work that is fenced has everything taken again.
        """
        unread = [tp for tp, at in sorted(self._cursors.items()) if at < self._log.end(*tp)]
        if not unread:
            return False
        chosen = self._chooser.sample(unread, self._chooser.randint(1, len(unread)))
        try:
            batches = [self._batch(tp) for tp in chosen]
            stale = await self._work.poll(batches)
        except Fenced:
            await self.assign(sorted(self._cursors))
            return True
        self._cursors.update({tp: batch.next for tp, batch in zip(chosen, batches, strict=True)})
        await self._take(stale)
        return True

    def _batch(self, tp: TP) -> Batch:
        start = self._cursors[tp]
        check_in_log(tp, start, self._log.begin(*tp), self._log.end(*tp))
        found = self._log.read(tp.topic, tp.partition, start, self._chooser.randint(1, POLL_RECORDS))
        return Batch(
            tp.topic,
            tp.partition,
            start,
            start + len(found),
            self._log.end(*tp),
            [record.offset for record in found],
            [record.timestamp for record in found],
            [record.key for record in found],
            [record.value for record in found],
            [record.headers for record in found],
        )

    def at_end(self) -> list[TP]:
        """Partitions read to their end."""
        return [tp for tp, at in sorted(self._cursors.items()) if at == self._log.end(*tp)]

    async def idle(self) -> bool:
        """An idle moment; True while the planner has more to do."""
        if isinstance(self._work, PlannerDesk):
            return await self._work.idle()
        await self._work.idle(self.at_end(), self._log.now_ms)
        return False


def intake_reader(log: MemoryLog, work: IntakeWork, chooser: random.Random) -> Reader:
    """A reader of the source topics."""
    return Reader(log, IntakeDesk(work, {name: name for name in SOURCES}), chooser)


def planner_reader(log: MemoryLog, work: PlannerWork, chooser: random.Random) -> Reader:
    """A reader of `sku-events`."""
    return Reader(log, PlannerDesk(work, SKU_EVENTS.name), chooser)
