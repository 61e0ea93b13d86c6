"""All rows through their shelves, one after the other or in several processes, put together again in file order.

Which shelf a row lives on depends on its SKU and on how many rows there are, never on `--jobs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context

import numpy as np

from agents.backtest.history import History, Ints
from agents.backtest.plan import Plan, shelves_of
from agents.backtest.run import Run, Story, Told, run_shelf
from stream.events.partition import shelf_of

Heard = Callable[[int, int], None]  # steps done, steps there are


def run_all(history: History, plan: Plan, jobs: int, heard: Heard) -> Run:
    """Every row of history, by shelf."""
    shelves = shelves_of(history)
    home = np.array([shelf_of(sku, shelves) for sku in history.skus], np.int64)
    parts = [np.flatnonzero(home == shelf) for shelf in range(shelves)]
    parts = [rows for rows in parts if len(rows)]
    steps = plan.last + 1
    if jobs == 1 or len(parts) == 1:
        runs = [
            run_shelf(history, plan, rows, lambda done, k=k: heard(k * steps + done, steps * len(parts)))  # type: ignore[misc]
            for k, rows in enumerate(parts)
        ]
    else:
        runs = _in_processes(history, plan, parts, jobs, heard)
    return _together(history, runs)


def _in_processes(history: History, plan: Plan, parts: list[Ints], jobs: int, heard: Heard) -> list[Run]:
    with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(run_shelf, history, plan, rows, _silent) for rows in parts]
        runs = []
        for k, one in enumerate(waiting):
            runs.append(one.result())
            heard(k + 1, len(parts))
    return runs


def _silent(done: int) -> None:
    """Progress of another process shows when a shelf is done."""


def _together(history: History, runs: list[Run]) -> Run:
    counters: Counter[str] = Counter()
    for run in runs:
        counters.update(run.counters)
    if len(runs) == 1:
        return Run(runs[0].rows, runs[0].opening, runs[0].story, runs[0].told, dict(sorted(counters.items())))
    place = np.argsort(np.concatenate([run.rows for run in runs]))
    story = Story(
        *(np.concatenate([getattr(run.story, f.name) for run in runs], axis=1)[:, place] for f in fields(Story))
    )
    told = [
        Told(
            runs[0].told[j].horizon,
            np.concatenate([run.told[j].mean for run in runs], axis=1)[:, place],
            np.concatenate([run.told[j].quantiles for run in runs], axis=1)[:, place],
        )
        for j in range(len(runs[0].told))
    ]
    opening = np.concatenate([run.opening for run in runs])[place]
    return Run(np.arange(history.rows), opening, story, told, dict(sorted(counters.items())))
