"""A periodic agent at work: one leader among all workers, by schedule and on demand. Only this file waits.

Order of a plan; a leader may die after each step:
  1  the lead is taken, and kept by renewing it; whoever lost it can write nothing;
  2  a plan that a leader before us left half told is told to its end;
  3  a solve runs in a process of its own, within bounds of time and memory;
  4  the plan is put, whole, as the standing one;
  5  it is told: records of `sku-events`, acknowledged, then noted as told, lot by lot;
  6  the outcome is noted, and with it the request answered.
Death before 4 leaves the last plan standing and the request open. After 4 the next leader goes on at 2: what was told
and not noted is told again, and the planner knows its coordinates. A solve that fails is an outcome too, with its why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from stream.errors import Fenced, NeighbourError, RestockError
from stream.events.topics import SKU_EVENTS
from stream.ledger.office import Book, Office, Standing
from stream.transport.port import Send, Sender

log = logging.getLogger(__name__)

TTL_MS = 10_000  # a leader that is silent this long leads no more: a few missed turns, not a slow one
TURN_S = 1.0  # how often the lead is renewed and the book is read: two small calls to Redis
MINUTE_MS = 60_000

Answer = TypeVar("Answer")  # what a solve says
Plan = TypeVar("Plan")  # what is put and told
Lots = Iterator[tuple[int, list[tuple[int, bytes]]]]  # how far each lot goes, and its records as (shelf, bytes)


class Watcher(Protocol):
    """Who counts what the agent does."""

    def led(self, leads: bool) -> None:
        """Whether we lead, once a turn."""

    def stands(self, age_s: float | None) -> None:
        """The age of the standing plan, once a turn while we lead; None: there is none."""

    def came(self, outcome: dict[str, Any]) -> None:
        """A solve came to something."""


class Unwatched:
    """Nobody counts."""

    def led(self, leads: bool) -> None:
        """Nothing."""

    def stands(self, age_s: float | None) -> None:
        """Nothing."""

    def came(self, outcome: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class LeaderConfig:
    """What a periodic agent depends on besides the ledger."""

    namespace: str
    shelves: int
    name: str  # of this worker, for people
    every_minutes: int = 0  # 0: only on demand


Config = TypeVar("Config", bound=LeaderConfig)


class Leader(ABC, Generic[Answer, Plan, Config]):
    """One worker's part in a periodic agent; what a plan is, its room says."""

    what: str  # that is made, for people

    def __init__(
        self,
        office: Office,
        sender: Sender,
        solve: Callable[[], Awaitable[bytes]],
        config: Config,
        now_ms: Callable[[], int],
        watcher: Watcher | None = None,
    ) -> None:
        self._office, self._sender, self._solve, self._now_ms = office, sender, solve, now_ms
        self._config = config
        self._watcher: Watcher = watcher or Unwatched()
        self._token = secrets.token_hex(16)
        self._standing: tuple[str, Plan] | None = None  # as last read, by id: a plan is megabytes

    @abstractmethod
    def read_answer(self, raw: bytes) -> Answer:
        """What a solve says. Raises where it is none."""

    @abstractmethod
    def read_plan(self, body: bytes) -> Plan:
        """A plan as it was put."""

    @abstractmethod
    def drafted(self, answer: Answer, last: Plan | None, now_ms: int, request: str) -> Standing:
        """The plan to put, of which nothing is told; its number is above the last one's."""

    @abstractmethod
    def told(self, plan: Plan, first: int) -> Lots:
        """What is to be told from row `first` on, in order."""

    @abstractmethod
    def made_ms(self, plan: Plan) -> int:
        """When a plan was made, by the clock."""

    @abstractmethod
    def outcome(self, plan: Plan) -> tuple[dict[str, Any], str]:
        """What there is to say of a plan that is told, and the request it answers."""

    async def run(self) -> None:
        """Turn after turn, until cancelled; gives the lead away at the end."""
        try:
            while True:
                try:
                    await self.turn()
                except NeighbourError as error:  # another one leads, or somebody is away: the next turn sees
                    log.warning("%s", error)
                    self._watcher.led(False)
                except Exception:  # events must go on whatever is wrong with plans
                    log.exception("making a %s failed; it is tried again", self.what)
                await asyncio.sleep(TURN_S)
        finally:
            with contextlib.suppress(Exception):  # it runs out by itself
                await asyncio.wait_for(self._office.resign(self._token), TURN_S)

    async def turn(self) -> bool:
        """Lead if nobody else does, and do what is due; whether a plan was made or refused. Raises NeighbourError."""
        leads = await self._lead()
        self._watcher.led(leads)
        if not leads:
            return False
        standing = await self._office.plan()
        if standing is not None and not standing.finished:
            await self._finish(standing)
        self._watcher.stands(self._age_s(standing))
        book = await self._office.book()
        if not self._due(book):
            return False
        request = book.wanted if book.wanted != book.answered else ""
        answer = await self._answer(request or book.answered)
        if answer is not None:
            await self._propose(answer, request or book.answered)
        return True

    async def _lead(self) -> bool:
        return await self._office.lead(self._token, TTL_MS, self._config.name) > 0

    def _due(self, book: Book) -> bool:
        if book.wanted != book.answered:
            return True
        if self._config.every_minutes == 0:
            return False
        last = json.loads(book.outcome)["at_ms"] if book.outcome else None
        return last is None or self._now_ms() - last >= self._config.every_minutes * MINUTE_MS

    async def _answer(self, request: str) -> Answer | None:
        """What the solve says; None where it failed, which is noted. Keeps the lead meanwhile."""
        solving = asyncio.ensure_future(self._solve())
        try:
            while not (await asyncio.wait([solving], timeout=TURN_S))[0]:
                if not await self._lead():
                    raise Fenced(f"another worker makes each {self.what} now", hint="nothing to do: it will stand")
            return self.read_answer(solving.result())
        except NeighbourError:
            raise
        except Exception as error:  # whatever it was, it must not end the worker, and somebody must read it
            await self._failed(error, request)
            return None
        finally:
            if not solving.done():
                solving.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await solving

    async def _failed(self, error: Exception, request: str) -> None:
        why = error.what if isinstance(error, RestockError) else f"{type(error).__name__}: {error}"
        detail = error.detail if isinstance(error, RestockError) else ""
        log.warning("no new %s, the last one stands: %s", self.what, ": ".join(filter(None, (why, detail))))
        await self._note({"status": "failed", "why": why, "detail": detail}, request)

    async def _propose(self, answer: Answer, request: str) -> None:
        """Put the plan, whole, and tell it."""
        last = await self._office.plan()
        standing = self.drafted(answer, None if last is None else self._read(last), self._now_ms(), request)
        await self._office.put(self._token, standing.id, standing.rows, standing.body)
        await self._finish(standing)

    async def _finish(self, standing: Standing) -> None:
        """Tell what is not known to be told, then answer the request."""
        plan = self._read(standing)
        for end, records in self.told(plan, standing.sent):
            await self._sender.send([Send(SKU_EVENTS.name, shelf, None, value) for shelf, value in records])
            await self._office.sent(self._token, standing.id, end)
            if not await self._lead():
                raise Fenced(f"another worker makes each {self.what} now", hint="nothing to do: it goes on from here")
        said, request = self.outcome(plan)
        log.info("%s %s: %d told, %s", self.what, standing.id, standing.rows, said.get("status"))
        await self._note({**said, "plan_id": standing.id}, request)

    async def _note(self, outcome: dict[str, Any], request: str) -> None:
        outcome = {**outcome, "at_ms": self._now_ms()}
        await self._office.note(self._token, json.dumps(outcome), request)
        self._watcher.came(outcome)

    def _read(self, standing: Standing) -> Plan:
        if self._standing is None or self._standing[0] != standing.id:
            self._standing = standing.id, self.read_plan(standing.body)
        return self._standing[1]

    def _age_s(self, standing: Standing | None) -> float | None:
        if standing is None:
            return None
        return max(self._now_ms() - self.made_ms(self._read(standing)), 0) / 1000
