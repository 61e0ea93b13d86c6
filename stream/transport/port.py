"""What agents see of Kafka: polls in, records out. Faust and memory both give it.

The unit of work is one poll over all partitions, never one partition: at 1,000 orders/s over 8 partitions, answering
partition by partition cost 270 ms at the median where one answer a poll cost 45 ms.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class Batch:
    """Consecutive records of one partition, as one poll brought them.

    `start` is where the fetch began, `next` where the following one will: offsets between them that are missing
    (compaction, transaction markers) are known to be missing, not lost.
    """

    topic: str  # short name, without namespace
    partition: int
    start: int
    next: int
    end: int  # log end seen by the fetch: next == end means read to the end
    offsets: Sequence[int]
    timestamps: Sequence[int]  # Kafka timestamps, ms
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Sequence[tuple[str, bytes]]]

    def then(self, later: Batch) -> Batch:
        """Both as one; `later` starts where this one ends."""
        assert later.start == self.next, f"{self.topic}[{self.partition}]: {later.start} does not follow {self.next}"
        return replace(
            later,
            start=self.start,
            offsets=[*self.offsets, *later.offsets],
            timestamps=[*self.timestamps, *later.timestamps],
            keys=[*self.keys, *later.keys],
            values=[*self.values, *later.values],
            headers=[*self.headers, *later.headers],
        )

    def after(self, count: int) -> Batch:
        """What follows its first `count` records; there is such."""
        return self.since(self.offsets[count])

    def since(self, offset: int) -> Batch:
        """From an offset on; records may be none."""
        count = bisect_left(self.offsets, offset)
        return replace(
            self,
            start=offset,
            offsets=self.offsets[count:],
            timestamps=self.timestamps[count:],
            keys=self.keys[count:],
            values=self.values[count:],
            headers=self.headers[count:],
        )


class Send(NamedTuple):
    """A record to be sent to a given partition."""

    topic: str  # short name
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Sent(NamedTuple):
    """A record Kafka has acknowledged."""

    record: Send
    offset: int  # negative where the broker did not say: a repeat whose place it had forgotten
    at_ms: int


class Sender(Protocol):
    """Sends in order per partition."""

    async def send(self, records: Sequence[Send]) -> None:
        """Return when every record is acknowledged; raise Away when that does not happen within the bound.

        After Away some records may be in the log and others not: whoever sent them sends them again from a point not
        later, or ends the process.
        """
        ...


class IntakeWork(Protocol):
    """What the transport's intake agent drives."""

    async def positions(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int | None]:
        """Where to read on, for partitions just assigned; None: from the beginning of the log."""
        ...

    async def poll(self, batches: Sequence[Batch]) -> None:
        """Answer one poll completely: on return its rows are acknowledged and its position is kept."""
        ...

    async def idle(self, at_end: Sequence[tuple[str, int]], now_ms: int) -> None:
        """Called about every `mark_interval` with the owned partitions that are read to their end."""
        ...

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        """These partitions are no longer ours."""
        ...


class PlannerWork(Protocol):
    """What the transport's planner agent drives; partitions are shelves."""

    async def positions(self, shelves: Sequence[int]) -> Mapping[int, int | None]:
        """Take these shelves (fence older owners, load state) and say where to read on; None: from the beginning.

        The planner says 0 of a shelf that was never begun, so that a log whose beginning is gone is refused.
        """
        ...

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        """Fold and keep one poll. Returns shelves found stale: the transport asks positions() again and seeks there."""
        ...

    async def idle(self) -> bool:
        """One slice of sweeping or refreshing; True while more is left to do."""
        ...

    async def release(self, shelves: Sequence[int]) -> None:
        """Let go of these shelves: finish what is in hand, stop their relays."""
        ...
