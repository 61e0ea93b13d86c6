"""The ledger in Redis (or Valkey): a few Lua scripts and a bounded patience.

Order of a keep, the crash table of docs/ARCHITECTURE.md step 6:
  1  one script per shelf leaves in one pipeline, of a cluster one to each node; each checks token, place and stamp,
     then writes all or nothing;
  2  answers come back, each shelf's own;
  3  the Held of each shelf that was written learns its new stamp, place and next_out.
Death before 1 or within it writes nothing or all of a shelf. After it, the next owner finds the outbox. An answer that
is lost is asked for again with the same stamp, which the script recognises.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from stream.errors import Away, Fenced
from stream.events.outgoing import pack
from stream.ledger.entries import entries, read_entry
from stream.ledger.keys import Keys
from stream.ledger.port import SECTIONS, Fields, Held, Peek, Place, ShelfCopy, SourcePosition, Write
from stream.ledger.refusals import strange_outbox, strange_place, strange_stamp, strange_token
from stream.ledger.wire import Call, Wire

TOKENS_REMEMBERED = 16  # a roll-back over more take-overs than these looks like a newer owner; 33 B each
SLICE_FIELDS = 2_000  # one HSCAN step: 2,000 rows of 1.5 kB are 3 MB, some 5 ms of Redis' one thread
LARGE = ("hot", "model")  # sections with a field a row
SLICE_ENTRIES = 1_000  # outbox entries read at once, about 1 kB each


class Health(NamedTuple):
    """How Redis itself is."""

    memory_bytes: int  # used
    memory_limit_bytes: int  # `maxmemory`; 0: none
    durable: bool  # it keeps an append-only file, and its last write to it went well


class RedisLedger:
    """The ledger port over one Redis or a Redis Cluster.

    `timeout_s` bounds how long a call keeps trying while Redis is unwell, `command_s` one attempt.
    """

    def __init__(self, url: str, namespace: str, *, timeout_s: float = 30.0, command_s: float = 5.0) -> None:
        self._keys = Keys(namespace)
        self._wire = Wire(url, timeout_s=timeout_s, command_s=command_s)

    # -- a shelf's owner -----------------------------------------------------------------------------------------

    async def acquire(self, shelf: int) -> Held:
        """Take the shelf and read everything in it; see the port.

        Once our token is in, only we write, so sections may be read in slices. A restart of Redis in between can make
        a scan skip fields or bring back an older copy: so counts, token and stamp are compared at the end, and the
        whole reading starts over when they differ. Raises Fenced when somebody takes the shelf while we read.
        """
        for _ in range(5):  # each further round needs Redis to be restarted or rolled back within the reading
            held = await self._take(shelf, secrets.token_hex(16))
            await self._read_sections(held)
            await self._read_outbox(held)
            if await self._complete(held):
                return held
        raise Away(
            f"could not read shelf {shelf}: it changed under our hands five times",
            f"ledger at {self._wire.where}",
            "Redis is restarting or being restored over and over; see its log",
        )

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        """All shelves' scripts in one round trip, of a cluster one to each node at a time; see the port."""
        for _, write in writes:
            write.stamp = write.stamp or secrets.token_hex(8)
        answers = await self._wire.run("keep", [self._keep_call(held, write) for held, write in writes])
        return [_kept(held, write, answer) for (held, write), answer in zip(writes, answers, strict=True)]

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        """Trim the outbox and note what is published; see the port."""
        keys = [self._keys.of(held.shelf, "own"), self._keys.of(held.shelf, "out")]
        pairs = [part for topic, offset in published.items() for part in (topic, offset)]
        [answer] = await self._wire.run("sent", [(keys, [held.token, through, *pairs])])
        if answer[0] == b"token":
            raise strange_token(held, answer[1].decode(), "trim outbox")
        if answer[0] == b"outbox":
            raise strange_outbox(held, through, answer[1])
        held.published.update(published)

    async def look(self, helds: Sequence[Held]) -> list[Exception | None]:
        """Whether shelves are as we left them; see the port."""
        calls = [("HMGET", self._keys.of(held.shelf, "own"), "token", "stamp") for held in helds]
        found = zip(helds, await self._wire.ask("look after shelves", calls), strict=True)
        return [strange_stamp(held, *((kept or b"").decode() for kept in own)) for held, own in found]

    # -- intake --------------------------------------------------------------------------------------------------

    async def source_positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], SourcePosition]:
        """Intake's position on each (topic, partition) that has one."""
        calls = [("HMGET", self._keys.source(*at), "offset", "mark_ms") for at in partitions]
        found = zip(partitions, await self._wire.ask("read source positions", calls), strict=True)
        return {at: SourcePosition(int(o), None if m is None else int(m)) for at, (o, m) in found if o is not None}

    async def source_done(self, positions: Mapping[tuple[str, int], SourcePosition]) -> None:
        """Advance intake's positions; each stored number becomes the greater of old and new."""
        await self._wire.run("advance", [self._advance_call(at, done) for at, done in positions.items()])

    async def shut_out_older(self, shelves: Sequence[int], version: int) -> None:
        """Let these shelves refuse code that lacks a version when it takes them; their owners go on."""
        await self._wire.run("readers", [([self._keys.of(shelf, "meta")], [version]) for shelf in shelves])

    async def health(self) -> Health:
        """How Redis itself is; of a cluster, the node nearest to its memory's end. Raises Away where a node is."""
        calls = [("INFO", "memory"), ("INFO", "persistence")]
        answers = await self._wire.ask_everywhere("ask Redis how it is", calls)
        return _weakest([_health(memory, file) for memory, file in answers.values()])

    async def note_snapshot(self, taken_ms: int) -> None:
        """A snapshot was taken, of this moment: workers tell its age."""
        await self._wire.ask("note the snapshot", [("SET", self._keys.snapshot(), taken_ms)])

    async def snapshot_ms(self) -> int | None:
        """When the newest snapshot that was noted was taken."""
        [taken] = await self._wire.ask("read when the newest snapshot was taken", [("GET", self._keys.snapshot())])
        return None if taken is None else int(taken)

    async def close(self) -> None:
        """Let go of connections."""
        await self._wire.close()

    # -- readers that own nothing --------------------------------------------------------------------------------

    async def peek(self, shelf: int, wanted: Mapping[str, Sequence[bytes] | None]) -> Peek:
        """Some fields of some sections (None: the whole section), all as of one moment. Takes nothing from the owner.

        A field that is not there is left out. A whole section of 250,000 rows of 200 B holds Redis up for about 0.1 s.
        """
        calls: list[tuple[Any, ...]] = [("HGETALL", self._keys.of(shelf, "place"))]
        for section, fields in wanted.items():
            key = self._keys.of(shelf, section)
            calls.append(("HGETALL", key) if fields is None else ("HMGET", key, *(fields or [b""])))
        place, *found = await self._wire.ask(f"read shelf {shelf}", calls, at_once=True)
        parts = zip(wanted.items(), found, strict=True)
        return Peek(_place(place), {section: _asked(fields, answer) for (section, fields), answer in parts})

    async def copy(self, shelf: int) -> ShelfCopy:
        """Everything of a shelf as of one moment, for a snapshot. Takes nothing from its owner.

        Redis does nothing else meanwhile: about a second for 250,000 rows. A replica serves as well.
        """
        names = ["place", "own", *SECTIONS]
        calls: list[tuple[Any, ...]] = [("HGETALL", self._keys.of(shelf, name)) for name in names]
        calls.append(("LRANGE", self._keys.of(shelf, "out"), 0, -1))
        place, own, *sections, out = await self._wire.ask(f"copy shelf {shelf}", calls, at_once=True)
        published = {k.decode()[4:]: int(v) for k, v in own.items() if k.startswith(b"pub:")}
        kept = {name: dict(fields) for name, fields in zip(SECTIONS, sections, strict=True)}
        return ShelfCopy(shelf, _place(place), kept, [pack(read_entry(raw)[1]) for raw in out], published)

    async def row_keys(self, shelf: int) -> list[bytes]:
        """The SKU-locations of a shelf, as they are kept."""
        [keys] = await self._wire.ask("list rows", [("HKEYS", self._keys.of(shelf, "hot"))])
        return list(keys)

    async def owed(self, shelf: int) -> int:
        """How many messages of a shelf are not known to be published."""
        [count] = await self._wire.ask("count the outbox", [("LLEN", self._keys.of(shelf, "out"))])
        return int(count)

    async def shelves(self) -> list[int]:
        """Numbers of the shelves this namespace ever had. Walks the key space: for a person's command, not a loop."""
        keys = [key async for key in self._wire.scan(self._keys.glob("*", "own"))]
        return sorted(shelf for shelf in map(self._keys.shelf_of, keys) if shelf is not None)

    async def dump(self, shelf: int) -> dict[str, Fields]:
        """Every state key of a shelf, its name without the prefix, with sorted fields: equal states give equal dumps.

        Ownership and relay bookkeeping (`own`, `out`) are not state. Walks the key space: for tests and inquiries.
        """
        stock = self._keys.stock(shelf, "")
        rows = [key[len(stock) :] async for key in self._wire.scan(self._keys.glob(str(shelf), "stock:*"))]
        names = ["place", *SECTIONS, *(f"stock:{row}" for row in sorted(rows))]
        found = await self._wire.ask("dump", [("HGETALL", self._keys.of(shelf, name)) for name in names])
        return {name: dict(sorted(fields.items())) for name, fields in zip(names, found, strict=True) if fields}

    # -- acquire, step by step -----------------------------------------------------------------------------------

    async def _take(self, shelf: int, token: str) -> Held:
        keys = [self._keys.of(shelf, "own"), self._keys.of(shelf, "place")]
        [(own_list, place_list)] = await self._wire.run("acquire", [(keys, [token, TOKENS_REMEMBERED])])
        own = {k.decode(): v.decode() for k, v in _pairs(own_list)}
        published = {k[4:]: int(v) for k, v in own.items() if k.startswith("pub:")}
        next_out, before = int(own.get("out_next", 0)), frozenset(own["past"].split(","))
        place = _place(dict(_pairs(place_list)))
        return Held(shelf, token, own.get("stamp", ""), place, {}, [], published, next_out, before)

    async def _read_sections(self, held: Held) -> None:
        """Every section in slices, the large ones side by side: Redis makes a slice of one as we read the other's."""
        held.sections = {name: {} for name in SECTIONS}
        small = [name for name in SECTIONS if name not in LARGE]
        await asyncio.gather(*(self._read_slices(held, names) for names in (*([name] for name in LARGE), small)))

    async def _read_slices(self, held: Held, names: Sequence[str]) -> None:
        """These sections, the next slice of all of them in one round trip."""
        cursors = dict.fromkeys(names, 0)
        while cursors:
            calls = [("HSCAN", self._keys.of(held.shelf, s), c, "COUNT", SLICE_FIELDS) for s, c in cursors.items()]
            answers = await self._wire.ask(f"read shelf {held.shelf}", calls)
            for section, (cursor, fields) in zip(list(cursors), answers, strict=True):
                held.sections[section].update(fields)
                cursors[section] = int(cursor)
            cursors = {section: cursor for section, cursor in cursors.items() if cursor != 0}

    async def _read_outbox(self, held: Held) -> None:
        while True:
            first = len(held.outbox)
            call = ("LRANGE", self._keys.of(held.shelf, "out"), first, first + SLICE_ENTRIES - 1)
            [raw] = await self._wire.ask(f"read outbox of shelf {held.shelf}", [call])
            held.outbox.extend(map(read_entry, raw))
            if len(raw) < SLICE_ENTRIES:
                return

    async def _complete(self, held: Held) -> bool:
        """Whether what we read is what is there. Raises Fenced when a newer owner came."""
        calls: list[tuple[Any, ...]] = [("HMGET", self._keys.of(held.shelf, "own"), "token", "stamp")]
        calls.append(("LLEN", self._keys.of(held.shelf, "out")))
        calls += [("HLEN", key) for key in self._keys.sections(held.shelf)]
        (token, stamp), out, *counts = await self._wire.ask(f"read shelf {held.shelf}", calls, at_once=True)
        theirs = (token or b"").decode()
        if theirs != held.token:
            refusal = strange_token(held, theirs, "finish the reading")
            if isinstance(refusal, Fenced):
                raise refusal
            return False
        read = [len(held.outbox), *(len(held.sections[name]) for name in SECTIONS)]
        return (stamp or b"").decode() == held.stamp and [out, *counts] == read

    # -- calls ---------------------------------------------------------------------------------------------------

    def _keep_call(self, held: Held, write: Write) -> Call:
        keys = [self._keys.of(held.shelf, name) for name in ("own", "place", "out", *SECTIONS)]
        keys += [self._keys.stock(held.shelf, row) for row in write.readable]
        args: list[Any] = [held.token, held.stamp, write.stamp, write.expected.offset, write.expected.sweep]
        lists: list[list[bytes]] = []
        for section in SECTIONS:
            lists += _put_and_gone(write.changes.get(section, {}))
        lists.append(entries(held.next_out, write.out))
        for row in write.readable.values():
            lists.append([part.encode() for pair in (row or {}).items() for part in pair])
        return keys, [*args, write.next.offset, write.next.sweep, len(SECTIONS), _body(lists)]

    def _advance_call(self, at: tuple[str, int], done: SourcePosition) -> Call:
        return [self._keys.source(*at)], [done.offset, "" if done.mark_ms is None else done.mark_ms]


