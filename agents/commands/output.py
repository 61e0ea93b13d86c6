"""Rows for people (aligned columns) or for programs (one JSON object a line), on standard output."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream.errors import SetupError

Row = Mapping[str, Any]


def show(rows: Iterable[Row], as_json: bool, columns: Sequence[str]) -> int:
    """Print rows: whole as JSON, else only `columns`, aligned. Returns how many there were."""
    if as_json:
        count = 0
        for row in rows:
            print_json(row)
            count += 1
        return count
    kept = list(rows)
    for line in table(kept, columns):
        print(line)
    return len(kept)


def print_json(row: Row) -> None:
    """One row as one line of JSON."""
    print(json.dumps(row, ensure_ascii=False, default=str))


def make_directory(out: Path) -> None:
    """The directory of --out, made before the work, so that none is lost for want of it. Raises SetupError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK | os.X_OK)
    except OSError as error:
        raise SetupError(f"could not make the directory {out}", str(error), "choose another one for --out") from error
    if not writable:
        raise SetupError(f"could not write to {out}", "it is not ours to write to", "choose another one for --out")


def table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Lines of an aligned table; numbers to the right; nothing at all for no rows.

    >>> print("\\n".join(table([{"sku": "A", "on_hand": 12}, {"sku": "B-7", "on_hand": 3}], ["sku", "on_hand"])))
    sku  on_hand
    A         12
    B-7        3
    """
    if len(rows) == 0:
        return []
    cells = [[word(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    right = [all(isinstance(row.get(name), int | float) for row in rows) for name in columns]
    return [_line(line, widths, right) for line in [list(columns), *cells]]


def word(value: Any) -> str:
    """A value in a cell: `-` for nothing, whole numbers without a fraction, control characters as escapes.

    >>> word("a\\tb"), word(2.0), word(None)
    ('a\\\\tb', '2', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(padded).rstrip()
