"""The run of a seed: a storm in which nothing may go wrong, a healing after which everything is finished."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import TypeVar
from unittest import mock

from faust.types import TP

from agents.intake import agent as intake_agent
from agents.planner import agent as planner_agent
from stream.events.outgoing import Outgoing
from stream.events.topics import SKU_EVENTS, SOURCES
from stream.ledger.memory import AnswerLost, MemoryLedger
from stream.ledger.memory_publisher import MemoryTopics
from stream.ledger.relay import Limits, Relay
from stream.transport.memory import MemoryLog
from stream.transport.port import Send
from tests.simulation import checks
from tests.simulation.clockwork import VirtualLoop, VirtualTime
from tests.simulation.group import Group
from tests.simulation.process import owned_task
from tests.simulation.world import Act, World

T = TypeVar("T")

STORM_S = 60.0  # of an act: after that the weather is fine until the act is folded
HEAL_S = 300.0  # virtual; a relay's longest pause is 2 s, a drain 10 s
TRACE_LINES = 400


class Simulation:
    """One installation, from its first record to rest. `weather` is None for an undisturbed run."""

    def __init__(self, world: World, weather: random.Random | None) -> None:
        self.world, self.rng = world, weather or random.Random(0)
        self.storm = weather is not None  # faults happen
        self.calm = weather is None  # nothing is ever delayed or cut
        self.log = MemoryLog(world.source_partitions, 1, world.shelves)
        self.ledger = MemoryLedger(after=self._lose_answer)
        self.topics = MemoryTopics()
        self.group = Group(self)
        self.happened: Counter[str] = Counter()
        self.view_every_s = self.rng.choice((0.0, 0.2, 5.0))
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.digest = hashlib.blake2b(digest_size=8)
        self.failure: BaseException | None = None
        self.closing = False  # intake has ended: whatever it still sent is to be folded, then the planners may end
        self.flying = 0  # lots of records on the wire whose sender is dead
        self._away_until_s = {"broker": 0.0, "ledger": 0.0}
        self._clock: Callable[[], float] = lambda: 0.0

    # -- the run ----------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Everything; raises where something that must hold does not."""
        with self._patched():
            workers = 1 if self.calm else self.rng.randint(2, 3)
            self.group.open(workers)
            keepers = [asyncio.create_task(self.group.keep_alive(i)) for i in range(workers)]
            weather = asyncio.create_task(self._weather()) if self.storm else None
            for act in self.world.acts:
                await self._perform(act)
            checks.nothing_twice(self.topics, self.world.shelves)
            self.storm = False
            if weather is not None:
                weather.cancel()
            self.group.heal()
            await self._until(self._at_rest, HEAL_S, "healing")
            self.closing = True
            await self._until(self._at_rest, HEAL_S, "healing")
            for keeper in keepers:
                keeper.cancel()
            await self.group.shut()
        checks.nothing_twice(self.topics, self.world.shelves)

    @contextlib.contextmanager
    def _patched(self) -> Iterator[None]:
        """Durations are virtual; limits are small, so that they are met."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.set_task_factory(owned_task)
        self._clock = loop.time
        limits = (
            Limits()
            if self.calm
            else Limits(
                batch_messages=self.rng.choice((1, 3, 5_000)), waiting_messages=self.rng.choice((1, 20, 20_000))
            )
        )
        frame = 8 << 20 if self.calm else self.rng.choice((600, 8 << 20))
        with (
            mock.patch.object(planner_agent, "time", VirtualTime(loop.time)),
            mock.patch.object(planner_agent, "Relay", partial(Relay, limits=limits)),
            mock.patch.object(intake_agent, "MOST_FRAME_BYTES", frame),
        ):
            yield

    async def _perform(self, act: Act) -> None:
        by_partition = self.mixed(act.records, lambda r: (r.topic, r.partition))
        for record in by_partition:
            self.log.now_ms = record.logged_ms
            self.log.append(Send(record.topic, record.partition, record.key, record.value))
            if not self.calm and self.rng.random() < 0.05:
                await asyncio.sleep(self.rng.expovariate(20.0))
        if act.waits:
            await self._until(partial(self._folded, act), STORM_S, f"the act until {act.until_ms}", lull=self.storm)
        else:
            await asyncio.sleep(0.0 if self.calm else self.rng.uniform(0.0, 3.0))

    async def _until(self, ready: Callable[[], object], within_s: float, what: str, lull: bool = False) -> None:
        """Wait for something; where it does not come in a storm, wait again in fine weather."""
        end_s = self._clock() + within_s
        while not await ready():  # type: ignore[misc]
            if self.failure is not None:
                raise self.failure
            if self._clock() > end_s:
                assert lull, f"liveness: {what} is not done after {within_s:.0f} s: {await self._standing()}"
                self.storm, end_s, lull = False, self._clock() + HEAL_S, False
                self.happened["lull"] += 1
                self.group.heal()
            await asyncio.sleep(0.05)
        if what != "healing" and not self.calm:
            self.storm = True

    async def _folded(self, act: Act) -> bool:
        """Whether every record so far is in the shelves, with its marks, and nothing is pending."""
        for shelf in range(self.world.shelves):
            peek = await self.ledger.peek(shelf, {"meta": [b"watermark_ms"]})
            if peek.place.offset != self.log.end(SKU_EVENTS.name, shelf) or peek.place.sweep:
                return False
            if int(peek.sections["meta"][b"watermark_ms"]) < act.until_ms:
                return False
        return await self._read()

    async def _read(self) -> bool:
        sources = self.log.of(list(SOURCES))
        positions = await self.ledger.source_positions([(tp.topic, tp.partition) for tp in sources])
        return all((tp.topic, tp.partition) in positions for tp in sources) and all(
            positions[tp.topic, tp.partition].offset == self.log.end(*tp) for tp in sources
        )

    async def _at_rest(self) -> bool:
        """All offsets at the log ends, outboxes empty, nothing pending, every readable hash fresh."""
        if self.flying > 0 or not await self._folded(self.world.acts[-1]):
            return False
        if any(self.ledger.outbox(shelf) for shelf in range(self.world.shelves)):
            return False
        return self.group.at_rest(self.world.shelves, self.closing)

    async def _standing(self) -> str:
        shelves = [
            f"shelf {s} at {(await self.ledger.peek(s, {})).place} of {self.log.end(SKU_EVENTS.name, s)}, "
            f"owes {len(self.ledger.outbox(s))}"
            for s in range(self.world.shelves)
        ]
        return f"read: {await self._read()}; {'; '.join(shelves)}; {self.group.standing()}"

    # -- the weather ------------------------------------------------------------------------------------------------

    async def _weather(self) -> None:
        deeds = [
            (5, self.group.kill), (4, self.group.pause), (3, self.group.rebalance), (4, self._roll_back),
            (2, self._outage), (2, self.group.ask_to_leave), (1 if self.world.junk else 0, self._junk),
        ]  # fmt: skip
        while True:
            await asyncio.sleep(self.rng.expovariate(0.7))
            if self.storm:
                [deed] = self.rng.choices([d for _, d in deeds], [w for w, _ in deeds])
                deed()

    def _roll_back(self) -> None:
        lost = self.ledger.roll_back(self.rng.choice((1, 2, 3, 5, 8, 13, 40, 1_000)))
        self.note("redis", f"lost its last {lost} operations")
        self.happened["roll-back"] += 1

    def _outage(self) -> None:
        who = self.rng.choice(("broker", "ledger"))
        self._away_until_s[who] = self._clock() + self.rng.choice((0.2, 3.0))
        self.note(who, "away")

    def _junk(self) -> None:
        self.append(Send(SKU_EVENTS.name, self.rng.randrange(self.world.shelves), None, b"what is this?"))

    def kills(self) -> bool:
        """Whether a process dies at the step it is at."""
        return self.storm and self.rng.random() < 0.002

    def breaks(self, point: str) -> bool:
        """Whether a call finds nobody, or its answer is lost."""
        if not self.storm:
            return False
        who = "broker" if "send" in point or "publish" in point or "start" in point else "ledger"
        return self._clock() < self._away_until_s[who] or self.rng.random() < (0.03 if point == "answer" else 0.002)

    def _lose_answer(self, operation: str, _: int) -> None:
        if self.storm and operation in ("acquire", "sent") and self.rng.random() < 0.02:
            self.happened["answer lost"] += 1
            raise AnswerLost

    # -- chances ----------------------------------------------------------------------------------------------------

    def delay_s(self) -> float:
        """How long a step takes."""
        return self.rng.choice((0.0, 0.0, 0.0, 0.001, 0.01, 0.05)) if self.rng.random() < 0.98 else 0.7

    def pause_s(self) -> float:
        """How long a work waits between two turns."""
        return 0.01 if self.calm else self.rng.choice((0.0, 0.005, 0.05, 0.3))

    def idles(self) -> bool:
        """Whether this is a moment for idle work."""
        return self.calm or self.rng.random() < 0.3

    def some(self, tps: Sequence[TP]) -> Sequence[TP]:
        """The partitions a poll is over."""
        return tps if self.calm else self.rng.sample(tps, self.rng.randint(1, len(tps)))

    def cut(self) -> int | None:
        """How many records of a partition a poll brings at most."""
        return None if self.calm else self.rng.choice((1, 3, 10, 100))

    def mixed(self, records: Sequence[T], partition: Callable[[T], Hashable]) -> list[T]:
        """Records in any order that keeps each partition's."""
        if self.calm:
            return list(records)
        queues: dict[Hashable, deque[T]] = {}
        for record in records:
            queues.setdefault(partition(record), deque()).append(record)
        out: list[T] = []
        while queues:
            at = self.rng.choice(list(queues))
            for _ in range(self.rng.randint(1, 8)):
                if queues[at]:
                    out.append(queues[at].popleft())
            if not queues[at]:
                del queues[at]
        return out

    def land(self, records: Sequence[Send]) -> None:
        """What was on the wire arrives."""
        self.flying -= 1
        for record in records:
            self.append(record)

    def append(self, record: Send) -> None:
        """Into the log, perhaps twice: a retry of a producer without idempotence."""
        for _ in range(2 if self.storm and self.rng.random() < 0.03 else 1):
            self.log.append(record)

    # -- what is told -----------------------------------------------------------------------------------------------

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        line = f"{self._clock():9.3f} {who}: {what}"
        self.trace.append(line)
        self.digest.update(line.encode())

    def failed(self, error: BaseException) -> None:
        """Something of ours went wrong; the first counts."""
        self.failure = self.failure or error

    def published(self) -> dict[str, list[Outgoing]]:
        """What consumers have been given."""
        return checks.published(self.topics, self.world.shelves)
