"""A worker's transport in this process, against a real Kafka, with works that only remember."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import Producer

from stream.events.topics import SKU_EVENTS, full_name
from stream.transport import topics_admin
from stream.transport.app import App, Config, build, serve
from stream.transport.port import Batch, IntakeWork, PlannerWork

AWAIT_S = 40.0


class Remember:
    """A planner that keeps nothing but the batches it got; `standing` is its ledger."""

    def __init__(self, standing: dict[int, int] | None = None) -> None:
        self.standing: dict[int, int] = dict(standing or {})
        self.batches: list[Batch] = []
        self.polls: list[list[int]] = []  # shelves of each poll
        self.taken: list[list[int]] = []
        self.released: list[list[int]] = []
        self.before: Callable[[Sequence[Batch]], Awaitable[Sequence[int]]] | None = None

    async def positions(self, shelves: Sequence[int]) -> dict[int, int | None]:
        self.taken.append(list(shelves))
        return {shelf: self.standing.get(shelf) for shelf in shelves}

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        stale = list(await self.before(batches)) if self.before else []
        kept = [batch for batch in batches if batch.partition not in stale]
        self.polls.append([batch.partition for batch in kept])
        for batch in kept:
            assert batch.start == self.standing.get(batch.partition, batch.start)
            self.batches.append(batch)
            self.standing[batch.partition] = batch.next
        return stale

    async def idle(self) -> bool:
        return False

    async def release(self, shelves: Sequence[int]) -> None:
        self.released.append(list(shelves))

    def values(self, shelf: int) -> list[bytes | None]:
        """What was kept of one shelf, in the order it came."""
        return [value for batch in self.batches if batch.partition == shelf for value in batch.values]


def config(brokers: str, **changes: Any) -> Config:
    """An installation of its own: a fresh namespace with its topics."""
    made = replace(Config(brokers, f"t{uuid.uuid4().hex[:8]}", 8, 2, 1, session_timeout_ms=2_000), **changes)
    topics_admin.create(installation(made))
    return made


def installation(of: Config) -> topics_admin.Installation:
    """The same for the topics' sake."""
    return topics_admin.Installation(of.brokers, of.namespace, of.source_partitions, of.fact_partitions, of.shelves)


def fill(of: Config, values: Sequence[Sequence[bytes]], topic: str = SKU_EVENTS.name) -> None:
    """Append values to each partition of a topic."""
    producer = Producer({"bootstrap.servers": of.brokers, "linger.ms": 2, "enable.idempotence": True})
    errors: list[object] = []
    for partition, its in enumerate(values):
        for value in its:
            name = full_name(of.namespace, topic)
            producer.produce(name, value, b"k", partition, on_delivery=lambda error, _: errors.append(error))
        producer.poll(0)
    assert producer.flush(30) == 0
    assert set(errors) <= {None}


@contextlib.asynccontextmanager
async def running(of: Config, planner: PlannerWork | None, intake: IntakeWork | None = None) -> AsyncIterator[App]:
    """A worker while the block runs. Errors that end it are raised here."""
    app, stop = build(of, intake, planner), asyncio.Event()
    served = asyncio.create_task(serve(app, stop))
    block = asyncio.current_task()
    assert block is not None
    served.add_done_callback(lambda task: None if stop.is_set() else block.cancel())
    try:
        yield app
    except asyncio.CancelledError:
        if not served.done():
            raise
        block.uncancel()
    finally:
        stop.set()
        await served


async def until(true: Callable[[], bool], what: str) -> None:
    """Return when it is true."""
    deadline = asyncio.get_running_loop().time() + AWAIT_S
    while not true():
        assert asyncio.get_running_loop().time() < deadline, f"not within {AWAIT_S:.0f} s: {what}"
        await asyncio.sleep(0.02)


async def until_ended() -> None:
    """Wait for the worker to end by itself."""
    await asyncio.sleep(AWAIT_S)
    raise AssertionError("the worker went on")
