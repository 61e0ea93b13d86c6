"""The transport on a real Kafka: nothing lost, nothing skipped, whatever is sought, revoked, or refused."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from stream.errors import Fenced, PartitionsChanged, RecordsGone
from stream.events.topics import SKU_EVENTS, full_name
from stream.transport.app import Config
from stream.transport.port import Batch
from tests.connected.running import Remember, config, fill, running, until, until_ended
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SHELVES = range(8)


def numbered(count: int, shelves: Sequence[int] = SHELVES) -> list[list[bytes]]:
    return [[b"%d/%d" % (shelf, i) for i in range(count)] for shelf in shelves]


def test_every_record_of_eight_partitions_comes_once_and_in_order(kafka: Broker) -> None:
    """Batches follow each other without a gap, and one poll brings several partitions."""
    at, sent, work = config(kafka.bootstrap, poll_max_records=3_000), numbered(2_000), Remember()
    fill(at, sent)

    async def run() -> None:
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 16_000, "all records kept")

    asyncio.run(run())
    for shelf in SHELVES:
        assert work.values(shelf) == sent[shelf]
        mine = [batch for batch in work.batches if batch.partition == shelf]
        assert all(one.next == other.start for one, other in pairwise(mine))
        assert mine[0].start == 0
        assert mine[-1].next == mine[-1].end == 2_000
    assert max(len(poll) for poll in work.polls) > 1
    assert work.released == [list(SHELVES)]


def test_the_ledger_says_where_reading_starts_in_both_directions(kafka: Broker) -> None:
    """A ledger ahead of what the group committed skips; one put back to an older place reads again from there."""
    at, sent = config(kafka.bootstrap), numbered(100)
    fill(at, sent)

    async def read(standing: dict[int, int]) -> Remember:
        work = Remember(standing)
        async with running(at, work):
            await until(lambda: all(work.standing.get(shelf, 0) == 100 for shelf in SHELVES), "read to the end")
        return work

    asyncio.run(read({}))  # leaves 100 as the group's committed offset
    behind = asyncio.run(read(dict.fromkeys(SHELVES, 40)))
    mixed = asyncio.run(read({0: 99, 1: 0}))
    assert all(behind.values(shelf) == sent[shelf][40:] for shelf in SHELVES)
    assert mixed.values(0) == sent[0][99:]
    assert mixed.values(1) == sent[1]
    assert mixed.values(2) == sent[2]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_fetched_before_a_seek_is_put_away_and_what_came_after_is_kept(kafka: Broker, seed: int) -> None:
    """Shelves found stale at random moments under a backlog are taken and sought again; nothing is lost or doubled.

    The historic loss: stamped on the main loop, records fetched after a seek carried the stamp of before it.
    """
    at, sent, work = config(kafka.bootstrap, poll_max_records=50), numbered(500), Remember()
    fill(at, sent)
    chance, stales = random.Random(seed), []

    async def stale(batches: Sequence[Batch]) -> Sequence[int]:
        found = [batch.partition for batch in batches if chance.random() < 0.2]
        stales.extend(found)
        await asyncio.sleep(chance.choice([0, 0.002]))  # sometimes the next fetch is under way, sometimes not
        return found

    work.before = stale

    async def run() -> None:
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 4_000, "all records kept")

    asyncio.run(run())
    assert len(stales) > 5
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


def test_a_fenced_worker_joins_the_group_anew_and_goes_on(kafka: Broker) -> None:
    """Fenced while still a member: everything is let go and taken again, nothing is lost."""
    at, sent, work = config(kafka.bootstrap, poll_max_records=100), numbered(300), Remember()
    fill(at, sent)
    fences = [3, 6]

    async def fenced(_: Sequence[Batch]) -> Sequence[int]:
        if fences and len(work.polls) == fences[0]:
            fences.pop(0)
            raise Fenced("a newer owner holds a shelf")
        return ()

    work.before = fenced

    async def run() -> None:
        async with running(at, work):
            await until(lambda: sum(work.standing.values()) == 2_400, "all records kept")

    asyncio.run(run())
    assert work.taken == [list(SHELVES)] * 3
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


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


def ends(at: Config, work: Remember) -> None:
    async def run() -> None:
        async with running(at, work):
            await until_ended()

    asyncio.run(run())


def delete_below(at: Config, shelf: int, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": at.brokers})
    for answer in admin.delete_records(
        [TopicPartition(full_name(at.namespace, SKU_EVENTS.name), shelf, offset)]
    ).values():
        answer.result(30)


def test_a_ledger_behind_the_log_is_refused_and_says_how_many_records_are_gone(kafka: Broker) -> None:
    """Kafka would quietly begin at the earliest record left; we stop and count."""
    at = config(kafka.bootstrap)
    fill(at, numbered(100))
    delete_below(at, 3, 50)
    with pytest.raises(RecordsGone, match=r"40 records of .*sku-events partition 3") as error:
        ends(at, Remember(dict.fromkeys(SHELVES, 10)))
    assert "--accept-loss" in error.value.hint


def test_a_fresh_ledger_begins_where_the_log_begins(kafka: Broker) -> None:
    """Without a place in the ledger, deleted records are nobody's loss."""
    at, sent, work = config(kafka.bootstrap), numbered(100), Remember()
    fill(at, sent)
    delete_below(at, 3, 50)

    async def run() -> None:
        async with running(at, work):
            await until(lambda: all(work.standing.get(shelf) == 100 for shelf in SHELVES), "read to the end")

    asyncio.run(run())
    assert work.values(3) == sent[3][50:]


