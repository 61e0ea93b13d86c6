"""How a run of the slow lane spends its CPU time, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from agents.planner.shelf import Shelf
from agents.refit.choose import REFIT, chosen
from agents.refit.fit import SPOKEN_ROWS, TREES, Fitted, Task, Word, lots, said_by, task_of, trained, word_of
from agents.refit.record import Answer, Lot

TREES_SHARE = 0.5  # of the CPU time at most; the rest is for fits of single rows
ROUNDS_A_SECOND = 2.5  # two forests of six levels on 60,000 lessons; asking is a tenth of it
MOST_ROUNDS, LEAST_ROUNDS = 120, 20

Fitting = Callable[[Iterable[Task], Callable[[], bool]], Iterator[tuple[int, Fitted]]]


def answer(shelves: list[Shelf], budget_s: float, spent_s: Callable[[], float], fitting: Fitting) -> Answer:
    """Spend CPU time on trees, where LightGBM is there, then on rows by urgency until it is gone.

    `spent_s` tells how much this run has spent, its pool included; `fitting` fits tasks, in its own order, and stops
    where it is told that it is enough.
    """
    made, why = _of_trees(shelves, budget_s * TREES_SHARE)
    rows = chosen(shelves)
    tasks = map(task_of, rows)
    words: dict[int, list[Word]] = {}
    models, moved, without = Counter[str](), 0, 0
    for i, fitted in fitting(tasks, lambda: spent_s() >= budget_s):
        if fitted.quantiles is None:
            without += 1
            continue
        one = rows[i]
        words.setdefault(one.shelf.config.shelf, []).append(word_of(one, task_of(one), fitted))
        moved += one.moved
        models.update(fitted.model.split(" + "))
    for shelf in shelves:
        its = sorted(words.get(shelf.config.shelf, []), key=lambda word: (word.sku, word.location))
        made += lots(shelf, REFIT, its)
    told = {guest: sum(lot.rows for lot in made if lot.guest == guest) for guest in (TREES, REFIT)}
    return Answer(
        max((shelf.watermark_ms for shelf in shelves), default=0),
        made,
        {
            "status": "fitted" if any(told.values()) else "nothing to fit",
            "rows": told,
            "could_be_fitted": len(rows),
            "moved": moved,
            "without_a_model": without,
            "models": dict(models.most_common(5)),
            "trees": why,
        },
    )


def _of_trees(shelves: list[Shelf], budget_s: float) -> tuple[list[Lot], str]:
    """What trees say; and why they say nothing where they do not."""
    rounds = min(int(budget_s * ROUNDS_A_SECOND), MOST_ROUNDS)
    if rounds < LEAST_ROUNDS:
        return [], "too little CPU time to train them"
    try:
        found = trained(shelves, rounds)
    except ImportError:
        return [], "LightGBM is not installed (the extra `trees`)"
    if found is None:
        return [], "the kept days teach too little yet"
    most = SPOKEN_ROWS // max(len(shelves), 1)
    return [lot for shelf in shelves for lot in lots(shelf, TREES, said_by(found, shelf, most))], f"{rounds} rounds"
