"""The office of a periodic agent: who leads, the one standing plan and how far it is told, requests and outcomes.

Everything a leader writes goes through one script that compares its token first, so a leader whose lease ran out
writes nothing, whether it knows or not. A plan is put in one write, whole; a new one is refused while the one before
it is not told to its end. All of it lies under one hash tag, the
agent's: {network} or {refit}.

| key | type | content |
| --- | --- | --- |
| `ns:{agent}:lead` | string with a time to live | the leader's token |
| `ns:{agent}:plan` | hash | `id`, `rows`, `sent` (rows known to be acknowledged), `body` |
| `ns:{agent}:book` | hash | `term`, `leader`, `wanted` and `answered` (last requests), `outcome` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stream.errors import Fenced
from stream.ledger.wire import Wire

NETWORK, REFIT = "{network}", "{refit}"  # the agents there are, as hash tags


@dataclass(frozen=True)
class Standing:
    """The standing plan; `sent` of its `rows` are known to be in the log."""

    id: str
    rows: int
    sent: int
    body: bytes

    @property
    def finished(self) -> bool:
        """Whether all of it is told."""
        return self.sent >= self.rows


@dataclass(frozen=True)
class Book:
    """What is asked for and what came of it."""

    term: int  # how often a lead was taken
    leader: str  # who took it last
    leads_ms: int  # how much longer it leads without renewing; 0: nobody does
    wanted: str  # the last request; empty: none
    answered: str  # the last request that got an outcome
    outcome: str  # the last outcome, as JSON; empty: none


class Office(Protocol):
    """One office. Every method raises Away where the store does not answer in time; those of a leader Fenced."""

    async def lead(self, token: str, ttl_ms: int, name: str) -> int:
        """Take or keep the lead for so long; the term, 0 where another one leads."""
        ...

    async def resign(self, token: str) -> None:
        """Let the lead go; nothing happens where it is not ours."""
        ...

    async def put(self, token: str, id: str, rows: int, body: bytes) -> None:
        """Make this the standing plan. Raises Fenced where we do not lead; the plan before must be finished."""
        ...

    async def sent(self, token: str, id: str, count: int) -> None:
        """So many rows of this plan are acknowledged; the number only grows. Raises Fenced."""
        ...

    async def note(self, token: str, outcome: str, request: str) -> None:
        """What came of a request (empty: of none). Raises Fenced."""
        ...

    async def ask(self, request: str) -> None:
        """Whoever leads should make a plan now."""
        ...

    async def plan(self) -> Standing | None:
        """The standing plan."""
        ...

    async def book(self) -> Book:
        """Requests and outcomes."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class RedisOffice:
    """The office in Redis or Valkey."""

    def __init__(
        self, url: str, namespace: str, tag: str = NETWORK, *, timeout_s: float = 10.0, command_s: float = 5.0
    ) -> None:
        self._wire = Wire(url, timeout_s=timeout_s, command_s=command_s)
        self._lead, self._plan, self._book = (f"{namespace}:{tag}:{name}" for name in ("lead", "plan", "book"))

    async def lead(self, token: str, ttl_ms: int, name: str) -> int:
        """Take or keep the lead; see the port."""
        answer = await self._run("lead", token, ttl_ms, name)
        return int(answer[1]) if answer[0] == b"ours" else 0

    async def resign(self, token: str) -> None:
        """Let the lead go."""
        await self._run("resign", token)

    async def put(self, token: str, id: str, rows: int, body: bytes) -> None:
        """Make this the standing plan; see the port."""
        answer = await self._run("put", token, id, rows, body)
        _check(answer[0].decode(), "put plan")
        assert answer[0] == b"done", f"plan {answer[1].decode()} is not finished; finish it before putting {id}"

    async def sent(self, token: str, id: str, count: int) -> None:
        """So many rows are acknowledged; see the port."""
        _check((await self._run("sent", token, id, count))[0].decode(), "note progress")

    async def note(self, token: str, outcome: str, request: str) -> None:
        """What came of a request; see the port."""
        _check((await self._run("note", token, outcome, request))[0].decode(), "note outcome")

    async def ask(self, request: str) -> None:
        """Ask for a plan."""
        await self._wire.ask("ask for a plan", [("HSET", self._book, "wanted", request)])

    async def plan(self) -> Standing | None:
        """The standing plan."""
        [found] = await self._wire.ask("read the standing plan", [("HGETALL", self._plan)])
        if not found:
            return None
        return Standing(found[b"id"].decode(), int(found[b"rows"]), int(found[b"sent"]), found[b"body"])

    async def book(self) -> Book:
        """Requests and outcomes."""
        calls = [("HGETALL", self._book), ("PTTL", self._lead)]
        found, leads_ms = await self._wire.ask("read the office's book", calls, at_once=True)
        term, leader, *texts = (
            found.get(name, b"").decode() for name in (b"term", b"leader", b"wanted", b"answered", b"outcome")
        )
        return Book(int(term or 0), leader, max(int(leads_ms), 0), *texts)

    async def close(self) -> None:
        """Let go of connections."""
        await self._wire.close()

    async def _run(self, *arguments: Any) -> list[Any]:
        [answer] = await self._wire.run("office", [([self._lead, self._plan, self._book], list(arguments))])
        return list(answer)


