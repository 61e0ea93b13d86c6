"""Several owners, interleaved at will, roll-backs and lost answers among them: one history, each message in it once.

The reference is a list: what the shelf's history should be. Every kept write adds one row and one message named after
its offset, so that any mixture of two histories, any loss and any double shows in the state or in the outbox.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from stream.errors import Fenced, Stale
from stream.events.outgoing import Outgoing
from stream.ledger.port import Held, Ledger, Place, Write
from tests.stream.ledger.stores import MemoryStore, RedisStore, Store

SHELF = 4


def message(offset: int) -> Outgoing:
    return Outgoing("replenishments", b"sku", b"", (("ce_id", str(offset).encode()),))


class Owners(RuleBasedStateMachine):
    """Owners come and go; `saved` copies of the store are put back now and then."""

    owners = Bundle("owners")
    copies = Bundle("copies")
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger: Ledger = self.store.ledger()
        self.newest = ""  # token of whoever took the shelf last, as the store knows it
        self.stamp: Any = None  # identity of the last write, as the store knows it
        self.kept = 0  # writes in the history
        self.sweeps = 0  # writes since the last that moved no offset
        self.trimmed = 0  # messages known to be published

    def teardown(self) -> None:
        self.loop.run_until_complete(self.ledger.close())
        self.loop.close()

    def do(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    @rule(target=owners)
    def take(self) -> Held:
        """A new owner finds the whole history and nothing else."""
        held: Held = self.do(self.ledger.acquire(SHELF))
        assert held.place == Place(self.kept - 1, str(self.sweeps) if self.sweeps else "")
        assert held.sections["hot"] == {b"%d" % n: b"%d" % n for n in range(self.kept)}
        assert [(number, entry.id) for number, entry in held.outbox] == [
            (n, str(n)) for n in range(self.trimmed, self.kept)
        ]
        assert held.next_out == self.kept
        self.newest = held.token
        return held

    @rule(held=owners, lost=st.booleans())
    def keep(self, held: Held, lost: bool) -> None:
        """Only the newest owner, and only from where the store stands, adds to the history."""
        if lost:
            self.store.lose_answers(self.ledger, 1)
        offset = held.place.offset + 1
        fits = held.token == self.newest and held.stamp == self.stamp
        write = Write(held.place, Place(offset), {"hot": {b"%d" % offset: b"%d" % offset}}, [message(offset)])
        self._judge(held, write, fits)
        if fits:
            self.kept, self.sweeps = self.kept + 1, 0

    @rule(held=owners)
    def sweep(self, held: Held) -> None:
        """A write that moves no offset is fenced like any other."""
        fits = held.token == self.newest and held.stamp == self.stamp
        sweeps = int(held.place.sweep or 0) + 1
        self._judge(held, Write(held.place, Place(held.place.offset, str(sweeps))), fits)
        self.sweeps += fits

    def _judge(self, held: Held, write: Write, fits: bool) -> None:
        [answer] = self.do(self.ledger.keep([(held, write)]))
        if fits:
            assert answer is None
            self.stamp = held.stamp
        else:
            assert isinstance(answer, Fenced | Stale)

    @rule(held=owners, back=st.integers(0, 3))
    def note_sent(self, held: Held, back: int) -> None:
        """Only the newest owner trims, and only what the store knows of."""
        through = held.next_out - 1 - back
        if held.token == self.newest and through < self.kept:
            self.do(self.ledger.sent(held, through, {"replenishments": 2 * through}))
            self.trimmed = max(self.trimmed, through + 1)
            return
        with pytest.raises((Fenced, Stale)):
            self.do(self.ledger.sent(held, through, {"replenishments": 2 * through}))

    @rule(target=copies)
    def save(self) -> Any:
        return self.store.save(), (self.newest, self.stamp, self.kept, self.sweeps, self.trimmed)

    @rule(copy=copies)
    def roll_back(self, copy: Any) -> None:
        """The store is as it was; whoever wrote since must find out."""
        saved, then = copy
        self.store.restore(saved)
        self.newest, self.stamp, self.kept, self.sweeps, self.trimmed = then

    @invariant()
    def the_state_is_one_history(self) -> None:
        """What anybody may read is always a prefix of the log, whole."""
        peek = self.do(self.ledger.peek(SHELF, {"hot": None}))
        assert sorted(map(int, peek.sections["hot"])) == list(range(peek.place.offset + 1))
        assert peek.place.offset + 1 == self.kept


def test_owners_interleaved_in_memory() -> None:
    """Many histories."""

    class InMemory(Owners):
        def __init__(self) -> None:
            self.store = MemoryStore()
            super().__init__()
            self.stamp = ""

    run_state_machine_as_test(InMemory, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))


def test_owners_interleaved_on_a_real_redis(redis_url: str) -> None:
    """Fewer, on the scripts themselves."""

    class OnRedis(Owners):
        def __init__(self) -> None:
            self.store = RedisStore(redis_url)
            super().__init__()
            self.stamp = ""

        def teardown(self) -> None:
            super().teardown()
            assert isinstance(self.store, RedisStore)
            self.store.close()

    run_state_machine_as_test(OnRedis, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
