"""The retail files, and small made-up ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pydantic import ValidationError

from agents.replay.formats.catalogue import FORMATS
from agents.replay.formats.lines import Lines
from agents.replay.formats.options import Options
from agents.replay.formats.reading import Sheet
from agents.replay.formats.records import Record, records
from stream.events.public import INCOMING

DATA = Path(os.environ.get("RESTOCK_DATA") or Path(__file__).parents[4] / "shared" / "data")


def retail_file(name: str) -> Path:
    """A file of the retail data; the test is skipped where it is absent."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: set RESTOCK_DATA to the directory of the retail files")
    return path


def lines_of(format: str, rows: Iterable[dict[str, Any]] | pa.Table, options: Options | None = None) -> Lines:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
    return FORMATS[format].lines(Sheet(table), options or Options())


def events_of(lines: Lines) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in records(lines)]


def accepted_by_contract(record: Record) -> bool:
    """Whether the contract's own model takes the record."""
    model = INCOMING[record.topic][record.what.type]
    try:
        model.model_validate_json(record.value)
    except ValidationError:
        return False
    return True


def flat(sent: Iterable[Record]) -> list[dict[str, Any]]:
    """One dictionary a published line, the fields of its event beside its own."""
    out = []
    for record in sent:
        event = orjson.loads(record.value)
        lines = event.pop("lines", [{}])
        assert record.rows == len(lines)
        out += [event | {"topic": record.topic, "key": record.key, "at_ms": record.at_ms} | line for line in lines]
    return out


def units_by_type(sent: Iterable[Record]) -> Counter[str]:
    """Units a type, each (event_id, line_id) once, as a consumer that recognises repeats sees them."""
    units: Counter[str] = Counter()
    seen = set()
    for line in flat(sent):
        name = (line["event_id"], line.get("line_id", ""))
        if name not in seen:
            seen.add(name)
            units[line["type"]] += line["quantity"]
    return units
