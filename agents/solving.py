"""A solve of the network agent in a process of its own: it reads the ledger and answers what to send where.

It stops looking for a better plan at SEARCH_SHARE of its time; one that is not done at the end of it is killed.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence

from agents import apart
from agents.network.balance import Answer, pack_answer
from agents.planner.shelf import Shelf
from agents.settings import Settings

SEARCH_SHARE = 0.8  # of the time allowed; the rest is for rounding what is there
COMMAND = apart.command("agents.solving")


async def solve_apart(settings: Settings, command: Sequence[str] = ()) -> bytes:
    """The packed Answer of a solve. Raises SolveFailed with its why; the process does not outlive the call."""
    hint = "allow it more with RESTOCK_REBALANCE_SECONDS, or limit fewer lanes"
    return await apart.answer(settings, command or COMMAND, settings.rebalance_seconds, "solve", hint)


def main() -> int:
    """Solve once; see apart.run."""
    return apart.run(_packed, lambda settings: settings.rebalance_memory_mb, "RESTOCK_REBALANCE_MEMORY_MB")


async def _packed(settings: Settings) -> bytes:
    return pack_answer(await solve(settings))


async def solve(settings: Settings) -> Answer:
    """Read every shelf, and decide. Raises RestockError."""
    begun = time.monotonic()
    shelves = await apart.read_shelves(settings)
    as_of_ms = max(shelf.watermark_ms for shelf in shelves)
    deadline = begun + settings.rebalance_seconds * SEARCH_SHARE
    return answer_of(settings, shelves, as_of_ms, lambda: time.monotonic() > deadline, begun)


def answer_of(
    settings: Settings, shelves: list[Shelf], as_of_ms: int, enough: Callable[[], bool], begun_s: float
) -> Answer:
    """What to send, and how good that is."""
    from agents.network.decide import decide, later_of  # the solvers take half a second, which a worker need not wait
    from agents.network.picture import problem
    from agents.plan.answer import as_json
    from models.network.priced import GAP

    asked = problem(shelves, float("inf") if settings.rebalance_budget is None else settings.rebalance_budget)
    moves, found = decide(asked, shelves, GAP, enough, settings.rebalance_periods)
    offsets = {str(shelf.config.shelf): shelf.offset for shelf in shelves}
    seconds, memory_mb = time.monotonic() - begun_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if found is None:
        none = {"status": "nothing to decide", "seconds": round(seconds, 3), "memory_mb": round(memory_mb, 1)}
        why = "no catalog.lane connects two locations that know the same SKU"
        return Answer(as_of_ms, offsets, [], {**none, "why": why})
    return Answer(as_of_ms, offsets, moves, as_json(found, seconds, memory_mb), later_of(found, as_of_ms))


if __name__ == "__main__":
    sys.exit(main())
