"""A run of the slow lane in processes of its own: it reads the ledger, fits, and answers what rows are to be told.

The run spends a bounded amount of CPU time, its own and its pool's together. Before a row it asks whether any is left,
so it ends over it by one fit a process at most; asked to be quick, by its time limit it is stopped.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING

from agents import apart
from agents.refit.record import Answer, pack_answer
from agents.settings import Settings

if TYPE_CHECKING:
    from agents.refit.fit import Fitted, Task

COMMAND = apart.command("agents.refitting")
AHEAD = 2  # tasks a process of the pool that wait for it


async def refit_apart(settings: Settings, command: Sequence[str] = ()) -> bytes:
    """The packed Answer of a run. Raises SolveFailed with its why; no process of it outlives the call."""
    hint = "give it less to do with RESTOCK_REFIT_CPU_SECONDS, or more time with RESTOCK_REFIT_SECONDS"
    return await apart.answer(settings, command or COMMAND, settings.refit_seconds, "refit", hint)


def main() -> int:
    """Run once; see apart.run."""
    return apart.run(_packed, lambda settings: settings.refit_memory_mb, "RESTOCK_REFIT_MEMORY_MB")


async def _packed(settings: Settings) -> bytes:
    return pack_answer(await refit(settings))


async def refit(settings: Settings) -> Answer:
    """Read every shelf, fit within the budget. Raises RestockError."""
    from agents.refit import spend  # the models take seconds to import

    begun = time.monotonic()
    shelves = await apart.read_shelves(settings)
    pool = Pool(settings.refit_processes)
    try:
        answer = spend.answer(shelves, settings.refit_cpu_seconds, pool.spent_s, pool.fitting)
    finally:
        pool.close()
    answer.summary["cpu_seconds"] = round(pool.spent_s(), 3)
    answer.summary["seconds"] = round(time.monotonic() - begun, 3)
    answer.summary["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)
    return answer


def timed(task: Task) -> tuple[Fitted, float]:
    """A fit, and the CPU seconds it took."""
    from agents.refit.fit import fit

    begun = time.process_time()
    return fit(task), time.process_time() - begun


class Pool:
    """So many processes that fit rows, and the CPU time they and this one have spent; of one process, this one."""

    def __init__(self, processes: int, executor: Executor | None = None) -> None:
        self._processes, self._elsewhere_s, self._executor = processes, 0.0, executor
        if processes > 1 and executor is None:
            context = multiprocessing.get_context("spawn")  # children of this process: a fork server would outlive it
            self._executor = ProcessPoolExecutor(processes, context, apart.end_with_parent)

    def spent_s(self) -> float:
        """CPU seconds of this process and of the fits its pool has answered."""
        return time.process_time() + self._elsewhere_s

    def close(self) -> None:
        """Let the pool go; nothing of it is waited for."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def fitting(self, tasks: Iterable[Task], enough: Callable[[], bool]) -> Iterator[tuple[int, Fitted]]:
        """Fit tasks until it is enough; (place of the task, what came of it), as they are done."""
        numbered = enumerate(tasks)
        if self._executor is None:
            for i, task in numbered:
                if enough():
                    return
                yield i, timed(task)[0]
            return
        running: dict[Future[tuple[Fitted, float]], int] = {}
        while True:
            while len(running) < AHEAD * self._processes and not enough() and (one := next(numbered, None)):
                running[self._executor.submit(timed, one[1])] = one[0]
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                fitted, cpu_s = done.result()
                self._elsewhere_s += cpu_s
                yield running.pop(done), fitted


if __name__ == "__main__":
    sys.exit(main())
