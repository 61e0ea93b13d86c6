"""Taking a snapshot: each shelf as of one moment, beside its owner, who goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agents.clock import now_ms
from agents.held import require_all_shelves
from agents.planner.keeping import MOVING, REBUILDING
from agents.settings import Settings
from agents.snapshots.store import FORMAT, Manifest, Store
from agents.version import installed_version
from stream.errors import SetupError
from stream.events.instants import text_from_ms
from stream.events.topics import BY_NAME, SOURCES, partitions
from stream.ledger.redis_ledger import RedisLedger


async def take(
    settings: Settings, ledger: RedisLedger, store: Store, say: Callable[[str], None]
) -> tuple[Path, Manifest]:
    """Copy every shelf that was begun; returns where it is. Raises SetupError where there is none, or not all are read.

    Positions of intake are read before the shelves: what they say was read is in the log, whatever comes after.
    """
    at_ms = now_ms()
    read = await sources_read(settings, ledger)
    draft, entries = store.begin(at_ms), []
    for shelf in range(settings.shelves):
        copy = await ledger.copy(shelf)
        if meta := copy.sections.get("meta"):
            require_all_shelves(settings, meta)
            _require_whole(shelf, meta)
            entries.append(draft.add(copy))
            say(f"shelf {shelf}: {entries[-1].rows:,} rows as of offset {copy.place.offset:,}")
    if not entries:
        draft.at.rmdir()
        raise SetupError(
            "there is nothing to take a snapshot of",
            f"no shelf of namespace {settings.namespace} was begun",
            "check RESTOCK_NAMESPACE and RESTOCK_REDIS_URL",
        )
    manifest = Manifest(FORMAT, settings.namespace, text_from_ms(at_ms), installed_version(), tuple(entries), read)
    return draft.publish(manifest), manifest


async def sources_read(settings: Settings, ledger: RedisLedger) -> tuple[tuple[str, int, int, int | None], ...]:
    """Topic, partition, next offset and mark of intake, of each source partition that has them."""
    counts = (settings.source_partitions, settings.fact_partitions, settings.shelves)
    sources = [(topic, p) for topic in SOURCES for p in range(partitions(BY_NAME[topic], *counts))]
    positions = await ledger.source_positions(sources)
    return tuple((topic, p, at.offset, at.mark_ms) for (topic, p), at in sorted(positions.items()))


def _require_whole(shelf: int, meta: Mapping[bytes, bytes]) -> None:
    under_way = {REBUILDING: "restock ledger rebuild", MOVING: "restock repartition"}
    for mark, command in under_way.items():
        if mark in meta:
            raise SetupError(
                f"shelf {shelf} is not whole: `{command}` is at work",
                "a snapshot of it would be of no use",
                f"wait for `{command}`, or run it again where it was interrupted",
            )