def _health(memory: Mapping[str, Any], file: Mapping[str, Any]) -> Health:
    durable = int(file["aof_enabled"]) == 1 and file["aof_last_write_status"] == "ok"
    return Health(int(memory["used_memory"]), int(memory.get("maxmemory", 0)), durable)


def _weakest(nodes: Sequence[Health]) -> Health:
    """One without a limit before all others: nothing warns of its end.

    >>> _weakest([Health(10, 100, True), Health(50, 100, True), Health(90, 1000, False)])
    Health(memory_bytes=50, memory_limit_bytes=100, durable=False)
    """
    worst = max(nodes, key=lambda node: node.memory_bytes / (node.memory_limit_bytes or 1))
    return worst._replace(durable=all(node.durable for node in nodes))


def _kept(held: Held, write: Write, answer: list[Any]) -> Exception | None:
    """Advance the Held, or say why nothing was written."""
    verdict = answer[0].decode()
    if verdict == "done":
        held.stamp, held.place, held.next_out = write.stamp, write.next, answer[1]
        return None
    if verdict == "token":
        return strange_token(held, answer[1].decode(), "keep batch")
    offset, sweep, stamp = (part.decode() for part in answer[1:])
    return strange_place(held, write, verdict, Place(int(offset), sweep), stamp)


