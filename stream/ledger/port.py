"""What the planner and intake ask of a ledger; Redis and memory both give it, and pass the same contract suite.

A *shelf* is one partition of `sku-events` with all its state. Everything a shelf owns is a handful of named sections,
each a map of bytes to bytes, plus its position in the log, plus the outbox. One `Write` changes all of them together or
none of them.

The fence. `acquire` puts a new random token into the shelf; each write carries that token, the position it expects and
the stamp of the write before it, and leaves a new random stamp. So a write is refused
  as Fenced   when a newer owner has put its token there, and
  as Stale    when position or stamp are not what we left: Redis lost its last writes, or was restored from a copy.
A write whose answer was lost is sent again unchanged: its own stamp is then already there, and it counts as done.

Whoever finds a strange token must know whether a newer owner put it there (give way) or the store forgot that we came
(reload). So each acquire remembers the tokens that came before its own: a token we know from then can only be back
because the store was rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.events.outgoing import Outgoing

SECTIONS = ("meta", "hot", "model", "shared", "facts", "journal", "carts", "transfers")

Fields = dict[bytes, bytes]
Changes = dict[str, dict[bytes, bytes | None]]  # section -> field -> value, None deletes


@dataclass(frozen=True)
class Place:
    """Where a shelf stands: the next offset of `sku-events` to fold, and how far a pending sweep has come."""

    offset: int  # -1: nothing was ever kept
    sweep: str = ""  # empty: nothing pending


@dataclass
class Write:
    """State, position and outgoing messages: one fenced write."""

    expected: Place
    next: Place
    changes: Changes = field(default_factory=dict)
    out: Sequence[Outgoing] = ()
    readable: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)  # sku@location -> fields
    stamp: str = ""  # given by the ledger when it first tries, so that trying again is recognised


@dataclass
class Held:
    """A shelf we own: what was in it when we took it, and what the next write must present."""

    shelf: int
    token: str
    stamp: str
    place: Place
    sections: dict[str, Fields]
    outbox: list[tuple[int, Outgoing]]  # (sequence number, message), oldest first, not yet known to be published
    published: dict[str, int]  # outgoing topic -> offset below which all is known to be published
    next_out: int  # sequence number the next outgoing message gets
    before: frozenset[str] = frozenset()  # tokens of the owners before us


@dataclass(frozen=True)
class SourcePosition:
    """Intake's progress on one source partition; both numbers only grow."""

    offset: int  # next to read
    mark_ms: int | None


@dataclass(frozen=True)
class Peek:
    """Parts of a shelf as they stood at one moment."""

    place: Place
    sections: dict[str, Fields]


@dataclass(frozen=True)
class ShelfCopy:
    """All a shelf is, as of one moment, without who owns it."""

    shelf: int
    place: Place
    sections: dict[str, Fields]
    outbox: list[bytes]  # packed messages, oldest first
    published: dict[str, int]  # outgoing topic -> offset below which all is known to be published


class Ledger(Protocol):
    """State, offset and outbox in one fenced write. Every method raises Away when the store does not answer in time."""

    async def acquire(self, shelf: int) -> Held:
        """Take the shelf: whoever held it is fenced from now on. Reads everything it holds."""
        ...

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        """Write for several shelves in one round trip; per shelf None, Fenced or Stale.

        After None the Held carries the new stamp, place and next_out. Held.sections is not updated: the planner holds
        the live state. After Away the same Write may be given again: parts that were written are not written twice.
        """
        ...

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        """Drop outbox messages up to sequence number `through`; note how far each outgoing partition is published.

        Raises Fenced; Stale when the ledger never heard of a message `through` says was sent (it was rolled back).
        `through=-1` drops nothing and so only asks whether we still hold the shelf. No state bytes change.
        """
        ...

    async def look(self, helds: Sequence[Held]) -> list[Exception | None]:
        """Whether shelves are as we left them: per shelf None, Fenced or Stale. Changes nothing.

        For an owner at rest, who has nothing to write and so would not hear that the store was rolled back.
        """
        ...

    async def source_positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], SourcePosition]:
        """Intake's position on each (topic, partition) that has one."""
        ...

    async def source_done(self, positions: Mapping[tuple[str, int], SourcePosition]) -> None:
        """Advance intake's positions; each stored number becomes the greater of old and new."""
        ...

    async def peek(self, shelf: int, wanted: Mapping[str, Sequence[bytes] | None]) -> Peek:
        """Some fields of some sections (None: the whole section) as of one moment; takes nothing from the owner.

        A field that is not there is left out.
        """
        ...

    async def shelves(self) -> list[int]:
        """Numbers of the shelves that were ever taken, for a person's command: it may walk every key."""
        ...

    async def dump(self, shelf: int) -> dict[str, Fields]:
        """Every state key of a shelf with its fields sorted: equal states give equal dumps.

        Names are `place`, the sections and `stock:<sku>@<location>`; ownership and relay bookkeeping are not state.
        For tests and inquiries: it may walk every key.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
