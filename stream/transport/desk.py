"""What lies on an agent's desk: the polls brought to it, the one in hand, and whose partitions they are.

One desk a kind of work. Everything that touches the work - taking partitions, a poll, an idle moment, letting go -
happens under the desk's lock, so never two at once, and letting go waits for the work in hand.

A poll is brought with the stamps its partitions had when it was fetched. A seek or a revocation changes the stamp, so
what was fetched before is recognised on the desk and put away; what was fetched after it is kept.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from faust.types import TP

from stream.transport.inbox import MUCH_BYTES, Inbox
from stream.transport.port import Batch, IntakeWork, PlannerWork
from stream.transport.stamped import Stamped, size_of

POLLS_AHEAD = 2  # one in hand and one waiting: the next is fetched while this one is worked on


@dataclass(frozen=True)
class Poll:
    """What one fetch brought for one desk: the value of the one message its agent gets."""

    number: int  # among those of its desk
    round: int  # of the desk when it was brought
    parts: tuple[Stamped, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of keys and values."""
        return size_of(self.parts)

    @property
    def records(self) -> int:
        """Records in all partitions."""
        return sum(len(part.batch.offsets) for part in self.parts)

    @property
    def oldest_ms(self) -> int:
        """Kafka timestamp of the oldest record, as far as the first of each partition says."""
        return min(part.batch.timestamps[0] for part in self.parts)


class Work(Protocol):
    """Either kind of work, by full topic and partition."""

    name: str
    topics: tuple[str, ...]

    async def take(self, tps: Sequence[TP]) -> Mapping[TP, int | None]:
        """Where to read on; None: from the beginning."""
        ...

    async def poll(self, batches: Sequence[Batch]) -> Sequence[TP]:
        """Answer one poll; partitions to be taken again."""
        ...

    async def release(self, tps: Sequence[TP]) -> None:
        """Let go."""
        ...


class Desk:
    """The polls of one agent, and how far each of its partitions is kept."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.name = work.name
        self.topics = frozenset(work.topics)
        self.lock = asyncio.Lock()
        self.room = asyncio.Event()  # set when a poll is done, for who has something to do between polls
        self.fetch = asyncio.Event()  # the same for who fetches
        self.inbox = Inbox()
        self.kept: dict[TP, int] = {}  # taken partitions: the offset below which the work has answered
        self.taken: set[TP] = set()  # what the work was told to take, whether it is sought yet or not
        self.answered_ms: dict[TP, int] = {}  # Kafka timestamp of the last record answered
        self.fenced = False  # somebody took a partition of ours: nothing is done until the group has decided anew
        self.lost = 0  # polls in a row that were brought and never came
        self._numbers = itertools.count(1)
        self._round = 0
        self._waiting: dict[int, int] = {}  # number of a poll brought and not yet done -> its bytes
        self._brought_much = False  # by the last poll

    def bring(self, parts: Sequence[Stamped]) -> Poll:
        """Note a poll as brought."""
        poll = Poll(next(self._numbers), self._round, tuple(parts))
        self._waiting[poll.number] = poll.size_bytes
        self._brought_much = poll.size_bytes >= MUCH_BYTES
        return poll

    def has_room(self) -> bool:
        """Whether another poll may be brought to this desk: one to wait there only where there is much to do."""
        return self.empty() or (self._brought_much and self.few())

    def few(self) -> bool:
        """Whether another poll may be fetched, to be brought once there is room."""
        return len(self._waiting) < POLLS_AHEAD

    def empty(self) -> bool:
        """Whether every poll that was brought is done."""
        return len(self._waiting) == 0

    def overtaken(self, poll: Poll) -> bool:
        """Whether a poll brought before this one has not come: they come in order."""
        return poll.round == self._round and next(iter(self._waiting)) < poll.number

    def forgotten(self) -> int:
        """The number of a poll that waits though nobody is at work; 0 where there is none."""
        return 0 if self.lock.locked() else next(iter(self._waiting), 0)

    def waiting_bytes(self) -> int:
        """Bytes of the polls brought and not yet done, and of what is to be brought next."""
        return sum(self._waiting.values()) + self.inbox.size_bytes

    def done(self, poll: Poll) -> None:
        """Take a poll off the desk."""
        if poll.round == self._round:
            del self._waiting[poll.number]
        self.room.set()
        self.fetch.set()

    def answered(self, parts: Sequence[Stamped]) -> None:
        """Note how far partitions are kept."""
        for part in parts:
            self.kept[part.tp] = part.batch.next
            self.answered_ms[part.tp] = part.batch.timestamps[-1]

    def leave(self) -> list[TP]:
        """Forget every partition; returns which they were."""
        tps = sorted(self.taken)
        self.taken.clear()
        self.kept.clear()
        self.answered_ms.clear()
        self.inbox.clear()
        self.fenced = False
        return tps

    def clear(self) -> None:
        """Forget what was brought: Faust has emptied the agent's queue. The poll in hand goes on."""
        self._round += 1
        self._waiting.clear()
        self.room.set()
        self.fetch.set()

    def mine(self, tps: Sequence[TP]) -> list[TP]:
        """Those of `tps` that belong to this desk, in order."""
        return sorted(tp for tp in tps if tp.topic in self.topics)


class IntakeDesk:
    """`IntakeWork` by full topic names."""

    name = "intake"

    def __init__(self, work: IntakeWork, full_names: Mapping[str, str]) -> None:
        self._work = work
        self._short = {full: short for short, full in full_names.items()}
        self.topics = tuple(self._short)

    async def take(self, tps: Sequence[TP]) -> Mapping[TP, int | None]:
        """Where to read on."""
        found = await self._work.positions([self.short(tp) for tp in tps])
        return {tp: found[self.short(tp)] for tp in tps}

    async def poll(self, batches: Sequence[Batch]) -> Sequence[TP]:
        """Answer one poll."""
        await self._work.poll(batches)
        return ()

    async def idle(self, at_end: Sequence[TP], now_ms: int) -> None:
        """Say which partitions are read to their end."""
        await self._work.idle([self.short(tp) for tp in at_end], now_ms)

    async def release(self, tps: Sequence[TP]) -> None:
        """Let go."""
        await self._work.release([self.short(tp) for tp in tps])

    def short(self, tp: TP) -> tuple[str, int]:
        """A partition by its topic's short name."""
        return self._short[tp.topic], tp.partition


class PlannerDesk:
    """`PlannerWork` by full topic name: partitions are shelves."""

    name = "planner"

    def __init__(self, work: PlannerWork, full_name: str) -> None:
        self._work = work
        self._topic = full_name
        self.topics = (full_name,)

    async def take(self, tps: Sequence[TP]) -> Mapping[TP, int | None]:
        """Take shelves and say where to read on."""
        found = await self._work.positions([tp.partition for tp in tps])
        return {tp: found[tp.partition] for tp in tps}

    async def poll(self, batches: Sequence[Batch]) -> Sequence[TP]:
        """Fold and keep one poll; shelves found stale."""
        return [TP(self._topic, shelf) for shelf in await self._work.poll(batches)]

    async def idle(self) -> bool:
        """One slice of what is left to do."""
        return await self._work.idle()

    async def release(self, tps: Sequence[TP]) -> None:
        """Let go."""
        await self._work.release([tp.partition for tp in tps])
