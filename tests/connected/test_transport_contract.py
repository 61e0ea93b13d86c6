"""What a work may rely on, from the transport over Kafka and from the one over memory alike."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from stream.errors import Fenced, RecordsGone
from stream.transport.port import Batch
from tests.connected.rigs import SHELVES, KafkaRig, MemoryRig, Rig
from tests.connected.running import Remember


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return MemoryRig()
    return KafkaRig(request.getfixturevalue("kafka"))


def numbered(count: int) -> list[list[bytes]]:
    return [[b"%d/%d" % (shelf, i) for i in range(count)] for shelf in SHELVES]


def test_every_record_of_eight_partitions_comes_once_and_in_order(rig: Rig) -> None:
    """Batches follow each other without a gap, and one poll brings several partitions."""
    sent, work = numbered(300), Remember()
    rig.fill(sent)
    rig.read(work, lambda: sum(work.standing.values()) == 2_400)
    for shelf in SHELVES:
        assert work.values(shelf) == sent[shelf]
        mine = [batch for batch in work.batches if batch.partition == shelf]
        assert all(one.next == other.start for one, other in pairwise(mine))
        assert mine[0].start == 0
        assert mine[-1].next == mine[-1].end == 300
    assert max(len(poll) for poll in work.polls) > 1
    assert work.released == [list(SHELVES)]


def test_the_ledger_says_where_reading_starts_in_both_directions(rig: Rig) -> None:
    """A ledger ahead of what was read before skips; one put back to an older place reads again from there."""
    sent = numbered(100)
    rig.fill(sent)

    def read(standing: dict[int, int]) -> Remember:
        work = Remember(standing)
        rig.read(work, lambda: all(work.standing.get(shelf, 0) == 100 for shelf in SHELVES))
        return work

    read({})  # on Kafka this leaves 100 as the group's committed offset
    behind, mixed = read(dict.fromkeys(SHELVES, 40)), read({0: 99, 1: 0})
    assert all(behind.values(shelf) == sent[shelf][40:] for shelf in SHELVES)
    assert mixed.values(0) == sent[0][99:]
    assert mixed.values(1) == sent[1]
    assert mixed.values(2) == sent[2]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_fetched_before_a_seek_is_put_away_and_what_came_after_is_kept(rig: Rig, seed: int) -> None:
    """Shelves found stale at random moments under a backlog are taken and sought again; nothing is lost or doubled.

    The historic loss: stamped on the main loop, records fetched after a seek carried the stamp of before it.
    """
    sent, work = numbered(500), Remember()
    rig.fill(sent)
    chance, stales = random.Random(seed), []

    async def stale(batches: Sequence[Batch]) -> Sequence[int]:
        found = [batch.partition for batch in batches if chance.random() < 0.3]
        stales.extend(found)
        await asyncio.sleep(chance.choice([0, 0.002]))  # sometimes the next fetch is under way, sometimes not
        return found

    work.before = stale
    rig.read(work, lambda: sum(work.standing.values()) == 4_000)
    assert stales
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


def test_a_fenced_worker_takes_everything_anew_and_goes_on(rig: Rig) -> None:
    """Fenced while still a member: everything is let go and taken again, nothing is lost."""
    sent, work = numbered(300), Remember()
    rig.fill(sent)
    fences = [1, 3]

    async def fenced(_: Sequence[Batch]) -> Sequence[int]:
        if fences and len(work.polls) == fences[0]:
            fences.pop(0)
            raise Fenced("a newer owner holds a shelf")
        return ()

    work.before = fenced
    rig.read(work, lambda: sum(work.standing.values()) == 2_400)
    assert fences == []
    assert work.taken == [list(SHELVES)] * 3
    assert all(work.values(shelf) == sent[shelf] for shelf in SHELVES)


def test_a_ledger_behind_the_log_is_refused_and_says_how_many_records_are_gone(rig: Rig) -> None:
    """Kafka would quietly begin at the earliest record left; we stop and count."""
    rig.fill(numbered(100))
    rig.delete_below(3, 50)
    with pytest.raises(RecordsGone, match=r"40 records of .*sku-events partition 3") as error:
        rig.read(Remember(dict.fromkeys(SHELVES, 10)), None)
    assert "accept-loss" in error.value.hint


def test_a_fresh_ledger_begins_where_the_log_begins(rig: Rig) -> None:
    """Without a place in the ledger, deleted records are nobody's loss."""
    sent, work = numbered(100), Remember()
    rig.fill(sent)
    rig.delete_below(3, 50)
    rig.read(work, lambda: all(work.standing.get(shelf) == 100 for shelf in SHELVES))
    assert work.values(3) == sent[3][50:]


def test_a_ledger_ahead_of_the_log_is_refused(rig: Rig) -> None:
    """A topic made anew under an old ledger would otherwise be waited for, or begun somewhere else."""
    rig.fill(numbered(100))
    with pytest.raises(RecordsGone, match=r"23 records ahead of .*sku-events partition 5"):
        rig.read(Remember({5: 123}), None)
