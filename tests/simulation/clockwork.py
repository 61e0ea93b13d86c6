"""An event loop whose time is a number: nothing really waits, and the same program runs the same way every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST_TURNS = 200_000  # of the loop; a seed takes about 10,000: a task that spins without waiting is found in seconds

TURN_S = 1e-6  # what a turn takes: a wait for less than a float can tell from nothing must end too


class Stuck(AssertionError):
    """Every task waits for something that nobody will bring, or one spins."""


class VirtualLoop(asyncio.BaseEventLoop):
    """When every task waits for a time, it is that time."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self.turns = 0
        self._selector = self  # asyncio asks its selector to wait

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def select(self, timeout_s: float | None) -> list[Any]:
        """Wait: leap to the time something is due."""
        self.turns += 1
        if timeout_s is None:
            raise Stuck("every task waits, and nothing is due")
        if self.turns > MOST_TURNS:
            raise Stuck(f"{MOST_TURNS:,} turns and no end; it is {self._now_s:.3f} s")
        self._now_s += max(timeout_s, TURN_S)
        return []

    def _process_events(self, _events: list[Any]) -> None:
        """There are no files to wait for."""

    def _write_to_self(self) -> None:
        """There are no other threads to wake for."""


class VirtualTime:
    """Stands in for the module `time` where code measures durations."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.monotonic = self.perf_counter = now_s


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)  # tasks of the killed are nobody's
        return runner.run(main())
