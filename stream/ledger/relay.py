"""The relay: a shelf's outbox, published in order and once.

Order of a publication, the crash table of docs/ARCHITECTURE.md steps 6 to 8:
  1  a keep put the messages into the outbox; the planner offers them here as well, to spare a read;
  2  everything waiting (within bounds) goes out as one transaction, less what the tail showed to be out already;
  3  the transaction is committed;
  4  every half second the ledger drops what is out and notes how far each outgoing partition is published.
Death after 1, 2 or within 3: the next owner finds the outbox and not the ids, and publishes. After 3: it finds the ids
behind the offsets noted, and skips. After 4: nothing is left to do.

Order of an opening, at first and after every failure:
  1  the ledger says that the shelf is ours (it was just taken, or we ask);
  2  the publisher shuts out older senders of the shelf, then reads the tail;
  3  the ledger says again that it is ours. A zombie that shut out the rightful sender in 2 stops here, having sent
     nothing; the rightful one fails once as Fenced, finds the shelf still its own, and opens again.
Whoever took the shelf in the ledger after our 3 opens after us, and so shuts us out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stream.errors import Away, Fenced, RestockError
from stream.ledger.port import Held, Ledger
from stream.ledger.publisher import Publisher, Tail
from stream.ledger.unmatched import Unmatched
from stream.ledger.waiting import Entry, Waiting

log = logging.getLogger(__name__)

UNHURRIED = frozenset({"positions", "forecasts"})  # topics that wait for company; all else takes them along at once


@dataclass(frozen=True)
class Limits:
    """Bounds of one shelf's relay, chosen on paper."""

    batch_messages: int = 5_000  # one transaction: 5,000 of 800 B leave loopback in about 0.1 s
    batch_bytes: int = 4 << 20
    linger_s: float = 0.2  # five transactions a second and shelf are enough for positions: they are a second old anyway
    waiting_messages: int = 20_000  # about 16 MB; eight shelves hold 128 MB with the broker away
    waiting_bytes: int = 16 << 20
    note_every_s: float = 0.5  # one small script a shelf; a crash re-reads at most this much of the tail
    note_within_s: float = 5.0  # a note is not worth waiting longer for: the next one covers it
    patience_s: float = 120.0  # a broker may be away this long before the owner hears of it
    drain_s: float = 10.0  # a worker told to stop is usually killed after 30 s
    leave_s: float = 5.0  # and may not hang on one broken call
    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0


@dataclass
class Counters:
    """What the relay did so far, for metrics."""

    published: int = 0  # messages in committed transactions
    skipped: int = 0  # messages found published already
    transactions: int = 0
    publish_s: float = 0.0  # time inside publish calls
    openings: int = 0
    notes: int = 0


