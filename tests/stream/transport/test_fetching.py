"""What is asked of a broker, and how what it sends becomes one poll; without a broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stream.transport.desk import Desk
from stream.transport.driver import BRIEF_WAIT_MS, Consumer, _ask, joined
from stream.transport.port import Batch
from stream.transport.stamped import Stamped
from tests.stream.transport.test_desk import Nothing

A, B = TP("ns.orders", 0), TP("ns.orders", 1)


def part(tp: TP, offsets: range, stamp: int = 1) -> Stamped:
    texts = [b"%d" % offset for offset in offsets]
    batch = Batch(
        "orders",
        tp.partition,
        offsets.start,
        offsets.stop,
        99,
        [*offsets],
        [*offsets],
        [*texts],
        texts,
        [()] * len(texts),
    )
    return Stamped(tp, stamp, batch, len(texts))


def test_two_drains_are_one_batch_a_partition() -> None:
    """In order, nothing twice; what only one of them had is as it was."""
    found = joined([part(A, range(3, 5)), part(B, range(7, 8))], [part(A, range(5, 8))])
    assert found == [part(A, range(3, 8)), part(B, range(7, 8))]


def test_what_was_drained_before_a_seek_is_left_out() -> None:
    """A seek changes the stamp: only what was fetched after it counts."""
    assert joined([part(A, range(3, 5))], [part(A, range(2), stamp=2)]) == [part(A, range(2), stamp=2)]


def test_drains_with_something_between_them_are_a_fault() -> None:
    """Never a gap in silence."""
    with pytest.raises(AssertionError, match="does not follow"):
        joined([part(A, range(3, 5))], [part(A, range(6, 8))])


def test_a_batch_and_what_follows_is_the_batch() -> None:
    """`then` undoes `after`; what is known of the log's end is what was said last."""
    whole = part(A, range(3, 9)).batch
    first = replace(part(A, range(3, 5)).batch, end=5)
    assert first.then(whole.after(2)) == whole


def fetcher(unread: int, in_flight: int, pending: int) -> Any:
    return SimpleNamespace(
        _fetch_max_wait_ms=50, _records=range(unread), _in_flight=range(in_flight), _pending_tasks=range(pending)
    )


def asked(it: Any) -> tuple[int, float]:
    """How long (ms) the broker may hold the fetch, and how long (s) aiokafka waits before it looks again."""
    held: list[int] = []

    def actions(_: object) -> tuple[object, ...]:
        held.append(it._fetch_max_wait_ms)
        return ([], {}, 0.2, False, [])

    _, _, wait_s, *_ = _ask(it, actions, None)
    assert it._fetch_max_wait_ms == 50
    return held[0], wait_s


def test_a_fetch_beside_what_is_unread_is_brief() -> None:
    """It asks for the quiet partitions only, and the busy ones must wait for it."""
    assert asked(fetcher(unread=0, in_flight=0, pending=0)) == (50, 0.2)
    assert asked(fetcher(unread=2, in_flight=1, pending=1)) == (BRIEF_WAIT_MS, 0.2)


def test_a_fetch_that_is_done_and_still_noted_is_looked_at_again_at_once() -> None:
    """aiokafka forgets a fetch by a callback that may come after it looked: it would wait 0.2 s for nothing."""
    assert asked(fetcher(unread=0, in_flight=1, pending=0)) == (50, 0.0)


def test_a_rebalance_leaves_no_fetch_behind() -> None:
    """It ends the loop that fetches; a fetch that went on would drain what the loop after it is to bring."""

    async def story() -> None:
        ended = asyncio.Event()

        async def fetch(_wanted: object, _timeout: float, enough: asyncio.Event) -> list[Stamped]:
            try:
                await enough.wait()
            finally:
                ended.set()
            return []

        desk = Desk(Nothing())
        desk.bring([part(A, range(3, 4))])  # small, and in hand: the next fetch waits for room
        thread = SimpleNamespace(
            fetch=fetch, cursors={TP("ns.sku-events", 0): 4}, thread_loop=asyncio.get_running_loop()
        )
        consumer: Any = SimpleNamespace(flow_active=True, _thread=thread, in_thread=asyncio.ensure_future)
        consumer._may_fetch = lambda _: True
        for name in ("_until_room", "_room"):
            setattr(consumer, name, getattr(Consumer, name).__get__(consumer))
        loop = asyncio.ensure_future(Consumer._fetch_once(consumer, desk))
        await asyncio.sleep(0.01)
        assert not ended.is_set()
        loop.cancel()
        await asyncio.wait({loop})
        await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(story())
