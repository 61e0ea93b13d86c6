"""The consumer's own thread: what is asked of the brokers, what they sent, stamped, and where reading goes on.

It drains what was fetched and cuts it into one `Batch` a partition, stamped in the step that drained it; every seek and
every revocation changes the stamp. Deliveries and decisions are the main loop's (driver.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from mode.threads import WorkerThread

from stream.errors import PartitionsChanged, RecordsGone
from stream.transport.bounds import GONE_HINT, check_in_log
from stream.transport.desk import Desk
from stream.transport.inbox import MUCH_BYTES
from stream.transport.port import Batch
from stream.transport.stamped import Stamped, size_of

FETCH_S = 0.1  # how long one fetch may wait: after it, newly taken partitions are asked for too
MORE_S = 0.005  # from drain to drain
BRIEF_WAIT_MS = 5  # how long the broker may hold a fetch that does not ask for everything
GATHER_MS = 25  # while records come: how long the broker gathers company for the first of them
COMING_S = 0.1  # records were drained less than this ago: they come


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


class Thread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's own thread. `era`, `stamps` and `cursors` are written here only, in one step with their cause."""

    Worker = _Daemon

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.era = 0  # grows with every revocation: positions asked for in an older era are not used
        self.stamps: dict[TP, int] = {}
        self.cursors: dict[TP, int] = {}  # taken partitions: where the next batch starts
        self._drained_s = float("-inf")  # when there was something to drain, by this thread's loop
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
        asking._get_actions_per_node = partial(self._ask, asking, asking._get_actions_per_node)

    def _ask(self, asking: Any, actions: Callable[[Any], tuple[Any, ...]], assignment: Any) -> tuple[Any, ...]:
        """What aiokafka would ask of each node next, and how long (s) it would wait for something to change; mended.

        When a fetch is done just as something is read, aiokafka looks before its own note of it is gone: it believes
        the node busy, asks nothing, and waits 0.2 s. So it is to look again at once.
        """
        longest = asking._fetch_max_wait_ms
        asking._fetch_max_wait_ms, asking._fetch_min_bytes = self._patience(asking, longest)
        fetches, resets, wait_s, *rest = actions(assignment)
        asking._fetch_max_wait_ms = longest
        missed = len(asking._in_flight) > len(asking._pending_tasks)
        return fetches, resets, 0.0 if missed else wait_s, *rest

    def _patience(self, asking: Any, longest_ms: int) -> tuple[int, int]:
        """How long (ms) the broker may hold the next fetch, and the bytes with which it answers at once.

        A fetch asks for partitions with nothing unread, one fetch a node at a time. One that asks for quiet partitions
        alone keeps the busy ones, once they are read, waiting for as long as it may: so it may briefly. While records
        come the broker gathers them: answered with the first of them, a fetch would leave those behind it to the next.
        """
        now_s = self.thread_loop.time()
        if any(not self._handed(tp.topic, now_s) for tp in asking._records):
            return min(longest_ms, BRIEF_WAIT_MS), 1
        return (min(longest_ms, GATHER_MS), MUCH_BYTES) if now_s - self._drained_s < COMING_S else (longest_ms, 1)

    def _handed(self, topic: str, now_s: float) -> bool:
        """Whether the topic's records come from our own intake just now, so that what was fetched of it may lie."""
        return any(topic in desk.topics and desk.inbox.handing(now_s) for desk in self.app.desks)

    async def fetch(self, desk: Desk, once: bool, push: Callable[[list[Stamped]], None]) -> None:
        """Drain a desk's topics and push what was found: once, or for a while until much waits. Runs in this thread.

        It is drained often, as nothing is asked for that lies here unread.
        """
        until_s = self.thread_loop.time() + FETCH_S
        while (left_s := until_s - self.thread_loop.time()) > 0:
            wanted = {tp for tp in self.cursors if tp.topic in desk.topics}
            parts = await self._drain(wanted, left_s) if wanted else []  # an empty set would fetch from all
            if parts:
                self._drained_s = self.thread_loop.time()
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
