"""Intake at work, `IntakeWork` of the transport: polls of the source topics in, rows and dead letters out.

One poll, numbered as in the body. Dying after any of them loses nothing: the poll is read again from the ledger's
offset, translated to the same rows, and the planner drops what it has seen by source coordinates.

    1  translate     records to rows, refusals and marks; pure
    2  send          one record a shelf that has rows, with the marks of this poll; dead letters
    3  acknowledged  by Kafka, every one of them
    4  done          offset and mark of each source partition in the ledger, while the next poll is at 1 to 3; both only
                     grow, and are never more than one poll behind

There is no fence and none is needed: two intakes on one partition send the same rows, each in source order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import pyarrow as pa

from agents.intake.translate import IntakeConfig, Translated, idle_mark, marks_frame, translate
from stream.errors import Away
from stream.events import rows
from stream.events.outgoing import Outgoing
from stream.events.topics import SKU_EVENTS, SOURCES
from stream.ledger.port import Ledger, SourcePosition
from stream.transport.port import Batch, Send, Sender

Source = tuple[str, int]  # topic's short name, partition

# 8 MiB: a quarter of what a sku-events record may hold, so that strings estimated too small still fit
MOST_FRAME_BYTES = 8 << 20

LARGE_RECORDS = 1_000  # a poll of this many takes some 5 ms; handing it to a thread and back 0.2 ms

DEAD_LETTER_PARTITION = 0  # there is one
UNREAD = -1  # the ledger's offset of a partition that has a mark, but of which nothing was read


class Intake:
    """Answers polls of the source topics, and keeps every shelf's marks moving while nothing comes."""

    def __init__(
        self,
        config: IntakeConfig,
        sender: Sender,
        ledger: Ledger,
        translate: Callable[..., Translated] = translate,
        observe: Callable[[Translated], None] | None = None,
    ) -> None:
        """`observe` hears of every poll once it is done."""
        self._config, self._sender, self._ledger = config, sender, ledger
        self._translate = translate
        self._observe = observe or (lambda _: None)
        self._next: dict[Source, int | None] = {}  # where each owned partition is read on; None until its first poll
        self._marks: dict[tuple[int, int], int | None] = {}  # (Source, partition) -> mark
        self._told: dict[tuple[int, int], int] = {}  # marks every shelf was told at an idle moment
        self._writing: asyncio.Task[None] | None = None  # the ledger's part of the poll before

    async def positions(self, partitions: Sequence[Source]) -> dict[Source, int | None]:
        """Where to read on: what the ledger says, or the beginning."""
        with contextlib.suppress(Away):  # then we read from further back
            await self._written()
        kept = await self._ledger.source_positions(partitions)
        for at in partitions:
            found = kept.get(at)
            self._next[at] = None if found is None or found.offset == UNREAD else found.offset
            self._marks[_number(at)] = None if found is None else found.mark_ms
        return {at: self._next[at] for at in partitions}

    async def poll(self, batches: Sequence[Batch]) -> None:
        """Answer one poll completely. Raises Away; then it may be answered again from the ledger's offset."""
        for batch in batches:
            expected = self._next[batch.topic, batch.partition]
            assert expected is None or batch.start == expected, f"{batch.topic}: {batch.start} came after {expected}"
        done = await self._translated(batches)  # 1
        sends = [send for shelf, its in sorted(done.shelves.items()) for send in _frames(shelf, its, done.marks)]
        await self._sender.send(sends + [_dead_letter(refused) for refused in done.refused])  # 2, 3
        await self._written()
        self._note(done.positions)
        self._writing = asyncio.create_task(self._ledger.source_done(done.positions))  # 4
        self._observe(done)

    async def _written(self) -> None:
        """Wait until the ledger has the poll before; raises what kept it from that."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _translated(self, batches: Sequence[Batch]) -> Translated:
        """A large poll in a thread: Arrow reads JSON without Python's lock, so that the planner goes on meanwhile."""
        if sum(len(batch.offsets) for batch in batches) < LARGE_RECORDS:
            return self._translate(self._config, self._marks, batches)
        return await asyncio.to_thread(self._translate, self._config, self._marks, batches)

    async def idle(self, at_end: Sequence[Source], now_ms: int) -> None:
        """Tell every shelf how far our partitions are, where that changed since the last time.

        By the wall clock, a partition read to its end at `now_ms` is complete up to then, less the lateness. Such a
        mark is in the ledger before a shelf hears of it, so that a successor judges lateness by it too.
        """
        await self._written()
        quiet = {at: idle_mark(self._config, self._marks[_number(at)], now_ms) for at in at_end}
        ends = {at: SourcePosition(self._offset(at), mark) for at, mark in quiet.items() if self._is_news(at, mark)}
        if ends:
            await self._ledger.source_done(ends)
            self._note(ends)
        news = [mark for mark in self._known() if self._told.get(mark[:2]) != mark.mark_ms]
        if news:
            frame = marks_frame(news)
            await self._sender.send(
                [Send(SKU_EVENTS.name, shelf, None, frame) for shelf in range(self._config.shelves)]
            )
            self._told.update({(mark.source, mark.partition): mark.mark_ms for mark in news})

    async def release(self, partitions: Sequence[Source]) -> None:
        """Forget these partitions, once the ledger has what was read of them, or cannot be reached."""
        with contextlib.suppress(Away):
            await self._written()
        for at in partitions:
            self._next.pop(at, None)
            self._marks.pop(_number(at), None)
            self._told.pop(_number(at), None)

    def _note(self, positions: dict[Source, SourcePosition]) -> None:
        for at, position in positions.items():
            self._next[at] = None if position.offset == UNREAD else position.offset
            self._marks[_number(at)] = position.mark_ms

    def _is_news(self, at: Source, mark_ms: int | None) -> bool:
        return mark_ms is not None and mark_ms != self._marks[_number(at)]

    def _offset(self, at: Source) -> int:
        found = self._next[at]
        return UNREAD if found is None else found

    def _known(self) -> list[rows.Mark]:
        return [
            rows.Mark(*_number(at), mark, max(self._offset(at), 0) - 1)
            for at in sorted(self._next)
            if (mark := self._marks[_number(at)]) is not None
        ]


def _number(at: Source) -> tuple[int, int]:
    return int(SOURCES[at[0]]), at[1]


def _frames(shelf: int, its: pa.RecordBatch, marks: Sequence[rows.Mark]) -> list[Send]:
    """The records of one shelf: one, unless it would be too large. The marks come with the last rows."""
    pieces = max(1, -(-its.nbytes // MOST_FRAME_BYTES))
    step = -(-its.num_rows // pieces)
    parts = [its.slice(first, step) for first in range(0, its.num_rows, step)]
    frames = [rows.encode(part, ()) for part in parts[:-1]] + [rows.encode(parts[-1], tuple(marks))]
    return [Send(SKU_EVENTS.name, shelf, None, frame) for frame in frames]


def _dead_letter(refused: Outgoing) -> Send:
    return Send(refused.topic, DEAD_LETTER_PARTITION, refused.key, refused.value, refused.headers)
