"""The desk: how much may wait on it, and what is forgotten when Faust empties its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from faust.types import TP

from stream.transport.app import Config, pace_of
from stream.transport.desk import POLLS_AHEAD, Desk
from stream.transport.inbox import MUCH_BYTES
from stream.transport.port import Batch
from stream.transport.stamped import Stamped


class Nothing:
    name, topics = "planner", ("ns.sku-events",)

    async def take(self, tps: Sequence[TP]) -> dict[TP, int | None]:
        return {}

    async def poll(self, batches: Sequence[Batch]) -> Sequence[TP]:
        return ()

    async def release(self, tps: Sequence[TP]) -> None:
        pass


def part(shelf: int, start: int, size_bytes: int = 100) -> Stamped:
    batch = Batch("sku-events", shelf, start, start + 1, start + 1, [start], [5], [None], [b"v"], [()])
    return Stamped(TP("ns.sku-events", shelf), 1, batch, size_bytes)


def test_a_desk_holds_one_poll_in_hand_and_one_waiting() -> None:
    """The third waits in the consumer; a poll that is done makes room and says so."""
    desk = Desk(Nothing())
    polls = [desk.bring([part(0, i, MUCH_BYTES), part(1, i)]) for i in range(POLLS_AHEAD)]
    assert not desk.has_room()
    assert not desk.few()
    assert desk.waiting_bytes() == POLLS_AHEAD * (MUCH_BYTES + 100)
    assert polls[0].records == 2
    desk.done(polls[0])
    assert desk.has_room()
    assert desk.room.is_set()
    assert desk.fetch.is_set()
    assert desk.waiting_bytes() == (POLLS_AHEAD - 1) * (MUCH_BYTES + 100)


def test_a_small_poll_does_not_wait_on_the_desk() -> None:
    """Another may be fetched, and is brought with all that came meanwhile, once nothing is in hand."""
    desk = Desk(Nothing())
    poll = desk.bring([part(0, 0), part(1, 0)])
    assert desk.few()
    assert not desk.has_room()
    desk.done(poll)
    assert desk.has_room()


def test_a_poll_is_forgotten_that_waits_while_nobody_works() -> None:
    """Not the one in hand, and none once it is done."""

    async def story() -> None:
        desk = Desk(Nothing())
        poll = desk.bring([part(0, 0)])
        assert desk.forgotten() == poll.number
        async with desk.lock:
            assert desk.forgotten() == 0
        desk.done(poll)
        assert desk.forgotten() == 0

    asyncio.run(story())


def test_what_faust_has_thrown_away_takes_no_room() -> None:
    """A revocation empties the agent's queue: polls brought before it are neither waited for nor counted again."""
    desk = Desk(Nothing())
    old = [desk.bring([part(0, i)]) for i in range(POLLS_AHEAD)]
    desk.clear()
    assert desk.empty()
    new = desk.bring([part(0, 0)])
    desk.done(old[0])  # the one that was in hand ends after all
    assert not desk.empty()
    desk.done(new)
    assert desk.empty()


def test_leaving_names_everything_that_was_to_be_taken() -> None:
    """Also what was taken but not sought yet: its owner must hear that it is let go."""
    desk = Desk(Nothing())
    taken = [TP("ns.sku-events", shelf) for shelf in (2, 0)]
    desk.taken.update(taken)
    desk.answered([part(0, 7)])
    assert desk.kept == {TP("ns.sku-events", 0): 8}
    assert desk.leave() == sorted(taken)
    assert desk.kept == {}
    assert desk.leave() == []


def test_the_buffer_is_shared_between_desks_and_the_partitions_of_the_consumer() -> None:
    """With 32 MiB and 32 partitions half a MiB of each may lie unread; with few, a MiB is enough; with many, 16 KiB."""
    config = Config("k:1", "ns", 8, 4, 1)
    assert pace_of(config, 32).partition_max_bytes == 512 << 10
    assert pace_of(config, 4).partition_max_bytes == 1 << 20
    assert pace_of(config, 10_000).partition_max_bytes == 16 << 10
    assert pace_of(config, 32).waiting_max_bytes == pace_of(config, 32).fetch_max_bytes == 16 << 20
