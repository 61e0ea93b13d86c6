"""What the planner and intake ask of a ledger; Redis and memory both give it, and pass the same contract suite.

A *shelf* is one partition of `sku-events` with all its state. Everything a shelf owns is a handful of named sections,
each a map of bytes to bytes, plus its position in the log, plus the outbox. One `Write` changes all of them together or
none of them.

The fence. `acquire` puts a new random token into the shelf; each write carries that token, the position it expects and
the stamp of the write before it, and leaves a new random stamp. So a write is refused
  as Fenced   when a newer owner has put its token there, and
  as Stale    when position or stamp are not what we left: Redis lost its last writes, or was restored from a copy.
A write whose answer was lost is sent again unchanged: its own stamp is then already there, and it counts as done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.events.outgoing import Outgoing

SECTIONS = ("meta", "hot", "model", "facts", "journal", "carts")

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


@dataclass
class Held:
    """A shelf we own: what was in it when we took it, and what the next write must present."""

    shelf: int
    token: str
    stamp: str
    place: Place
    sections: dict[str, dict[bytes, bytes]]
    outbox: list[tuple[int, Outgoing]]  # (sequence number, message), oldest first, not yet known to be published
    published: dict[str, int]  # outgoing topic -> offset below which all is known to be published
    next_out: int  # sequence number the next outgoing message gets


@dataclass(frozen=True)
class SourcePosition:
    """Intake's progress on one source partition; both numbers only grow."""

    offset: int  # next to read
    mark_ms: int | None


class Ledger(Protocol):
    """State, offset and outbox in one fenced write. Every method raises Away when the store does not answer in time."""

    async def acquire(self, shelf: int) -> Held:
        """Take the shelf: whoever held it is fenced from now on. Reads everything it holds."""
        ...

    async def keep(self, writes: Sequence[tuple[Held, Write]]) -> list[Exception | None]:
        """Write for several shelves in one round trip; per shelf None, Fenced or Stale.

        After None the Held carries the new stamp, place and next_out. Held.sections is not updated: the planner holds
        the live state.
        """
        ...

    async def sent(self, held: Held, through: int, published: Mapping[str, int]) -> None:
        """Drop outbox messages up to sequence number `through`; note how far each outgoing partition is published.

        Raises Fenced. Bookkeeping only: no state bytes change.
        """
        ...

    async def source_positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], SourcePosition]:
        """Intake's position on each (topic, partition) that has one."""
        ...

    async def source_done(self, positions: Mapping[tuple[str, int], SourcePosition]) -> None:
        """Advance intake's positions; each stored number becomes the greater of old and new."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
