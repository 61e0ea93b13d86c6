"""What held up a slice, or the poll after it: its steps, the garbage collector, Redis' own events."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

from agents.planner.agent import Planner
from stream.transport.port import Batch

T = TypeVar("T")

SLOW_MS = 30  # of one thing Redis does: from here on it remembers it
WORST = 3


class Took(NamedTuple):
    """A slice or a poll: seconds by the clock, of a processor, in the write to Redis, and in the garbage collector."""

    clock_s: float
    cpu_s: float
    keep_s: float
    collected_s: float


class Stalls:
    """Notes of slices and polls, while it is a context; `client` may ask what Redis remembers."""

    def __init__(self, work: Planner, client: redis.Redis) -> None:
        self.slices: list[Took] = []
        self.polls: list[Took] = []
        self._work, self._client = work, client
        self._keep_s = self._collected_s = self._collecting_s = 0.0

    def __enter__(self) -> Stalls:
        gc.callbacks.append(self._collector)
        self._kept: Callable[..., Awaitable[Any]] = self._work._keep
        self._work._keep = self._keep  # type: ignore[method-assign]
        self._client.config_set("latency-monitor-threshold", SLOW_MS)
        self._client.execute_command("LATENCY", "RESET")
        self._fsyncs = self._client.info("persistence")["aof_delayed_fsync"]
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._collector)
        del self._work._keep

    async def slice(self) -> bool:
        """One slice of the planner's."""
        return await self._noted(self._work.idle(), self.slices)

    async def poll(self, batches: Sequence[Batch]) -> None:
        """One poll of the planner's."""
        await self._noted(self._work.poll(batches), self.polls)

    async def _noted(self, work: Awaitable[T], where: list[Took]) -> T:
        begun = time.perf_counter(), time.process_time(), self._keep_s, self._collected_s
        found = await work
        ended = time.perf_counter(), time.process_time(), self._keep_s, self._collected_s
        where.append(Took(*(end - start for end, start in zip(ended, begun, strict=True))))
        return found

    def lines(self) -> list[str]:
        """For people: the worst slices and polls, and what Redis did that took long."""
        told = _worst("slice", self.slices) + _worst("poll", self.polls)
        events = self._client.execute_command("LATENCY", "LATEST")
        told += [f"Redis: {name.decode()} took up to {most} ms" for name, _, _, most, *_ in events]
        info = self._client.info("persistence")
        told.append(f"Redis: {info['aof_delayed_fsync'] - self._fsyncs} writes waited for the disk")
        return [*told, f"garbage: {1000 * self._collected_s:.0f} ms in all"]

    async def _keep(self, *args: Any) -> Any:
        begun = time.perf_counter()
        try:
            return await self._kept(*args)
        finally:
            self._keep_s += time.perf_counter() - begun

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.perf_counter()
        else:
            self._collected_s += time.perf_counter() - self._collecting_s


def _worst(what: str, took: list[Took]) -> list[str]:
    worst = sorted(enumerate(took), key=lambda one: -one[1].clock_s)[:WORST]
    return [
        f"{what} {i + 1:,} of {len(took):,}: {1000 * its.clock_s:.0f} ms, of a processor {1000 * its.cpu_s:.0f}, "
        f"kept in {1000 * its.keep_s:.0f}, garbage {1000 * its.collected_s:.0f}"
        for i, its in worst
    ]
