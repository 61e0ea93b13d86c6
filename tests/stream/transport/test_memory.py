"""The log in memory: what its sender does to it, and how its reader cuts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from stream.errors import Away
from stream.events.topics import SKU_EVENTS
from stream.transport.memory import MemoryLog, MemorySender, planner_reader
from stream.transport.port import Batch, Send


def sends(count: int) -> list[Send]:
    return [Send(SKU_EVENTS.name, 0, None, b"%d" % i) for i in range(count)]


def values(log: MemoryLog) -> list[bytes | None]:
    return [record.value for record in log.read(SKU_EVENTS.name, 0)]


@pytest.mark.parametrize(("applied", "there"), [(0, 0), (2, 2), (-1, 3)])
def test_a_send_that_fails_may_have_reached_the_log_in_part_or_whole(applied: int, there: int) -> None:
    """Away says nothing about how much arrived; what arrived is a beginning, in order."""
    log = MemoryLog(1, 1, 1)
    with pytest.raises(Away):
        asyncio.run(MemorySender(log, lambda _: applied).send(sends(3)))
    assert values(log) == [b"%d" % i for i in range(there)]


class Cuts:
    """A planner that remembers where its polls were cut."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []

    async def positions(self, shelves: Sequence[int]) -> dict[int, int | None]:
        return dict.fromkeys(shelves)

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        self.batches += [(batch.partition, batch.start, batch.next) for batch in batches]
        return ()

    async def idle(self) -> bool:
        return False

    async def release(self, shelves: Sequence[int]) -> None:
        pass


def cuts(seed: int) -> list[tuple[int, int, int]]:
    log, work = MemoryLog(1, 1, 3), Cuts()
    for shelf in range(3):
        for i in range(200):
            log.append(Send(SKU_EVENTS.name, shelf, None, b"%d" % i))

    async def run() -> None:
        reader = planner_reader(log, work, random.Random(seed))
        await reader.assign_all()
        while await reader.poll():
            pass
        assert len(reader.at_end()) == 3

    asyncio.run(run())
    return work.batches


def test_a_seed_says_where_polls_are_cut() -> None:
    """The same seed cuts the same way, another one otherwise; all of it is read either way."""
    assert cuts(1) == cuts(1) != cuts(2)
    assert sum(end - start for _, start, end in cuts(1)) == sum(end - start for _, start, end in cuts(2)) == 600
