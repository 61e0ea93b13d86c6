"""Records of one poll to rows by shelf: pure. The theory is in README.md beside this file.

What a record becomes depends on the record, on its place in its own source partition and on the mark before it; never
on which other records came in the same poll.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.intake import orders
from agents.intake.routing import EVERY_SHELF, shelves_of
from stream.events import rows
from stream.events.cloudevents import dead_letter
from stream.events.columnar import Read, State, read
from stream.events.instants import text_from_ms
from stream.events.kinds import Flag
from stream.events.outgoing import Outgoing
from stream.events.reading import COMPACTED, hash_of
from stream.events.refusals import Reason, Refusal, refusal
from stream.events.topics import SOURCES
from stream.ledger.port import SourcePosition
from stream.transport.port import Batch

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Marks = Mapping[tuple[int, int], int | None]  # (Source, partition) -> mark, None or absent: no event yet

_NO_MARK: Final = -(2**62)  # ms; earlier than any event, and differences with it do not overflow
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class IntakeConfig:
    """What intake depends on besides the log; the settings of the same names."""

    shelves: int
    lateness_ms: int = 120_000
    max_ahead_ms: int = 300_000
    max_behind_days: int = 30
    clock: Literal["wall", "event"] = "wall"
    max_record_bytes: int = 1 << 20


@dataclass(frozen=True)
class Counts:
    """Records of a poll: accepted + refused + ticks = read."""

    accepted: Counter[str] = field(default_factory=Counter)  # by topic; of these some are late
    late: Counter[str] = field(default_factory=Counter)  # by topic
    ticks: Counter[str] = field(default_factory=Counter)  # by topic
    refused: Counter[tuple[str, Reason]] = field(default_factory=Counter)  # by topic and reason


@dataclass(frozen=True)
class Translated:
    """What one poll becomes."""

    shelves: dict[int, pa.RecordBatch]  # rows in rows.SCHEMA; shelves without rows are absent
    refused: list[Outgoing]  # dead letters
    marks: tuple[rows.Mark, ...]  # of the source partitions the poll touched that have one, after the poll
    positions: dict[tuple[str, int], SourcePosition]  # (topic, partition) -> where to read on, and the mark there
    counts: Counts


def translate(config: IntakeConfig, marks: Marks, batches: Sequence[Batch]) -> Translated:
    """Rows, refusals and marks of one poll, from the marks before it.

    Rows of one source partition keep the order of its offsets and lines in every shelf.
    """
    parts: list[_Routed] = []
    refused: list[Outgoing] = []
    after: list[rows.Mark] = []
    positions: dict[tuple[str, int], SourcePosition] = {}
    counts = Counts()
    for topic in sorted({batch.topic for batch in batches}, key=lambda name: SOURCES[name]):
        run = _run(topic, batches)
        judged = _judge(config, marks, run, _said(config, run))
        parts.append(_route(config, run, judged))
        refused += _dead_letters(run, judged)
        _count(counts, run, judged)
        for part, mark in zip(run.parts, judged.marks, strict=True):
            positions[topic, part.partition] = SourcePosition(part.next, mark)
            if mark is not None:
                after.append(rows.Mark(SOURCES[topic], part.partition, mark, part.next - 1))
    return Translated(_by_shelf(config, parts), refused, tuple(after), positions, counts)


def _said(config: IntakeConfig, run: _Run) -> Read:
    quick = orders.read if run.topic == "orders" else None
    return read(run.topic, run.keys, run.values, config.max_record_bytes, quick=quick)


def idle_mark(config: IntakeConfig, mark_ms: int | None, now_ms: int) -> int | None:
    """The mark of a partition that is read to its end with nothing coming: it follows the wall clock, if that rules.

    >>> idle_mark(IntakeConfig(4, lateness_ms=100), 500, 1000), idle_mark(IntakeConfig(4, clock="event"), 500, 1000)
    (900, 500)
    """
    if config.clock == "event":
        return mark_ms
    mark = now_ms - config.lateness_ms
    return mark if mark_ms is None else max(mark_ms, mark)


def marks_frame(marks: Sequence[rows.Mark]) -> bytes:
    """A `sku-events` record that only moves marks."""
    return rows.encode(rows.empty(), tuple(marks))


# --- the records of one topic, one partition after the other -------------------------------------------------------


class _Part(NamedTuple):
    """One source partition's records in a run: from `first` to below `last`."""

    partition: int
    first: int
    last: int
    next: int


