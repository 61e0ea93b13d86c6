"""Crash anywhere, roll Redis back anywhere, leave zombies: every message is published once and in order per key.

A stand-in for the planner decides one to three messages per log offset, always the same ones. Lives follow one another:
each owner takes the shelf, goes on from the ledger's place, and dies, hangs as a zombie, or loses answers at a step
Hypothesis chose. A last, healthy life finishes the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given, note, settings
from hypothesis import strategies as st

from stream.errors import Away, Fenced, Stale
from stream.events.outgoing import Outgoing
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.ledger.port import Held, Ledger, Place, Write
from stream.ledger.publisher import TOPICS
from stream.ledger.relay import Limits, Relay

LOG_END = 12
SHELF = 1
STEPS_OF_A_LIFE = 60  # hook calls within which a fault strikes; a quiet life has about as many


def decide(offset: int) -> list[Outgoing]:
    """What the fold of the record at `offset` has to say: the same every time."""
    return [_message(offset, i) for i in range(1 + offset % 3)]


def _message(offset: int, i: int) -> Outgoing:
    topic, key = TOPICS[(offset + i) % 4], f"sku {(offset * 7 + i) % 3}"
    return Outgoing(topic, key.encode(), b"", (("ce_id", f"{offset}.{i}".encode()),))


class Killed(Exception):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Fault:
    """What happens to a life at its `at`-th step."""

    at: int
    kind: str  # kill, hang, away
    roll_back: int = 0  # operations the ledger loses at that moment

    def __str__(self) -> str:
        return f"{self.kind}@{self.at} -{self.roll_back}"


@dataclass
class World:
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    topics: MemoryTopics = field(default_factory=MemoryTopics)


@dataclass
class Process:
    """One owner: its steps are counted, and its fault strikes at one of them."""

    world: World
    fault: Fault | None
    transactions: bool = True
    steps: int = 0
    dead: bool = False
    hung: bool = False

    def step(self, name: str, shelf: int = SHELF) -> None:
        if self.dead:
            raise Killed
        self.steps += 1
        if self.fault is None or self.steps != self.fault.at:
            return
        self.world.ledger.roll_back(self.fault.roll_back)
        if self.fault.kind == "kill":
            self.dead = True
            raise Killed
        if self.fault.kind == "away":
            raise Away(f"no answer at {name}")
        self.hung = True  # somebody else will take the shelf while we go on

    async def live(self, limits: Limits) -> None:
        """Take the shelf and work until the log ends, a newer owner comes, or death."""
        publisher = MemoryPublisher(self.world.topics, self.step, transactions=self.transactions)
        door = Door(self.world.ledger, self)
        while True:
            try:
                return await self._hold(door, publisher, limits)
            except (Stale, Away):
                continue  # take the shelf again, as after a roll-back
            except (Fenced, Killed):
                return None

    async def _hold(self, ledger: Ledger, publisher: MemoryPublisher, limits: Limits) -> None:
        held = await ledger.acquire(SHELF)
        failures: list[Exception] = []
        relay = Relay(ledger, publisher, held, lambda shelf, error: failures.append(error), limits)
        await relay.start()
        try:
            await self._work(ledger, held, relay)
            await relay.stop(drain=True)
        finally:
            await relay.stop(drain=False)
        if failures:
            raise failures[0]

    async def _work(self, ledger: Ledger, held: Held, relay: Relay) -> None:
        while held.place.offset < LOG_END:
            await relay.room()
            offset = held.place.offset + 1
            write = Write(held.place, Place(offset), {"hot": {b"%d" % offset: b""}}, decide(offset))
            first = held.next_out
            [refusal] = await ledger.keep([(held, write)])
            if refusal is not None:
                raise refusal
            relay.offer(list(enumerate(write.out, first)))
            await asyncio.sleep(0)
        await relay.drained()


class Door(MemoryLedger):
    """A process' own way to the shared ledger: each call is two steps, one before and one after its effect."""

    def __init__(self, inner: MemoryLedger, process: Process) -> None:
        self._inner, self._process = inner, process

    async def acquire(self, shelf: int) -> Held:
        self._process.step("acquire")
        held = await self._inner.acquire(shelf)
        self._process.step("acquired")
        return held

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        self._process.step("keep")
        answers = await self._inner.keep(writes)
        self._process.step("kept")
        return answers

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        self._process.step("sent")
        await self._inner.sent(held, through, published)
        self._process.step("noted")


async def play(faults: list[Fault], limits: Limits, transactions: bool = True) -> World:
    """All lives, one after the other but for zombies; then a healthy one."""
    world, zombies = World(), []
    for fault in [*faults, None]:
        process = Process(world, fault, transactions)
        task = asyncio.create_task(process.live(limits))
        while not task.done() and not process.dead and not process.hung:
            await asyncio.sleep(0)
        if process.hung and not task.done():
            zombies.append(task)
        elif process.dead:
            task.cancel()
        else:
            await task
    await asyncio.gather(*zombies)
    return world


def published(world: World) -> dict[str, list[Outgoing]]:
    return {topic: [message for _, message in world.topics.committed(topic, SHELF)] for topic in TOPICS}


def decided() -> dict[str, list[Outgoing]]:
    """What an undisturbed life publishes."""
    everything = [message for offset in range(LOG_END + 1) for message in decide(offset)]
    return {topic: [message for message in everything if message.topic == topic] for topic in TOPICS}


a_fault = st.builds(
    Fault,
    at=st.integers(1, STEPS_OF_A_LIFE),
    kind=st.sampled_from(["kill", "hang", "away"]),
    roll_back=st.sampled_from([0, 0, 1, 2, 3, 5, 8, 13, 21, 34, 1_000]),
)
some_limits = st.builds(
    Limits,
    batch_messages=st.sampled_from([1, 3, 100]),
    waiting_messages=st.sampled_from([1, 100]),
    note_every_s=st.sampled_from([0.0, 1e9]),
    linger_s=st.sampled_from([0.0, 1e9]),
    first_pause_s=st.just(0.0),
    longest_pause_s=st.just(0.0),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(a_fault, max_size=5), some_limits)
def test_each_message_is_published_once_and_in_order(faults: list[Fault], limits: Limits) -> None:
    """Whatever dies, hangs or is rolled back: a read_committed consumer sees what an undisturbed run sends."""
    note(f"faults: {', '.join(map(str, faults))}")
    world = asyncio.run(play(faults, limits))
    assert published(world) == decided()


@settings(max_examples=150, deadline=None)
@given(st.lists(a_fault.filter(lambda fault: fault.kind != "hang"), max_size=5), some_limits)
def test_without_transactions_each_message_is_published_at_least_once(faults: list[Fault], limits: Limits) -> None:
    """A plain producer may repeat what it had sent; nothing is missing, first appearances keep their order."""
    note(f"faults: {', '.join(map(str, faults))}")
    world = asyncio.run(play(faults, limits, transactions=False))
    first = {topic: list(dict.fromkeys(messages)) for topic, messages in published(world).items()}
    assert first == decided()


def test_every_single_step_can_be_the_last() -> None:
    """A kill at each step of a life in turn, with and without the ledger losing its last three operations."""
    limits = Limits(batch_messages=3, note_every_s=0.0, first_pause_s=0.0, longest_pause_s=0.0)
    quiet = Process(World(), None)
    asyncio.run(quiet.live(limits))
    for at in range(1, quiet.steps + 1):
        for lost in (0, 3):
            world = asyncio.run(play([Fault(at, "kill", lost)], limits))
            assert published(world) == decided(), f"killed at step {at}, {lost} operations lost"
