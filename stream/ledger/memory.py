"""The ledger in a dictionary: same fences, same order of checks, and a past it can lose.

Every operation is recorded with what undoes it, so that a test takes back the last ones as a Redis does that lost the
tail of its append-only file. `before` and `after` are called around each operation's effect and may raise: before, it
did not happen; after, it happened and nobody heard (raise `AnswerLost` and the ledger asks again, as over a wire; raise
anything else and the caller is as good as dead).
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from stream.errors import Away
from stream.events.outgoing import pack, unpack
from stream.ledger.port import SECTIONS, Fields, Held, Peek, Place, SourcePosition, Write
from stream.ledger.refusals import strange_outbox, strange_place, strange_stamp, strange_token

T = TypeVar("T")
Hook = Callable[[str, int], None]  # operation (acquire, keep, sent, source), shelf or source partition

TOKENS_REMEMBERED = 16
HISTORY_OPERATIONS = 10_000  # how far back a test may roll
REPEATS = 8  # answers lost in a row before Away


class AnswerLost(Exception):
    """Raised by a hook: the operation is tried again unchanged."""


@dataclass
class _Shelf:
    token: str = ""
    past: tuple[str, ...] = ()
    stamp: str = ""
    place: Place | None = None
    sections: dict[str, Fields] = field(default_factory=lambda: {name: {} for name in SECTIONS})
    outbox: list[tuple[int, bytes]] = field(default_factory=list)
    next_out: int = 0
    published: dict[str, int] = field(default_factory=dict)
    readable: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class _World:
    shelves: dict[int, _Shelf] = field(default_factory=dict)
    sources: dict[tuple[str, int], SourcePosition] = field(default_factory=dict)


class MemoryLedger:
    """The ledger port for simulations and tests. One instance is the store: owners share it."""

    def __init__(self, before: Hook | None = None, after: Hook | None = None) -> None:
        self.before: Hook = before or _nothing
        self.after: Hook = after or _nothing
        self._world = _World()
        self._undo: deque[Callable[[], None]] = deque(maxlen=HISTORY_OPERATIONS)
        self._names = itertools.count(1)

    # -- what a test does to it ----------------------------------------------------------------------------------

    @property
    def operations(self) -> int:
        """How many operations `roll_back` can take back."""
        return len(self._undo)

    def roll_back(self, operations: int) -> int:
        """Lose the last operations, of all shelves and sources alike. Returns how many there were to lose."""
        lost = min(operations, len(self._undo))
        for _ in range(lost):
            self._undo.pop()()
        return lost

    def outbox(self, shelf: int) -> list[int]:
        """Sequence numbers of the messages a shelf still owes."""
        return [number for number, _ in self._world.shelves.get(shelf, _Shelf()).outbox]

    def copy(self) -> object:
        """A copy to restore later."""
        return copy.deepcopy(self._world)

    def restore(self, earlier: object) -> None:
        """Become an earlier copy; what happened since cannot be rolled back any more."""
        assert isinstance(earlier, _World)
        self._world = copy.deepcopy(earlier)
        self._undo.clear()

    # -- the port ------------------------------------------------------------------------------------------------

    async def acquire(self, shelf: int) -> Held:
        """Take the shelf; see the port."""
        token = f"token-{next(self._names)}"
        return self._tried("acquire", shelf, partial(self._acquire, shelf, token))

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        """One shelf after the other, each all or nothing; see the port."""
        answers = []
        for held, write in writes:
            write.stamp = write.stamp or f"stamp-{next(self._names)}"
            answers.append(self._tried("keep", held.shelf, partial(self._keep, held, write)))
        return answers

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        """Trim the outbox and note what is published; see the port."""
        refusal = self._tried("sent", held.shelf, partial(self._sent, held, through, published))
        if refusal is not None:
            raise refusal
        held.published.update(published)

    async def look(self, helds: Sequence[Held]) -> list[Exception | None]:
        """Whether shelves are as we left them; see the port."""
        found = [(held, self._world.shelves.get(held.shelf, _Shelf())) for held in helds]
        return [strange_stamp(held, own.token, own.stamp) for held, own in found]

    async def source_positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], SourcePosition]:
        """Intake's position on each (topic, partition) that has one."""
        return {at: self._world.sources[at] for at in partitions if at in self._world.sources}

    async def source_done(self, positions: Mapping[tuple[str, int], SourcePosition]) -> None:
        """Advance intake's positions, never back."""
        for at, done in positions.items():
            self._tried("source", at[1], partial(self._advance, at, done))

    async def peek(self, shelf: int, wanted: Mapping[str, Sequence[bytes] | None]) -> Peek:
        """Some fields of some sections; see the port."""
        own = self._world.shelves.get(shelf, _Shelf())
        return Peek(
            own.place or Place(-1), {name: _some(own.sections[name], fields) for name, fields in wanted.items()}
        )

    async def shelves(self) -> list[int]:
        """Numbers of the shelves that were ever taken."""
        return sorted(shelf for shelf, own in self._world.shelves.items() if own.token != "")

    async def dump(self, shelf: int) -> dict[str, Fields]:
        """Every state key of a shelf, as RedisLedger gives it."""
        own = self._world.shelves.get(shelf, _Shelf())
        everything: dict[str, Fields] = dict(own.sections)
        if own.place is not None:
            everything["place"] = {b"offset": b"%d" % own.place.offset, b"sweep": own.place.sweep.encode()}
        for row, fields in sorted(own.readable.items()):
            everything[f"stock:{row}"] = {k.encode(): v.encode() for k, v in fields.items()}
        names = ["place", *SECTIONS, *(name for name in everything if name.startswith("stock:"))]
        return {name: dict(sorted(everything[name].items())) for name in names if everything.get(name)}

    async def close(self) -> None:
        """Nothing to let go of."""

    # -- effects, each leaving what undoes it ---------------------------------------------------------------------

    def _tried(self, operation: str, shelf: int, effect: Callable[[], T]) -> T:
        for _ in range(REPEATS):
            try:
                self.before(operation, shelf)
                answer = effect()
                self.after(operation, shelf)
            except AnswerLost:
                continue
            return answer
        raise Away(f"could not {operation} in the ledger", f"{REPEATS} answers were lost in a row")

    def _acquire(self, shelf: int, token: str) -> Held:
        own = self._world.shelves.setdefault(shelf, _Shelf())
        if own.token != token:
            self._undo.append(partial(_set, own, token=own.token, past=own.past))
            _set(own, token=token, past=(own.token, *own.past)[:TOKENS_REMEMBERED])
        sections = {name: dict(fields) for name, fields in own.sections.items()}
        outbox = [(number, unpack(raw)) for number, raw in own.outbox]
        place, published = own.place or Place(-1), dict(own.published)
        return Held(shelf, token, own.stamp, place, sections, outbox, published, own.next_out, frozenset(own.past))

    def _keep(self, held: Held, write: Write) -> Exception | None:
        own = self._world.shelves.get(held.shelf, _Shelf())
        if own.token != held.token:
            return strange_token(held, own.token, "keep batch")
        if own.stamp != write.stamp:
            which = _strange(own, held, write)
            if which:
                return strange_place(held, write, which, own.place or Place(-1), own.stamp)
            self._undo.append(_applied(own, write))
        held.stamp, held.place, held.next_out = write.stamp, write.next, own.next_out
        return None

    def _sent(self, held: Held, through: int, published: Mapping[str, int]) -> Exception | None:
        own = self._world.shelves.get(held.shelf, _Shelf())
        if own.token != held.token:
            return strange_token(held, own.token, "trim outbox")
        if through >= own.next_out:
            return strange_outbox(held, through, own.next_out)
        self._undo.append(partial(_set, own, outbox=own.outbox, published=own.published))
        left = [entry for entry in own.outbox if entry[0] > through]
        _set(own, outbox=left, published={**own.published, **published})
        return None

    def _advance(self, at: tuple[str, int], done: SourcePosition) -> None:
        was = self._world.sources.get(at)
        both = [done] if was is None else [was, done]
        marks = [position.mark_ms for position in both if position.mark_ms is not None]
        self._undo.append(partial(_put, self._world.sources, at, was))
        self._world.sources[at] = SourcePosition(max(p.offset for p in both), max(marks, default=None))