@dataclass(frozen=True)
class _Run:
    """All records of one topic in a poll, by partition and offset."""

    topic: str
    parts: list[_Part]
    partition: npt.NDArray[np.int32]
    offset: Ints
    logged_ms: Ints
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]


def _run(topic: str, batches: Sequence[Batch]) -> _Run:
    mine = sorted((b for b in batches if b.topic == topic), key=lambda b: (b.partition, b.start))
    parts: list[_Part] = []
    size = 0
    for batch in mine:
        first, size = size, size + len(batch.offsets)
        if parts and parts[-1].partition == batch.partition:
            first = parts.pop().first
        parts.append(_Part(batch.partition, first, size, batch.next))
    counts = [len(batch.offsets) for batch in mine]
    return _Run(
        topic,
        parts,
        np.repeat(np.array([batch.partition for batch in mine], np.int32), counts),
        np.concatenate([np.asarray(batch.offsets, np.int64) for batch in mine]),
        np.concatenate([np.asarray(batch.timestamps, np.int64) for batch in mine]),
        mine[0].keys if len(mine) == 1 else [key for batch in mine for key in batch.keys],
        mine[0].values if len(mine) == 1 else [value for batch in mine for value in batch.values],
    )


# --- time ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    """A run, read and judged by time."""

    read: Read
    refusals: dict[int, Refusal]  # record -> why; those of `read` and those of time
    before_ms: Ints  # (n,) the mark of its partition before each record
    late: Bools  # (n,)
    marks: list[int | None]  # after each part


def _judge(config: IntakeConfig, marks: Marks, run: _Run, said: Read) -> _Judged:
    event = said.state == State.SAID
    ahead = event & (said.occurred_ms - config.max_ahead_ms > run.logged_ms) & (run.logged_ms >= 0)
    lifts = np.full(len(event), _NO_MARK)
    lifts = np.where(event & ~ahead, said.occurred_ms - config.lateness_ms, lifts)
    if config.clock == "event":
        lifts = np.where(said.state == State.TICK, said.occurred_ms, lifts)
    before = np.empty(len(event), np.int64)
    after: list[int | None] = []
    for part in run.parts:
        known = marks.get((SOURCES[run.topic], part.partition))
        highest = np.maximum.accumulate(np.append(_NO_MARK if known is None else known, lifts[part.first : part.last]))
        before[part.first : part.last] = highest[:-1]
        after.append(None if highest[-1] == _NO_MARK else int(highest[-1]))
    late = event & (said.occurred_ms < before)
    old = late & ~ahead & (said.occurred_ms < before - config.max_behind_days * _DAY_MS)
    if run.topic in COMPACTED:
        old[:] = False
    return _Judged(said, _refusals(config, run, said, ahead, old, before), before, late & ~ahead & ~old, after)


def _refusals(
    config: IntakeConfig, run: _Run, said: Read, ahead: Bools, old: Bools, before: Ints
) -> dict[int, Refusal]:
    found = dict(said.refusals)
    for i in np.flatnonzero(ahead).tolist():
        seconds = (int(said.occurred_ms[i]) - int(run.logged_ms[i])) / 1000
        words = f"occurred_at: {seconds:,.0f} s ahead of the record's Kafka timestamp"
        found[i] = refusal(Reason.TOO_FAR_AHEAD, words)
    for i in np.flatnonzero(old).tolist():
        mark = text_from_ms(int(before[i]))
        words = f"occurred_at: more than {config.max_behind_days} days behind its partition, which is at {mark}"
        found[i] = refusal(Reason.TOO_OLD, words)
    if config.clock == "wall":
        for i in np.flatnonzero(said.state == State.TICK).tolist():
            found[i] = refusal(
                Reason.UNEXPECTED_TICK, "type: clock.tick is for installations that run by the event clock"
            )
    return found


# --- shelves -------------------------------------------------------------------------------------------------------


class _Routed(NamedTuple):
    """Rows of a run and the shelf of each, or EVERY_SHELF."""

    rows: pa.RecordBatch
    shelf: npt.NDArray[np.int32]


