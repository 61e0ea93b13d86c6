"""One life of a worker: intake and planner over doors at which the process may be delayed, paused or killed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from faust.types import TP

from agents.intake.agent import Intake
from agents.planner.agent import Planner, Unwatched
from stream.errors import Away, Fenced, NeighbourError, Stale
from stream.events.outgoing import Outgoing
from stream.events.topics import SKU_EVENTS, SOURCES
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher
from stream.ledger.port import Held, SourcePosition, Write
from stream.ledger.publisher import Tail
from stream.transport.desk import IntakeDesk, PlannerDesk
from stream.transport.port import Batch, Send
from tests.simulation import checks

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation

OWNER: ContextVar[Process | None] = ContextVar("OWNER", default=None)


def owned_task(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
    """A task factory: what a process starts dies with it."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **more)
    owner = OWNER.get()
    if owner is not None:
        owner.tasks.append(task)
    return task


class Process:
    """A worker from start to death."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim, self.name = sim, name
        self.tasks: list[asyncio.Task[Any]] = []
        self.dead = False
        self.leaving = False
        self.gate = asyncio.Event()  # shut: stopped, as by SIGSTOP
        self.gate.set()
        self.ended = asyncio.Event()
        self.ledger = Door(self)
        publisher = Outlet(self)
        world = sim.world
        self.planner = Planner(
            self.ledger, publisher, world.of_shelf, view_every_s=sim.view_every_s, watcher=Refusals(sim.happened)
        )
        intake = Intake(world.intake, Wire(self), self.ledger)
        self.seats = [
            Seat(self, IntakeDesk(intake, {name: name for name in SOURCES})),
            Seat(self, PlannerDesk(self.planner, SKU_EVENTS.name)),
        ]

    def start(self) -> None:
        """Begin: both seats work side by side."""
        OWNER.set(self)
        for seat in self.seats:
            self.tasks.append(asyncio.create_task(self._work(seat)))
        OWNER.set(None)

    async def _work(self, seat: Seat) -> None:
        try:
            while not (self.leaving or (self.sim.closing and seat.reads_sources)):
                await seat.turn()
            await seat.leave()
            seat.left = True
            if all(s.left for s in self.seats):
                self.end("left")
        except NeighbourError as error:
            self.end(f"ended by {type(error).__name__}")
        except Exception as error:
            self.sim.failed(error)
            self.end("our own fault")

    def end(self, why: str) -> None:
        """Nothing of this process runs any more."""
        if not self.dead:
            self.dead = True
            self.sim.note(self.name, why)
            self.sim.happened[why] += 1
            self.ended.set()
            for task in self.tasks:
                task.cancel()

    async def step(self, point: str) -> None:
        """A point at which anything may happen to the process; returns unless it died."""
        if self.sim.calm:
            return
        self.sim.note(self.name, point)
        await asyncio.sleep(self.sim.delay_s())
        await self.gate.wait()
        if not self.dead and self.sim.kills():
            self.sim.happened[f"kill at {point}"] += 1
            self.end("killed")
        if self.dead:
            await asyncio.Event().wait()  # the cancellation is on its way

    def away(self, point: str) -> None:
        """Raises Away where a neighbour is to be away just here."""
        if self.sim.breaks(point):
            self.sim.happened[f"away at {point}"] += 1
            raise Away(f"nobody answers at {point}")


class Refusals(Unwatched):
    """Counts what the ledger refused."""

    def __init__(self, happened: Counter[str]) -> None:
        self._happened = happened

    def refused(self, cause: str) -> None:
        """The ledger refused a write: fenced or stale."""
        self._happened[f"refused as {cause}"] += 1


class Seat:
    """What the transport is to one work: partitions as the group says, cursors, polls cut anywhere."""

    def __init__(self, process: Process, desk: IntakeDesk | PlannerDesk) -> None:
        self._process, self._desk, self._sim = process, desk, process.sim
        self._cursors: dict[TP, int] = {}
        self._generation = -1
        self.reads_sources = isinstance(desk, IntakeDesk)
        self.left = False

    async def turn(self) -> None:
        """Whatever comes next: another assignment, a poll, an idle moment."""
        await asyncio.sleep(self._sim.pause_s())
        await self._process.gate.wait()
        try:
            if self._generation != self._sim.group.generation:
                await self._reseat()
            polled = await self._poll()
            if not polled or self._sim.idles():
                await self._idle()
        except Fenced:
            await self.leave()
            self._sim.group.rejoin()

    async def _reseat(self) -> None:
        await self.leave()
        self._generation = self._sim.group.generation
        tps = self._sim.group.assigned(self._process, self._desk.topics)
        await self._take(tps)

    async def leave(self) -> None:
        """Let go of everything."""
        self._generation = -1
        ours, self._cursors = sorted(self._cursors), {}
        if ours:
            await self._desk.release(ours)

    async def _take(self, tps: Sequence[TP]) -> None:
        found: Mapping[TP, int | None] = await self._desk.take(tps) if tps else {}
        for tp, at in found.items():
            assert at is None or 0 <= at <= self._sim.log.end(*tp), f"{tp} has no offset {at}"
            self._cursors[tp] = at or 0

    async def _poll(self) -> bool:
        unread = [tp for tp, at in sorted(self._cursors.items()) if at < self._sim.log.end(*tp)]
        if not unread:
            return False
        chosen = self._sim.some(unread)
        batches = [self._batch(tp) for tp in chosen]
        stale = await self._desk.poll(batches)
        self._cursors.update({tp: batch.next for tp, batch in zip(chosen, batches, strict=True)})
        await self._take(stale)
        return True

    def _batch(self, tp: TP) -> Batch:
        return batch_of(self._sim, tp, self._cursors[tp], self._sim.cut())

    async def _idle(self) -> None:
        if isinstance(self._desk, PlannerDesk):
            while await self._desk.idle() and self._sim.idles():
                pass
        else:
            ends = [tp for tp, at in sorted(self._cursors.items()) if at == self._sim.log.end(*tp)]
            await self._desk.idle(ends, 0)


def batch_of(sim: Simulation, tp: TP, start: int, most: int | None) -> Batch:
    """What a fetch brings."""
    found = sim.log.read(tp.topic, tp.partition, start, most)
    offsets, timestamps, keys, values, headers = zip(*found, strict=True)
    return Batch(
        tp.topic, tp.partition, start, start + len(found), sim.log.end(*tp), offsets, timestamps, keys, values, headers
    )


class Door(MemoryLedger):
    """A process' own way to the shared ledger: every call may find it away, be lost, or be the last."""

    def __init__(self, process: Process) -> None:
        self._process, self._inner = process, process.sim.ledger

    async def acquire(self, shelf: int) -> Held:
        """Take the shelf."""
        await self._process.step("before acquire")
        self._process.away("acquire")
        held = await self._inner.acquire(shelf)
        await self._process.step("after acquire")
        return held

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        """One shelf after the other, as a pipeline that may break anywhere; an answer may be lost and asked again."""
        answers: list[Exception | None] = []
        for held, write in writes:
            await self._process.step("before keep")
            self._process.away("before keep")
            answers.append(await self._try(held, write))
            if self._process.sim.breaks("answer"):
                self._process.sim.happened["answer lost"] += 1
                await self._process.step("between two tries")
                answers[-1] = await self._try(held, write)
            self._process.away("after keep")
            await self._process.step("after keep")
        return answers

    async def _try(self, held: Held, write: Write) -> Exception | None:
        before = await checks.kept_meta(self._inner, held.shelf)
        [answer] = await self._inner.keep([(held, write)])
        if answer is None:
            checks.a_write(held.shelf, before, await checks.kept_meta(self._inner, held.shelf), write)
        return answer

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        """Trim the outbox."""
        await self._process.step("before sent")
        self._process.away("sent")
        try:
            await self._inner.sent(held, through, published)
        except NeighbourError as error:
            self._process.sim.happened[f"relay refused as {type(error).__name__}"] += 1
            raise
        await self._process.step("after sent")

    async def look(self, helds: Sequence[Held]) -> list[Exception | None]:
        """Ask whether shelves are as we left them."""
        await self._process.step("before look")
        self._process.away("look")
        found = await self._inner.look(helds)
        self._process.sim.happened["roll-back seen at rest"] += any(isinstance(one, Stale) for one in found)
        return found

    async def source_positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], SourcePosition]:
        """Where intake is."""
        await self._process.step("before positions")
        return await self._inner.source_positions(partitions)

    async def source_done(self, positions: Mapping[tuple[str, int], SourcePosition]) -> None:
        """Advance one partition after the other: a pipeline is not a transaction."""
        for at, done in positions.items():
            await self._process.step("before done")
            self._process.away("done")
            await self._inner.source_done({at: done})
        await self._process.step("after done")


