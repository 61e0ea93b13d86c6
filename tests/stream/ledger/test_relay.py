"""The relay against memory: order, bounds, giving way, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from stream.errors import Away, Fenced, SetupError, Stale
from stream.events.outgoing import Outgoing
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.ledger.port import Held, Place, Write
from stream.ledger.relay import Limits, Relay

QUICK = Limits(note_every_s=0.0, linger_s=0.0, first_pause_s=0.0, longest_pause_s=0.0)


def message(name: str, topic: str = "stock-alerts") -> Outgoing:
    return Outgoing(topic, b"sku", b"v" * 100, (("ce_id", name.encode()),))


@dataclass
class Bench:
    """A ledger, topics, and what relays told their owners."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    topics: MemoryTopics = field(default_factory=MemoryTopics)
    heard: list[Exception] = field(default_factory=list)

    def relay(self, held: Held, limits: Limits = QUICK, publisher: MemoryPublisher | None = None) -> Relay:
        publisher = publisher or MemoryPublisher(self.topics)
        return Relay(self.ledger, publisher, held, lambda shelf, error: self.heard.append(error), limits)

    async def keep(self, held: Held, *names: str, topic: str = "stock-alerts") -> list[tuple[int, Outgoing]]:
        """Keep messages of these names; what to offer."""
        first, out = held.next_out, [message(name, topic) for name in names]
        assert await self.ledger.keep([(held, Write(held.place, Place(held.place.offset + 1), {}, out))]) == [None]
        return list(enumerate(out, first))

    def seen(self, topic: str = "stock-alerts") -> list[str]:
        return [found.id for _, found in self.topics.committed(topic, 0)]


class Recording(MemoryPublisher):
    """Remembers the batches it was given; holds them back while `gate` is closed."""

    def __init__(self, topics: MemoryTopics) -> None:
        super().__init__(topics)
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        self.batches.append([message.id for message in messages])
        await self.gate.wait()
        return await super().publish(shelf, messages)


