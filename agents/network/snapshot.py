"""A shelf as the ledger holds it, read without taking it from its owner.

Positions, facts and open transfers of a shelf are of one moment and carry its offset. The forecasts, ten times as
large, are read in slices after them, so that Redis is never held up for long; they change only when days close. Where a
closing comes between, what was read does not fit together, and the shelf is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.planner.config import PlannerConfig
from agents.planner.keeping import begun_with, load
from agents.planner.shelf import Shelf
from stream.ledger.port import Fields, Ledger

SLICE_ROWS = 2_000  # forecasts read at once: 1.5 MB, some 5 ms of Redis' one thread
AT_ONCE: dict[str, Sequence[bytes] | None] = dict.fromkeys(("meta", "facts", "hot", "transfers"))


async def read(ledger: Ledger, number: int, config: PlannerConfig) -> Shelf | None:
    """The shelf; None while its days are closing. One that was never begun is empty. Raises Away."""
    peek = await ledger.peek(number, AT_ONCE)
    meta = peek.sections["meta"]
    if not meta:
        return Shelf(config)
    model: Fields = {}
    names = list(peek.sections["hot"])
    for first in range(0, len(names), SLICE_ROWS):
        wanted = {"model": names[first : first + SLICE_ROWS], "meta": [b"pool"]}
        part = (await ledger.peek(number, wanted)).sections
        if part["meta"] != {b"pool": meta[b"pool"]}:  # a closing began: what rows learn next comes after it
            return None
        model.update(part["model"])
    shelf = load(begun_with(config, meta), {**peek.sections, "model": model}, peek.place.offset)
    return None if any(wake.closing for wake in shelf.pending) else shelf