class Wire:
    """`Sender`: records of different partitions arrive in any order, some twice, some after their sender is dead."""

    def __init__(self, process: Process) -> None:
        self._process, self._sim = process, process.sim
        self._chooser: random.Random = process.sim.rng

    async def send(self, records: Sequence[Send]) -> None:
        """Append in order per partition."""
        left = self._sim.mixed(records, lambda r: (r.topic, r.partition))
        try:
            await self._process.step("before send")
            while left:
                self._process.away("send")
                self._sim.append(left.pop(0))
                if left:
                    await self._process.step("between sends")
            await self._process.step("after send")
            self._process.away("after send")
        except (asyncio.CancelledError, Away):
            self._late(left)
            raise

    def _late(self, left: list[Send]) -> None:
        """What was on the wire when its sender died may still arrive, a part of it, later."""
        if left and not self._sim.calm and self._chooser.random() < 0.5:
            self._sim.happened["arrived after its sender's death"] += 1
            arriving = left[: self._chooser.randint(1, len(left))]
            delay_s = self._chooser.choice((0.01, 0.5, 5.0))
            self._sim.flying += 1
            asyncio.get_running_loop().call_later(delay_s, self._sim.land, arriving)


class Outlet(MemoryPublisher):
    """A process' own transactional producers."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.sim.topics, self._at, pause=self._between)
        self._process = process

    async def start(self, shelf: int, published: Mapping[str, int]) -> Tail:
        """Shut out older senders, read the tails."""
        await self._process.step("before start")
        tail = await super().start(shelf, published)
        await self._process.step("after start")
        return tail

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        """One transaction."""
        await self._process.step("before publish")
        ends = await super().publish(shelf, messages)
        await self._process.step("after publish")
        return ends

    async def _between(self) -> None:
        await self._process.step("within publish")

    def _at(self, step: str, shelf: int) -> None:
        self._process.away(step)
