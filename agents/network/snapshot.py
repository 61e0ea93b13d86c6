"""A shelf as the ledger holds it, read without taking it from its owner.

Positions, facts and open transfers of a shelf are of one moment and carry its offset. The forecasts, ten times as
large, are read in slices after them, so that Redis is never held up for long; they change only when a row's day closes.
Where one closed between, what was read does not fit together, and the shelf is to be read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.planner.config import PlannerConfig
from agents.planner.keeping import begun_with, load
from agents.planner.packing import unpacked
from agents.planner.shelf import Shelf
from stream.ledger.port import SECTIONS, Fields, Ledger

SLICE_ROWS = 2_000  # forecasts read at once: 2 MB, some 5 ms of Redis' one thread
NOT_NEEDED = ("model", "journal", "carts")  # the first is read in slices; the others decide nothing here
AT_ONCE: dict[str, Sequence[bytes] | None] = dict.fromkeys(name for name in SECTIONS if name not in NOT_NEEDED)


async def read(ledger: Ledger, number: int, config: PlannerConfig) -> Shelf | None:
    """The shelf; None while its days are closing. One that was never begun is empty. Raises Away."""
    peek = await ledger.peek(number, AT_ONCE)
    if not peek.sections["meta"]:
        return Shelf(config)
    if b"closing" in peek.sections["meta"]:
        return None
    model = await _forecasts(ledger, number, peek.sections["hot"])
    if model is None:
        return None
    shelf = load(begun_with(config, peek.sections["meta"]), {**peek.sections, "model": model}, peek.place.offset)
    return None if any(wake.closing for wake in shelf.pending) else shelf


async def _forecasts(ledger: Ledger, number: int, hot: Fields) -> Fields | None:
    """The forecasts of these rows; None where one of them closed its day meanwhile."""
    names, model = list(hot), Fields()
    for first in range(0, len(names), SLICE_ROWS):
        wanted = names[first : first + SLICE_ROWS]
        part = (await ledger.peek(number, {"model": wanted, "hot": wanted})).sections
        if any(unpacked(hot[name])[0]["day"] != unpacked(part["hot"][name])[0]["day"] for name in wanted):
            return None
        model.update(part["model"])
    return model
