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
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import aiokafka
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread

from stream.errors import Fenced, PartitionsChanged, RecordsGone
from stream.transport.bounds import GONE_HINT, check_in_log
from stream.transport.desk import Desk
from stream.transport.inbox import MUCH_BYTES
from stream.transport.port import Batch, Sent
from stream.transport.stamped import Stamped, size_of

SCHEME = "restock"
FETCH_S = 0.1  # how long one fetch may wait: after it, newly taken partitions are asked for too
# A poll costs 5 to 10 ms of CPU whatever it brings, and each of intake's makes the planner's dearer: at 1,000 orders/s
# p99 was 529 ms in two processes with 10 ms from poll to poll, 170 with 25. Large polls follow at once.
PACE_S = 0.025
MORE_S = 0.01  # from drain to drain
LOOK_S = 0.005  # while something little waits until it is due: whether it has become much, or some was handed over
BRIEF_WAIT_MS = 5  # how long the broker may hold a fetch that does not ask for everything
HANDING_S = 0.1  # a desk that is handed its records is fetched for this often: others may write too
FETCH_BUSY_S = 0.1  # how long a desk without room is left alone if it does not say that it has some
LOST_MOST = 3  # polls in a row that Faust may lose
NOTE_S = 5.0  # a commit for lag tools that takes longer is given up
LAST_NOTE_S = 1.0  # the same while somebody waits for our partitions

log = logging.getLogger(__name__)


class Records(fetcher.PartitionRecords):  # type: ignore[misc]
    """A fetched partition whose records stay as they were parsed: a `ConsumerRecord` each would double the cost."""

    def __iter__(self) -> Any:
        return self._records_iterator

    def _consumer_record(self, tp: Any, record: Any) -> Any:  # noqa: ARG002 - aiokafka's
        return record


fetcher.PartitionRecords = Records  # the fetcher makes them by this name


