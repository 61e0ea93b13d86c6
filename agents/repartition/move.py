"""An installation at rest moved to more partitions, in steps of which each may be done again.

Order of a move; a death after any step, or within it, loses nothing, and the command goes on when it is run again:
  1  each shelf is taken, found at rest and marked: from here on every worker refuses it;
  2  a snapshot of all shelves goes to the store: it is what the new shelves are made from;
  3  every shelf of the new number is marked with that snapshot's name;
  4  topics get their partitions;
  5  a moved record is appended to each partition of `sku-events`: the new shelf's log begins behind it;
  6  of compacted topics, keys that have another partition now are deleted in their old one;
  7  each new shelf is put in place, at once. The write that does it takes its mark away.
Before 3 the old state is whole, so 1 and 2 are simply done again; from 3 on nothing is read but the snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from agents import wiring
from agents.clock import now_ms
from agents.installation import installation
from agents.planner.keeping import MOVING, begun_with
from agents.planner.rehome import Old, rehome
from agents.repartition import rest
from agents.settings import Settings
from agents.snapshots import rebuild
from agents.snapshots.store import FORMAT, Manifest, Store, read
from agents.snapshots.take import sources_read
from agents.version import installed_version
from stream.errors import SetupError
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.naming import split_row_key
from stream.events.partition import shelf_of
from stream.events.rows import decode, moved_frame
from stream.events.topics import OUTGOING, SKU_EVENTS
from stream.ledger.port import Fields, Held, ShelfCopy, SourcePosition, Write
from stream.ledger.publisher import TOPICS, partition_of
from stream.ledger.redis_ledger import RedisLedger
from stream.transport import topics_admin
from stream.transport.append import append, delete_keys
from stream.transport.reading import Reader

Say = Callable[[str], None]
WHOLE = b"fixed"  # a field of meta that every whole shelf has
SOURCE = str(int(Source.ORDERS))  # all sources but facts have as many partitions


@dataclass(frozen=True)
class Move:
    """What is moved to what; `snapshot` is empty until there is one."""

    shelves_before: int
    source_partitions_before: int
    shelves: int
    source_partitions: int
    snapshot: str = ""

    @property
    def mark(self) -> bytes:
        """What a shelf's meta says meanwhile."""
        return orjson.dumps(self)

    @classmethod
    def of(cls, mark: bytes) -> Move:
        """A move from its mark."""
        return cls(**orjson.loads(mark))

    def is_result(self, fixed: bytes) -> bool:
        """Whether a shelf of which this is fixed is one the move made."""
        said = orjson.loads(fixed)
        return bool(said["shelves"] == self.shelves and said["shape"][SOURCE] == self.source_partitions)

    def before(self, settings: Settings) -> Settings:
        """The settings as they were."""
        return _with(settings, self.shelves_before, self.source_partitions_before)

    def after(self, settings: Settings) -> Settings:
        """The settings as they are to be."""
        return _with(settings, self.shelves, self.source_partitions)


def _with(settings: Settings, shelves: int, source_partitions: int) -> Settings:
    return settings.model_copy(update={"shelves": shelves, "source_partitions": source_partitions})


async def standing(ledger: RedisLedger, settings: Settings) -> Move:
    """The move that was begun and is not done; else one from what the ledger was begun with to the same."""
    shelves = await ledger.shelves()
    metas = [(await ledger.peek(shelf, {"meta": [MOVING, WHOLE]})).sections["meta"] for shelf in shelves]
    marks = [Move.of(meta[MOVING]) for meta in metas if MOVING in meta]
    if marks:
        return max(marks, key=lambda move: move.snapshot)
    said = [orjson.loads(meta[WHOLE]) for meta in metas if WHOLE in meta]
    now = (said[0]["shelves"], said[0]["shape"][SOURCE]) if said else (settings.shelves, settings.source_partitions)
    return Move(*now, *now)


