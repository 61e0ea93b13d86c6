"""The leader: plans are whole or not at all and told once, whoever dies when; when one fails the last stands."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from agents.apart import SolveFailed
from agents.network import balance
from agents.network.agent import Network, NetworkConfig
from agents.network.balance import Answer, Move, pack_answer, read_plan
from stream.errors import Away, Fenced
from stream.events.partition import shelf_of
from stream.ledger import leader
from stream.ledger.office import MemoryOffice
from stream.transport.port import Send
from tests.agents.network.shops import NOW, Net

SHELVES = 3


class Died(BaseException):
    """The process is gone: nothing catches it."""


class World:
    """An office, a log of three shelves, a clock, and leaders that may die at any call."""

    def __init__(self, seed: int = 0, deadly: float = 0.0) -> None:
        self.random, self.deadly = random.Random(seed), deadly
        self.ms = NOW
        self.office = MemoryOffice(lambda: self.ms)
        self.nets = [Net(shelf=n, shelves=SHELVES) for n in range(SHELVES)]
        self.solves = 0
        self.answer: Callable[[], Awaitable[bytes]] = self.plain
        self.outcomes: list[dict[str, Any]] = []
        self.led_by: list[bool] = []

    def led(self, leads: bool) -> None:
        self.led_by.append(leads)

    def stands(self, age_s: float | None) -> None:
        self.age_s = age_s

    def came(self, outcome: dict[str, Any]) -> None:
        self.outcomes.append(outcome)

    async def plain(self) -> bytes:
        """Twenty transfers of twenty SKUs, another twenty each time."""
        self.solves += 1
        moves = [Move(f"S{n}", "W", f"L{self.solves}", 1000 * (n + 1), 1.0, "because", 0.5, 2.0) for n in range(20)]
        return pack_answer(Answer(NOW, {}, moves, {"status": "optimal", "seconds": 0.1, "gap": 0.0}))

    async def send(self, records: Sequence[Send]) -> None:
        """Acknowledge what is sent; a dying process may have sent a part of it."""
        for record in records:
            self.maybe_die()
            self.nets[record.partition].sent(record.value or b"")
        self.maybe_die()

    def maybe_die(self) -> None:
        """The end, now and then."""
        if self.random.random() < self.deadly:
            raise Died

    def worker(self, name: str = "w", **config: Any) -> Network:
        """A worker of this world, through doors at which it may die."""
        office, world = self.office, self

        class Door:
            def __getattr__(self, call: str) -> Any:
                async def through(*args: Any) -> Any:
                    world.maybe_die()
                    answer = await getattr(office, call)(*args)
                    world.maybe_die()
                    return answer

                return through

        settings = NetworkConfig("restock", SHELVES, name, **config)
        return Network(Door(), self, lambda: self.answer(), settings, lambda: self.ms, self)  # type: ignore[arg-type]

    def proposed(self) -> Counter[tuple[str, str]]:
        """How often each transfer was told to the world, as (sku, receiver)."""
        told: Counter[tuple[str, str]] = Counter()
        for net in self.nets:
            for message in net.said:
                if message.topic == "transfers":
                    data = json.loads(message.value)
                    assert data["status"] == "proposed"
                    told[data["sku"], data["to_location"]] += 1
        return told

    def ends(self) -> tuple[int, int]:
        """Transfers open at receivers and at senders."""
        both = [t.outbound for net in self.nets for its in net.shelf.transfers.values() for t in its]
        return both.count(False), both.count(True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "TURN_S", 0.001)
    monkeypatch.setattr(balance, "TELL_TRANSFERS", 3)


def run(story: Awaitable[None]) -> None:
    """A story from begin to end."""

    async def tell() -> None:
        await story

    asyncio.run(tell())


def test_a_plan_asked_for_is_put_told_and_answered() -> None:
    """Each transfer once at both ends, on its SKU's shelf; the book has the outcome, and nothing more is due."""

    async def story() -> None:
        world = World()
        worker = world.worker()
        assert not await worker.turn(), "no schedule, nobody asked"
        await world.office.ask("please")
        assert await worker.turn()
        book, standing = await world.office.book(), await world.office.plan()
        assert book.answered == "please"
        assert json.loads(book.outcome)["status"] == "optimal"
        assert standing is not None
        assert (standing.rows, standing.sent) == (20, 20)
        assert set(world.proposed().values()) == {1}
        assert world.ends() == (20, 20)
        for n, net in enumerate(world.nets):
            assert all(shelf_of(sku, SHELVES) == n for sku, _ in net.shelf.names)
        assert not await worker.turn()

    run(story())