class Relay:
    """Publishes one shelf's messages in the background; one relay per Held.

    `on_failure` hears once, as the relay's last act, why it gave up: Fenced or Stale (let the shelf go, or take it
    again), Away (the broker was away too long), SetupError, or a fault of ours. Nothing is lost: what is not out is
    in the outbox.
    Before another relay of the same shelf starts in this process, the earlier one is stopped or has failed.
    """

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        held: Held,
        on_failure: Callable[[int, Exception], None],
        limits: Limits | None = None,
    ) -> None:
        self.shelf, self.counters = held.shelf, Counters()
        self.failure: Exception | None = None
        self.waiting = Waiting(held.outbox)
        held.outbox = []  # the relay's from here on: not to be kept in memory twice
        self._ledger, self._publisher, self._held = ledger, publisher, held
        self._on_failure, self._limits = on_failure, limits or Limits()
        self._next = held.next_out  # sequence number of the next message offered
        self._ends: dict[str, int] = {}  # outgoing topic -> where its partition ends, as far as we know
        self._floors = dict(held.published)  # outgoing topic -> offset below which nothing needs to be looked for
        self._noted = (self.through, dict(self._floors))
        self._noted_at_s = 0.0
        self._unmatched = Unmatched(Tail())
        self._hurry, self._oldest_at_s = len(self.waiting) > 0, 0.0
        self._stop = ""  # then "drain" or "now"
        self._at_once, self._wake, self._moved = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin in the background: a broker that is slow or away does not hold up folding until `room` does."""
        assert self._task is None, "a relay is started once"
        self._task = asyncio.create_task(self._run(), name=f"relay-{self.shelf}")

    def offer(self, entries: Sequence[Entry]) -> None:
        """Messages just kept, with their sequence numbers: (Held.next_out before the keep) and on. Never waits."""
        if not entries or self.failure is not None:
            return  # the next owner finds them in the outbox
        numbers = [number for number, _ in entries]
        expected = list(range(self._next, self._next + len(entries)))
        assert numbers == expected, f"relay {self.shelf}: offered {numbers[0]}.., expected {self._next}"
        self._next += len(entries)
        if len(self.waiting) == 0:
            self._oldest_at_s = asyncio.get_running_loop().time()
        self.waiting.add(entries)
        self._hurry = self._hurry or any(message.topic not in UNHURRIED for _, message in entries)
        self._wake.set()

    async def room(self) -> None:
        """Wait until there is room for more; raises the failure of a relay that gave up."""
        await self._until(self._has_room)

    @property
    def through(self) -> int:
        """The sequence number through which all is published."""
        return self._next - 1 - len(self.waiting)

    def hurry(self) -> None:
        """Whatever waits goes out at once: somebody waits for it."""
        self._hurry = len(self.waiting) > 0
        self._wake.set()

    async def drained(self) -> None:
        """Wait until everything offered is published; raises the failure of a relay that gave up."""
        self.hurry()
        await self._until(lambda: len(self.waiting) == 0)

    async def stop(self, drain: bool) -> None:
        """End: publish what waits (within `drain_s`), or finish just the transaction in hand. Does not raise.

        A transaction that hangs is abandoned after `leave_s`: whoever opens next shuts it out.
        """
        if self._task is None:
            return
        if drain and await self._ends_within("drain", self._limits.drain_s):
            return
        self._at_once.set()
        if not await self._ends_within("now", self._limits.leave_s):
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _ends_within(self, how: str, bound_s: float) -> bool:
        assert self._task is not None
        self._stop = how
        self._wake.set()
        done, _ = await asyncio.wait({self._task}, timeout=bound_s)
        return bool(done)

    # -- the task ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._open_and_serve()
        except Exception as error:  # whatever it is, the owner must hear of it: nobody awaits this task
            self.failure = error
            log.warning(
                "relay %d gives up: %s", self.shelf, error, extra={"event": "relay_ended", "partition": self.shelf}
            )
        finally:
            await self._publisher.stop(self.shelf)
            self._moved.set()
        if self.failure is not None:
            self._on_failure(self.shelf, self.failure)

    async def _open_and_serve(self) -> None:
        clock = asyncio.get_running_loop().time
        failing_since_s, pause_s = None, self._limits.first_pause_s
        while True:
            published = self.counters.published
            try:
                await self._open()
                await self._serve()
                return
            except _Interrupted as interruption:
                if self.counters.published > published or failing_since_s is None:
                    failing_since_s, pause_s = clock(), self._limits.first_pause_s
                if clock() - failing_since_s > self._limits.patience_s:
                    raise interruption.error from interruption
                said = {"event": "relay_interrupted", "partition": self.shelf}
                log.warning("relay %d will open again: %s", self.shelf, interruption.error, extra=said)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), pause_s)
            if self._stop == "now":
                return
            pause_s = min(2 * pause_s, self._limits.longest_pause_s)

    async def _open(self) -> None:
        """Shut out older senders and read the tail; the numbers are those of the module's docstring."""
        if self.counters.openings > 0:
            await self._still_ours()  # 1
        self.counters.openings += 1
        with _interrupting():
            tail = await self._publisher.start(self.shelf, self._floors)  # 2
        await self._still_ours()  # 3
        self._unmatched, self._ends = Unmatched(tail), dict(tail.ends)
        self._floors = self._unmatched.floors(self._ends)

    async def _still_ours(self) -> None:
        """Raises the ledger's Fenced or Stale."""
        try:
            await self._ledger.sent(self._held, -1, {})
        except Away as error:
            raise _Interrupted(error) from error

    async def _serve(self) -> None:
        """Publish what waits as it comes, until told to stop."""
        while True:
            batch_due_in_s = self._batch_due_in_s()
            if self._stop == "now" or (self._stop == "drain" and len(self.waiting) == 0):
                await self._note()
                return
            if batch_due_in_s == 0:
                await self._send(self.waiting.head(self._limits.batch_messages, self._limits.batch_bytes))
            else:
                await self._nap(batch_due_in_s)
            if self._note_due_in_s() == 0:
                await self._note()

    async def _send(self, batch: list[Entry]) -> None:
        """One transaction: the batch, less what is out already."""
        fresh = [message for _, message in batch if not self._unmatched.skips(message)]
        if fresh:
            clock = asyncio.get_running_loop().time
            began_s = clock()
            with _interrupting():
                self._ends.update(await self._publisher.publish(self.shelf, fresh))
            self.counters.publish_s += clock() - began_s
            self.counters.transactions += 1
        self.counters.published += len(fresh)
        self.counters.skipped += len(batch) - len(fresh)
        self._floors = self._unmatched.floors(self._ends)
        self.waiting.drop(len(batch))
        self._hurry = self._hurry and len(self.waiting) > 0
        self._moved.set()

    async def _note(self) -> None:
        """Tell the ledger how far we are. Away is no matter: the next note says it all again."""
        noting = (self.through, dict(self._floors))
        self._noted_at_s = asyncio.get_running_loop().time()
        if noting == self._noted:
            return
        try:
            async with asyncio.timeout(self._limits.note_within_s):
                await self._ledger.sent(self._held, *noting)
        except (Away, TimeoutError) as error:
            log.warning("relay %d could not note what is published: %r", self.shelf, error)
            return
        self._noted = noting
        self.counters.notes += 1

    async def _nap(self, batch_due_in_s: float | None) -> None:
        """Until something is offered, a batch or a note is due, or we are told to stop."""
        self._wake.clear()
        dues_s = [due_s for due_s in (batch_due_in_s, self._note_due_in_s()) if due_s is not None]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(dues_s, default=None))

    def _batch_due_in_s(self) -> float | None:
        """Seconds until what waits should go out; None when nothing waits."""
        if len(self.waiting) == 0:
            return None
        full = len(self.waiting) >= self._limits.batch_messages or not self._has_room()
        if self._hurry or self._stop or full:
            return 0.0
        return max(0.0, self._oldest_at_s + self._limits.linger_s - asyncio.get_running_loop().time())

    def _note_due_in_s(self) -> float | None:
        """Seconds until the next note; None when there is nothing to note."""
        if self._noted == (self.through, self._floors):
            return None
        return max(0.0, self._noted_at_s + self._limits.note_every_s - asyncio.get_running_loop().time())

    # -- back-pressure -------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return len(self.waiting) < self._limits.waiting_messages and self.waiting.bytes < self._limits.waiting_bytes

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self.failure is not None:
                raise self.failure
            if self._task is None or self._task.done():
                return
            self._moved.clear()
            await self._moved.wait()


class _Interrupted(Exception):
    """The publisher failed in a way that opening again may mend."""

    def __init__(self, error: RestockError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _interrupting() -> Iterator[None]:
    try:
        yield
    except (Away, Fenced) as error:
        raise _Interrupted(error) from error
