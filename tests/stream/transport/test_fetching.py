"""What is asked of a broker, and how what it sends becomes one poll; without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from stream.transport.consumer_thread import BRIEF_WAIT_MS, Thread, _ask
from stream.transport.desk import Desk
from stream.transport.driver import Consumer
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


def flowing(desk: Desk, found: Sequence[list[Stamped]]) -> tuple[Any, Thread, list[list[Stamped]]]:
    """A consumer and its thread on this loop, which drains these and then waits; what it asked for."""
    drains, ended = iter(found), asyncio.Event()

    async def drain(_wanted: object, _timeout: float) -> list[Stamped]:
        if (parts := next(drains, None)) is not None:
            return parts
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    loop = asyncio.get_running_loop()
    thread: Any = SimpleNamespace(_drain=drain, cursors={A: 0}, stamps={A: 1, B: 1}, thread_loop=loop, ended=ended)
    thread.fetch = Thread.fetch.__get__(thread)
    app = SimpleNamespace(desks=[desk], pace=SimpleNamespace(waiting_max_bytes=1 << 20), doom=lambda error: None)
    consumer: Any = SimpleNamespace(app=app, flow_active=True, should_stop=False, _thread=thread)
    consumer.in_thread = asyncio.ensure_future
    for name in ("_keep_fetching", "_keep_bringing", "_may_fetch", "_held", "_room", "_until_room", "_came", "fresh"):
        setattr(consumer, name, getattr(Consumer, name).__get__(consumer))
    brought: list[list[Stamped]] = []

    async def bring(_: Desk, parts: list[Stamped]) -> None:
        brought.append(parts)
        desk.bring(parts)

    consumer._bring = bring
    return consumer, thread, brought


class Orders(Nothing):
    name, topics = "intake", ("ns.orders",)


def test_a_rebalance_leaves_no_fetch_behind() -> None:
    """It ends the loop that fetches; a fetch that went on would drain what the loop after it is to bring."""

    async def story() -> None:
        desk = Desk(Orders())
        consumer, thread, _ = flowing(desk, [])
        loop = asyncio.ensure_future(consumer._keep_fetching(desk, consumer))
        await asyncio.sleep(0.01)
        assert not thread.ended.is_set()
        loop.cancel()
        await asyncio.wait({loop})
        await asyncio.wait_for(thread.ended.wait(), 5)

    asyncio.run(story())


def test_what_comes_while_a_poll_is_in_hand_is_brought_as_one() -> None:
    """Drained again and again meanwhile, as nothing is asked for that lies in the consumer unread."""

    async def story() -> None:
        desk = Desk(Orders())
        in_hand = desk.bring([part(B, range(3, 4))])
        consumer, _, brought = flowing(desk, [[part(A, range(2))], [part(A, range(2, 3)), part(B, range(4, 6))]])
        loops = [
            asyncio.ensure_future(way(desk, consumer)) for way in (consumer._keep_fetching, consumer._keep_bringing)
        ]
        while desk.inbox.size_bytes < 5:
            await asyncio.sleep(0.001)
        assert brought == []
        desk.done(in_hand)
        while not brought:
            await asyncio.sleep(0.001)
        assert brought == [[part(A, range(3)), part(B, range(4, 6))]]
        for loop in loops:
            loop.cancel()

    asyncio.run(story())


def test_a_gap_in_what_is_fetched_ends_the_worker() -> None:
    """Whatever the cause: what was between is not skipped in silence."""

    async def story() -> None:
        desk, reasons = Desk(Orders()), list[BaseException]()
        consumer, _, _ = flowing(desk, [])
        consumer.app.doom = reasons.append
        consumer._came(desk, [part(A, range(3, 5))])
        consumer._came(desk, [part(A, range(6, 8))])
        assert "6 was fetched, 5 is the next" in str(reasons[0])

    asyncio.run(story())
