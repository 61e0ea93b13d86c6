"""From intake to planner without a fetch: what this worker itself has just written to `sku-events`.

A record is handed over once Kafka has acknowledged it from all replicas in sync, under the offset Kafka gave it: it is
what a fetch would bring, some 15 ms sooner at the median. It is taken only where it is the next of its partition to be
brought; where somebody else wrote before it, it is not, and a fetch brings both. Nothing depends on a record being
handed over, and what was is left out of the fetch that comes after.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from faust.types import TP

from stream.transport.port import Batch, Sent
from stream.transport.stamped import Stamped, size_of


class Place(NamedTuple):
    """How far a partition was brought."""

    stamp: int  # of the seek it counts from
    next: int  # the offset to be brought next
    known: int  # a fetch saw what there is below this offset: nothing, from `next` on


class HandOver:
    """Of one desk: how far each partition was brought to it, by whom soever, and what was handed over and waits."""

    def __init__(self) -> None:
        self.came = asyncio.Event()  # set while something waits
        self.missed = asyncio.Event()  # set when something was not taken: it is to be fetched
        self.taken_s = float("-inf")  # when something was last taken, by the loop's clock
        self._places: dict[TP, Place] = {}
        self._parts: dict[TP, Stamped] = {}

    def begin(self, tp: TP, stamp: int, at: int) -> None:
        """A partition was sought; what was fetched after it may have said so before."""
        if tp not in self._places or self._places[tp].stamp != stamp:
            self._places[tp] = Place(stamp, at, at)

    def news(self, part: Stamped) -> Stamped | None:
        """What of a part was not brought yet; it is from now on."""
        self.begin(part.tp, part.stamp, part.batch.start)
        _, expected, known = self._places[part.tp]
        assert part.batch.start <= known, f"{part.tp}: {part.batch.start} was fetched, {known} is the next"
        found = part.since(expected)
        brought = part.batch.next if found.batch.offsets else expected
        self._places[part.tp] = Place(part.stamp, brought, max(known, part.batch.next))
        return found if found.batch.offsets else None

    def offer(self, tp: TP, topic: str, sent: Sent, now_s: float, room: bool) -> None:
        """Take an acknowledged record, if it is the next one and there is room."""
        place = self._places.get(tp)
        if place is None:
            return  # not ours
        before = self._parts.get(tp)
        if before is not None and before.stamp != place.stamp:
            before = None
        expected = place.next if before is None else max(place.next, before.batch.next)
        if sent.offset == expected and room:
            part = _part(tp, place.stamp, topic, sent)
            self._parts[tp] = part if before is None or before.batch.next < expected else before.then(part)
            self.taken_s = now_s
            self.came.set()
        elif not 0 <= sent.offset < expected:
            self.missed.set()

    def waiting_bytes(self) -> int:
        """Bytes of keys and values handed over and not yet taken."""
        return size_of(list(self._parts.values()))

    def take(self) -> list[Stamped]:
        """All that waits."""
        parts, self._parts = list(self._parts.values()), {}
        self.came.clear()
        return parts

    def clear(self) -> None:
        """Forget everything: the partitions were let go."""
        self.take()
        self._places.clear()


def _part(tp: TP, stamp: int, topic: str, sent: Sent) -> Stamped:
    record, offset = sent.record, sent.offset
    batch = Batch(
        topic,
        tp.partition,
        offset,
        offset + 1,
        offset + 1,
        [offset],
        [sent.at_ms],
        [record.key],
        [record.value],
        [record.headers],
    )
    return Stamped(tp, stamp, batch, len(record.value or b""))
