"""Whole batches of records to rows: in columns where a record is plainly good, one by one where it is not.

`read` gives for every batch what `reading.read_one` gives for its records one by one; only the pace differs. A record
the columns do not accept is not refused by them: it goes to `read_one`, which accepts it after all or says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.events import framing
from stream.events.checking import checked
from stream.events.instants import Ints
from stream.events.kinds import Kind
from stream.events.reading import Row, Said, read_one
from stream.events.refusals import Refusal
from stream.events.rules import PLANS
from stream.events.saying import ROWS, SAID, said

COLUMNS_FROM: Final = 60  # records; columns cost 1.2 ms whatever their length, and one record by itself 20 us


class State(IntEnum):
    """What became of a record."""

    REFUSED = 0
    SAID = 1
    TICK = 2
    GONE = 3  # a tombstone


@dataclass(frozen=True)
class Read:
    """A batch of records, read."""

    state: npt.NDArray[np.uint8]  # (n,) State of each record
    occurred_ms: Ints  # (n,) event time; 0 where refused or a tombstone
    rows: pa.RecordBatch  # of SAID, by record and line
    refusals: dict[int, Refusal]


class Accepted(NamedTuple):
    """Records of a batch that are read, and their rows."""

    places: Ints
    occurred_ms: Ints
    rows: pa.RecordBatch  # of SAID, by record and line


Quick = Callable[[Sequence[bytes | None], int], Accepted | None]  # of values and the most bytes of one


def read(
    topic: str,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    most_bytes: int,
    columns_from: int = COLUMNS_FROM,
    quick: Quick | None = None,
) -> Read:
    """What the records of one topic (short name) say. Batches smaller than `columns_from` are read one by one.

    Those that `quick` accepts are as it says: it must accept nothing that is not read alike one by one.
    """
    n = len(values)
    state, occurred_ms = np.zeros(n, np.uint8), np.zeros(n, np.int64)
    parts: list[pa.RecordBatch] = []
    accepted = quick(values, most_bytes) if quick is not None else None
    if accepted is not None:
        state[accepted.places], occurred_ms[accepted.places] = State.SAID, accepted.occurred_ms
        parts.append(accepted.rows)
    left = np.flatnonzero(state == State.REFUSED).tolist()
    if topic in PLANS and left and len(left) >= columns_from:
        for places, records in framing.lots(*framing.framed([values[i] for i in left], most_bytes)):
            good, times, rows = _in_columns(topic, [left[i] for i in places], records)
            state[good], occurred_ms[good] = State.SAID, times
            parts.append(rows)
    refusals = _one_by_one(topic, keys, values, most_bytes, state, occurred_ms, parts)
    return Read(state, occurred_ms, _by_record(parts), refusals)


def _one_by_one(
    topic: str,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    most_bytes: int,
    state: npt.NDArray[np.uint8],
    occurred_ms: Ints,
    parts: list[pa.RecordBatch],
) -> dict[int, Refusal]:
    """Read what is left as REFUSED in `state`; adds its rows to `parts`."""
    refusals: dict[int, Refusal] = {}
    records: list[int] = []
    rows: list[Row] = []
    for i in np.flatnonzero(state == State.REFUSED).tolist():
        one = read_one(topic, keys[i], values[i], most_bytes)
        if isinstance(one, Refusal):
            refusals[i] = one
            continue
        state[i] = _state_of(one)
        occurred_ms[i] = one.occurred_ms or 0
        records += [i] * len(one.rows)
        rows += one.rows
    if rows:
        parts.append(_batch(records, rows))
    return refusals


def _state_of(one: Said) -> State:
    if one.occurred_ms is None:
        return State.GONE
    return State.SAID if one.rows else State.TICK


def _batch(records: list[int], rows: list[Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, list(SAID)[1:], strict=True)]
    return pa.RecordBatch.from_arrays([pa.array(records, pa.int64()), *arrays], schema=SAID)


def _by_record(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    if not parts:
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in SAID], schema=SAID)
    if len(parts) == 1:
        return parts[0]
    table = pa.Table.from_batches(parts, SAID).combine_chunks()
    if table.num_rows == 0:
        return parts[0]
    batch = table.to_batches()[0]
    return batch.take(pa.array(np.argsort(batch.column("record").to_numpy(), kind="stable")))


def _in_columns(topic: str, places: Sequence[int], records: Sequence[bytes]) -> Accepted:
    """Rows of those records that the columns accept."""
    parsed = framing.parse(topic, records)
    if parsed is None:
        fit = [i for i, record in enumerate(records) if framing.well_typed(topic, record)]
        if 0 < len(fit) < len(records):
            places, records = [places[i] for i in fit], [records[i] for i in fit]
            parsed = framing.parse(topic, records)
    if parsed is None:
        return Accepted(np.empty(0, np.int64), np.empty(0, np.int64), _by_record([]))
    place = np.array(places, np.int64)
    table = checked(PLANS[topic], parsed)
    rows = ROWS[topic](PLANS[topic], table)
    rows["raw"] = _raw(rows, records)
    good = table.good[rows["record"]]
    rows["record"] = place[rows["record"]]
    batch = said(rows)
    if not good.all():
        batch = batch.filter(pa.array(good))
    return Accepted(place[table.good], table.columns["occurred_at"][table.good], batch)


def _raw(rows: dict[str, Any], records: Sequence[bytes]) -> pa.Array | None:
    """The bytes of records the planner may still refuse."""
    counted = rows["kind"] == Kind.STOCK_COUNTED
    if not counted.any():
        return None
    of_rows = zip(counted.tolist(), rows["record"].tolist(), strict=True)
    return pa.array([records[i] if kept else None for kept, i in of_rows], pa.binary())
