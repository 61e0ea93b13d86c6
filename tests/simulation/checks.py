"""What must hold: at every write, at the end of the storm, and at rest - the three laws."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from agents.planner.packing import unpacked
from stream.events import rows
from stream.events.naming import split_row_key
from stream.events.outgoing import Outgoing
from stream.events.topics import SKU_EVENTS, SOURCES
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryTopics
from stream.ledger.port import Write
from stream.ledger.publisher import TOPICS
from stream.transport.memory import MemoryLog

if TYPE_CHECKING:
    from tests.simulation.world import World

# -- every write ------------------------------------------------------------------------------------------------------


async def kept_meta(ledger: MemoryLedger, shelf: int) -> dict[str, Any]:
    """What must never go back: watermark, high-water marks, marks, counters, offset."""
    names = [b"watermark_ms", b"high_water", b"marks", b"counters"]
    peek = await ledger.peek(shelf, {"meta": names})
    found: dict[str, Any] = {name.decode(): orjson.loads(raw) for name, raw in peek.sections["meta"].items()}
    return {**found, "offset": peek.place.offset}


def a_write(shelf: int, before: Mapping[str, Any], after: Mapping[str, Any], write: Write) -> None:
    """A write takes nothing back, and no counter of stock goes below zero."""
    for name, value in before.items():
        if isinstance(value, dict):
            for key, was in value.items():
                assert after[name][key] >= was, f"shelf {shelf}: {name} of {key} fell from {was} to {after[name][key]}"
        else:
            assert after[name] >= value, f"shelf {shelf}: {name} fell from {value} to {after[name]}"
    for key, packed in write.changes["hot"].items():
        assert packed is not None
        row, _ = unpacked(packed)
        for name in ("allocated", "in_transit", "on_order", "confirmed", "proposed"):
            assert row[name] >= 0, f"shelf {shelf}: {name} of {key!r} is {row[name]}"


# -- at any time ------------------------------------------------------------------------------------------------------


def published(topics: MemoryTopics, shelves: int) -> dict[str, list[Outgoing]]:
    """What read_committed consumers have been given, by topic, shelf after shelf."""
    return {
        topic: [m for _, m in topics.committed(topic, 0)]
        if topic == "dead-letters"
        else [m for shelf in range(shelves) for _, m in topics.committed(topic, shelf)]
        for topic in TOPICS
    }


def nothing_twice(topics: MemoryTopics, shelves: int) -> None:
    """No message is published twice in the read_committed view."""
    for topic, messages in published(topics, shelves).items():
        seen: set[str] = set()
        for message in messages:
            assert message.id not in seen, f"{topic}: published twice: {message.id} {message.value[:200]!r}"
            seen.add(message.id)


# -- law 1 ------------------------------------------------------------------------------------------------------------


def same_dump(shelf: int, ours: Mapping[str, Mapping[bytes, bytes]], calm: Mapping[str, Mapping[bytes, bytes]]) -> None:
    """The same state bytes; names what differs."""
    different = [
        f"{section}/{key!r}: {apart(ours.get(section, {}).get(key), calm.get(section, {}).get(key))}"
        for section in sorted(ours.keys() | calm.keys())
        for key in sorted(ours.get(section, {}).keys() | calm.get(section, {}).keys())
        if ours.get(section, {}).get(key) != calm.get(section, {}).get(key)
    ]
    assert not different, f"law 1: shelf {shelf}: state bytes differ\n  " + "\n  ".join(different[:10])


def apart(ours: bytes | None, calm: bytes | None) -> str:
    """Two values that differ; of two JSON objects the fields that do."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        a, b = orjson.loads(ours or b""), orjson.loads(calm or b"")
        if isinstance(a, dict) and isinstance(b, dict):
            return str({k: (a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)})
    return f"{ours!r:.200} is not {calm!r:.200}"


