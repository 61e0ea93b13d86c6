"""The workers of a bench, spoken to as one: some of them, each one process or, split, an intake and its planners."""

from __future__ import annotations

import signal
from collections import Counter

from stream.local.child import Child, free_port
from tests.bench import processes
from tests.bench.stages import Stages, samples, scrape
from tests.connected.installation import Installation

Worker = list[tuple[Child, int]]  # its processes, each with the port of its web server


class Team:
    """`workers` workers of an installation, each one process; or an intake and so many planners."""

    def __init__(self, at: Installation, workers: int = 1, planners: int = 0) -> None:
        self._at, self._workers = at, workers
        self._roles = ("intake", *["planner"] * planners) if planners else ("both",)
        self._there: list[Worker] = []

    def start(self) -> None:
        """Start all."""
        for _ in range(self._workers):
            self.join()

    def join(self) -> None:
        """Start one more."""
        worker: Worker = []
        self._there.append(worker)
        for role in self._roles:
            port = free_port()
            worker.append((self._at.start(RESTOCK_WORK=role, RESTOCK_WEB_PORT=str(port)), port))

    def leave(self, gently: bool) -> None:
        """The one that came first ends: by SIGTERM, or by `kill -9`."""
        leaving = self._there.pop(0)
        for child, _ in leaving:  # all processes of one that is split, at once
            child.signal(signal.SIGTERM if gently else signal.SIGKILL)
        for child, _ in leaving:
            child.stop()

    def stop(self) -> None:
        """Stop all, gently."""
        while self._there:
            self.leave(gently=True)

    @property
    def _all(self) -> Worker:
        return [process for worker in self._there for process in worker]

    @property
    def pids(self) -> list[int]:
        """Process ids, which are those of their groups."""
        return [child.pid for child, _ in self._all]

    def alive(self) -> bool:
        """Whether none has ended by itself."""
        return all(child.alive() for child, _ in self._all)

    def tail(self) -> str:
        """The ends of their logs."""
        return self._at.logs()

    def cpu_s(self) -> float:
        """CPU seconds so far of those that are there."""
        return sum(map(processes.cpu_s, self.pids))

    def peak_mb(self) -> float:
        """Peak resident memory of all, MiB."""
        return sum(map(processes.peak_mb, self.pids))

    def resident_mb(self) -> float:
        """Resident memory of all, MiB."""
        return sum(map(processes.resident_mb, self.pids))

    def stages(self) -> Stages:
        """What all of them say of themselves."""
        return sum((scrape(f"http://127.0.0.1:{port}/metrics") for _, port in self._all), Stages({}, {}))

    def lag(self) -> tuple[dict[str, int], float]:
        """Records waiting, by topic, and how long the longest of them has waited in seconds, as they say."""
        records, seconds = Counter[str](), 0.0
        for sample in (one for _, port in self._all for one in samples(f"http://127.0.0.1:{port}/metrics")):
            if sample.name == "restock_lag_records":
                records[sample.labels["topic"]] += int(sample.value)
            elif sample.name == "restock_lag_seconds":
                seconds = max(seconds, sample.value)
        return dict(records), seconds
