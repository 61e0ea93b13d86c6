"""Every shelf as the ledger holds it, for commands that look at all rows at once."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from agents.planner.keeping import begun_with, load
from agents.planner.shelf import Shelf
from agents.settings import Settings
from agents.wiring import planner_config
from stream.errors import SetupError
from stream.ledger.redis_ledger import RedisLedger

SECTIONS = ("meta", "shared", "facts", "hot", "model")  # positions, policies and forecasts


async def shelves(settings: Settings, *more: str) -> list[Shelf]:
    """All shelves of the namespace, as many as the ledger was begun with, whatever RESTOCK_SHELVES says.

    Each is as of its own offset; `more` names sections to read besides. Raises SetupError where one was not begun.
    """
    ledger, found = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000), []
    try:
        for number in await ledger.shelves():
            peek = await ledger.peek(number, dict.fromkeys((*SECTIONS, *more)))
            if meta := peek.sections["meta"]:
                config = begun_with(planner_config(settings, number), meta)
                found.append(load(config, peek.sections, peek.place.offset))
    finally:
        await ledger.close()
    wanted = found[0].config.shelves if found else settings.shelves
    if lacking := sorted(set(range(wanted)) - {shelf.config.shelf for shelf in found}):
        where = f"of namespace {settings.namespace} at {settings.safe_redis_url}"
        raise SetupError(
            f"{len(lacking)} of {wanted} shelves are empty" if found else "the ledger is empty",
            f"shelf {', '.join(map(str, lacking))} {where}",
            "check RESTOCK_NAMESPACE; a worker must have run",
        )
    return found


def shelves_begun(settings: Settings, meta: Mapping[bytes, bytes]) -> int:
    """How many shelves the ledger was begun with, by any shelf's `fixed`; as set where it was not begun.

    >>> from agents.settings import load
    >>> shelves_begun(load(shelves=4), {b"fixed": b'{"shelves": 8}'})
    8
    """
    fixed = orjson.loads(meta.get(b"fixed", b"{}"))
    return int(fixed.get("shelves", settings.shelves))


def require_all_shelves(settings: Settings, meta: Mapping[bytes, bytes]) -> None:
    """Raise SetupError where RESTOCK_SHELVES is not what the ledger was begun with: some would be left out."""
    begun = shelves_begun(settings, meta)
    if begun != settings.shelves:
        raise SetupError(
            f"RESTOCK_SHELVES is {settings.shelves}, the ledger was begun with {begun}",
            "some shelves would be left out, or are none",
            f"set RESTOCK_SHELVES={begun} where this runs, as for the workers",
        )
