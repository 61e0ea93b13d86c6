"""A shelf made anew from a snapshot (or nothing) and the log, put in its place once it is whole.

Order of a rebuild; nothing is published before its cut-over, and nothing by it:
  1  what is published already is read from the outgoing topics;
  2  the log is folded from the snapshot's offset to its end as of now, in memory;
  3  the shelf in Redis is marked as being rebuilt: from here on every worker refuses it until 5;
  4  its old state goes, the new one comes, in slices;
  5  one write, the cut-over: meta, offset, and those messages that were decided and never published.
Death before 3 changes nothing; after it the command is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from agents.planner import wakes
from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.keeping import REBUILDING, changes, load
from agents.planner.shelf import Shelf
from agents.planner.view import readable
from stream.events.cloudevents import dead_letter
from stream.events.outgoing import Outgoing, unpack
from stream.events.rows import SkuRecord, decode
from stream.events.topics import SKU_EVENTS
from stream.ledger.port import SECTIONS, Held, Ledger, Place, ShelfCopy, Write
from stream.ledger.publisher import Tail, about
from stream.transport.reading import Record

SLICE_FIELDS = 2_000  # in one script: 3 MB, 10 ms of Redis
SLICE_MESSAGES = 1_000
SLICE_VIEWS = 500  # hashes of 14 fields: 20 ms of Redis
STATE = tuple(name for name in SECTIONS if name != "meta")


@dataclass
class Owed:
    """Messages decided again, less those that are published: about one row all are sent in the order of decisions.

    So what was decided before a published one was published too, even where the topic has dropped it since. What is
    older than the first record a partition still has counts as published as well.
    """

    tail: Tail
    first_ms: Mapping[str, int]  # outgoing topic -> time of its first record, where earlier ones were dropped
    waiting: dict[tuple[str, bytes], list[tuple[int, Outgoing]]] = field(default_factory=dict)
    decided: int = 0

    def __post_init__(self) -> None:
        self._found = {(found.topic, found.about, found.id) for found in self.tail.found}

    def decide(self, message: Outgoing, at_ms: int) -> None:
        """A message was decided while a record of this time was folded."""
        row = (message.topic, about(message.key, message.headers))
        if (*row, message.id) in self._found:
            self.waiting.pop(row, None)
        elif at_ms >= self.first_ms.get(message.topic, at_ms):
            self.waiting.setdefault(row, []).append((self.decided, message))
        self.decided += 1

    def messages(self) -> list[Outgoing]:
        """Those never published, in the order of decisions."""
        return [message for _, message in sorted(one for its in self.waiting.values() for one in its)]


@dataclass(frozen=True)
class Rebuilt:
    """A shelf in memory, at the cut-over."""

    shelf: Shelf
    owed: list[Outgoing]
    decided: int
    records: int


def refold(
    config: PlannerConfig,
    copy: ShelfCopy | None,
    records: Iterable[Record],
    owed: Owed,
    say: Callable[[int], None] = lambda _: None,
    *,
    partial: bool = False,
) -> Rebuilt:
    """The shelf after these records of the log, which follow on the copy's offset. Pure but for reading them.

    Raises RecordsGone where the log is that of other SKUs up to one of them; `partial` begins with nothing behind it.
    """
    shelf = Shelf(config) if copy is None else load(config, copy.sections, copy.place.offset)
    for entry in copy.outbox if copy is not None else ():
        owed.decide(unpack(entry), 2**62)
    count = 0
    for record in records:
        decoded = _decoded(record)
        if isinstance(decoded, str):
            owed.decide(_letter(config.shelf, record, decoded), record.timestamp)
        elif decoded.moved and partial:
            shelf = Shelf(config)
        else:
            for message in _decided(shelf, decoded):
                owed.decide(message, record.timestamp)
        shelf.offset = record.offset + 1
        count += 1
        say(count)
    return Rebuilt(shelf, owed.messages(), owed.decided, count)


def _decoded(record: Record) -> SkuRecord | str:
    """The record, or why it is none of ours."""
    try:
        return decode(record.value or b"", record.offset)
    except (ValueError, OSError) as wrong:
        return str(wrong)[:500]


def _letter(shelf: int, record: Record, why: str) -> Outgoing:
    at = (record.offset, record.timestamp, record.key, record.value)
    return dead_letter(SKU_EVENTS.name, shelf, *at, "not_ours", why)


def _decided(shelf: Shelf, record: SkuRecord) -> Iterator[Outgoing]:
    yield from fold(shelf, [record]).messages
    while shelf.pending:  # in slices: a leap over many days would be gigabytes of messages at once
        yield from wakes.sweep(shelf, wakes.slice_rows(shelf))


async def cut_over(
    ledger: Ledger,
    rebuilt: Rebuilt,
    ends: Mapping[str, int],
    mark: tuple[bytes, bytes] = (REBUILDING, b"1"),
    *,
    with_views: bool = False,
) -> None:
    """Put the shelf in place of what is there; while it is not whole, `mark` is all that its meta says.

    `ends` are the offsets below which all is known to be published, by outgoing topic. Readable views are left to the
    next owner, who refreshes them little by little, unless they are asked for.
    """
    held = await ledger.acquire(rebuilt.shelf.config.shelf)
    said: dict[bytes, bytes | None] = {**dict.fromkeys(held.sections.get("meta", {})), **dict([mark])}
    await _keep(ledger, held, Write(held.place, held.place, {"meta": said}))  # 3
    if held.outbox:
        await ledger.sent(held, held.outbox[-1][0], {})
    for section in STATE:  # 4
        for names in _slices(list(held.sections.get(section, {})), SLICE_FIELDS):
            views = {name.decode(): None for name in names} if section == "hot" else {}
            await _keep(ledger, held, Write(held.place, held.place, {section: dict.fromkeys(names)}, (), views))
    new = whole(rebuilt.shelf, held.place)
    for section in STATE:
        for items in _slices(list(new.changes[section].items()), SLICE_FIELDS):
            await _keep(ledger, held, Write(held.place, held.place, {section: dict(items)}))
    if with_views:
        for rows in _slices(list(range(rebuilt.shelf.n)), SLICE_VIEWS):
            readables = readable(rebuilt.shelf, np.array(rows))
            await _keep(ledger, held, Write(held.place, held.place, {}, (), readables))
    *before, last = list(_slices(rebuilt.owed, SLICE_MESSAGES)) or [[]]
    for messages in before:
        await _keep(ledger, held, Write(held.place, held.place, {}, messages))
    await ledger.sent(held, -1, ends)
    meta = {**new.changes["meta"], mark[0]: None}
    await _keep(ledger, held, Write(held.place, new.next, {"meta": meta}, last))  # 5


def whole(shelf: Shelf, expected: Place) -> Write:
    """All of a shelf as one write, without its readable views."""
    for changed in (shelf.dirty_hot, shelf.dirty_model, shelf.dirty_view):
        changed.add(np.arange(shelf.n))
    shelf.changed_facts = set(shelf.facts.facts)
    shelf.journal.changed = {str(c.offset).encode(): c.entries.tobytes() for c in shelf.journal.chunks}
    shelf.carts.changed = set(shelf.carts.open)
    shelf.changed_transfers = set(shelf.transfers)
    shelf.commons.forget_kept()
    shelf.lead_times.forget_kept()
    shelf.kept_meta, shelf.clean_through = {}, 0
    return changes(shelf, expected, [], 0)


def as_begun(config: PlannerConfig, meta: Mapping[bytes, bytes]) -> PlannerConfig:
    """The configuration with the end of the warm-up the shelf was begun with, where Redis still knows it."""
    if b"fixed" not in meta:
        return config
    return replace(config, warm_until_ms=orjson.loads(meta[b"fixed"])["warm_until_ms"])


async def _keep(ledger: Ledger, held: Held, write: Write) -> None:
    refused = (await ledger.keep([(held, write)]))[0]
    if refused is not None:
        raise refused


def _slices(items: list[Any], size: int) -> Iterator[list[Any]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