def _strange(own: _Shelf, held: Held, write: Write) -> str:
    """Which of offset, sweep and stamp is not what the write expects; empty when all are."""
    place = own.place or Place(-1)
    if place.offset != write.expected.offset:
        return "offset"
    if place.sweep != write.expected.sweep:
        return "sweep"
    return "stamp" if own.stamp != held.stamp else ""


def _applied(own: _Shelf, write: Write) -> Callable[[], None]:
    """Apply the write; returns what takes it back."""
    undo = [partial(_set, own, stamp=own.stamp, place=own.place, next_out=own.next_out, outbox=own.outbox)]
    added = [(own.next_out + i, pack(message)) for i, message in enumerate(write.out)]
    _set(own, stamp=write.stamp, place=write.next, next_out=own.next_out + len(added), outbox=own.outbox + added)
    for section, changes in write.changes.items():
        for name, value in changes.items():
            undo.append(partial(_put, own.sections[section], name, own.sections[section].get(name)))
            _put(own.sections[section], name, value)
    for row, fields in write.readable.items():
        undo.append(partial(_put, own.readable, row, own.readable.get(row)))
        _put(own.readable, row, dict(fields) if fields else None)

    def take_back() -> None:
        for step in reversed(undo):
            step()

    return take_back


def _set(own: _Shelf, **values: Any) -> None:
    for name, value in values.items():
        setattr(own, name, value)


def _put(where: dict[Any, Any], name: Any, value: Any) -> None:
    if value is None:
        where.pop(name, None)
    else:
        where[name] = value


def _some(section: Fields, fields: Sequence[bytes] | None) -> Fields:
    return {name: section[name] for name in (section if fields is None else fields) if name in section}


def _nothing(operation: str, shelf: int) -> None:
    """The hook of a healthy day."""
