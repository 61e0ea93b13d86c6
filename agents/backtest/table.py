"""A file of demand a period as a `History`: `--demand FILE --columns date=..,sku=..,units=..`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agents.backtest.history import FULL_PRICE_SHARE, Dates, Floats, History, Ints
from agents.replay.formats.reading import Sheet, read_sheet, shown, text
from stream.errors import SetupError
from stream.events.units import MOST_UNITS

REQUIRED = ("date", "sku", "units")
CARTS = ("viewed", "added", "removed")
OWN_MEANING = (*REQUIRED, "location", "available", "price", "cost", *CARTS)
SOUND_DATES = (
    np.datetime64("1970-01-01", "D"),
    np.datetime64("2200-01-01", "D"),
)  # from, to before; as in the contract
FULL_SHARE = 1.001  # a share of all, written in few digits
FIRST_WEEK = np.datetime64("2000-01-03", "D")  # ordinal weeks and months have no date of their own
MOST_ORDINALS = {"week": (-1_500, 10_000), "month": (-360, 2_400)}  # from, to before: 1971 to 2191, 1970 to 2199
MOST_CELLS = 400_000_000  # rows x periods; 8 B a cell and column


def read_demand(
    path: Path,
    columns: dict[str, str],
    period: str,
    known_ahead: list[str],
    location: str,
    gaps: str,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> History:
    """Read a demand table. Raises SetupError where a column is missing or does not hold what its name says."""
    sheet = read_sheet(path, delimiter, encoding)
    names = _names(sheet, columns, known_ahead)
    if sheet.table.num_rows == 0:
        raise SetupError(f"{path} holds no records", f"{sheet.unreadable_rows:,} could not be cut into columns")
    number, dates = _periods(sheet.column(names["date"]), period, names["date"])
    row, skus, places = _rows(sheet, names, location)
    shape = (len(skus), len(dates))
    if shape[0] * shape[1] > MOST_CELLS:
        raise SetupError(
            f"{shape[0]:,} rows x {shape[1]:,} periods are too many",
            f"at most {MOST_CELLS:,} cells fit in memory",
            "draw a sample with --rows N:seed from a smaller file, or split the file by SKU",
        )
    cell = row * shape[1] + number
    value = _units_of(sheet, names["units"])
    negative = value < 0
    units, filled = _units(cell, np.where(negative, 0.0, value), shape, gaps)

    def column(name: str) -> Floats:
        return _mean(cell, _numbers(sheet.column(names[name]), names[name]), shape)

    known = {name: column(name) for name in known_ahead}
    if "discount" in known:
        _check_discount(known["discount"], names["discount"])
    available = _available(column("available"), names["available"]) if "available" in names else np.ones(shape)
    price, cost = (_worth(column(name)) if name in names else None for name in ("price", "cost"))
    carts = [_sum(cell, sheet, names[name], shape) if name in names else np.zeros(shape) for name in CARTS]
    found = {
        "file": path.name,
        "records": sheet.rows,
        "unreadable_records_left_out": sheet.unreadable_rows,
        "records_added_to_another": len(cell) - len(np.unique(cell)),
        "negative_units_set_to_zero": int(negative.sum()),
        "cells_not_counted": int(np.isnan(units).sum()),
        "absent_cells_are": filled,
    }
    return History(
        period, dates, skus, places, units, available, known, price, cost,
        np.stack(carts, axis=2) if names.keys() & set(CARTS) else None, found,
    )  # fmt: skip


def _names(sheet: Sheet, columns: dict[str, str], known_ahead: list[str]) -> dict[str, str]:
    """Field -> column of the file: as said, else the column that has the field's own name."""
    there = sheet.table.column_names
    if told := [field for field in known_ahead if field in OWN_MEANING and field != "price"]:
        raise SetupError(
            f"{', '.join(told)} cannot be known ahead",
            "forecasts would read what is known only when the period is over",
            "name plans in --known-ahead: price, discount, promo, holiday",
        )
    names = {field: field for field in (*OWN_MEANING, *known_ahead) if field in there} | columns
    missing = [field for field in (*REQUIRED, *known_ahead) if names.get(field) not in there]
    missing += [field for field, column in names.items() if column not in there and field not in missing]
    if missing:
        raise SetupError(
            f"the file has no column for {', '.join(missing)}",
            f"it has {shown(there)}",
            "say which column is which: --columns date=day,sku=code,units=qty",
        )
    return names


