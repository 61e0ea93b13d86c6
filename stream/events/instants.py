"""Times on the wire and inside: strict RFC 3339 text with a zone outside, ms since 1970 UTC inside.

Two forms of one rule, one text and a whole column; a test holds them to each other. Refused: a missing zone or missing
seconds, a leap second (it has no place on the ms line), 24:00, days a month does not have, and anything that is not
between 1970-01-01T00:00:00Z and 2200-01-01T00:00:00Z. Digits beyond the third after the point are dropped (floor).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FROM_MS = 0
BELOW_MS = 7_258_118_400_000  # 2200-01-01T00:00:00Z
EPOCH_DAY = date(1970, 1, 1).toordinal()
BELOW_DAY = date(2200, 1, 1).toordinal() - EPOCH_DAY

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@lru_cache(maxsize=1_024)  # a record's time is read as it is checked and again for its rows; some share a time
def parse_ms(text: str) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time. Raises ValueError saying what is wrong.

    >>> parse_ms("2026-01-05T10:00:00.1239+01:00") - parse_ms("2026-01-05T09:00:00Z")
    123
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with seconds and a zone, like 2026-01-05T10:00:00.123Z")
    year, month, day, hour, minute, second = (int(g) for g in match.group(1, 2, 3, 4, 5, 6))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no such time of day (leap seconds have no place)")
    shift_min = 0
    if match[8]:
        zone_hour, zone_minute = int(match[9]), int(match[10])
        if zone_hour > 23 or zone_minute > 59:
            raise ValueError("no such zone offset")
        shift_min = (zone_hour * 60 + zone_minute) * (-1 if match[8] == "-" else 1)
    try:
        days = date(year, month, day).toordinal() - EPOCH_DAY
    except ValueError as wrong:
        raise ValueError("no such day") from wrong
    ms = int((match[7] or "0").ljust(3, "0")[:3])
    ms += ((days * 24 + hour) * 60 + minute - shift_min) * 60_000 + second * 1000
    if not FROM_MS <= ms < BELOW_MS:
        raise ValueError("not between 1970 and 2199")
    return ms


def text_from_ms(ms: int) -> str:
    """RFC 3339 text in UTC, always with three digits of milliseconds.

    >>> text_from_ms(1767607200123)
    '2026-01-05T10:00:00.123Z'
    """
    second, rest = divmod(ms, 1000)
    return f"{_second_text(second)}.{rest:03d}Z"


@lru_cache(maxsize=4_096)
def _second_text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_day(text: str) -> int:
    """Days since 1970-01-01 of a date written YYYY-MM-DD, 1970 to 2199. Raises ValueError saying what is wrong.

    >>> parse_day("1970-02-01")
    31
    """
    if _DAY.fullmatch(text) is None:
        raise ValueError("not a date like 2026-01-05")
    try:
        day = date.fromisoformat(text).toordinal() - EPOCH_DAY
    except ValueError as wrong:
        raise ValueError("no such day") from wrong
    if not 0 <= day < BELOW_DAY:
        raise ValueError("not between 1970 and 2199")
    return day


def parse_ms_column(texts: pa.Array) -> tuple[Ints, Bools]:
    """`parse_ms` of a column of strings: ms and whether the text was accepted, each of shape (n,); null is refused.

    Texts of one length have their fields at the same bytes, or nearly so: the column is read length by length as a
    matrix of bytes.
    """
    n = len(texts)
    ms, good = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    starts, ends, raw = _bytes_of(texts)
    lengths = ends - starts
    if texts.null_count:
        lengths = np.where(texts.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
    for length in np.unique(lengths):
        if 20 <= length <= 35:  # 2026-01-05T10:00:00Z to 2026-01-05T10:00:00.123456789+01:00
            rows = np.flatnonzero(lengths == length)
            ms[rows], good[rows] = _parse_matrix(_matrix(raw, starts[rows], int(length)))
    return ms, good


def _bytes_of(texts: pa.Array) -> tuple[Ints, Ints, npt.NDArray[np.uint8]]:
    """Where each string begins and ends in the column's bytes."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return ends[:-1], ends[1:], np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def _matrix(raw: npt.NDArray[np.uint8], starts: Ints, length: int) -> npt.NDArray[np.uint8]:
    """Bytes of the strings as rows of a matrix, transposed: one contiguous row a byte place."""
    windows = np.lib.stride_tricks.sliding_window_view(raw, length)
    return np.ascontiguousarray(windows[starts].T)