def test_a_ledger_ahead_of_the_log_is_refused(kafka: Broker) -> None:
    """A topic made anew under an old ledger would otherwise be waited for, or begun somewhere else."""
    at = config(kafka.bootstrap)
    fill(at, numbered(100))
    with pytest.raises(RecordsGone, match=r"23 records ahead of .*sku-events partition 5"):
        ends(at, Remember({5: 123}))


def test_records_deleted_while_a_worker_lags_stop_it(kafka: Broker) -> None:
    """Retention overtakes a slow reader: it stops instead of starting again somewhere else."""
    at = config(kafka.bootstrap, poll_max_records=100, buffer_bytes=1 << 20)
    work = Remember()
    fill(at, [[b"x" * 2_000] * 4_000])
    overtaken: list[Batch] = []

    async def overtake(batches: Sequence[Batch]) -> Sequence[int]:
        if not overtaken:
            overtaken.extend(batches)
            await asyncio.to_thread(delete_below, at, 0, 4_000)
        return ()

    work.before = overtake
    with pytest.raises(RecordsGone, match="partition 0 were deleted before they were read"):
        ends(at, work)
    assert work.standing[0] < 4_000


def test_another_number_of_partitions_is_refused(kafka: Broker) -> None:
    """Rows find their shelf by partition number, so a grown topic stops the worker."""
    at = config(kafka.bootstrap)
    admin = AdminClient({"bootstrap.servers": at.brokers})
    name = full_name(at.namespace, SKU_EVENTS.name)
    admin.create_partitions([NewPartitions(name, 9)])[name].result(30)
    asyncio.run(until(lambda: len(admin.list_topics(timeout=10).topics[name].partitions) == 9, "the topic has grown"))
    with pytest.raises(PartitionsChanged, match=re.escape(f"{name} has 9 partitions")):
        ends(at, Remember())


def test_an_agent_that_raises_ends_the_process(kafka: Broker) -> None:
    """Faust would restart it with the next message; ours never sees another one."""
    at, work = config(kafka.bootstrap, poll_max_records=10), Remember()
    fill(at, numbered(100))
    seen: list[int] = []

    async def fail(_: Sequence[Batch]) -> Sequence[int]:
        seen.append(1)
        raise AssertionError("our own mistake")

    work.before = fail
    with pytest.raises(AssertionError, match="our own mistake"):
        ends(at, work)
    assert len(seen) == 1
    assert work.batches == []
    assert work.released == []  # what is in doubt is not tidied up
