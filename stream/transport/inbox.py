"""What is to be brought to a desk next: records as they are fetched, or handed over by this worker's own intake.

A record is handed over once Kafka has acknowledged it from all replicas in sync, under the offset Kafka gave it: it is
what a fetch would bring, only sooner. It is taken where it is the next of its partition; where somebody else wrote
before it, a fetch brings both. Nothing depends on a record being handed over, and what came twice counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from faust.types import TP

from stream.transport.port import Batch, Sent
from stream.transport.stamped import Stamped, size_of

MUCH_BYTES = 64 << 10  # so much is not kept waiting for company
HANDING_S = 0.1  # a desk that is handed its records is fetched for this often: others may write too


class Place(NamedTuple):
    """How far a partition was brought."""

    stamp: int  # of the seek it counts from
    next: int  # the offset to be brought next
    known: int  # a fetch saw what there is below this offset: from `next` on, nothing


class Inbox:
    """Of one desk. Lives on the main loop; `size_bytes` may be read from elsewhere."""

    def __init__(self) -> None:
        self.came = asyncio.Event()  # set while something waits
        self.missed = asyncio.Event()  # set when something handed over was not taken: it is to be fetched
        self.handed_s = float("-inf")  # when something handed over was last taken, by the loop's clock
        self.hurry = asyncio.Event()  # set while what waits is to be brought at once: it is much, or intake has waited
        self.size_bytes = 0  # of keys and values that wait
        self._places: dict[TP, Place] = {}
        self._parts: dict[TP, Stamped] = {}

    def handing(self, now_s: float) -> bool:
        """Whether records are handed over just now, by the loop's clock. May be asked from elsewhere."""
        return now_s - self.handed_s < HANDING_S

    def begin(self, tp: TP, stamp: int, at: int) -> None:
        """A partition was sought; what was fetched after it may have said so before."""
        if tp not in self._places or self._places[tp].stamp < stamp:
            self._places[tp] = Place(stamp, at, at)

    def add(self, parts: Iterable[Stamped]) -> None:
        """Take what was fetched after the last seek, less what came before."""
        for part in parts:
            self.begin(part.tp, part.stamp, part.batch.start)
            _, expected, known = self._places[part.tp]
            assert part.batch.start <= known, f"{part.tp}: {part.batch.start} was fetched, {known} is the next"
            news = part.since(expected)
            if news.batch.offsets:
                self._take(news)
            place = self._places[part.tp]
            self._places[part.tp] = place._replace(known=max(known, part.batch.next))

    def hand(self, tp: TP, topic: str, sent: Sent, now_s: float, room: bool) -> None:
        """Take an acknowledged record, if its partition is ours, it is the next one and there is room."""
        place = self._places.get(tp)
        if place is None or 0 <= sent.offset < place.next:
            return
        if sent.offset == place.next and room:
            self._take(_part(tp, place.stamp, topic, sent))
            self.handed_s = now_s
            self.hurry.set()
        else:
            self.missed.set()

    def _take(self, part: Stamped) -> None:
        before = self._parts.get(part.tp)
        goes_on = before is not None and before.stamp == part.stamp  # else it was fetched before a seek
        self._parts[part.tp] = before.then(part) if before is not None and goes_on else part
        self._places[part.tp] = Place(part.stamp, part.batch.next, part.batch.next)
        self.size_bytes = size_of(self._parts.values())
        self.came.set()
        if self.size_bytes >= MUCH_BYTES:
            self.hurry.set()

    def take(self) -> list[Stamped]:
        """All that waits, a part a partition."""
        parts, self._parts, self.size_bytes = list(self._parts.values()), {}, 0
        self.came.clear()
        self.hurry.clear()
        return parts

    def clear(self) -> None:
        """Forget everything: the partitions were let go."""
        self.take()
        self._places.clear()


def _part(tp: TP, stamp: int, topic: str, sent: Sent) -> Stamped:
    record, offset = sent.record, sent.offset
    after = offset + 1
    batch = Batch(
        topic,
        tp.partition,
        offset,
        after,
        after,
        [offset],
        [sent.at_ms],
        [record.key],
        [record.value],
        [record.headers],
    )
    return Stamped(tp, stamp, batch, len(record.value or b""))
