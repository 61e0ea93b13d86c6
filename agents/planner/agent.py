"""The planner at work: take shelves, fold polls, keep them, hand what is owed to the relays. Only this file waits.

Order of a poll, the crash table of docs/ARCHITECTURE.md steps 5 to 8:
  1  decode the records; what is not ours is quarantined;
  2  fold each shelf (pure, in memory);
  3  keep: the writes of all shelves in one round trip, each fenced; of a large poll, shelf by shelf while the next is
     folded;
  4  offer the messages to the relays.
Death before 3: the next owner folds the same records from the same place. After 3: the messages are in the outbox.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, starmap
from typing import Protocol

from agents.planner import wakes
from agents.planner.alerts import KINDS
from agents.planner.commons import Learnt
from agents.planner.config import LONG_AGO, PlannerConfig
from agents.planner.fold import close_ahead, fold
from agents.planner.keeping import changes, load
from agents.planner.shelf import Shelf
from stream.errors import Away, Fenced, Stale
from stream.events.cloudevents import dead_letter
from stream.events.outgoing import Outgoing
from stream.events.rows import SkuRecord, decode
from stream.ledger.port import Held, Ledger, Write
from stream.ledger.publisher import Publisher
from stream.ledger.relay import Relay
from stream.transport.port import Batch

log = logging.getLogger(__name__)

VIEWS_A_POLL = 100  # readable hashes a shelf writes beside a poll's state, once in `view_every_s`: 20 us each, 2 ms
VIEWS_A_SLICE = 500  # and at a quiet moment: 10 ms, then events have their turn
TURN_S = 0.25  # a poll that takes longer to fold is kept piece by piece: a leap of many days is hours of work
ROWS_AHEAD = 500  # some 5 ms of folding: Redis may write those shelves while the others are folded
SAID_LINES = 4  # a message of rows brought up to date, with all that led to it, costs as much as so many lines
RECORDS_AHEAD = 50  # while a sweep is pending: their rows are brought up to date at once, as many as make a slice
ROUNDS_OUT = 3  # of the loop, until a write that was begun is on its way to Redis
SLICE_S = 0.035  # of a sweep, folded, packed and kept: what an event waits that comes meanwhile
LEAST_ROWS = 64  # of a slice: the calls of numpy that fewer take cost as much as closing these
SWEPT_AHEAD = 300  # a sweep goes on once no more of its messages are unpublished: an alert waits 20 ms behind them
QUIET_S = 0.5  # nothing came for this long: a quiet moment
YIELD_S = 0.1  # a step of settling waits no longer for a poll or a slice: under a load they follow each other
LOOK_S = 5.0  # at quiet moments: whether shelves are as we left them, one small read


class Watcher(Protocol):
    """Who counts what the planner does; metrics in a worker, nothing in tests."""

    def polled(self, shelf: int, rows: int, repeated: int, shelf_state: Shelf) -> None:
        """A shelf folded its part of a poll."""

    def took(self, fold_seconds: float, keep_seconds: float, records: int) -> None:
        """A poll is kept."""

    def refused(self, cause: str) -> None:
        """The ledger refused a write: fenced or stale."""

    def relayed(self, shelf: int, relay: Relay) -> None:
        """How a relay stands, about once a second."""


class Unwatched:
    """Nobody counts."""

    def polled(self, shelf: int, rows: int, repeated: int, shelf_state: Shelf) -> None:
        """Nothing."""

    def took(self, fold_seconds: float, keep_seconds: float, records: int) -> None:
        """Nothing."""

    def refused(self, cause: str) -> None:
        """Nothing."""

    def relayed(self, shelf: int, relay: Relay) -> None:
        """Nothing."""


@dataclass
class Owned:
    """A shelf we hold, with its relay."""

    held: Held
    shelf: Shelf
    relay: Relay
    viewed_s: float = 0.0
    swept: int = 0  # the number of the message after the last that a sweep made
    settling: asyncio.Task[Learnt] | None = None  # what the rows of a closing told, in a thread
    messages: list[Outgoing] = field(default_factory=list)

    def swept_ahead(self) -> bool:
        """Whether what sweeps said still waits to be published: what events say has to wait behind it."""
        return self.swept - 1 - self.relay.through > SWEPT_AHEAD


class Pace:
    """How many rows of a sweep make a slice of SLICE_S. Where slices are cut cannot show, so a clock may say it."""

    def __init__(self) -> None:
        self.rows = 2 * LEAST_ROWS

    def begin(self) -> None:
        """Another pass: what was learnt in a quiet hour may be too much now; a few slices find out."""
        self.rows = min(self.rows, 2 * LEAST_ROWS)

    def took(self, rows: int, seconds: float) -> None:
        """A slice of so many rows took so long: the next one is drawn to what would have fitted, half the way."""
        fits = rows * SLICE_S / max(seconds, 1e-6)
        self.rows = max(LEAST_ROWS, min(round((self.rows + fits) / 2), 2 * self.rows))


class Planner:
    """PlannerWork over a ledger and a publisher."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        config_of: Callable[[int], PlannerConfig],
        *,
        view_every_s: float = 1.0,
        watcher: Watcher | None = None,
    ) -> None:
        self.owned: dict[int, Owned] = {}
        self._ledger, self._publisher, self._config_of = ledger, publisher, config_of
        self._view_every_s = view_every_s
        self._watcher: Watcher = watcher or Unwatched()
        self._failed: dict[int, Exception] = {}
        self._relayed_s = self._polled_s = self._looked_s = 0.0
        self._free = threading.Event()  # neither a poll nor a slice is in work
        self._free.set()
        self._paces = {False: Pace(), True: Pace()}  # of slices that only send positions, that close days

    async def positions(self, shelves: Sequence[int]) -> dict[int, int]:
        """Take these shelves: fence older owners, load state, start relays; where to read on."""
        found: dict[int, int] = {}
        for number in shelves:
            await self._drop(number, drain=False)
            held = await self._ledger.acquire(number)
            shelf = load(self._config_of(number), held.sections, held.place.offset)
            held.sections = {}  # 1 kB a row: not to be held twice
            relay = Relay(self._ledger, self._publisher, held, partial(self._relay_failed, held))
            self.owned[number] = Owned(held, shelf, relay)
            await relay.start()
            # one that was never begun reads from the log's very first record: where that is gone, so is what it was
            found[number] = max(held.place.offset, 0)
            gc.freeze()  # a million rows live as long as the shelf: a full collection would walk them for 0.3 s
            said = {"event": "shelf_taken", "partition": number, "offset": found[number]}
            log.info("holding shelf %d from offset %s, %d rows", number, found[number], shelf.n, extra=said)
        return found

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        """Fold and keep one poll; returns shelves found stale. Raises Fenced where a newer owner holds one."""
        stale = self._relay_failures()
        stale += [b.partition for b in batches if b.partition not in stale and not await self._room(b.partition)]
        left = [b for b in batches if b.partition not in stale]
        while left:
            with self._undisturbed():
                left, gone = await self._turn(left)
            for batch in left:
                if batch.partition not in gone and not await self._room(batch.partition):
                    gone.append(batch.partition)
            left = [b for b in left if b.partition not in gone]
            stale += gone
        return stale

    async def _turn(self, batches: Sequence[Batch]) -> tuple[list[Batch], list[int]]:
        """Fold and keep as much as fits into a turn; what is left, and which shelves were found stale."""
        begun = time.perf_counter()
        self._polled_s = time.monotonic()
        writes, left, records, rows = list[tuple[Owned, Write]](), list[Batch](), 0, 0
        keeping: list[asyncio.Task[list[int]]] = []
        for batch in batches:
            if rows > ROWS_AHEAD:
                keeping.append(asyncio.create_task(self._keep(writes)))
                writes, rows = [], 0
                for _ in range(ROUNDS_OUT):
                    await asyncio.sleep(0)
            owned = self.owned[batch.partition]
            done, folded = self._fold(owned, batch, begun + TURN_S)
            records, rows = records + done, rows + folded
            if done < len(batch.offsets):
                left.append(batch.after(done))
            writes.append((owned, self._write(owned, self._views_due(owned))))
        folded_s = time.perf_counter()
        stale = await _all_of([*keeping, asyncio.create_task(self._keep(writes))])
        self._watcher.took(folded_s - begun, time.perf_counter() - folded_s, records)
        return left, stale

    async def _room(self, shelf: int) -> bool:
        """Wait until a shelf's relay can take more; False where it finds the shelf rolled back meanwhile."""
        try:
            await self.owned[shelf].relay.room()
        except Stale as error:
            self._watcher.refused("stale")
            log.warning("%s", error)
            return False
        return True

    def _fold(self, owned: Owned, batch: Batch, until_s: float) -> tuple[int, int]:
        """Fold records, and the days a mark leapt over, until the time is over; how many records, and their rows.

        What they owe waits with the shelf.
        """
        shelf = owned.shelf
        if shelf.offset >= 0:
            assert batch.start == shelf.offset, f"shelf {batch.partition} is at {shelf.offset}, got {batch.start}"
        done = folded = repeated = said = 0
        records: Iterator[SkuRecord | Outgoing] = starmap(partial(_decode, batch), _places(batch))
        if shelf.pending:
            records, said = self._close_ahead(owned, records)
        for record in records:
            while wakes.leaping(shelf):
                owned.messages += wakes.sweep(shelf, self._slice(shelf)[1])
                if time.perf_counter() > until_s:
                    break
            if wakes.leaping(shelf):
                break
            done += 1
            if isinstance(record, Outgoing):
                owned.messages.append(record)
            else:
                outcome = fold(shelf, [record])
                owned.messages += outcome.messages
                folded, repeated = folded + outcome.rows, repeated + outcome.repeated
            if time.perf_counter() > until_s:
                break
        shelf.offset = batch.next if done == len(batch.offsets) else batch.offsets[done]
        self._watcher.polled(batch.partition, folded, repeated, shelf)
        return done, folded + SAID_LINES * said

    def _close_ahead(
        self, owned: Owned, records: Iterator[SkuRecord | Outgoing]
    ) -> tuple[Iterator[SkuRecord | Outgoing], int]:
        """Bring the rows of the next records up to date; the records to go on with, and how many messages it made.

        Those whose rows would make more than a slice wait for the next turn: what the first ones say is out by then.
        """
        shelf, some = owned.shelf, list(islice(records, RECORDS_AHEAD))
        said, covered = close_ahead(shelf, some, self._slice(shelf)[1])
        owned.messages += said
        return (chain(some, records) if covered == len(some) else iter(some[:covered])), len(said)

    async def idle(self) -> bool:
        """One slice of sweeping or refreshing a shelf; True while more is left. Raises Fenced as `poll` does."""
        if self._relay_failures():
            raise Fenced("a relay found its shelf rolled back", hint="nothing to do: the shelves are taken again")
        self._watch_relays()
        quiet = time.monotonic() - self._polled_s >= QUIET_S
        for owned in self.owned.values():
            if owned.shelf.pending:
                if owned.swept_ahead() or self._settling(owned):
                    continue
                if not await self._room(owned.held.shelf):
                    break
                with self._undisturbed():
                    stale = await self._sweep(owned)
            elif quiet and owned.shelf.dirty_view:
                stale = await self._keep([(owned, self._write(owned, VIEWS_A_SLICE))])
            else:
                continue
            if stale:
                break
            return True
        else:
            if not quiet or not await self._rolled_back():
                return False
        raise Fenced("a shelf was rolled back", hint="nothing to do: the shelves are taken again")

    async def _sweep(self, owned: Owned) -> list[int]:
        """One slice, kept and offered; its messages go out at once, as the next slice waits for them."""
        begun, pace = time.perf_counter(), self._paces[wakes.closes(owned.shelf)]
        if owned.shelf.cursor == 0:
            pace.begin()
        rows = self._slice(owned.shelf)[1]
        owned.messages = wakes.sweep(owned.shelf, rows)
        stale = await self._keep([(owned, self._write(owned, self._views_due(owned)))])
        if owned.shelf.cursor > 0:  # else it was the last of the pass, with fewer rows
            pace.took(rows, time.perf_counter() - begun)
        owned.swept = owned.held.next_out
        owned.relay.hurry()
        return stale

    def _settling(self, owned: Owned) -> bool:
        """Whether what a closing's rows told is still being settled: 250,000 rows take half a second, in a thread.

        It stands still while a poll or a slice is in work. Those let go of the interpreter dozens of times, at every
        look for answers, and had to wait each time until a step of the settling was done: 0.4 s in all.
        """
        shelf = owned.shelf
        if not wakes.settles(shelf):
            return False
        if owned.settling is None:
            learn = shelf.commons.settling(shelf.keys, self._let_others_by)
            owned.settling = asyncio.create_task(asyncio.to_thread(learn))
        if not owned.settling.done():
            return True
        holds = shelf.commons.take(owned.settling.result())
        owned.settling = None
        return not holds

    def _let_others_by(self) -> None:
        self._free.wait(YIELD_S)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """A poll or a slice is in work."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _slice(self, shelf: Shelf) -> tuple[Pace, int]:
        """The pace of a shelf's next slice, and its most rows: no more than the pace learns from."""
        pace = self._paces[wakes.closes(shelf)]
        return pace, min(pace.rows, wakes.slice_rows(shelf))

    async def _rolled_back(self) -> bool:
        """Whether Redis has forgotten what a shelf at rest wrote last: without events no write would be refused."""
        now = time.monotonic()
        if now - self._looked_s < LOOK_S:
            return False
        self._looked_s = now
        try:
            verdicts = await self._ledger.look([owned.held for owned in self.owned.values()])
        except Away:
            return False  # a shelf at rest needs nobody
        for verdict in verdicts:
            if verdict is not None:
                self._watcher.refused("stale" if isinstance(verdict, Stale) else "fenced")
                log.warning("%s", verdict)
        return any(verdicts)

    async def release(self, shelves: Sequence[int]) -> None:
        """Let go: what is kept is sent while there is time, the rest is in the outbox."""
        await asyncio.gather(*(self._drop(number, drain=True) for number in shelves))

    def _write(self, owned: Owned, views: int) -> Write:
        messages, owned.messages = owned.messages, []
        return changes(owned.shelf, owned.held.place, messages, views)

    def _views_due(self, owned: Owned) -> int:
        now = time.monotonic()
        if now - owned.viewed_s < self._view_every_s:
            return 0
        owned.viewed_s = now
        return VIEWS_A_POLL

    async def _keep(self, writes: list[tuple[Owned, Write]]) -> list[int]:
        """One round trip; offers what was kept to the relays. Returns stale shelves, raises Fenced last."""
        first = [owned.held.next_out for owned, _ in writes]
        verdicts = await self._ledger.keep([(owned.held, write) for owned, write in writes])
        stale, fenced = [], []
        for (owned, write), number, verdict in zip(writes, first, verdicts, strict=True):
            if verdict is None:
                owned.relay.offer([(number + i, message) for i, message in enumerate(write.out)])
            elif isinstance(verdict, Stale):
                self._watcher.refused("stale")
                log.warning("%s", verdict, extra={"event": "write_refused", "partition": owned.held.shelf})
                stale.append(owned.held.shelf)
            elif isinstance(verdict, Fenced):
                self._watcher.refused("fenced")
                fenced.append(verdict)
            else:
                raise verdict
        if fenced:
            raise fenced[0]
        return stale

    async def _drop(self, number: int, drain: bool) -> None:
        self._failed.pop(number, None)
        owned = self.owned.pop(number, None)
        if owned is not None:
            await owned.relay.stop(drain)

    def _relay_failed(self, held: Held, shelf: int, error: Exception) -> None:
        """A relay gave up; one of a shelf that was let go meanwhile is nobody's business any more."""
        owned = self.owned.get(shelf)
        if owned is not None and owned.held is held:
            self._failed[shelf] = error

    def _relay_failures(self) -> list[int]:
        """Shelves whose relay found them rolled back; raises any other failure."""
        for error in self._failed.values():
            if isinstance(error, Fenced):
                self._watcher.refused("fenced")
            if not isinstance(error, Stale):
                raise error
        return list(self._failed)

    def _watch_relays(self) -> None:
        now = time.monotonic()
        if now - self._relayed_s >= 1.0:
            self._relayed_s = now
            for number, owned in self.owned.items():
                self._watcher.relayed(number, owned.relay)


