"""The inbox: what is fetched and what is handed over is one gapless run of each partition, nothing twice."""

from __future__ import annotations

import asyncio

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream.transport.inbox import MUCH_BYTES, Inbox
from stream.transport.port import Batch, Send, Sent
from stream.transport.stamped import Stamped

A, B = TP("ns.sku-events", 0), TP("ns.sku-events", 1)


def part(tp: TP, offsets: range, stamp: int = 1, after: int | None = None) -> Stamped:
    texts = [b"%d" % offset for offset in offsets]
    after = offsets.stop if after is None else after
    batch = Batch(
        "sku-events",
        tp.partition,
        offsets.start,
        after,
        99,
        [*offsets],
        [*offsets],
        [None for _ in texts],
        texts,
        [()] * len(texts),
    )
    return Stamped(tp, stamp, batch, sum(map(len, texts)))


def sent(tp: TP, offset: int) -> Sent:
    return Sent(Send("sku-events", tp.partition, None, b"%d" % offset), offset, offset)


def hand(inbox: Inbox, tp: TP, offset: int, room: bool = True) -> None:
    inbox.hand(tp, "sku-events", sent(tp, offset), 5.0, room)


def offsets(parts: list[Stamped]) -> dict[TP, tuple[int, list[int], int]]:
    return {p.tp: (p.batch.start, list(p.batch.offsets), p.batch.next) for p in parts}


def test_what_is_handed_over_is_what_a_fetch_would_bring() -> None:
    """The same batch but for the log's end, which nobody was asked for."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    hand(inbox, A, 3)
    hand(inbox, A, 4)
    [taken] = inbox.take()
    fetched = part(A, range(3, 5))
    assert taken == fetched._replace(batch=taken.batch)
    assert (taken.batch.start, taken.batch.next, taken.batch.values) == (3, 5, fetched.batch.values)
    assert (taken.batch.offsets, taken.batch.timestamps) == ([3, 4], [3, 4])
    assert taken.batch.end == 5
    assert not inbox.came.is_set()


def test_what_a_fetch_brings_again_is_left_out() -> None:
    """Whole, in part, and before anything else is there."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    hand(inbox, A, 3)
    hand(inbox, A, 4)
    inbox.add([part(A, range(3, 4)), part(B, range(7, 9))])
    assert offsets(inbox.take()) == {A: (3, [3, 4], 5), B: (7, [7, 8], 9)}
    inbox.add([part(A, range(4, 7))])
    assert offsets(inbox.take()) == {A: (5, [5, 6], 7)}
    inbox.add([part(A, range(7, 7), after=7)])
    assert inbox.take() == []


def test_a_record_behind_somebody_elses_waits_for_the_fetch() -> None:
    """It is not taken, and whoever fetches hears of it; so where there is no room, or the broker did not say where."""
    for offset, room in ((4, True), (3, False), (-1, True)):
        inbox = Inbox()
        inbox.begin(A, 1, 3)
        hand(inbox, A, offset, room)
        assert inbox.missed.is_set()
        assert inbox.take() == []
        inbox.add([part(A, range(3, 5))])
        assert offsets(inbox.take()) == {A: (3, [3, 4], 5)}


def test_what_was_fetched_already_is_not_missed() -> None:
    """The fetch was quicker than the acknowledgement."""
    inbox = Inbox()
    inbox.add([part(A, range(3, 5))])
    hand(inbox, A, 4)
    assert not inbox.missed.is_set()
    assert offsets(inbox.take()) == {A: (3, [3, 4], 5)}


def test_nothing_is_taken_of_a_partition_that_is_not_ours() -> None:
    """Others hold it, or it was let go."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    inbox.clear()
    hand(inbox, A, 3)
    assert inbox.take() == []
    assert not inbox.missed.is_set()


def test_after_a_seek_everything_counts_from_there() -> None:
    """Backwards too; what was handed over before is gone, and a late word of the old seek changes nothing."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    hand(inbox, A, 3)
    inbox.add([part(A, range(1, 3), stamp=2)])
    inbox.begin(A, 1, 9)
    hand(inbox, A, 3)
    assert [(p.stamp, list(p.batch.offsets)) for p in inbox.take()] == [(2, [1, 2, 3])]


def test_places_without_records_are_known_to_be_empty() -> None:
    """The end of a fetch that is only markers belongs to what comes next."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    hand(inbox, A, 3)
    inbox.add([part(A, range(3, 4), after=6)])
    assert offsets(inbox.take()) == {A: (3, [3], 4)}
    inbox.add([part(A, range(6, 7))])
    assert offsets(inbox.take()) == {A: (4, [6], 7)}


def test_a_gap_is_a_fault() -> None:
    """Never one in silence."""
    inbox = Inbox()
    inbox.begin(A, 1, 3)
    hand(inbox, A, 3)
    with pytest.raises(AssertionError, match="5 was fetched, 4 is the next"):
        inbox.add([part(A, range(5, 6))])


def test_much_and_what_was_handed_over_is_brought_at_once() -> None:
    """A little that was fetched waits for company."""
    inbox = Inbox()
    inbox.add([part(A, range(3, 5))])
    assert not inbox.hurry.is_set()
    inbox.add([part(B, range(1))._replace(size_bytes=MUCH_BYTES)])
    assert inbox.hurry.is_set()
    inbox.take()
    assert not inbox.hurry.is_set()
    hand(inbox, A, 5)
    assert inbox.hurry.is_set()


@given(st.data())
def test_any_mixture_of_fetches_and_hands_is_one_run(data: st.DataObject) -> None:
    """Fetches end where they like, acknowledgements come before or after them, some records are somebody else's."""
    inbox, fetched, acknowledged = Inbox(), 3, 3
    inbox.begin(A, 1, 3)
    found: list[int] = []
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["fetch", "hand", "theirs", "take"])):
            case "fetch":
                end = data.draw(st.integers(fetched, acknowledged + 2))
                inbox.add([part(A, range(fetched, end))] if end > fetched else [])
                fetched, acknowledged = end, max(acknowledged, end)
            case "hand":
                hand(inbox, A, acknowledged, data.draw(st.booleans()))
                acknowledged += 1
            case "theirs":
                acknowledged += 1
            case "take":
                found += [offset for p in inbox.take() for offset in p.batch.offsets]
    inbox.add([part(A, range(fetched, acknowledged))] if acknowledged > fetched else [])
    found += [offset for p in inbox.take() for offset in p.batch.offsets]
    assert found == list(range(3, acknowledged))


def test_a_part_handed_over_and_one_fetched_join_to_one_batch() -> None:
    """The desk gets one batch a partition."""

    async def story() -> list[Stamped]:
        inbox = Inbox()
        inbox.add([part(A, range(3, 5))])
        hand(inbox, A, 5)
        await asyncio.wait_for(inbox.came.wait(), 1)
        return inbox.take()

    assert offsets(asyncio.run(story())) == {A: (3, [3, 4, 5], 6)}