class _Daemon(WorkerThread):  # type: ignore[misc]
    """A thread that does not keep a process alive whose loop has ended."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True


def _ask(fetcher: Any, actions: Callable[[Any], tuple[Any, ...]], assignment: Any) -> tuple[Any, ...]:
    """What aiokafka would ask of each node next, and how long (s) it would wait for something to change; mended twice.

    A fetch asks for partitions with nothing unread, one fetch a node at a time. One that asks for quiet partitions
    alone keeps the busy ones, once they are read, waiting for as long as it may: so it may briefly.
    When a fetch is done just as something is read, aiokafka looks before its own note of it is gone: it believes the
    node busy, asks nothing, and waits 0.2 s. So it is to look again at once.
    """
    longest = fetcher._fetch_max_wait_ms
    fetcher._fetch_max_wait_ms = min(longest, BRIEF_WAIT_MS) if fetcher._records else longest
    fetches, resets, wait_s, *rest = actions(assignment)
    fetcher._fetch_max_wait_ms = longest
    missed = len(fetcher._in_flight) > len(fetcher._pending_tasks)
    return fetches, resets, 0.0 if missed else wait_s, *rest


class Thread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's own thread. `era`, `stamps` and `cursors` are written here only, in one step with their cause."""

    Worker = _Daemon

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.era = 0  # grows with every revocation: positions asked for in an older era are not used
        self.stamps: dict[TP, int] = {}
        self.cursors: dict[TP, int] = {}  # taken partitions: where the next batch starts
        super().__init__(*args, **kwargs)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        pace = self.app.pace
        consumer._fetch_max_wait_ms = (
            pace.fetch_wait_ms
        )  # Faust has 1,500 ms written in, and one fetch a node in flight
        consumer._fetch_max_bytes = pace.fetch_max_bytes
        return consumer

    async def on_start(self) -> None:
        """Start the consumer."""
        await super().on_start()
        # While a partition fetched less than this ago is unread, no other one is asked for on that node. Faust's 0.1 s
        # would let a busy intake keep the planner waiting; none at all asks anew with every record that comes, a fetch
        # costing a millisecond. What is unread is bounded by bytes a partition instead.
        asking = self._ensure_consumer()._fetcher
        asking._prefetch_backoff = BRIEF_WAIT_MS / 1000
        asking._get_actions_per_node = partial(_ask, asking, asking._get_actions_per_node)

    async def fetch(self, desk: Desk, once: bool, push: Callable[[list[Stamped]], None]) -> None:
        """Drain a desk's topics and push what was found: once, or for a while until much waits. Runs in this thread.

        It is drained often, as nothing is asked for that lies here unread.
        """
        until_s = self.thread_loop.time() + FETCH_S
        while (left_s := until_s - self.thread_loop.time()) > 0:
            wanted = {tp for tp in self.cursors if tp.topic in desk.topics}
            parts = await self._drain(wanted, left_s) if wanted else []  # an empty set would fetch from all
            if parts:
                push(parts)
            if once or size_of(parts) + desk.inbox.size_bytes >= MUCH_BYTES:
                return
            await asyncio.sleep(MORE_S)

    async def _drain(self, wanted: set[TP], timeout: float) -> list[Stamped]:
        consumer = self._ensure_consumer()
        try:
            records = await self._fetch_records(consumer, wanted, timeout, consumer._max_poll_records)
        except NoOffsetForPartitionError:
            return []  # said of partitions before we seek: the group has no offset of its own, and needs none
        except OffsetOutOfRangeError as error:
            self._check_out_of_range(error)
            return []
        # No await from the drain to here, so that no seek can come between a fetch and its stamp. (Stamped on the main
        # loop, records fetched *after* a seek carried the stamp of before it and were thrown away: a silent loss.)
        return [self._stamp(TP(*key), found) for key, found in records.items() if found and TP(*key) in self.cursors]

    def _stamp(self, tp: TP, found: Sequence[Any]) -> Stamped:
        state = self._ensure_consumer()._subscription.subscription.assignment.state_value(TopicPartition(*tp))
        start, after = self.cursors[tp], state.position
        assert start <= found[0].offset <= found[-1].offset < after, f"{tp}: fetched {found[0].offset} at {start}"
        self.cursors[tp] = after
        values = [record.value for record in found]
        batch = Batch(
            self.app.short_name(tp.topic),
            tp.partition,
            start,
            after,
            max(state.highwater or 0, after),
            [record.offset for record in found],
            [record.timestamp for record in found],
            [record.key for record in found],
            values,
            [record.headers for record in found],
        )
        return Stamped(tp, self.stamps[tp], batch, sum(len(value) for value in values if value is not None))

    def _check_out_of_range(self, error: OffsetOutOfRangeError) -> None:
        """An offset we stand at left the log: stop. One of before a seek says nothing."""
        for key, offset in error.args[0].items():
            if self.cursors.get(TP(*key)) == offset:
                raise RecordsGone(
                    f"records of {key.topic} partition {key.partition} were deleted before they were read",
                    f"offset {offset:,} is no longer in the log",
                    GONE_HINT,
                )

    async def reposition(self, era: int, offsets: Mapping[TP, int | None]) -> dict[TP, tuple[int, int]]:
        """Seek; returns the new stamps and where reading starts. Runs in the consumer thread.

        None seeks to the beginning. Nothing happens when partitions were revoked since `era`. Raises RecordsGone or
        PartitionsChanged before anything is sought.
        """
        consumer = self._ensure_consumer()
        self._check_partition_counts(consumer)
        keys = [TopicPartition(*tp) for tp in offsets]
        begins, ends = await consumer.beginning_offsets(keys), await consumer.end_offsets(keys)
        if era != self.era:
            return {}
        found = {tp: begins[TopicPartition(*tp)] if at is None else at for tp, at in offsets.items()}
        for tp, at in found.items():
            check_in_log(tp, at, begins[TopicPartition(*tp)], ends[TopicPartition(*tp)] + self.app.pace.end_slack)
        for tp, at in found.items():
            consumer.seek(TopicPartition(*tp), at)
            self.stamps[tp] = self.stamps.get(tp, 0) + 1  # in the same step as the seek
            self.cursors[tp] = at
        return {tp: (self.stamps[tp], at) for tp, at in found.items()}

    def _check_partition_counts(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        for topic, expected in self.app.partition_counts.items():
            found = len(consumer.partitions_for_topic(topic) or ())
            if found != expected:
                raise PartitionsChanged(
                    f"{topic} has {found} partitions, and the ledger was begun with {expected}",
                    "rows find their shelf, and repeats are recognised, by partition number",
                    "create the topic anew with the old number, or start a new namespace and replay into it",
                )

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Called in this thread as a rebalance begins: what was fetched, and positions being asked for, are void."""
        self._void()
        await super().on_partitions_revoked(revoked)

    def rejoin(self) -> None:
        """Begin a rebalance, which takes everything anew."""
        self._void()
        self._ensure_consumer()._coordinator.request_rejoin()

    def _void(self) -> None:
        self.era += 1
        self.cursors.clear()  # assignors are eager: everything is revoked
        for tp in self.stamps:
            self.stamps[tp] += 1

    def at_end(self) -> dict[TP, tuple[int, int]]:
        """Taken partitions whose last fetch found nothing more: cursor, and when (ms) the broker said so."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        states = {tp: assignment.state_value(TopicPartition(*tp)) for tp in self.cursors} if assignment else {}
        return {
            tp: (self.cursors[tp], state.timestamp)
            for tp, state in states.items()
            if state is not None and state.highwater is not None and state.position >= state.highwater
        }

    def ends(self) -> dict[TP, tuple[int, int]]:
        """Log end of every partition that was fetched from, and when (ms) the broker said so."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        states = {tp: assignment.state_value(TopicPartition(*tp)) for tp in self.cursors} if assignment else {}
        return {tp: (s.highwater, s.timestamp) for tp, s in states.items() if s is not None and s.highwater is not None}

    async def note(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets for lag tools."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        theirs = {TopicPartition(*tp): OffsetAndMetadata(at, "") for tp, at in offsets.items()}
        ours = {key: at for key, at in theirs.items() if key in assigned}
        if ours:
            await consumer.commit(ours)

    def close(self) -> None:
        """Nothing: the stock one closes the client from another thread's loop when a rebalance meets a stop."""


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
            handing = loop.time() - inbox.handed_s < HANDING_S
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
            while not inbox.at_once and (left_s := due_s - clock()) > 0:
                await asyncio.sleep(min(left_s, LOOK_S))
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
        log.warning("fenced, joining the group anew: %s", why)
        desk.fenced = True
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


class Transport(stock.Transport):  # type: ignore[misc]
    """Registered under `restock://`."""

    Consumer: ClassVar[type] = Consumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