async def _all_of(keeping: Sequence[asyncio.Task[list[int]]]) -> list[int]:
    """Stale shelves of several keeps, once all have ended; raises what the first that failed raises."""
    found = await asyncio.gather(*keeping, return_exceptions=True)
    for failed in found:
        if isinstance(failed, BaseException):
            raise failed
    return [shelf for stale in found if not isinstance(stale, BaseException) for shelf in stale]


def _places(batch: Batch) -> Iterator[tuple[int, int, bytes | None, bytes | None]]:
    return zip(batch.offsets, batch.timestamps, batch.keys, batch.values, strict=True)


def _decode(batch: Batch, offset: int, at_ms: int, key: bytes | None, value: bytes | None) -> SkuRecord | Outgoing:
    """A record of `sku-events`, or a letter for what somebody else put there."""
    try:
        return decode(value or b"", offset)
    except (ValueError, OSError) as wrong:
        said = str(wrong)[:500]
        return dead_letter("sku-events", batch.partition, offset, at_ms, key, value, "not_ours", said)


def watermark_age_s(shelf: Shelf, now_ms: int) -> float:
    """How far a shelf's watermark lies behind a clock; 0 before there is one."""
    return 0.0 if shelf.watermark_ms == LONG_AGO else max(0.0, (now_ms - shelf.watermark_ms) / 1000)


def alerts_open(shelf: Shelf) -> dict[str, int]:
    """Open alerts by kind: those raised less those resolved, as the shelf counted them."""
    told = shelf.counters
    return {kind: told[f"alerts_raised:{kind}"] - told[f"alerts_resolved:{kind}"] for kind in KINDS}
