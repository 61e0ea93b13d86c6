"""What is asked of a broker, and how what it sends becomes one poll; without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from stream.transport.consumer_thread import BRIEF_WAIT_MS, COMING_S, GATHER_MS, Thread
from stream.transport.desk import Desk
from stream.transport.driver import Consumer
from stream.transport.inbox import HANDING_S, MUCH_BYTES
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


NOW_S = 1000.0


def fetcher(unread: Sequence[TP] = (), in_flight: int = 0, pending: int = 0) -> Any:
    return SimpleNamespace(
        _fetch_max_wait_ms=50,
        _fetch_min_bytes=1,
        _records=dict.fromkeys(unread),
        _in_flight=range(in_flight),
        _pending_tasks=range(pending),
    )


def asked(it: Any, drained_s: float = 0.0, handed_s: float = 0.0) -> tuple[tuple[int, int], float]:
    """How long (ms) the broker may hold the fetch, and fewer than how many bytes; how long (s) until aiokafka looks."""
    desk, held = Desk(Orders()), list[tuple[int, int]]()
    desk.inbox.handed_s = handed_s
    clock, app = SimpleNamespace(time=lambda: NOW_S), SimpleNamespace(desks=[desk])
    thread: Any = SimpleNamespace(thread_loop=clock, app=app, _drained_s=drained_s)
    for name in ("_ask", "_patience", "_handed"):
        setattr(thread, name, getattr(Thread, name).__get__(thread))

    def actions(_: object) -> tuple[object, ...]:
        held.append((it._fetch_max_wait_ms, it._fetch_min_bytes))
        return ([], {}, 0.2, False, [])

    _, _, wait_s, *_ = thread._ask(it, actions, None)
    assert it._fetch_max_wait_ms == 50
    return held[0], wait_s


def test_a_fetch_of_a_quiet_log_is_answered_with_the_first_record() -> None:
    assert asked(fetcher()) == ((50, 1), 0.2)
    assert asked(fetcher(), drained_s=NOW_S - COMING_S) == ((50, 1), 0.2)


def test_while_records_come_the_broker_gathers_them() -> None:
    """Answered with the first of them, a fetch would leave those behind it to the next one."""
    assert asked(fetcher(), drained_s=NOW_S - COMING_S / 2) == ((GATHER_MS, MUCH_BYTES), 0.2)


def test_a_fetch_beside_what_is_unread_is_brief() -> None:
    """It asks for the quiet partitions only, and the busy ones must wait for it."""
    assert asked(fetcher([A, B], in_flight=1, pending=1), drained_s=NOW_S) == ((BRIEF_WAIT_MS, 1), 0.2)


def test_what_was_handed_over_may_lie_unread() -> None:
    """Our own intake hands over what it wrote: that a fetch brought it as well is no reason to hurry."""
    assert asked(fetcher([A]), drained_s=NOW_S, handed_s=NOW_S - HANDING_S / 2)[0] == (GATHER_MS, MUCH_BYTES)
    assert asked(fetcher([A]), drained_s=NOW_S, handed_s=NOW_S - HANDING_S)[0] == (BRIEF_WAIT_MS, 1)


def test_a_fetch_that_is_done_and_still_noted_is_looked_at_again_at_once() -> None:
    """aiokafka forgets a fetch by a callback that may come after it looked: it would wait 0.2 s for nothing."""
    assert asked(fetcher(in_flight=1))[1] == 0.0


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
