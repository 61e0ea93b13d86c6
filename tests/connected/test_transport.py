"""What only a real Kafka and Faust can do to the transport. What it shares with the memory log is in the contract."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from stream.errors import Away, PartitionsChanged, RecordsGone
from stream.events.topics import SKU_EVENTS, SOURCES, full_name
from stream.transport.port import Batch, Send
from stream.transport.sender import KafkaSender
from tests.connected.rigs import SHELVES, KafkaRig
from tests.connected.running import Remember, config, fill, running, until
from tests.kafka import Broker

pytestmark = pytest.mark.kafka


def numbered(count: int) -> list[list[bytes]]:
    return [[b"%d/%d" % (shelf, i) for i in range(count)] for shelf in SHELVES]


def test_told_to_stop_under_a_backlog_a_worker_finishes_the_poll_in_hand_and_no_other(kafka: Broker) -> None:
    """What waits on the desk is left for the next worker, which goes on without a gap."""
    at, sent, work = config(kafka.bootstrap, poll_max_records=100), numbered(1_000), Remember()
    fill(at, sent)
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: Sequence[Batch]) -> Sequence[int]:
        in_hand.set()
        await go_on.wait()
        return ()

    work.before = hold

    async def run() -> None:
        async with running(at, work) as app:
            await in_hand.wait()
            await until(lambda: not app.desks[0].has_room(), "another poll waits on the desk")
            asyncio.get_running_loop().call_later(0.2, go_on.set)  # while the worker is stopping
        assert len(work.polls) == 1
        assert work.released == [list(SHELVES)]
        work.before = None
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 8_000, "the rest kept")

    asyncio.run(run())
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


def test_a_poll_that_faust_loses_is_read_again(kafka: Broker) -> None:
    """Streams skip messages around a rebalance: everything comes all the same, once, in order."""
    at, sent, work = config(kafka.bootstrap, poll_max_records=100), numbered(500), Remember()
    fill(at, sent)

    async def run() -> None:
        async with running(at, work) as app:
            deliver, came = app.consumer.callback, 0

            async def lossy(message: Any) -> None:
                nonlocal came
                came += 1
                if came not in (3, 9):
                    await deliver(message)

            app.consumer.callback = lossy
            await until(lambda: sum(work.standing.values()) == 4_000, "all kept")
            assert came > 9

    asyncio.run(run())
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


def test_an_agent_that_raises_ends_the_process(kafka: Broker) -> None:
    """Faust would restart it with the next message; ours never sees another one."""
    rig, work, seen = KafkaRig(kafka), Remember(), []
    rig.fill(numbered(100))

    async def fail(batches: Sequence[Batch]) -> Sequence[int]:
        seen.append(batches)
        raise AssertionError("our own mistake")

    work.before = fail
    with pytest.raises(AssertionError, match="our own mistake"):
        rig.read(work, None)
    assert len(seen) == 1
    assert work.batches == []
    assert work.released == []  # what is in doubt is not tidied up


def test_records_deleted_while_a_worker_lags_stop_it(kafka: Broker) -> None:
    """Retention overtakes a slow reader: it stops instead of starting again somewhere else."""
    rig, work, overtaken = KafkaRig(kafka), Remember(), []
    rig.at = config(kafka.bootstrap, poll_max_records=100, buffer_bytes=1 << 20)
    rig.fill([[b"x" * 2_000] * 4_000])

    async def overtake(batches: Sequence[Batch]) -> Sequence[int]:
        if not overtaken:
            overtaken.extend(batches)
            await asyncio.to_thread(rig.delete_below, 0, 4_000)
        return ()

    work.before = overtake
    with pytest.raises(RecordsGone, match="partition 0 were deleted before they were read"):
        rig.read(work, None)
    assert work.standing[0] < 4_000


def test_another_number_of_partitions_is_refused(kafka: Broker) -> None:
    """Rows find their shelf by partition number, so a grown topic stops the worker."""
    rig = KafkaRig(kafka)
    admin, name = AdminClient({"bootstrap.servers": kafka.bootstrap}), full_name(rig.at.namespace, SKU_EVENTS.name)
    admin.create_partitions([NewPartitions(name, 9)])[name].result(30)
    asyncio.run(until(lambda: len(admin.list_topics(timeout=10).topics[name].partitions) == 9, "the topic has grown"))
    with pytest.raises(PartitionsChanged, match=re.escape(f"{name} has 9 partitions")):
        rig.read(Remember(), None)


class Quiet:
    """An intake that remembers its polls and idle moments."""

    def __init__(self) -> None:
        self.polls: list[list[tuple[str, int]]] = []
        self.idles: list[tuple[list[tuple[str, int]], int]] = []
        self.next: dict[tuple[str, int], int] = {}
        self.blocked: asyncio.Event | None = None

    async def positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int | None]:
        return {at: self.next.get(at) for at in partitions}

    async def poll(self, batches: Sequence[Batch]) -> None:
        if self.blocked is not None:
            await self.blocked.wait()
        self.polls.append([(batch.topic, batch.partition) for batch in batches])
        self.next.update({(batch.topic, batch.partition): batch.next for batch in batches})

    async def idle(self, at_end: Sequence[tuple[str, int]], now_ms: int) -> None:
        self.idles.append((list(at_end), now_ms))

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        pass


def test_one_poll_brings_all_source_topics_and_a_partition_is_at_its_end_as_of_the_brokers_word(kafka: Broker) -> None:
    """Six topics come as one message; read to the end, their end is dated by the answer that said so, not by now."""
    at = config(kafka.bootstrap, mark_interval_ms=50)
    for topic in SOURCES:
        fill(at, [[b"1"]], topic)
    work, every = Quiet(), 2 * 4 + 2
    begun_ms = time.time_ns() // 1_000_000

    async def run() -> None:
        async with running(at, None, work):
            await until(lambda: bool(work.idles) and len(work.idles[-1][0]) == every, "all read to the end")
            assert max(len(poll) for poll in work.polls) > 1
            assert sorted(work.idles[-1][0]) == sorted([(t, p) for t in SOURCES for p in range(at.partition_count(t))])
            assert begun_ms < work.idles[-1][1] <= time.time_ns() // 1_000_000

    asyncio.run(run())
    assert work.next == {(topic, 0): 1 for topic in SOURCES}


def test_a_partition_whose_records_wait_on_the_desk_is_not_at_its_end(kafka: Broker) -> None:
    """Everything is fetched, but not answered: marks may not run ahead of what was translated."""
    at, work = config(kafka.bootstrap, mark_interval_ms=20), Quiet()
    fill(at, [[b"1"], [b"1"]], "orders")

    async def run() -> None:
        work.blocked = asyncio.Event()
        async with running(at, None, work) as app:
            await until(lambda: not app.desks[0].empty(), "a poll is in hand")
            ends, _ = await app.consumer.at_end(app.desks[0])
            assert ends == []
            work.blocked.set()
            await until(lambda: any(("orders", 0) in ends for ends, _ in work.idles), "at the end")
            assert ("orders", 0) in work.next

    asyncio.run(run())


def test_a_broker_that_is_away_for_a_while_costs_nothing(own_kafka: Broker) -> None:
    """A worker waits for it and goes on; a sender that waited too long says Away and works again afterwards."""
    at, work = config(own_kafka.bootstrap), Remember()
    fill(at, numbered(50))

    async def run() -> None:
        sender = KafkaSender(at.brokers, at.namespace)
        hasty = KafkaSender(at.brokers, at.namespace, deliver_s=3.0)
        await hasty.send([Send(SKU_EVENTS.name, 0, None, b"0/50")])
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 401, "all kept")
            own_kafka.pause()
            try:
                waiting = asyncio.create_task(sender.send([Send(SKU_EVENTS.name, 1, None, b"1/50")]))
                with pytest.raises(Away, match="did not take what we send"):
                    await hasty.send([Send(SKU_EVENTS.name, 3, None, b"maybe")])
                assert not waiting.done()
            finally:
                own_kafka.resume()
            await waiting
            await hasty.send([Send(SKU_EVENTS.name, 2, None, b"2/50")])
            await until(lambda: work.values(1)[-1:] == [b"1/50"] and work.values(2)[-1:] == [b"2/50"], "both read")
        await sender.close()
        await hasty.close()

    asyncio.run(run())
    assert work.values(0) == [b"0/%d" % i for i in range(51)]


def test_a_named_worker_that_restarts_within_its_session_has_its_partitions_back_at_once(kafka: Broker) -> None:
    """Static membership: it does not leave when it stops, and is known by name instead of waiting for its ghost."""
    rig = KafkaRig(kafka)
    rig.at = config(kafka.bootstrap, instance_id="worker-0", session_timeout_ms=60_000)  # a ghost would outlast us
    rig.fill(numbered(10))
    first = Remember()
    rig.read(first, lambda: sum(first.standing.values()) == 80)
    rig.fill([[b"0/10"]])
    second = Remember(dict(first.standing))
    rig.read(second, lambda: second.standing[0] == 11)
    assert second.taken == [list(SHELVES)]


def test_a_sender_keeps_the_order_of_each_partition_over_many_sends_at_once(kafka: Broker) -> None:
    """A hundred sends of eight partitions, not awaited one by one, arrive in the order they were begun."""
    at, work = config(kafka.bootstrap), Remember()

    async def run() -> None:
        sender = KafkaSender(at.brokers, at.namespace)
        sends = [[Send(SKU_EVENTS.name, shelf, b"k", b"%d" % i) for shelf in SHELVES] for i in range(100)]
        await asyncio.gather(*(sender.send(records) for records in sends))
        await sender.close()
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 800, "all kept")

    asyncio.run(run())
    assert all(work.values(shelf) == [b"%d" % i for i in range(100)] for shelf in SHELVES)


def test_what_this_worker_writes_is_handed_to_its_planner_and_what_others_write_is_fetched(kafka: Broker) -> None:
    """Both write into every shelf at once: each record comes once, in the order of the log."""
    at, work = config(kafka.bootstrap), Remember()

    async def run() -> None:
        ours, theirs = KafkaSender(at.brokers, at.namespace), KafkaSender(at.brokers, at.namespace)
        async with running(at, work) as app:
            ours.heard = app.hand_over
            inbox, handed = app.desks[0].inbox, 0
            await until(lambda: len(app.desks[0].kept) == len(SHELVES), "all taken")
            for i in range(60):
                handed_s = inbox.handed_s
                sends = [ours.send([Send(SKU_EVENTS.name, shelf, b"ours", b"%d" % i) for shelf in SHELVES])]
                if i % 4 == 0:
                    sends.append(
                        theirs.send([Send(SKU_EVENTS.name, shelf, b"theirs", b"t%d" % i) for shelf in SHELVES])
                    )
                await asyncio.gather(*sends)
                handed += inbox.handed_s > handed_s
            await until(lambda: sum(work.standing.values()) == 75 * len(SHELVES), "all kept")
            assert handed > 10
        await ours.close()
        await theirs.close()

    asyncio.run(run())
    for shelf in SHELVES:
        ours = [value for value in work.values(shelf) if not value.startswith(b"t")]
        theirs = [value for value in work.values(shelf) if value.startswith(b"t")]
        assert ours == [b"%d" % i for i in range(60)]
        assert theirs == [b"t%d" % i for i in range(0, 60, 4)]


def test_a_record_larger_than_the_topic_takes_is_refused_by_name(kafka: Broker) -> None:
    """Nothing is cut off or dropped: the send fails."""
    at = config(kafka.bootstrap)

    async def run() -> None:
        sender = KafkaSender(at.brokers, at.namespace)
        with pytest.raises(Away, match="Kafka did not take"):
            await sender.send([Send("positions", 0, None, b"x" * (2 << 20))])
        await sender.close()

    asyncio.run(run())


def test_what_the_ledger_has_is_committed_for_lag_tools_and_decides_nothing(kafka: Broker) -> None:
    """The group's committed offset follows the ledger; a wrong one in Kafka changes nothing."""
    rig, work = KafkaRig(kafka), Remember()
    rig.fill(numbered(10))
    rig.read(work, lambda: sum(work.standing.values()) == 80)

    group = {"bootstrap.servers": kafka.bootstrap, "group.id": f"{rig.at.namespace}.worker"}
    consumer, topic = Consumer(group), full_name(rig.at.namespace, SKU_EVENTS.name)
    committed = consumer.committed([TopicPartition(topic, shelf) for shelf in SHELVES], timeout=10)
    assert [one.offset for one in committed] == [10] * 8
    consumer.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    consumer.close()

    again = Remember(dict(work.standing))
    fill(rig.at, [[b"0/10"]])
    rig.read(again, lambda: again.standing[0] == 11)
    assert again.values(0) == [b"0/10"]