def _periods(column: pa.Array, period: str, name: str) -> tuple[Ints, Dates]:
    """The period number of each record, and each period's date as the file has it."""
    if column.null_count > 0:
        raise SetupError(f"column {name} has {column.null_count:,} records without a date", hint="leave them out")
    if pa.types.is_integer(column.type):
        if period == "day":
            raise SetupError(
                f"column {name} holds whole numbers, not dates", hint="numbers count with --period week|month"
            )
        number = column.to_numpy(zero_copy_only=False).astype(np.int64)
        first, last = int(number.min()), int(number.max())
        if not MOST_ORDINALS[period][0] <= first <= last < MOST_ORDINALS[period][1]:
            raise SetupError(
                f"column {name} does not count {period}s: it holds {first} to {last}",
                f"whole numbers are the {period}s since 2000, one after another; 202401 is none",
                f"write a date in each {period}, as 2024-01-01",
            )
        count = np.arange(last - first + 1) + first
        if period == "week":
            return number - first, FIRST_WEEK + 7 * count
        return number - first, (np.datetime64("2000-01", "M") + count).astype("M8[D]")
    dates = _dates(column, name)
    if period == "month":
        months = dates.astype("M8[M]")
        number = (months - months.min()).astype(np.int64)
        own = months.min() + np.arange(int(number.max()) + 1)
        return number, _own_dates(number, dates, own.astype("M8[D]"))
    days = (dates - dates.min()).astype(np.int64)
    number = days if period == "day" else days // 7
    later = (1 if period == "day" else 7) * np.arange(int(number.max()) + 1)
    return number, dates.min() + later


def _own_dates(number: Ints, dates: Dates, otherwise: Dates) -> Dates:
    """The earliest date the file has for each period, so that output can be joined with input."""
    own = otherwise.copy()
    order = np.argsort(dates, kind="stable")[::-1]
    own[number[order]] = dates[order]
    return own


def _dates(column: pa.Array, name: str) -> Dates:
    try:
        if not pa.types.is_temporal(column.type):
            column = pc.utf8_trim_whitespace(text(column))
            column = pc.utf8_slice_codeunits(column, 0, 10)
        dates: Dates = column.cast(pa.date32()).to_numpy(zero_copy_only=False).astype("M8[D]")
    except pa.ArrowException as wrong:
        raise SetupError(f"column {name} does not hold dates", str(wrong), "write them as 2024-05-01") from wrong
    if dates.min() < SOUND_DATES[0] or dates.max() >= SOUND_DATES[1]:
        raise SetupError(
            f"column {name} holds dates beyond 1970 to 2199",
            f"from {dates.min()} to {dates.max()}",
            "correct or leave out those records",
        )
    return dates