def _parse_matrix(at: npt.NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """Times of equal length, shape (length, n): those ending in Z and those ending in an offset."""
    zulu = (at[-1] | 0x20) == ord("z")
    if zulu.all():
        return _parse_fields(at, len(at) - 1, 0, zulu)
    ms_zulu, good_zulu = _parse_fields(at, len(at) - 1, 0, zulu)
    if len(at) < 25:
        return ms_zulu, good_zulu
    tail = at[-6:]
    hour, minute, digits = _number(tail, 1, 2), _number(tail, 4, 2), _digits(tail, 1, 2) & _digits(tail, 4, 2)
    sign = np.where(tail[0] == ord("-"), -1, 1)
    good = ((tail[0] == ord("+")) | (tail[0] == ord("-"))) & (tail[3] == ord(":")) & digits
    good &= (hour <= 23) & (minute <= 59) & ~zulu
    ms_zone, good_zone = _parse_fields(at, len(at) - 6, (hour * 60 + minute) * sign, good)
    return np.where(zulu, ms_zulu, ms_zone), np.where(zulu, good_zulu, good_zone)


def _parse_fields(at: npt.NDArray[np.uint8], end: int, shift_min: Any, good: Bools) -> tuple[Ints, Bools]:
    """Date, time and fraction in the first `end` bytes; `good` is what is known of the rest."""
    good = good & _digits(at, 0, 4) & (at[4] == ord("-")) & _digits(at, 5, 2) & (at[7] == ord("-")) & _digits(at, 8, 2)
    good &= ((at[10] | 0x20) == ord("t")) & _digits(at, 11, 2) & (at[13] == ord(":")) & _digits(at, 14, 2)
    good &= (at[16] == ord(":")) & _digits(at, 17, 2)
    ms: Any = 0
    if end > 19:
        fraction = end - 20
        if not 1 <= fraction <= 9:
            return np.zeros(at.shape[1], np.int64), np.zeros(at.shape[1], np.bool_)
        good &= (at[19] == ord(".")) & _digits(at, 20, fraction)
        kept = min(fraction, 3)
        ms = _number(at, 20, kept) * 10 ** (3 - kept)
    year, month, day = _number(at, 0, 4), _number(at, 5, 2), _number(at, 8, 2)
    hour, minute, second = _number(at, 11, 2), _number(at, 14, 2), _number(at, 17, 2)
    good &= (hour <= 23) & (minute <= 59) & (second <= 59)
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    good &= day <= _month_days(year, np.clip(month, 1, 12))
    ms = ms + ((_days_from_civil(year, month, day) * 24 + hour) * 60 + minute - shift_min) * 60_000 + second * 1000
    good &= (ms >= FROM_MS) & (ms < BELOW_MS)
    return np.where(good, ms, 0), good


def _digits(at: npt.NDArray[np.uint8], first: int, count: int) -> Bools:
    digits: Bools = np.all((at[first : first + count] - ord("0")) <= 9, axis=0)  # uint8 wraps: below "0" is large
    return digits


def _number(at: npt.NDArray[np.uint8], first: int, count: int) -> Ints:
    number = np.zeros(at.shape[1], np.int64)
    for row in at[first : first + count]:
        number = number * 10 + (row.astype(np.int64) - ord("0"))
    return number


_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def _month_days(year: Ints, month: Ints) -> Ints:
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days: Ints = _MONTH_DAYS[month] + (leap & (month == 2))
    return days


def _days_from_civil(year: Ints, month: Ints, day: Ints) -> Ints:
    """Days since 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms")."""
    year = year - (month <= 2)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: Ints = era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
    return days