def _route(config: IntakeConfig, run: _Run, judged: _Judged) -> _Routed:
    said = judged.read.rows
    if judged.refusals:
        kept = np.ones(len(judged.late), np.bool_)
        kept[list(judged.refusals)] = False
        said = said.filter(pa.array(kept[said.column("record").to_numpy()]))
    record = said.column("record").to_numpy()
    return _Routed(_placed(config, run, judged, said, record), shelves_of(said.column("sku"), config.shelves))


def _placed(config: IntakeConfig, run: _Run, judged: _Judged, said: pa.RecordBatch, record: Ints) -> pa.RecordBatch:
    """Rows with their source coordinates and their time."""
    flags = said.column("flags").to_numpy() | np.where(judged.late, np.uint8(Flag.LATE), np.uint8(0))[record]
    occurred_ms, event_hash = judged.read.occurred_ms, said.column("event_hash").to_numpy()
    gone = judged.read.state == State.GONE
    if gone.any():  # a tombstone has neither time nor id of its own
        known = run.logged_ms if config.clock == "wall" else np.maximum(judged.before_ms, 0)
        occurred_ms = np.where(gone, known, occurred_ms)
        event_hash = event_hash.copy()
        for row in np.flatnonzero(gone[record]).tolist():
            event_hash[row] = hash_of(f"{run.topic}/{run.partition[record[row]]}", str(run.offset[record[row]]))
    late_ms = np.where(judged.late, judged.before_ms - occurred_ms, 0)
    columns: dict[str, Any] = {
        "occurred_ms": occurred_ms[record],
        "late_ms": late_ms[record],
        "source": np.full(len(record), SOURCES[run.topic], np.uint8),
        "partition": run.partition[record],
        "offset": run.offset[record],
        "logged_ms": run.logged_ms[record],
        "flags": flags,
        "event_hash": event_hash,
    }
    arrays = [pa.array(columns[name]) if name in columns else said.column(name) for name in rows.SCHEMA.names]
    return pa.RecordBatch.from_arrays(arrays, schema=rows.SCHEMA)


def _by_shelf(config: IntakeConfig, parts: list[_Routed]) -> dict[int, pa.RecordBatch]:
    parts = [part for part in parts if part.rows.num_rows > 0]
    if not parts:
        return {}
    every = rows.concat([part.rows for part in parts])
    row, shelf = _copies(np.concatenate([part.shelf for part in parts]), config.shelves)
    order = np.argsort(shelf.astype(np.uint16), kind="stable")  # so narrow that numpy sorts by digits: 20 times faster
    sorted_rows = every.take(pa.array(row[order]))
    ends = np.cumsum(np.bincount(shelf, minlength=config.shelves)).tolist()
    begins = [0, *ends[:-1]]
    return {s: sorted_rows.slice(a, b - a) for s, (a, b) in enumerate(zip(begins, ends, strict=True)) if b > a}


def _copies(shelf: npt.NDArray[np.int32], shelves: int) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Rows and their shelves, a row for every shelf once in each."""
    rows_ = np.arange(len(shelf))
    wide = shelf == EVERY_SHELF
    if not wide.any():
        return rows_, shelf
    row = np.repeat(rows_, np.where(wide, shelves, 1))
    first = np.searchsorted(row, row)  # where the copies of each row begin
    return row, np.where(wide[row], np.arange(len(row)) - first, shelf[row]).astype(np.int32)


# --- what is counted and what is refused ---------------------------------------------------------------------------


def _dead_letters(run: _Run, judged: _Judged) -> list[Outgoing]:
    return [
        dead_letter(
            run.topic,
            int(run.partition[i]),
            int(run.offset[i]),
            int(run.logged_ms[i]),
            run.keys[i],
            run.values[i],
            judged.refusals[i].reason,
            judged.refusals[i].detail,
        )
        for i in sorted(judged.refusals)
    ]


def _count(counts: Counts, run: _Run, judged: _Judged) -> None:
    for refused in judged.refusals.values():
        counts.refused[run.topic, refused.reason] += 1
    ticks = sum(i not in judged.refusals for i in np.flatnonzero(judged.read.state == State.TICK).tolist())
    counts.ticks[run.topic] += ticks
    counts.accepted[run.topic] += len(run.values) - ticks - len(judged.refusals)
    counts.late[run.topic] += int(judged.late.sum())
