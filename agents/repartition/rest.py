"""Whether an installation is at rest: everything read, folded, published and told. Else what is not, and what to do.

A move takes each shelf as the one truth about its part of the log, so the log must hold nothing it does not know, and
nobody may owe what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

from agents.planner import versions
from agents.planner.config import LONG_AGO
from agents.settings import Settings
from stream.events.kinds import Source
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, Role, partitions
from stream.ledger.office import RedisOffice
from stream.ledger.port import Fields, Held, SourcePosition
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.reading import Reader

Positions = Mapping[tuple[str, int], SourcePosition]

LET_WORK = "start a worker, wait until `restock ledger show` has nothing to read, stop it with SIGTERM and try again"


class Unrest(NamedTuple):
    """Something that is not at rest."""

    what: str
    hint: str


def counts(settings: Settings) -> tuple[int, int, int]:
    """Partitions of source topics, of facts, of shelves."""
    return settings.source_partitions, settings.fact_partitions, settings.shelves


async def unrest(
    before: Settings, after: Settings, ledger: RedisLedger, office: RedisOffice, reader: Reader
) -> list[Unrest]:
    """What keeps a move from `before` to `after` from beginning; nothing is changed or taken."""
    found = [*await _sources(before, after, ledger, reader)]
    positions = await ledger.source_positions(_source_partitions(before))
    metas: dict[int, Fields] = {}
    for shelf in range(before.shelves):
        peek = await ledger.peek(shelf, {"meta": None})
        metas[shelf] = peek.sections["meta"]
        end = reader.bounds(SKU_EVENTS.name, shelf)[1]
        found += shelf_unrest(shelf, metas[shelf], max(peek.place.offset, 0), peek.place.sweep, end, positions)
        owed = await ledger.owed(shelf)
        if owed:
            found.append(Unrest(f"shelf {shelf} owes {owed:,} messages that are not published", LET_WORK))
    plan = await office.plan()
    if plan is not None and not plan.finished:
        what = f"a plan of transfers is told only in part ({plan.sent} of {plan.rows} rows)"
        found.append(Unrest(what, LET_WORK))
    return [*found, *_unlike(metas)]


def taken_unrest(held: Held, end: int, positions: Positions) -> list[Unrest]:
    """The same of a shelf that was taken: from here on nobody else changes it."""
    meta = held.sections.get("meta", {})
    found = list(shelf_unrest(held.shelf, meta, max(held.place.offset, 0), held.place.sweep, end, positions))
    if held.outbox:
        what = f"shelf {held.shelf} owes {len(held.outbox):,} messages that are not published"
        found.append(Unrest(what, LET_WORK))
    return found


def shelf_unrest(shelf: int, meta: Fields, offset: int, sweep: str, end: int, positions: Positions) -> Iterator[Unrest]:
    """What a shelf has not done yet."""
    if offset != end:
        yield Unrest(f"shelf {shelf} has not read {end - offset:,} records of sku-events", LET_WORK)
    if sweep or b"closing" in meta:
        yield Unrest(f"shelf {shelf} is in the midst of closing a day", LET_WORK)
    if not meta:
        return
    version = int(meta.get(b"deciding", meta[b"version"]))
    if version < versions.NEWEST:
        what = f"shelf {shelf} still decides as an older release does"
        yield Unrest(what, "finish the upgrade first: `restock upgrade --finish`")
    for text, high in orjson.loads(meta[b"high_water"]).items():
        source, partition = map(int, text.split(":"))
        if source in set(Source):
            topic = Source(source).topic
            at = positions.get((topic, partition), SourcePosition(0, None)).offset
            if high >> 20 >= at:
                what = f"intake has sent records of {topic} partition {partition} that it has not noted as read"
                yield Unrest(what, LET_WORK)


def _unlike(metas: Mapping[int, Fields]) -> Iterator[Unrest]:
    """What shelves must agree on."""
    begun = {shelf: meta for shelf, meta in metas.items() if meta}
    if not begun:
        yield Unrest("no shelf was begun", "there is nothing to move: set the new numbers and `restock topics create`")
        return
    until = {orjson.loads(meta[b"fixed"])["warm_until_ms"] for meta in begun.values()}
    live = {int(meta[b"watermark_ms"]) >= max(until) for meta in begun.values()}
    if len(live) > 1 and max(until) > LONG_AGO:
        yield Unrest("some shelves are past the warm-up and some are not", LET_WORK)


async def _sources(before: Settings, after: Settings, ledger: RedisLedger, reader: Reader) -> list[Unrest]:
    """With more source partitions a key goes on in another one: what lies in the old one is to be read before."""
    if after.source_partitions == before.source_partitions:
        return []
    wanted = [at for at in _source_partitions(before) if BY_NAME[at[0]].role is Role.SOURCE]
    positions = await ledger.source_positions(wanted)
    found = []
    for topic, partition in wanted:
        at, end = positions.get((topic, partition)), reader.bounds(topic, partition)[1]
        left = end - max(0 if at is None else at.offset, 0)
        if left:
            what = f"{left:,} records of {topic} partition {partition} are not read"
            found.append(Unrest(what, f"stop what sends to {topic}; then {LET_WORK}"))
    return found


def _source_partitions(settings: Settings) -> list[tuple[str, int]]:
    return [(topic, p) for topic in SOURCES for p in range(partitions(BY_NAME[topic], *counts(settings)))]