class Mover:
    """The steps, over real servers. `say` hears of each as it is done."""

    def __init__(self, settings: Settings, move: Move, ledger: RedisLedger, store: Store, say: Say) -> None:
        self.move, self._ledger, self._store, self._say = move, ledger, store, say
        self._before, self._after = move.before(settings), move.after(settings)
        self._reader = Reader(settings.brokers, settings.namespace)

    async def run(self) -> list[dict[str, Any]]:
        """Do what is left to do; a line a shelf. Raises SetupError, Away, Fenced; then it may be run again."""
        try:
            if not self.move.snapshot:
                self.move = replace(self.move, snapshot=await self._secure())
            folder, manifest = self._snapshot()
            copies = {entry.shelf: read(folder, entry) for entry in manifest.shelves}
            await self._mark_all()  # 3
            await asyncio.to_thread(self._prepare_topics, copies)
            done = await self._put_in_place(copies)
            await self._ledger.note_snapshot(0)  # those there are cannot be used from here on
            return done
        finally:
            self._reader.close()

    # -- 1 and 2: the old shelves ---------------------------------------------------------------------------------

    async def _secure(self) -> str:
        """The name of a snapshot of shelves that nobody can change any more."""
        at_ms = now_ms()
        sources = await sources_read(self._before, self._ledger)
        positions = {(topic, p): SourcePosition(offset, mark) for topic, p, offset, mark in sources}
        draft, entries = self._store.begin(at_ms), []
        for shelf in range(self._before.shelves):
            held = await self._ledger.acquire(shelf)
            end = (await asyncio.to_thread(self._reader.bounds, SKU_EVENTS.name, shelf))[1]
            refuse(rest.taken_unrest(held, end, positions))
            await self._keep(held, {MOVING: self.move.mark})  # 1
            if meta := held.sections["meta"]:
                meta.pop(MOVING, None)
                entries.append(draft.add(ShelfCopy(shelf, held.place, held.sections, [], held.published)))
            self._say(f"shelf {shelf}: {len(held.sections['hot']):,} rows secured as of offset {end:,}")
        name = text_from_ms(at_ms)
        release = installed_version()
        draft.publish(Manifest(FORMAT, self._before.namespace, name, release, tuple(entries), sources))  # 2
        self._say(f"snapshot {draft.to.name} in {self._store.folder}")
        return draft.to.name

    def _snapshot(self) -> tuple[Path, Manifest]:
        for folder, manifest in self._store.snapshots():
            if folder.name == self.move.snapshot:
                return folder, manifest
        raise SetupError(
            f"the snapshot {self.move.snapshot} this move is made from is not in the store",
            f"looked in {self._store.folder}",
            "give the --store the move was begun with; without it, put Redis back from a backup",
        )

    async def _mark_all(self) -> None:
        for shelf in range(self._after.shelves):
            meta = (await self._ledger.peek(shelf, {"meta": [MOVING, WHOLE]})).sections["meta"]
            if not self._is_done(meta) and meta.get(MOVING) != self.move.mark:
                await self._keep(await self._ledger.acquire(shelf), {MOVING: self.move.mark})
        self._say("every shelf is marked")

    def _is_done(self, meta: Fields) -> bool:
        return MOVING not in meta and WHOLE in meta and self.move.is_result(meta[WHOLE])

    async def _keep(self, held: Held, meta: Mapping[bytes, bytes]) -> None:
        refused = (await self._ledger.keep([(held, Write(held.place, held.place, {"meta": dict(meta)}))]))[0]
        if refused is not None:
            raise refused

    # -- 4 to 6: topics -------------------------------------------------------------------------------------------

    def _prepare_topics(self, copies: Mapping[int, ShelfCopy]) -> None:
        for name in topics_admin.grow(installation(self._after)):  # 4
            self._say(f"{name} has its partitions")
        self._reader.close()  # its client would go on believing in the old number for minutes
        self._reader = Reader(self._after.brokers, self._after.namespace)
        self._append_moved(copies)  # 5
        self._say("every log of a shelf begins anew")
        gone = self._delete_moved(copies)  # 6
        self._say(f"{gone:,} keys deleted in partitions they have left")

    def _append_moved(self, copies: Mapping[int, ShelfCopy]) -> None:
        frame, missing = moved_frame(self._after.shelves), []
        for shelf in range(self._after.shelves):
            at, end = _moved_at(copies, shelf), self._reader.bounds(SKU_EVENTS.name, shelf)[1]
            if end == at:
                missing.append(shelf)
                continue
            found = next(self._reader.records(SKU_EVENTS.name, shelf, at, at + 1), None)
            if found is None or found.value != frame or decode(frame, at).moved != self._after.shelves:
                raise SetupError(
                    f"something was written to sku-events partition {shelf} since the move began",
                    f"a record at offset {at:,} that is none of ours; the log ends at {end:,}",
                    "a worker was running after all: put Redis back from a backup, or report it",
                )
        append(self._after.brokers, self._after.namespace, SKU_EVENTS.name, dict.fromkeys(missing, frame))

    def _delete_moved(self, copies: Mapping[int, ShelfCopy]) -> int:
        leaving = {
            shelf: [key for key in copy.sections.get("hot", {}) if self._home(key) != shelf]
            for shelf, copy in copies.items()
        }
        for topic in OUTGOING:
            if topic.cleanup == "compact":
                delete_keys(self._after.brokers, self._after.namespace, topic.name, leaving)
        return sum(map(len, leaving.values()))

    def _home(self, key: bytes) -> int:
        return shelf_of(split_row_key(key.decode())[0], self._after.shelves)

    # -- 7: the new shelves ---------------------------------------------------------------------------------------

    async def _put_in_place(self, copies: Mapping[int, ShelfCopy]) -> list[dict[str, Any]]:
        old = [
            Old(
                begun_with(wiring.planner_config(self._before, shelf), copy.sections["meta"]),
                copy.place.offset,
                copy.sections,
            )
            for shelf, copy in sorted(copies.items())
        ]
        configs = [wiring.planner_config(self._after, shelf) for shelf in range(self._after.shelves)]
        done = []
        for shelf in rehome(old, configs, [_moved_at(copies, config.shelf) for config in configs]):
            number = shelf.config.shelf
            meta = (await self._ledger.peek(number, {"meta": [MOVING, WHOLE]})).sections["meta"]
            if not self._is_done(meta):
                ends = await asyncio.to_thread(self._ends, number)
                built = rebuild.Rebuilt(shelf, [], 0, 0)
                await rebuild.cut_over(self._ledger, built, ends, (MOVING, self.move.mark), with_views=True)
            done.append({"shelf": number, "rows": shelf.n, "offset": shelf.offset, "state": "in place"})
            self._say(f"shelf {number}: {shelf.n:,} rows in place")
        return done

    def _ends(self, shelf: int) -> dict[str, int]:
        return {topic: self._reader.bounds(topic, partition_of(topic, shelf))[1] for topic in TOPICS}


