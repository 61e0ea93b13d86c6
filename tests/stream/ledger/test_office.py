"""The office: one leader, one plan, whole or not at all. Memory and Redis keep the same promises."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest

from stream.errors import Fenced
from stream.ledger.office import MemoryOffice, Office, RedisOffice, Standing

LONG_MS = 60_000
Opens = Callable[[], Office]


@pytest.fixture(params=["memory", "redis"])
def opens(request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Doors to one empty office of each kind."""
    if request.param == "memory":
        one = MemoryOffice(lambda: time.monotonic_ns() // 1_000_000)
        yield lambda: one
    else:
        url, namespace = request.getfixturevalue("redis_url"), f"t{uuid.uuid4().hex[:8]}"
        yield lambda: RedisOffice(url, namespace)


def held(opens: Opens, story: Callable[[Office, Office], Awaitable[None]]) -> None:
    """Tell a story of two workers."""

    async def tell() -> None:
        one, other = opens(), opens()
        try:
            await story(one, other)
        finally:
            await one.close()
            await other.close()

    asyncio.run(tell())


def test_one_leads_and_the_other_waits(opens: Opens) -> None:
    """While a lease lives nobody else leads; when it is let go the next one does, in a new term."""

    async def story(one: Office, other: Office) -> None:
        assert await one.lead("a", LONG_MS, "worker a") == 1
        assert await other.lead("b", LONG_MS, "worker b") == 0
        assert await one.lead("a", LONG_MS, "worker a") == 1
        await other.resign("b")
        assert await other.lead("b", LONG_MS, "worker b") == 0
        await one.resign("a")
        assert await other.lead("b", LONG_MS, "worker b") == 2
        book = await one.book()
        assert (book.term, book.leader) == (2, "worker b")
        assert 0 < book.leads_ms <= LONG_MS

    held(opens, story)


def test_a_lease_that_is_not_renewed_runs_out(opens: Opens) -> None:
    """A leader that died is followed by the next one, and writes nothing when it wakes up."""

    async def story(one: Office, other: Office) -> None:
        await one.lead("a", 1, "a")
        while await other.lead("b", LONG_MS, "b") == 0:
            await asyncio.sleep(0)
        for late in (one.put("a", "P1", 1, b"x"), one.sent("a", "P1", 1), one.note("a", "{}", "")):
            with pytest.raises(Fenced):
                await late
        assert await other.plan() is None
        assert (await other.book()).outcome == ""

    held(opens, story)


def test_a_plan_is_finished_before_the_next_one(opens: Opens) -> None:
    """A new plan never takes the place of one that is half told; progress only grows; the same put twice is one."""

    async def story(one: Office, other: Office) -> None:
        await one.lead("a", LONG_MS, "a")
        await one.put("a", "P1", 3, b"body")
        await one.sent("a", "P1", 2)
        await one.sent("a", "P1", 1)
        await one.put("a", "P1", 3, b"body")
        assert await other.plan() == Standing("P1", 3, 2, b"body")
        with pytest.raises(AssertionError, match="P1 is not finished"):
            await one.put("a", "P2", 1, b"")
        await one.sent("a", "P1", 3)
        await one.put("a", "P2", 0, b"")
        with pytest.raises(Fenced):
            await one.sent("a", "P1", 3)
        standing = await other.plan()
        assert standing is not None
        assert (standing.id, standing.finished) == ("P2", True)

    held(opens, story)


def test_a_request_is_answered_by_name(opens: Opens) -> None:
    """Who asked sees when its own request has an outcome."""

    async def story(one: Office, other: Office) -> None:
        await other.ask("r1")
        await one.lead("a", LONG_MS, "a")
        assert (await one.book()).wanted == "r1"
        await one.note("a", '{"status":"optimal"}', "r1")
        book = await other.book()
        assert (book.answered, book.outcome) == ("r1", '{"status":"optimal"}')

    held(opens, story)