@pytest.mark.parametrize("seed", range(25))
def test_no_half_plan_and_no_double_whoever_dies(seed: int) -> None:
    """Leaders die at any call, while telling too: in the end what was put is told once, whole, and answered."""

    async def story() -> None:
        world = World(seed, deadly=0.06)
        deaths = 0
        for request in ("one", "two"):
            await world.office.ask(request)
            while (await world.office.book()).answered != request:
                worker = world.worker(f"w{deaths}")
                try:
                    while (await world.office.book()).answered != request:
                        await worker.turn()
                except Died:
                    deaths += 1
                    if world.random.random() < 0.5:
                        world.ms += leader.TTL_MS  # its lease runs out; else the next one waits a turn
                    else:
                        world.ms += leader.TTL_MS // 2
        told = world.proposed()
        plan = await world.office.plan()
        assert plan is not None
        assert plan.finished
        assert {(m.sku, m.receiver) for m in read_plan(plan.body).moves} <= set(told), f"seed {seed}: half a plan"
        assert set(told.values()) == {1}, f"seed {seed}: told twice"
        assert all(n % 20 == 0 for n in Counter(receiver for _, receiver in told).values()), f"seed {seed}"
        assert world.ends() == (len(told), len(told))

    run(story())


def test_the_deaths_do_happen() -> None:
    """At the rate used above a leader does die in the midst of telling, so that the law is put to the test."""

    async def story() -> None:
        halves = 0
        for seed in range(12):
            world = World(seed, deadly=0.06)
            await world.office.ask("one")
            try:
                while True:
                    await world.worker().turn()
                    if (await world.office.book()).answered:
                        break
                    world.ms += leader.TTL_MS
            except Died:
                halves += 0 < len(world.proposed()) < 20
        assert halves > 1

    run(story())


def test_a_solve_that_fails_says_why_and_leaves_the_last_plan() -> None:
    """The request is answered with the reason; the standing plan and its transfers stay."""

    async def story() -> None:
        world = World()
        worker = world.worker()
        await world.office.ask("one")
        await worker.turn()
        before = await world.office.plan()

        async def fails() -> bytes:
            raise SolveFailed("the solve took too long", "it was stopped after 3 s")

        world.answer = fails
        await world.office.ask("two")
        assert await worker.turn()
        outcome = json.loads((await world.office.book()).outcome)
        assert (outcome["status"], outcome["why"]) == ("failed", "the solve took too long")
        assert await world.office.plan() == before
        assert world.ends() == (20, 20)
        world.answer = lambda: _garbage()
        await world.office.ask("three")
        await worker.turn()
        assert "ValidationError" in json.loads((await world.office.book()).outcome)["why"]

    async def _garbage() -> bytes:
        return b"\xff\xff"

    run(story())


def test_a_leader_that_lost_its_lease_while_solving_puts_nothing() -> None:
    """Another one leads meanwhile: the first gives up, and its solve ends with it."""

    async def story() -> None:
        world = World()
        slow, ended = world.worker("slow"), asyncio.Event()

        async def solves() -> bytes:
            try:
                world.ms += leader.TTL_MS + 1
                assert await world.office.lead("another", leader.TTL_MS, "other") > 0
                await asyncio.sleep(60)
                return b""
            finally:
                ended.set()

        world.answer = solves
        await world.office.ask("one")
        with pytest.raises(Fenced):
            await slow.turn()
        assert ended.is_set()
        assert await world.office.plan() is None
        assert world.proposed() == Counter()

    run(story())


def test_the_schedule_counts_from_the_last_outcome_whoever_had_it() -> None:
    """Every hour, and not again when the lead changes; a plan on demand counts too."""

    async def story() -> None:
        world = World()
        worker = world.worker(every_minutes=60)
        assert await worker.turn()
        world.ms += 59 * 60_000
        other = world.worker("other", every_minutes=60)
        assert not await other.turn()
        world.ms += 60_000
        assert await other.turn()
        world.ms += 1_000
        await world.office.ask("now")
        assert await other.turn()
        world.ms += 59 * 60_000
        assert not await other.turn()

    run(story())


def test_a_neighbour_that_is_away_ends_no_worker() -> None:
    """The turn is tried again; nothing is lost."""

    async def story() -> None:
        world = World()
        send, count = world.send, iter(range(99))

        async def away(records: Sequence[Send]) -> None:
            if next(count) < 2:
                raise Away("Kafka is away")
            await send(records)

        world.send = away  # type: ignore[method-assign]
        await world.office.ask("one")
        task = asyncio.create_task(world.worker().run())
        while (await world.office.book()).answered != "one":
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert set(world.proposed().values()) == {1}
        assert world.ends() == (20, 20)
        assert (await world.office.book()).leads_ms == 0, "it resigned"

    run(story())
