"""The workers of a bench, spoken to as one: some of them, each one process or, split, an intake and a planner."""

from __future__ import annotations

from stream.local.child import Child, free_port
from tests.bench import processes
from tests.bench.stages import Stages, scrape
from tests.connected.installation import Installation


class Team:
    """`workers` workers of an installation; split, each is two processes."""

    def __init__(self, at: Installation, workers: int = 1, split: bool = False) -> None:
        self._at, self._roles = at, (("intake", "planner") if split else ("both",)) * workers
        self._there: list[tuple[Child, int]] = []

    def start(self) -> None:
        """Start all."""
        for role in self._roles:
            port = free_port()
            self._there.append((self._at.start(RESTOCK_WORK=role, RESTOCK_WEB_PORT=str(port)), port))

    def stop(self) -> None:
        """Stop all, gently."""
        for child, _ in self._there:
            child.stop()
        self._there.clear()

    @property
    def pids(self) -> list[int]:
        """Process ids, which are those of their groups."""
        return [child.pid for child, _ in self._there]

    def alive(self) -> bool:
        """Whether none has ended."""
        return all(child.alive() for child, _ in self._there)

    def tail(self) -> str:
        """The ends of their logs."""
        return self._at.logs()

    def cpu_s(self) -> float:
        """CPU seconds of all so far."""
        return sum(map(processes.cpu_s, self.pids))

    def peak_mb(self) -> float:
        """Peak resident memory of all, MiB."""
        return sum(map(processes.peak_mb, self.pids))

    def stages(self) -> Stages:
        """What all of them say of themselves."""
        return sum((scrape(f"http://127.0.0.1:{port}/metrics") for _, port in self._there), Stages({}, {}))