def _put_and_gone(changes: Mapping[bytes, bytes | None]) -> tuple[list[bytes], list[bytes]]:
    """Field, value, ... of those that have one; the fields of those that have none.

    >>> _put_and_gone({b"a": b"1", b"b": None, b"c": b""})
    ([b'a', b'1', b'c', b''], [b'b'])
    """
    gone = [field for field, value in changes.items() if value is None] if None in changes.values() else []
    kept = {field: value for field, value in changes.items() if value is not None} if gone else changes
    put: list[Any] = [b""] * (2 * len(kept))
    put[::2], put[1::2] = kept, kept.values()
    return put, gone


def _body(lists: Sequence[Sequence[bytes]]) -> bytes:
    """Lists of byte strings as keep.lua reads them: redis-py takes 2 us for each argument, this 0.05.

    >>> _body([[b"ab", b""], []])
    b'\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x02ab\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    parts: list[bytes] = []
    for items in lists:
        framed = [b""] * (2 * len(items))
        framed[::2], framed[1::2] = map(_LENGTHS.__getitem__, map(len, items)), items
        parts.append(_LENGTHS[len(items)])
        parts += framed
    return b"".join(parts)


class _Lengths(dict[int, bytes]):
    """A length, u32 big-endian; those of keys and rows are few and known."""

    def __missing__(self, length: int) -> bytes:
        made = length.to_bytes(4, "big")
        if length < 4_096:
            self[length] = made
        return made


_LENGTHS = _Lengths()


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _place(fields: Mapping[bytes, bytes]) -> Place:
    return Place(int(fields.get(b"offset", b"-1")), fields.get(b"sweep", b"").decode())


def _asked(fields: Sequence[bytes] | None, answer: Any) -> Fields:
    if fields is None:
        return dict(answer)
    return {field: value for field, value in zip(fields, answer, strict=False) if value is not None}