def _rows(sheet: Sheet, names: dict[str, str], location: str) -> tuple[Ints, list[str], list[str]]:
    """The row number of each record; rows in order of SKU, then location, so that the file's own order cannot show."""
    sku = text(sheet.column(names["sku"]))
    place = text(sheet.column(names["location"])) if "location" in names else pa.array([location] * len(sku), pa.utf8())
    if sku.null_count or place.null_count:
        raise SetupError(f"{sku.null_count + place.null_count:,} records name no SKU or no location")
    codes: list[Any] = []
    for column in (sku, place):
        coded = column.dictionary_encode()
        words = np.array(coded.dictionary.to_pylist(), dtype=object)
        order = np.argsort(words, kind="stable")
        rank = np.empty(len(words), np.int64)
        rank[order] = np.arange(len(words))
        codes.append((rank[coded.indices.to_numpy(zero_copy_only=False)], words[order]))
    (a, skus), (b, places) = codes
    unique, row = np.unique(a * len(places) + b, return_inverse=True)
    return (
        row.reshape(-1),
        [str(skus[u // len(places)]) for u in unique],
        [str(places[u % len(places)]) for u in unique],
    )


def _numbers(column: pa.Array, name: str) -> Floats:
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_boolean(column.type):
            column = column.cast(pa.float64())
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowException, ValueError, TypeError) as wrong:
        raise SetupError(
            f"column {name} does not hold numbers", str(wrong), "write numbers with a point, flags as 0 and 1"
        ) from wrong


def _units_of(sheet: Sheet, name: str) -> Floats:
    value = _numbers(sheet.column(name), name)
    if beyond := int((np.abs(value) > MOST_UNITS).sum()):
        raise SetupError(
            f"column {name} has {beyond:,} records beyond {MOST_UNITS:,.0f} units",
            "that is the most a quantity may be",
            "leave them out, or count in a larger unit",
        )
    return value


def _available(share: Floats, name: str) -> Floats:
    told = np.nan_to_num(share, nan=1.0)
    if told.min() < 0 or told.max() > FULL_SHARE:
        raise SetupError(
            f"column {name} does not hold shares of 0 to 1",
            f"it holds {told.min():g} to {told.max():g}",
            "write the share of the period in which it could be bought: 0.5 for half of it",
        )
    return np.minimum(told, 1.0)


def _check_discount(share: Floats, name: str) -> None:
    """What is taken off, or, where most of it is above a half, what is left to pay; 30 for 30 % is neither."""
    said = share[np.isfinite(share)]
    if said.size > 0 and np.median(said) <= FULL_PRICE_SHARE and said.max() > FULL_SHARE:
        raise SetupError(
            f"column {name} does not hold shares of the price",
            f"it holds up to {said.max():g}",
            "write what is taken off as a share: 0.3 for 30 %",
        )


def _worth(money: Floats) -> Floats | None:
    """Money a unit; what is under zero says nothing, and nothing at all is no column."""
    said = np.where(money >= 0, money, np.nan)
    return said if np.isfinite(said).any() else None


def _units(cell: Ints, value: Floats, shape: tuple[int, int], gaps: str) -> tuple[Floats, str]:
    """Units a cell. A record without a number was not counted; what has no record at all is `gaps`: zero or unknown.

    "auto": a file that writes down periods of zero demand means "not counted" where it writes nothing.
    """
    size = shape[0] * shape[1]
    counted = np.isfinite(value)
    total = np.bincount(cell[counted], value[counted], size)
    told = np.bincount(cell[counted], minlength=size) > 0
    empty = np.bincount(cell, minlength=size) == 0
    rule = gaps if gaps != "auto" else ("unknown" if bool((value[counted] == 0).any()) else "zero")
    missing = ~told & ~empty if rule == "zero" else ~told
    return np.where(missing, np.nan, total).reshape(shape), rule


def _sum(cell: Ints, sheet: Sheet, name: str, shape: tuple[int, int]) -> Floats:
    """What is said of each cell together; nothing where a record has no number, or one under zero."""
    value = _numbers(sheet.column(name), name)
    value = np.where(np.isfinite(value), np.maximum(value, 0.0), 0.0)
    return np.asarray(np.bincount(cell, value, shape[0] * shape[1]), np.float64).reshape(shape)


def _mean(cell: Ints, value: Floats, shape: tuple[int, int]) -> Floats:
    said = np.isfinite(value)
    count = np.bincount(cell[said], minlength=shape[0] * shape[1])
    total = np.bincount(cell[said], value[said], shape[0] * shape[1])
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan)).reshape(shape)
