"""A file of order lines, read as `restock replay` reads it, as a `History` of local days.

A cancellation before the end of the day an order was placed on takes its units out of that day; a later one does not
(as in the planner). Returns move stock, not demand. The price of a cell is the mean price paid.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.backtest.history import History, Ints
from agents.planner.days import day_of
from agents.replay.formats.catalogue import FORMATS
from agents.replay.formats.lines import Lines, What
from agents.replay.formats.options import Options
from agents.replay.formats.reading import read_sheet
from stream.errors import SetupError


def read_orders(path: Path, format: str, options: Options) -> History:
    """Read order lines. Raises SetupError where the file holds none."""
    sheet = read_sheet(path, options.delimiter, options.encoding)
    lines = FORMATS[format].lines(sheet, options)
    zone = options.timezone or FORMATS[format].timezone
    sent = lines.published & lines.good & (lines.copy == 0)
    placed = np.flatnonzero(sent & (lines.what == What.PLACED))
    if len(placed) == 0:
        raise SetupError(f"{path} holds no order lines", hint="see `restock replay FILE --check` for what is in it")
    day = _days(lines.at_ms, zone)
    units = lines.milli[placed] / 1000.0
    units = units - _cancelled_same_day(lines, sent, placed, day)
    row, skus, places = _rows(lines, placed)
    first = int(day[placed].min())
    periods = int(day[placed].max()) - first + 1
    cell = row * periods + day[placed] - first
    shape = (len(skus), periods)
    size = shape[0] * shape[1]
    price = lines.price[placed]
    paid = np.isfinite(price) & (price > 0)
    count = np.bincount(cell[paid], minlength=size)
    mean = np.where(count > 0, np.bincount(cell[paid], price[paid], size) / np.maximum(count, 1), np.nan)
    refused, repeated = lines.counted_here()
    found = {
        "file": path.name,
        "records": sheet.rows,
        "order_lines": len(placed),
        "refused": int(sum(refused.values())),
        "repeated": repeated + int((lines.copy > 0).sum()),
        "units_cancelled_within_their_day": float(lines.milli[placed].sum() / 1000.0 - units.sum()),
        "absent_cells_are": "zero",
    }
    return History(
        "day",
        np.datetime64(first, "D") + np.arange(periods),
        skus,
        places,
        np.bincount(cell, np.maximum(units, 0.0), size).reshape(shape).astype(np.float64),
        np.ones(shape),
        price=mean.reshape(shape),
        found=found,
    )


def _days(at_ms: Ints, zone: str) -> Ints:
    """Local day number of each instant; worked out once an hour of the file."""
    hours, back = np.unique(at_ms // 3_600_000, return_inverse=True)
    days = np.array([day_of(zone, int(hour) * 3_600_000) for hour in hours.tolist()], np.int64)
    return np.asarray(days[back.reshape(-1)])


def _cancelled_same_day(lines: Lines, sent: npt.NDArray[np.bool_], placed: Ints, day: Ints) -> npt.NDArray[np.float64]:
    """Units of each placed line that were cancelled before its day was over."""
    gone = np.flatnonzero(sent & (lines.what == What.CANCELLED))
    out = np.zeros(len(placed))
    if len(gone) == 0:
        return out
    names = pc.binary_join_element_wise(lines.key.cast(pa.utf8()), lines.line_id.cast(pa.utf8()), "\x1f")
    code = names.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    order = np.argsort(code[placed], kind="stable")
    at = np.searchsorted(code[placed][order], code[gone])
    hit = at < len(placed)
    hit[hit] = code[placed][order][at[hit]] == code[gone][hit]
    which = order[at[hit]]
    same = day[placed[which]] == day[gone[hit]]
    np.add.at(out, which[same], lines.milli[gone[hit]][same] / 1000.0)
    return np.minimum(out, lines.milli[placed] / 1000.0)


def _rows(lines: Lines, placed: Ints) -> tuple[Ints, list[str], list[str]]:
    sku, place = (c.take(pa.array(placed)).cast(pa.utf8()).dictionary_encode() for c in (lines.sku, lines.location))
    names = sorted(
        {
            (sku.dictionary[int(a)].as_py(), place.dictionary[int(b)].as_py())
            for a, b in set(zip(sku.indices.to_pylist(), place.indices.to_pylist(), strict=True))
        }
    )
    number = {name: i for i, name in enumerate(names)}
    skus, places = sku.dictionary.to_pylist(), place.dictionary.to_pylist()
    table = {
        (a, b): number.get((skus[a], places[b]), -1)
        for a, b in set(zip(sku.indices.to_pylist(), place.indices.to_pylist(), strict=True))
    }
    pairs = zip(sku.indices.to_pylist(), place.indices.to_pylist(), strict=True)
    row = np.fromiter((table[pair] for pair in pairs), np.int64, len(placed))
    return row, [n[0] for n in names], [n[1] for n in names]