def same_messages(ours: Mapping[str, Sequence[Outgoing]], calm: Mapping[str, Sequence[Outgoing]]) -> None:
    """The same outgoing messages, each SKU's in the same order."""
    a, b = by_sku(ours), by_sku(calm)
    for at in sorted(a.keys() | b.keys()):
        mine, theirs = a.get(at, []), b.get(at, [])
        for i, (x, y) in enumerate(zip(mine, theirs, strict=False)):
            assert x == y, f"law 1: {at}: message {i} is {x}, undisturbed {y}"
        assert len(mine) == len(theirs), f"law 1: {at}: {len(mine)} messages, undisturbed {len(theirs)}"


def by_sku(messages: Mapping[str, Sequence[Outgoing]]) -> dict[tuple[str, str], list[tuple[str, bytes]]]:
    """Ids and values by topic and SKU, in order; dead letters, which have none, by their keys."""
    out: dict[tuple[str, str], list[tuple[str, bytes]]] = defaultdict(list)
    for topic, its in messages.items():
        for message in its:
            subject = dict(message.headers).get("ce_subject")
            of = repr(message.key) if subject is None else split_row_key(subject.decode())[0]
            out[topic, of].append((message.id, message.value))
    return out


# -- law 2 ------------------------------------------------------------------------------------------------------------

Coordinates = tuple[int, int, int]  # shelf, source, partition


class Admitted(NamedTuple):
    """A row that is no repeat."""

    offset: int
    line: int
    text: str


def admitted(log: MemoryLog, shelves: int) -> dict[Coordinates, list[Admitted]]:
    """Rows of each shelf and source partition, repeats dropped by source coordinates."""
    high: dict[Coordinates, tuple[int, int]] = {}
    found: dict[Coordinates, list[Admitted]] = defaultdict(list)
    for shelf in range(shelves):
        for record in log.read(SKU_EVENTS.name, shelf):
            if (record.value or b"")[:2] != b"RS":
                continue  # somebody's junk
            for row in rows.decode(record.value or b"", record.offset).rows.to_pylist():
                where, at = (shelf, row["source"], row["partition"]), (row["offset"], row["line"])
                if at > high.get(where, (-1, -1)):
                    high[where] = at
                    found[where].append(Admitted(*at, str(row)))
    return dict(found)


def same_rows(ours: Mapping[Coordinates, list[Admitted]], calm: Mapping[Coordinates, list[Admitted]]) -> None:
    """After dropping repeats by coordinates, the rows of `sku-events` are those of an undisturbed run."""
    for at in sorted(ours.keys() | calm.keys()):
        mine, theirs = ours.get(at, []), calm.get(at, [])
        for x, y in zip(mine, theirs, strict=False):
            assert x == y, f"law 2: shelf, source, partition {at}: {x} is not {y}"
        assert len(mine) == len(theirs), f"law 2: shelf, source, partition {at}: {len(mine)} rows, not {len(theirs)}"


# -- counts -----------------------------------------------------------------------------------------------------------


def counts_add_up(world: World, log: MemoryLog, counters: Sequence[Mapping[str, int]]) -> None:
    """Accepted + refused + repeated = read: in records by what left intake, in rows by what the planner counted."""
    read = sum(log.end(name, p) for name, count in source_counts(world).items() for p in range(count))
    ticks = sum(act.ticks for act in world.acts)
    refused = {record.key for record in log.read("dead-letters", 0)}
    kept = admitted(log, world.shelves)
    records = {(source, partition, row.offset) for (_, source, partition), its in kept.items() for row in its}
    assert len(records) + len(refused) + ticks == read, (
        f"{len(records)} accepted or repeated + {len(refused)} refused + {ticks} ticks are not {read} read"
    )
    for topic, source in SOURCES.items():
        counted = sum(c.get(f"accepted:{topic}", 0) + c.get(f"repeated:{topic}", 0) for c in counters)
        there = sum(len(its) for (_, s, _), its in kept.items() if s == source)
        assert counted == there, f"{topic}: the planner counted {counted} rows, {there} are there"


def source_counts(world: World) -> dict[str, int]:
    """Source topics with their number of partitions."""
    return {name: world.planner.shape[source] for name, source in SOURCES.items()}
