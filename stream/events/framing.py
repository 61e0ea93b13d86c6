"""From records to one Arrow table, without letting two broken records join into a good one.

Records are joined with newlines for Arrow's JSON reader, which reads objects one after the other and does not care
where a record ended. So each record is first shown, by itself, to be one JSON object and nothing else (msgspec skips
through it without making anything: 0.4 us for 290 bytes). Both lexers agree on where a string ends and a bracket
closes, so the reader's n-th object is the n-th record.

Left to the one-by-one path, because the parsers differ there or because Arrow refuses what that path accepts:

- invalid UTF-8 (neither msgspec nor Arrow looks);
- more than 190 opening brackets (jiter, under pydantic, stops at 200 levels, Arrow does not);
- 4,000 digits in a row (jiter stops at 4,300);
- a field twice (the last one counts; Arrow refuses), a field of another type that this event ignores.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.json

from stream.events.rules import ARROW, PLANS, Check

MOST_OPENERS: Final = 190
MOST_JOINED_BYTES: Final = 32 << 20  # parsed at once: Arrow's columns of it take about twice that
_SHALLOW_BYTES: Final = 2 * MOST_OPENERS  # shorter texts cannot open and close more
_MANY_DIGITS: Final = re.compile(rb"[0-9]{4000}")


class _AnyObject(msgspec.Struct):
    """An object whose fields are all skipped."""


_skip = msgspec.json.Decoder(_AnyObject).decode


def framed(values: Sequence[bytes | None], most_bytes: int) -> tuple[Sequence[int], Sequence[bytes]]:
    """The records that may be joined - each is one JSON object and nothing else - and their places."""
    try:
        sizes = list(map(len, values))  # type: ignore[arg-type]
        large = [values[i] for i, size in enumerate(sizes) if size >= _SHALLOW_BYTES]
        if max(sizes) <= most_bytes and all(_plain(value) for value in large):  # type: ignore[arg-type]
            deque(map(_skip, values), 0)  # type: ignore[arg-type]
            return range(len(values)), values  # type: ignore[return-value]
    except (TypeError, ValueError, RecursionError):  # a null; msgspec's errors are ValueErrors
        pass
    places = [i for i, value in enumerate(values) if value is not None and _one_object(value, most_bytes)]
    return places, [values[i] for i in places]  # type: ignore[misc]


def _one_object(value: bytes, most_bytes: int) -> bool:
    if len(value) > most_bytes or not _plain(value):
        return False
    try:
        _skip(value)
    except (ValueError, RecursionError):
        return False
    return True


def _plain(value: bytes) -> bool:
    if len(value) >= _SHALLOW_BYTES and value.count(b"{") + value.count(b"[") > MOST_OPENERS:
        return False
    return len(value) < 4000 or _MANY_DIGITS.search(value) is None


def lots(places: Sequence[int], records: Sequence[bytes]) -> list[tuple[Sequence[int], Sequence[bytes]]]:
    """Places and records, cut where they would join into too many bytes."""
    if sum(map(len, records)) <= MOST_JOINED_BYTES:
        return [(places, records)] if records else []
    cuts, size = [0], 0
    for i, record in enumerate(records):
        size += len(record)
        if size > MOST_JOINED_BYTES and i > cuts[-1]:
            cuts.append(i)
            size = len(record)
    return [(places[a:b], records[a:b]) for a, b in pairwise([*cuts, len(records)])]


def parse(topic: str, records: Sequence[bytes]) -> pa.RecordBatch | None:
    """Framed records as columns, a row a record; None where they are not all UTF-8 or Arrow does not take them all."""
    joined = b"\n".join(records) + b"\n"
    try:
        joined.decode()
        table = pyarrow.json.read_json(
            pa.BufferReader(joined),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(joined) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=PLANS[topic].schema, unexpected_field_behavior="ignore"
            ),
        )
    except (UnicodeDecodeError, pa.ArrowException):
        return None
    if table.num_rows != len(records):
        return None
    batches = table.to_batches()
    return batches[0] if len(batches) == 1 else table.combine_chunks().to_batches()[0]


def well_typed(topic: str, value: bytes) -> bool:
    """Whether a framed record is UTF-8 and each known field has the JSON type Arrow wants. Finds what spoilt a join."""
    try:
        value.decode()
        _typed(topic)(value)
    except (ValueError, RecursionError):
        return False
    return True


@lru_cache(maxsize=8)
def _typed(topic: str) -> Any:
    plan = PLANS[topic]
    types: dict[Any, Any] = {pa.utf8(): str, pa.float64(): float, pa.bool_(): bool}

    def optional(name: str, check: Check) -> tuple[str, Any, Any]:
        return name, types[ARROW[check]] | None, None

    fields = [optional(f.name, f.check) for f in plan.fields] + [("type", str | None, None)]
    if plan.line_fields:
        line = msgspec.defstruct("line", [optional(f.name, f.check) for f in plan.line_fields])
        fields.append(("lines", list[line | None] | None, None))  # type: ignore[valid-type]
    return msgspec.json.Decoder(msgspec.defstruct("record", fields)).decode
