"""Who is alive and who owns what: processes in slots, their supervisor, and the coordinator that deals partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from faust.types import TP

from stream.events.topics import SKU_EVENTS, SOURCES
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


class Group:
    """The workers. A new generation is heard of when a worker asks, so that two may hold a partition at once."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self.generation = 0
        self._slots: list[Process] = []
        self._started = 0
        self._deal: dict[str, list[TP]] = {}  # process -> its partitions
        self._healed = asyncio.Event()

    def open(self, workers: int) -> None:
        """Start the first workers."""
        self._slots = [self._new() for _ in range(workers)]
        for process in self._slots:
            process.start()
        self.rebalance()

    def _new(self) -> Process:
        self._started += 1
        return Process(self._sim, f"worker-{self._started}")

    async def keep_alive(self, slot: int) -> None:
        """The supervisor: whoever ends is started again, sooner or later."""
        while True:
            await self._slots[slot].ended.wait()
            await asyncio.sleep(self._sim.rng.choice((0.05, 0.5, 3.0)))
            self._slots[slot] = self._new()
            self._slots[slot].start()
            self.rebalance()

    # -- the coordinator --------------------------------------------------------------------------------------------

    def rebalance(self) -> None:
        """Deal all partitions to those who answer."""
        self.generation += 1
        members = [p for p in self._slots if not p.dead and not p.leaving and p.gate.is_set()]
        self._deal = {p.name: [] for p in members}
        for topics in ([SKU_EVENTS.name], list(SOURCES)):
            for tp in self._sim.log.of(topics) if members else []:
                self._deal[self._sim.rng.choice(members).name].append(tp)
        self._sim.note("group", f"generation {self.generation}: {', '.join(sorted(self._deal))}")

    def rejoin(self) -> None:
        """A fenced worker asks anew."""
        self._sim.happened["rejoined"] += 1
        self.rebalance()

    def assigned(self, process: Process, topics: Collection[str]) -> list[TP]:
        """What a process is to hold; who is not in the group joins it."""
        if process.name not in self._deal:
            self.rebalance()
        return [tp for tp in self._deal.get(process.name, []) if tp.topic in topics]

    # -- faults -----------------------------------------------------------------------------------------------------

    def _one(self) -> Process | None:
        alive = [p for p in self._slots if not p.dead and not p.leaving]
        return self._sim.rng.choice(alive) if alive else None

    def kill(self) -> None:
        """kill -9, wherever it is."""
        process = self._one()
        if process is not None:
            process.end("killed")

    def ask_to_leave(self) -> None:
        """SIGTERM."""
        process = self._one()
        if process is not None:
            self._sim.note(process.name, "asked to leave")
            process.leaving = True

    def pause(self) -> None:
        """SIGSTOP, perhaps past the session, and SIGCONT: perhaps it is a zombie then."""
        process = self._one()
        if process is None or not process.gate.is_set():
            return
        process.gate.clear()
        self._sim.note(process.name, "paused")
        self._sim.happened["paused"] += 1
        loop, rng = asyncio.get_running_loop(), self._sim.rng
        if rng.random() < 0.8:
            loop.call_later(rng.uniform(0.1, 1.0), self.rebalance)
        loop.call_later(rng.uniform(0.2, 6.0), process.gate.set)

    def heal(self) -> None:
        """Everybody goes on."""
        for process in self._slots:
            process.gate.set()
        self.rebalance()

    # -- rest -------------------------------------------------------------------------------------------------------

    def at_rest(self, shelves: int, closing: bool) -> bool:
        """Whether every shelf is held, its relay has sent everything and its readable hashes are fresh."""
        if closing and not all(p.seats[0].left for p in self._slots):
            return False
        held = [(n, o) for p in self._slots if not p.dead for n, o in p.planner.owned.items()]
        return {n for n, _ in held} >= set(range(shelves)) and all(
            len(o.relay.waiting) == 0 and not o.shelf.pending and not o.shelf.dirty_view for _, o in held
        )

    def standing(self) -> str:
        """Who holds what, for a failure's text."""
        return ", ".join(f"{p.name} holds {sorted(p.planner.owned)}" for p in self._slots if not p.dead)

    async def shut(self) -> None:
        """End: let go of everything."""
        for process in self._slots:
            process.leaving = True
        await asyncio.gather(*(p.ended.wait() for p in self._slots))