def refuse(found: Sequence[rest.Unrest]) -> None:
    """Raise SetupError where something is not at rest."""
    if found:
        first, *others = found
        more = f"; and {len(others)} more" if others else ""
        raise SetupError(f"this installation is not at rest: {first.what}{more}", _details(others), first.hint)


def _details(others: Sequence[rest.Unrest]) -> str:
    return "; ".join(one.what for one in others[:5])


def _moved_at(copies: Mapping[int, ShelfCopy], shelf: int) -> int:
    """Offset of the moved record in a shelf's log: where the old one ended, 0 where there was none."""
    return max(copies[shelf].place.offset, 0) if shelf in copies else 0


def planned(before: Settings, after: Settings, rows: Mapping[int, Sequence[bytes]]) -> Iterator[dict[str, Any]]:
    """What a move would do, a line a new shelf: how many rows it would have, and how many of them come from others."""
    have: dict[int, int] = dict.fromkeys(range(after.shelves), 0)
    come: dict[int, int] = dict.fromkeys(range(after.shelves), 0)
    for shelf, keys in rows.items():
        for key in keys:
            home = shelf_of(split_row_key(key.decode())[0], after.shelves)
            have[home] += 1
            come[home] += home != shelf
    for shelf in range(after.shelves):
        state = "stays, changed" if shelf < before.shelves else "new"
        yield {"shelf": shelf, "rows": have[shelf], "from_others": come[shelf], "state": state}
