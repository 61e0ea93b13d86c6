"""The Faust transport `restock://host:port`: one message a poll and agent, and the ledger says where reading starts.

What differs from Faust's own driver (faust-streaming 0.15.3), and why, is in docs/adr/0001-transport-over-faust.md.
In short:

  fetch     a fetch is cut into one `Batch` a partition and stamped, in the consumer thread and in the step that drained
            it, with the partition's stamp; every seek and every revocation changes the stamp
  hand over what our own intake wrote goes to the planner as soon as it is acknowledged; see inbox.py
  deliver   all partitions of an agent go to it as one message; nothing is dropped but what was fetched before a seek
  seek      `seek_to_committed`, the one hook called after every assignment, asks the works and seeks there
  commit    acks mean nothing; what the ledger has is committed for lag tools, and failing at that is no error
  let go    a revocation waits for the work in hand, then releases
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from stream.errors import Fenced, SetupError
from stream.transport.consumer_thread import Thread
from stream.transport.desk import Desk
from stream.transport.inbox import HANDING_S, MUCH_BYTES
from stream.transport.port import Sent
from stream.transport.stamped import Stamped

SCHEME = "restock"
# A poll costs 5 to 10 ms of CPU whatever it brings, and each of intake's makes the planner's dearer: at 1,000 orders/s
# p99 was 529 ms in two processes with 10 ms from poll to poll, 170 with 25. The broker gathers for so long; this is for
# what comes otherwise. Large polls follow at once.
PACE_S = 0.015
FETCH_BUSY_S = 0.1  # how long a desk without room is left alone if it does not say that it has some
LOST_MOST = 3  # polls in a row that Faust may lose
FENCED_MOST, FENCED_S = 8, 10.0  # so many within: two of one name take each other's shelves five times a second
NOTE_S = 4.0  # a commit for lag tools that takes longer is given up, before the next is due (5 s)
LAST_NOTE_S = 1.0  # the same while somebody waits for our partitions

log = logging.getLogger(__name__)


class Consumer(stock.Consumer):  # type: ignore[misc]
    """Faust's consumer, delivering polls and led by the ledger. Lives on the main loop."""

    _thread: Thread

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    async def in_thread(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Await something in the consumer thread. (Faust's queue has two workers: a fetch and a commit fill it.)"""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coro, self._thread.thread_loop))

    # --- deliver -----------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        """Bring polls to the desks as long as they have room. Never drops, unlike the stock one by `_read_offset`."""
        ways = (self._keep_fetching, self._keep_bringing)
        await asyncio.gather(*(self._or_doom(way(desk, fetcher)) for way in ways for desk in self.app.desks))

    async def _or_doom(self, endless: Awaitable[None]) -> None:
        try:
            await endless
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.app.doom(error)

    async def _keep_fetching(self, desk: Desk, fetcher: Any) -> None:
        """Have the thread fill the inbox as long as there is room for more."""
        loop, inbox = asyncio.get_running_loop(), desk.inbox

        def push(parts: list[Stamped]) -> None:
            loop.call_soon_threadsafe(self._came, desk, parts)

        while not self.should_stop and not fetcher.should_stop:
            handing = inbox.handing(loop.time())
            if handing:
                await set_within(inbox.missed, HANDING_S)
            inbox.missed.clear()
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
            elif inbox.size_bytes < MUCH_BYTES and self._may_fetch(desk):
                await self.in_thread(self._thread.fetch(desk, handing, push))
            else:
                await self._room(desk, FETCH_BUSY_S)

    def _came(self, desk: Desk, parts: Sequence[Stamped]) -> None:
        try:
            desk.inbox.add(self.fresh(parts))
        except AssertionError as error:
            self.app.doom(error)

    async def _keep_bringing(self, desk: Desk, fetcher: Any) -> None:
        """Bring what is in the inbox once there is room; a little that was fetched not before it is due."""
        clock, inbox, due_s = asyncio.get_running_loop().time, desk.inbox, 0.0
        while not self.should_stop and not fetcher.should_stop:
            await inbox.came.wait()
            await self._until_room(desk)
            await set_within(inbox.hurry, due_s - clock())
            if not self.flow_active:  # brought while suspended it would be cancelled, and gone
                await self.wait(self.can_resume_flow)
                continue
            fresh = self.fresh(inbox.take())
            desk.fetch.set()  # there is room in the inbox
            if fresh:
                await self._bring(desk, fresh)
            due_s = clock() + PACE_S

    def hand_over(self, sent: Sequence[Sent]) -> None:
        """Our own records are in the log: whoever reads them here may have them at once."""
        now_s = asyncio.get_running_loop().time()
        for desk in self.app.desks:
            room = self._held() < self.app.pace.waiting_max_bytes
            for each in sent:
                tp = TP(self.app.full_name(each.record.topic), each.record.partition)
                if tp.topic in desk.topics:
                    desk.inbox.hand(tp, each.record.topic, each, now_s, room)

    async def _until_room(self, desk: Desk) -> None:
        """Until a poll may be brought: there is room, or one there never came to its agent, which the next shows."""
        lost = False
        while not desk.has_room() and not lost:
            forgotten = desk.forgotten()
            await self._room(desk, FETCH_BUSY_S)
            lost = forgotten > 0 and forgotten == desk.forgotten()

    async def _room(self, desk: Desk, seconds: float) -> None:
        """Until the desk says that something is done, at most so long."""
        desk.fetch.clear()
        await set_within(desk.fetch, seconds)

    def _held(self) -> int:
        return sum(desk.waiting_bytes() for desk in self.app.desks)

    def _may_fetch(self, desk: Desk) -> bool:
        return desk.empty() or (desk.few() and self._held() < self.app.pace.waiting_max_bytes)

    async def _bring(self, desk: Desk, fresh: Sequence[Stamped]) -> None:
        tp = fresh[0].tp
        poll = desk.bring(fresh)
        # A stream skips, in silence, a message of another generation: that one was revoked, so it is stale here too.
        generation = self.app.consumer_generation_id
        message = ConsumerMessage(
            tp.topic, tp.partition, fresh[0].batch.start, 0.0, 0, (), None, poll, None, tp=tp, generation_id=generation
        )
        try:
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except KeyError:
            # The conductor no longer knows the partition: it was revoked while the message was on its way.
            assert not self.fresh(fresh), f"{tp} is ours, but no agent listens to it"

    def fresh(self, parts: Iterable[Stamped]) -> list[Stamped]:
        """Those fetched since the last seek of their partition, which is still ours."""
        return [part for part in parts if self._thread.stamps.get(part.tp) == part.stamp]

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: desks hold back whole agents; the stock one would starve the one partition a poll is named after."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, see `on_buffer_full`."""

    # --- seek --------------------------------------------------------------------------------------------------

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Called after every assignment, tables or not: take the partitions and seek to where the ledger stands.

        Shielded: the next rebalance cancels this wait, and must find a desk either taken or not.
        """
        assigned, era = list(self.assignment()), self._thread.era
        seats = [asyncio.ensure_future(self._seat(desk, era, desk.mine(assigned))) for desk in self.app.desks]
        await asyncio.shield(asyncio.gather(*seats))
        return {}

    async def _seat(self, desk: Desk, era: int, tps: Sequence[TP]) -> None:
        async with desk.lock:
            await self.seat(desk, era, tps)

    async def seat(self, desk: Desk, era: int, tps: Sequence[TP]) -> None:
        """Take partitions and seek; the caller holds the desk's lock. Ends the process where that cannot be done."""
        if era != self._thread.era or not tps:
            return  # they were revoked meanwhile: taking them now would fence their new owner
        desk.taken.update(tps)
        try:
            offsets = await desk.work.take(tps)
            found = await self.in_thread(self._thread.reposition(era, offsets))
            desk.kept.update({tp: at for tp, (_, at) in found.items()})
            for tp, (stamp, at) in found.items():
                desk.inbox.begin(tp, stamp, at)
        except Fenced as error:
            await self._rejoin(desk, error)
        except Exception as error:
            self.app.doom(error)

    # --- answer ------------------------------------------------------------------------------------------------

    async def answer(self, desk: Desk, poll: Any) -> None:
        """Give a poll to the work. What was fetched before a seek is put away; stale shelves are taken again."""
        async with desk.lock:
            # no await from here to the work: a release waits for the lock. After one nothing is ours to answer.
            era, fresh = self._thread.era, [part for part in self.fresh(poll.parts) if part.tp in desk.kept]
            stale: Sequence[TP] = ()
            if fresh and desk.overtaken(poll):
                stale = self._lost(desk)
            elif fresh:
                desk.lost = 0
                for part in fresh:  # on a fresh ledger too: nothing between what is kept and what was brought
                    assert part.batch.start == desk.kept[part.tp], f"{part.tp}: {part.batch.start} is not the next"
                stale = await self.unless_fenced(desk, desk.work.poll([part.batch for part in fresh])) or ()
                desk.answered(fresh)
            desk.done(poll)
            if stale:
                await self.seat(desk, era, stale)

    def _lost(self, desk: Desk) -> Sequence[TP]:
        """A poll before this one never came: a stream skips, in silence, what it gets while a rebalance is under way.

        All that the desk holds is taken again, and read from where it is kept. More than a few in a row are a fault.
        """
        desk.lost += 1
        assert desk.lost <= LOST_MOST, f"{desk.name}: polls are lost one after the other"
        log.warning("a poll was lost on its way to the %s: its partitions are read again", desk.name)
        desk.clear()
        return sorted(desk.kept)

    async def unless_fenced(self, desk: Desk, work: Awaitable[Any]) -> Any:
        """Await the work. Where somebody took a shelf of ours, join the group anew: it says who has what."""
        try:
            return await work
        except Fenced as error:
            await self._rejoin(desk, error)
            return None

    async def _rejoin(self, desk: Desk, why: Fenced) -> None:
        desk.fenced = True
        if self.app.instance_id is not None and self.app.fencings.many(asyncio.get_running_loop().time()):
            self.app.doom(_namesakes(self.app.instance_id, why))
            return
        log.warning("fenced, joining the group anew: %s", why)
        await self.in_thread(_call(self._thread.rejoin))

    async def at_end(self, desk: Desk) -> tuple[list[TP], int]:
        """Partitions read, and answered, to their end, and since when that is known (ms). The caller holds the lock."""
        found: dict[TP, tuple[int, int]] = await self.in_thread(_call(self._thread.at_end))
        # what the thread has drained and this loop has answered must be the same: nothing is on its way between them
        ends = {tp: said_ms for tp, (cursor, said_ms) in found.items() if desk.kept.get(tp) == cursor}
        return (sorted(ends), min(ends.values())) if ends and desk.empty() else ([], 0)

    async def lags(self) -> dict[tuple[str, int], tuple[int, float]]:
        """Of each taken partition: records behind its log's end, and the age (s) of the last answered one if any is."""
        ends: dict[TP, tuple[int, int]] = await self.in_thread(_call(self._thread.ends))
        found = {}
        for desk in self.app.desks:
            for tp in ends.keys() & desk.kept.keys():
                end, said_ms = ends[tp]
                behind = max(0, end - desk.kept[tp])
                age_ms = said_ms - desk.answered_ms.get(tp, said_ms) if behind else 0
                found[self.app.short_name(tp.topic), tp.partition] = behind, max(0, age_ms) / 1000
        return found

    # --- commit ------------------------------------------------------------------------------------------------

    async def force_commit(self, *_: Any, **__: Any) -> bool:
        """Commit what the ledger has, for lag tools. The stock one crashes the worker on nearly any exception."""
        await self._note({tp: at for desk in self.app.desks for tp, at in desk.kept.items()}, NOTE_S)
        return False

    async def _note(self, offsets: Mapping[TP, int], seconds: float) -> None:
        try:
            await asyncio.wait_for(self.in_thread(self._thread.note(offsets)), seconds)
        except Exception as error:
            log.debug("offsets were not noted for lag tools: %r", error)

    async def wait_empty(self) -> None:
        """Nothing: work in hand is awaited by taking the desk's lock, not by acks."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: the stock one looks at acks and warns of stalls that are none."""

    # --- let go ------------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the flow, finish the work in hand, let go. The rebalance waits for it."""
        await super().on_partitions_revoked(revoked)
        await self.release()

    async def release(self) -> None:
        """Let go of everything, once the work in hand is done."""
        try:
            await asyncio.gather(*(self._release(desk) for desk in self.app.desks))
        except Exception as error:
            self.app.doom(error)

    async def _release(self, desk: Desk) -> None:
        desk.clear()
        async with desk.lock:
            kept = dict(desk.kept)
            tps = desk.leave()
            if tps:
                await self._note(kept, LAST_NOTE_S)
                await desk.work.release(tps)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Until an event is set, at most so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _call(function: Callable[[], Any]) -> Any:
    return function()


def _namesakes(instance_id: str, why: Fenced) -> SetupError:
    return SetupError(
        f"another worker is named {instance_id!r} as well: each takes the other's shelves again and again",
        f"fenced {FENCED_MOST} times within {FENCED_S:.0f} s; the last time: {why}",
        "give every worker process a RESTOCK_INSTANCE_ID of its own, or none",
    )


class Fencings:
    """When somebody else took what we hold."""

    def __init__(self) -> None:
        self._at_s = deque[float](maxlen=FENCED_MOST)

    def many(self, now_s: float) -> bool:
        """Note one more, now; whether there were too many of late.

        >>> told = Fencings()
        >>> [told.many(now_s) for now_s in (0, 9, *range(10, 16), 16)]
        [False, False, False, False, False, False, False, False, True]
        """
        self._at_s.append(now_s)
        return len(self._at_s) == FENCED_MOST and now_s - self._at_s[0] < FENCED_S


class Transport(stock.Transport):  # type: ignore[misc]
    """Registered under `restock://`."""

    Consumer: ClassVar[type] = Consumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
