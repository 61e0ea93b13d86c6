"""From a problem to the moves that pay. Only the process that solves imports this: the solvers take half a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.network.balance import Later, Move
from agents.plan import answer as answers
from agents.plan.solve import solve
from agents.plan.tables import Problem
from agents.planner.config import DAY_MS
from agents.planner.shelf import Shelf

TRANSFERS_MAX = 100_000  # a plan: those that gain most; twice as many lines fit into a row's coordinates five times


def decide(
    problem: Problem, shelves: Sequence[Shelf], gap: float, enough: Callable[[], bool], periods: int = 1
) -> tuple[list[Move], answers.Answer | None]:
    """The moves that pay, the most rewarding first, and the answer they come from; None where nothing is to decide.

    Of several periods only the first one's are moves; see `later_of`. A lane on which a transfer of the same SKU still
    waits to be shipped gets no second one.
    """
    if len(problem.skus) == 0 or len(problem.picture.lanes.origin) == 0:
        return [], None
    found = solve(problem, periods, gap, enough)
    waiting = {
        (shelf.names[row][0], t.other, shelf.names[row][1])
        for shelf in shelves
        for row, transfers in shelf.transfers.items()
        for t in transfers
        if t.counts and not t.outbound
    }
    moves = [
        Move(
            row["sku"], row["from"], row["to"], round(row["quantity"] * 1000), row["lead_days"], row["reason"],
            round(row["cost"], 4), round(row["gain"], 4),
        )
        for row in answers.transfers(found).to_pylist()
        if row["period"] == 0 and (row["sku"], row["from"], row["to"]) not in waiting
    ]  # fmt: skip
    moves.sort(key=lambda move: (-move.gain, move.sku, move.sender, move.receiver))
    return moves[:TRANSFERS_MAX], found


def later_of(found: answers.Answer, as_of_ms: int) -> list[Later]:
    """What the answer sends in later periods, by when it leaves."""
    period_ms = found.problem.horizon_days / found.periods * DAY_MS
    rows = (row for row in answers.transfers(found).to_pylist() if row["period"] > 0)
    later = [
        Later(
            as_of_ms + round(row["period"] * period_ms),
            row["sku"],
            row["from"],
            row["to"],
            round(row["quantity"] * 1000),
        )
        for row in rows
    ]
    return later[:TRANSFERS_MAX]