def run(body: Callable[[Bench], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await body(Bench())

    asyncio.run(bounded())


async def until(ready: Callable[[], bool]) -> None:
    while not ready():
        await asyncio.sleep(0)


def test_what_is_offered_is_published_noted_and_trimmed() -> None:
    """At rest the outbox is empty and the ledger knows where the partitions end."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held)
        await relay.start()
        relay.offer(await bench.keep(held, "a", "b"))
        relay.offer(await bench.keep(held, "c"))
        await relay.stop(drain=True)
        assert bench.seen() == ["a", "b", "c"]
        found = await bench.ledger.acquire(0)
        assert found.outbox == []
        assert found.published["stock-alerts"] >= 3
        assert bench.heard == []

    run(body)


def test_everything_waiting_goes_out_as_one_transaction_within_bounds() -> None:
    """While one transaction is on its way the next gathers, but no more than `batch_messages`."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        relay = bench.relay(held, Limits(batch_messages=3, note_every_s=0.0), publisher)
        await relay.start()
        publisher.gate.clear()
        relay.offer(await bench.keep(held, "a"))
        await until(lambda: len(publisher.batches) == 1)
        for name in "bcdefg":
            relay.offer(await bench.keep(held, name))
        publisher.gate.set()
        await relay.stop(drain=True)
        assert publisher.batches == [["a"], ["b", "c", "d"], ["e", "f", "g"]]

    run(body)


def test_a_batch_is_bounded_in_bytes_but_never_empty() -> None:
    """One message larger than the bound still goes, alone."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        relay = bench.relay(held, Limits(batch_bytes=1, note_every_s=0.0), publisher)
        relay.offer(await bench.keep(held, *"abc"))
        await relay.start()
        await relay.stop(drain=True)
        assert publisher.batches == [["a"], ["b"], ["c"]]

    run(body)


def test_positions_wait_for_company_and_alerts_take_them_along() -> None:
    """Positions alone linger; an alert sends everything before it, in order, at once."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        relay = bench.relay(held, Limits(linger_s=3_600.0, note_every_s=0.0), publisher)
        await relay.start()
        relay.offer(await bench.keep(held, "p1", "p2", topic="positions"))
        await until(lambda: relay.counters.openings == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert publisher.batches == []
        relay.offer(await bench.keep(held, "alert"))
        await relay.drained()
        assert publisher.batches == [["p1", "p2", "alert"]]
        await relay.stop(drain=False)

    run(body)


def test_room_is_refused_while_too_much_waits() -> None:
    """The planner waits while the broker is away, and goes on when messages have left."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        publisher.gate.clear()
        relay = bench.relay(held, Limits(waiting_messages=2, note_every_s=0.0), publisher)
        await relay.start()
        await relay.room()
        relay.offer(await bench.keep(held, "a", "b"))
        waiting = asyncio.create_task(relay.room())
        await until(lambda: len(publisher.batches) == 1)
        assert not waiting.done()
        publisher.gate.set()
        await waiting
        await relay.stop(drain=False)

    run(body)


def test_lingering_ends_when_there_is_no_room_left() -> None:
    """Positions that wait for company while the planner waits for room would wait for each other."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held, Limits(linger_s=3_600.0, waiting_messages=2))
        await relay.start()
        relay.offer(await bench.keep(held, "p1", "p2", topic="positions"))
        await relay.room()
        assert bench.seen("positions") == ["p1", "p2"]
        await relay.stop(drain=False)

    run(body)


def test_room_is_counted_in_bytes_too() -> None:
    """A few huge messages fill the queue as many small ones do."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held, Limits(waiting_bytes=600))
        relay.offer(await bench.keep(held, "a"))
        assert relay._has_room()
        relay.offer(await bench.keep(held, "b"))
        assert not relay._has_room()

    run(body)


def test_a_gap_in_the_numbers_offered_is_our_own_mistake() -> None:
    """A keep whose messages were not offered would be trimmed unsent: that stops us."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held)
        await bench.keep(held, "a")
        with pytest.raises(AssertionError, match="offered 1"):
            relay.offer(await bench.keep(held, "b"))

    run(body)


def test_stopping_at_once_finishes_the_transaction_in_hand_and_leaves_the_rest() -> None:
    """The rest is in the outbox for the next owner; what was published is noted."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        relay = bench.relay(held, Limits(batch_messages=1), publisher)
        await relay.start()
        publisher.gate.clear()
        relay.offer(await bench.keep(held, "a", "b"))
        await until(lambda: len(publisher.batches) == 1)
        stopping = asyncio.create_task(relay.stop(drain=False))
        await asyncio.sleep(0)
        publisher.gate.set()
        await stopping
        assert bench.seen() == ["a"]
        assert [entry.id for _, entry in (await bench.ledger.acquire(0)).outbox] == ["b"]

    run(body)


def test_stopping_does_not_hang_on_a_broker_that_hangs() -> None:
    """A transaction that never ends is abandoned; the next owner shuts it out."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        publisher = Recording(bench.topics)
        relay = bench.relay(held, Limits(drain_s=0.01, leave_s=0.01), publisher)
        await relay.start()
        publisher.gate.clear()
        relay.offer(await bench.keep(held, "a"))
        await until(lambda: len(publisher.batches) == 1)
        await relay.stop(drain=True)
        heir = bench.relay(await bench.ledger.acquire(0))
        await heir.start()
        await heir.stop(drain=True)
        assert bench.seen() == ["a"]

    run(body)


@pytest.mark.parametrize(
    "step", ["start", "start:fenced", "start:read", "publish", "publish:written", "publish:committed"]
)
def test_a_call_that_fails_is_tried_again_and_nothing_is_doubled(step: str) -> None:
    """Away at any step, three times over: the relay opens again, and the tail tells what became of it."""

    async def body(bench: Bench) -> None:
        failures = iter([True] * 3)

        def hook(at: str, shelf: int) -> None:
            if at == step and next(failures, False):
                raise Away(f"no answer at {at}")

        held = await bench.ledger.acquire(0)
        relay = bench.relay(held, QUICK, MemoryPublisher(bench.topics, hook))
        await relay.start()
        relay.offer(await bench.keep(held, *"abc"))
        await relay.stop(drain=True)
        assert bench.seen() == ["a", "b", "c"]
        assert bench.heard == []

    run(body)


def test_a_broker_away_for_too_long_is_told_to_the_owner() -> None:
    """After `patience_s` the relay gives up; `room` raises the reason instead of waiting for ever."""

    async def body(bench: Bench) -> None:
        def away(at: str, shelf: int) -> None:
            raise Away("no broker")

        held = await bench.ledger.acquire(0)
        limits = Limits(patience_s=-1.0, first_pause_s=0.0, waiting_messages=1)
        relay = bench.relay(held, limits, MemoryPublisher(bench.topics, away))
        await relay.start()
        relay.offer(await bench.keep(held, "a"))
        with pytest.raises(Away, match="no broker"):
            await relay.room()
        await relay.stop(drain=True)
        assert [type(error) for error in bench.heard] == [Away]

    run(body)


def test_what_waiting_cannot_mend_is_told_at_once() -> None:
    """A missing topic is no reason to try for two minutes."""

    async def body(bench: Bench) -> None:
        def missing(at: str, shelf: int) -> None:
            raise SetupError("no such topic")

        relay = bench.relay(await bench.ledger.acquire(0), QUICK, MemoryPublisher(bench.topics, missing))
        await relay.start()
        await until(lambda: bench.heard != [])
        assert [type(error) for error in bench.heard] == [SetupError]
        assert relay.counters.openings == 1

    run(body)


def test_a_relay_whose_shelf_was_taken_sends_nothing_after_opening_again() -> None:
    """Its opening shuts out the rightful relay, but the ledger stops it; the rightful one opens again by itself."""

    async def body(bench: Bench) -> None:
        old_held = await bench.ledger.acquire(0)
        old_entries = await bench.keep(old_held, "a")
        heir_held = await bench.ledger.acquire(0)
        heir = bench.relay(heir_held)
        await heir.start()
        await heir.drained()

        publisher = Recording(bench.topics)
        old = bench.relay(old_held, QUICK, publisher)  # a zombie that only now gets to open
        old.waiting.add([*old_entries, (1, message("decided in a past that was rolled back"))])
        await old.start()
        await until(lambda: bench.heard != [])
        heir.offer(await bench.keep(heir_held, "b"))
        await heir.stop(drain=True)

        assert [type(error) for error in bench.heard] == [Fenced]
        assert publisher.batches == []
        assert bench.seen() == ["a", "b"]
        assert heir.counters.openings == 2

    run(body)


def test_a_relay_asks_the_ledger_before_it_shuts_anybody_out() -> None:
    """Shut out itself, a zombie learns from the ledger that it is one: the rightful sender is not disturbed."""

    async def body(bench: Bench) -> None:
        old_held = await bench.ledger.acquire(0)
        old = bench.relay(old_held)
        await old.start()
        old.offer(await bench.keep(old_held, "a"))
        await old.drained()
        heir_held = await bench.ledger.acquire(0)
        heir = bench.relay(heir_held)
        await heir.start()
        await until(lambda: bench.topics.epochs[0] == 2)

        old.offer([(1, message("never kept"))])
        await until(lambda: bench.heard != [])

        heir.offer(await bench.keep(heir_held, "b"))
        await heir.stop(drain=True)
        assert heir.counters.openings == 1
        assert bench.seen() == ["a", "b"]
        assert [type(error) for error in bench.heard] == [Fenced]

    run(body)


def test_a_roll_back_found_while_noting_is_told_to_the_owner() -> None:
    """The relay may be the first to see that the ledger forgot messages: Stale, take the shelf again."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held)
        await relay.start()
        entries = await bench.keep(held, "a")
        bench.ledger.roll_back(1)
        relay.offer(entries)
        await until(lambda: bench.heard != [])
        assert [type(error) for error in bench.heard] == [Stale]
        await relay.stop(drain=False)

    run(body)


def test_a_ledger_away_while_noting_stops_nothing() -> None:
    """The note is bookkeeping: messages go on, and the next note says it all."""

    async def body(bench: Bench) -> None:
        class Forgetful(MemoryLedger):
            failing = 3

            async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
                if through >= 0 and self.failing > 0:
                    self.failing -= 1
                    raise Away("no Redis")
                await super().sent(held, through, published)

        bench.ledger = Forgetful()
        held = await bench.ledger.acquire(0)
        relay = bench.relay(held)
        await relay.start()
        for name in "abcdef":
            relay.offer(await bench.keep(held, name))
            await relay.drained()
        await relay.stop(drain=True)
        assert bench.seen() == list("abcdef")
        assert (await bench.ledger.acquire(0)).outbox == []
        assert bench.heard == []

    run(body)


def test_the_counters_add_up() -> None:
    """Published and skipped together are what was offered."""

    async def body(bench: Bench) -> None:
        held = await bench.ledger.acquire(0)
        entries = await bench.keep(held, *"abcde")
        early = MemoryPublisher(bench.topics)
        await early.start(0, {})
        await early.publish(0, [entry for _, entry in entries[:3]])
        heir = bench.relay(await bench.ledger.acquire(0))
        await heir.start()
        await heir.stop(drain=True)
        assert (heir.counters.skipped, heir.counters.published, heir.counters.transactions) == (3, 2, 1)
        assert bench.seen() == list("abcde")

    run(body)