class MemoryOffice:
    """The same in memory, for tests; `now_ms` is its clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._token, self._until_ms = "", 0
        self._standing: Standing | None = None
        self._book = Book(0, "", 0, "", "", "")

    async def lead(self, token: str, ttl_ms: int, name: str) -> int:
        """Take or keep the lead; see the port."""
        if self._holder() not in ("", token):
            return 0
        if self._holder() == "":
            self._change(term=self._book.term + 1, leader=name)
        self._token, self._until_ms = token, self._now_ms() + ttl_ms
        return self._book.term

    async def resign(self, token: str) -> None:
        """Let the lead go."""
        if self._holder() == token:
            self._token = ""

    async def put(self, token: str, id: str, rows: int, body: bytes) -> None:
        """Make this the standing plan; see the port."""
        _check("done" if self._holder() == token else "lost", "put plan")
        if self._standing is not None and self._standing.id == id:
            return
        before = self._standing
        assert before is None or before.finished, f"plan {before.id} is not finished; finish it before putting {id}"
        self._standing = Standing(id, rows, 0, body)

    async def sent(self, token: str, id: str, count: int) -> None:
        """So many rows are acknowledged; see the port."""
        there = self._standing
        ours = self._holder() == token
        _check("lost" if not ours else "done" if there is not None and there.id == id else "other", "note progress")
        assert there is not None
        self._standing = Standing(id, there.rows, max(there.sent, count), there.body)

    async def note(self, token: str, outcome: str, request: str) -> None:
        """What came of a request; see the port."""
        _check("done" if self._holder() == token else "lost", "note outcome")
        self._change(outcome=outcome, answered=request)

    async def ask(self, request: str) -> None:
        """Ask for a plan."""
        self._change(wanted=request)

    async def plan(self) -> Standing | None:
        """The standing plan."""
        return self._standing

    async def book(self) -> Book:
        """Requests and outcomes."""
        self._change(leads_ms=max(self._until_ms - self._now_ms(), 0) if self._holder() else 0)
        return self._book

    async def close(self) -> None:
        """Nothing to let go of."""

    def _holder(self) -> str:
        return self._token if self._now_ms() < self._until_ms else ""

    def _change(self, **values: Any) -> None:
        self._book = Book(**{**self._book.__dict__, **values})


def _check(verdict: str, doing: str) -> None:
    """Raise Fenced where the office says that another one leads, or that the plan is another one now."""
    if verdict in ("lost", "other"):
        raise Fenced(
            f"could not {doing}: another worker leads now",
            "our lease ran out" if verdict == "lost" else "the standing plan is another one",
            "nothing to do: the leader goes on from the plan that stands",
        )
