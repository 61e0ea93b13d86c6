"""JSON read byte by byte, for compiled loops: plain texts, plain numbers, times and names. Never more than is certain.

Each function begins at `at`, stays below `end`, and returns where it stopped, or REFUSED where the text is anything but
plain: escapes, bytes beyond ASCII, exponents, signs, long numbers. What is refused here is read by others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.demand.compiled import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

REFUSED = -1
QUOTE, COLON, COMMA, OPEN, CLOSE, BEGIN, END = map(ord, '":,{}[]')
MOST_DIGITS = 15  # of a number: as many as a double holds exactly

_BACKSLASH, _ZERO, _NINE, _POINT, _DASH, _PLUS = map(ord, "\\09.-+")
_DAY_MS, _FROM_DAY, _BELOW_DAY = 86_400_000, 0, 84_006  # 1970-01-01, 2200-01-01
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


@kernel
def spaces(text: Bytes, at: int, end: int) -> int:
    """Behind white space, if any."""
    while at < end and (text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9):
        at += 1
    return at


@kernel
def after(text: Bytes, at: int, end: int, sign: int) -> int:
    """Behind this sign, and white space on both sides of it."""
    at = spaces(text, at, end)
    if at >= end or text[at] != sign:
        return REFUSED
    return spaces(text, at + 1, end)


@kernel
def string_end(text: Bytes, at: int, end: int) -> int:
    """The closing quote of a string whose opening quote is at `at`."""
    if at < 0 or at >= end or text[at] != QUOTE:
        return REFUSED
    for i in range(at + 1, end):
        sign = text[i]
        if sign == QUOTE:
            return i
        if sign < 32 or sign >= 128 or sign == _BACKSLASH:
            return REFUSED
    return REFUSED


@kernel
def which(text: Bytes, at: int, size: int, words: Bytes, ends: Ints) -> int:
    """Which of these words, `ends` (n,) in `words`, the `size` bytes from `at` on are; REFUSED if none."""
    first = 0
    for word in range(len(ends)):
        if ends[word] - first == size:
            same = 0
            while same < size and text[at + same] == words[first + same]:
                same += 1
            if same == size:
                return word
        first = ends[word]
    return REFUSED


@kernel
def number(text: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Where a number without sign and exponent ends, its digits as one number, and how many are behind the point."""
    digits, decimals, begun = 0, 0, at
    while at < end and _ZERO <= text[at] <= _NINE and at - begun <= MOST_DIGITS:
        digits = 10 * digits + text[at] - _ZERO
        at += 1
    if at == begun or (text[begun] == _ZERO and at > begun + 1):
        return REFUSED, 0, 0
    if at < end and text[at] == _POINT:
        at += 1
        while at < end and _ZERO <= text[at] <= _NINE and at - begun <= MOST_DIGITS + 1:
            digits = 10 * digits + text[at] - _ZERO
            decimals, at = decimals + 1, at + 1
        if decimals == 0:
            return REFUSED, 0, 0
    if at - begun > MOST_DIGITS or (at < end and (text[at] == 101 or text[at] == 69)):  # e, E
        return REFUSED, 0, 0
    return at, digits, decimals


@kernel
def _digit(text: Bytes, at: int) -> Any:
    return np.int64(text[at]) - _ZERO


@kernel
def _two(text: Bytes, at: int) -> Any:
    """Two digits as a number, at least 100 where they are none."""
    tens, ones = _digit(text, at), _digit(text, at + 1)
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else 1000


@kernel
def _day(year: int, month: int, day: int) -> int:
    """Days since 1970 of a date from then on (H. Hinnant, "chrono-compatible low-level date algorithms")."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month < 1 or month > 12 or day < 1 or day > _MONTH_DAYS[month - 1] + leap:
        return REFUSED
    year -= month <= 2
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719_468


@kernel
def _zone_min(text: Bytes, at: int, end: int) -> Any:
    """Minutes of a zone offset, Z being none; at least 10,000 where it is no zone."""
    if end - at == 1 and (text[at] | 32) == 122:  # z
        return 0
    if end - at != 6 or (text[at] != _PLUS and text[at] != _DASH) or text[at + 3] != COLON:
        return 10_000
    hour, minute = _two(text, at + 1), _two(text, at + 4)
    if hour > 23 or minute > 59:
        return 10_000
    return hour * 60 + minute if text[at] == _PLUS else -(hour * 60 + minute)


@kernel
def instant(text: Bytes, at: int, end: int) -> Any:
    """Ms since 1970 of the RFC 3339 time from `at` to `end`, as `stream.events.instants.parse_ms`."""
    if end - at < 20 or text[at + 4] != _DASH or text[at + 7] != _DASH or (text[at + 10] | 32) != 116:  # t
        return REFUSED
    day = _day(100 * _two(text, at) + _two(text, at + 2), _two(text, at + 5), _two(text, at + 8))
    hour, minute, second = _two(text, at + 11), _two(text, at + 14), _two(text, at + 17)
    if not _FROM_DAY <= day <= _BELOW_DAY or text[at + 13] != COLON or text[at + 16] != COLON:
        return REFUSED
    if hour > 23 or minute > 59 or second > 59:
        return REFUSED
    zone, ms = at + 19, 0
    if text[zone] == _POINT:
        zone += 1
        weight = 100
        while zone < end and _ZERO <= text[zone] <= _NINE:
            ms += weight * _digit(text, zone)
            weight //= 10
            zone += 1
        if not 1 <= zone - at - 20 <= 9:
            return REFUSED
    shift_min = _zone_min(text, zone, end)
    ms += ((day * 24 + hour) * 60 + minute - shift_min) * 60_000 + second * 1000
    return ms if shift_min < 10_000 and 0 <= ms < _BELOW_DAY * _DAY_MS else REFUSED
