"""Forecasts as JSON, row by row, in one compiled loop: some 2 us each, where templates filled by Python took 30.

Keys are in order and nothing is between them, as everything outgoing has it. A number is written in plain decimals, of
at most six places, from an integer count of millionths: the same on every machine, compiled or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from models.demand.compiled import kernel, piece
from stream.events.naming import split_row_key

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

INSTANT, DAY = 24, 10  # characters of 2026-01-01T00:00:00.000Z and of 2026-01-01
NUMBER = 24  # characters of a number at most
LEAST_MILLIS = 5  # an expert with less than this share, in thousandths, is not named

_AT, _MARK = ord("@"), ord('"')

# places of the fixed texts in `Phrases.text`; experts follow, then levels
_AS_OF, _AS_OF_DAY, _EXPERTS, _SHARE, _END, _HORIZONS, _DAYS, _MEAN, _QUANTILES, _ENDS = range(10)
_LEARNT, _LOCATION, _MEAN_DAY, _PROTECTION, _SKU, _COMMA, _FIRST_NAME = range(10, 17)
_FIXED = (
    '{"as_of":"', '","as_of_day":"', '","experts":[', ',"share":', "}", '],"horizons":[', '{"days":', ',"mean":',
    ',"quantiles":{', "}}", '],"learnt_from_cycles":', ',"location":', ',"mean_day":', ',"protection_days":',
    ',"sku":', ",",
)  # fmt: skip


class Phrases(NamedTuple):
    """Texts one after the other, and where each ends; how many of them name experts, and how many levels."""

    text: Bytes
    ends: Ints
    experts: int
    levels: int


class Told(NamedTuple):
    """What is told of n rows."""

    when: Bytes  # (T, INSTANT + DAY): the instant the day ended, and the day
    which: Ints  # (n,) place in `when`
    names: Bytes  # location and SKU of each row as JSON texts, one after the other
    name_ends: Ints  # (2 n,)
    days: Ints  # (n, J) of each horizon, in any order
    sums: Floats  # (n, J, 1 + K) units: the mean, then quantiles
    shares: Floats  # (n, E) of experts
    cycles: Ints  # (n,)
    mean_day: Floats  # (n,) units
    protection_days: Ints  # (n,)


def phrases(experts: Sequence[str], levels: Sequence[str]) -> Phrases:
    """Texts for these experts, JSON texts, and levels, digits."""
    named = [f'{{"expert":{name}' for name in experts]
    at = [f'"{level}":' for level in levels]
    parts = [part.encode() for part in (*_FIXED, *named, *at)]
    return Phrases(packed(parts), ends(parts), len(experts), len(levels))


def packed(parts: Sequence[bytes]) -> Bytes:
    """Texts one after the other."""
    return np.frombuffer(bytearray(b"".join(parts)), np.uint8)  # writeable: kernels are compiled for one kind of array


def ends(parts: Sequence[bytes]) -> Ints:
    """Where each of them ends."""
    return np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))


def names(keys: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Location and SKU of each row, by its key, as JSON texts one after the other; and where each ends (2 n,)."""
    whole = b"".join(keys)
    if any(mark in whole for mark in _NOT_AS_THEY_ARE):
        parts = [orjson.dumps(name) for key in keys for name in reversed(split_row_key(key.decode()))]
        return packed(parts), ends(parts)
    out, until = np.empty(len(whole) + 3 * len(keys), np.uint8), np.empty(2 * len(keys), np.int64)
    _quote(packed([whole]), ends(keys), out, until)
    return out, until


_NOT_AS_THEY_ARE = (b"%", b'"', b"\\")  # encoded in a key, or in JSON


def write(phrases: Phrases, told: Told) -> list[bytes]:
    """The JSON of each row."""
    n, horizons = told.days.shape
    fixed = len(phrases.text) + INSTANT + DAY + NUMBER * (3 + phrases.experts)
    each = fixed + horizons * (len(phrases.text) + NUMBER * (2 + phrases.levels))
    out, until = np.empty(n * each + len(told.names), np.uint8), np.empty(n, np.int64)
    _write(phrases, told, np.empty(max(horizons, phrases.experts), np.int64), out, until)
    whole, first = out[: until[-1]].tobytes(), 0
    made = []
    for end in until.tolist():
        made.append(whole[first:end])
        first = end
    return made


@kernel
def _write(phrases: Phrases, told: Told, order: Ints, out: Bytes, until: Ints) -> None:
    """Rows into `out`, and where each ends into `until` (n,); `order` is room to sort in."""
    at = 0
    for i in range(len(until)):
        when = told.which[i]
        at = _phrase(out, at, phrases, _AS_OF)
        at = _when(out, at, told.when, when, 0, INSTANT)
        at = _phrase(out, at, phrases, _AS_OF_DAY)
        at = _when(out, at, told.when, when, INSTANT, INSTANT + DAY)
        at = _phrase(out, at, phrases, _EXPERTS)
        at = _experts(out, at, phrases, told.shares, i, order)
        at = _phrase(out, at, phrases, _HORIZONS)
        at = _horizons(out, at, phrases, told.days, told.sums, i, order)
        at = _phrase(out, at, phrases, _LEARNT)
        at = _whole(out, at, told.cycles[i])
        at = _phrase(out, at, phrases, _LOCATION)
        begun = told.name_ends[2 * i - 1] if i > 0 else 0
        at = _copy(out, at, told.names, begun, told.name_ends[2 * i])
        at = _phrase(out, at, phrases, _MEAN_DAY)
        at = _number(out, at, told.mean_day[i])
        at = _phrase(out, at, phrases, _PROTECTION)
        at = _whole(out, at, told.protection_days[i])
        at = _phrase(out, at, phrases, _SKU)
        at = _copy(out, at, told.names, told.name_ends[2 * i], told.name_ends[2 * i + 1])
        at = _phrase(out, at, phrases, _END)
        until[i] = at


@kernel
def _quote(keys: Bytes, key_ends: Ints, out: Bytes, until: Ints) -> None:
    """Names in quotes, location first, of keys sku@location."""
    at, begun = 0, 0
    for i in range(len(key_ends)):
        end = key_ends[i]
        middle = begun
        while keys[middle] != _AT:
            middle += 1
        at = _quoted(out, at, keys, middle + 1, end)
        until[2 * i] = at
        at = _quoted(out, at, keys, begun, middle)
        until[2 * i + 1] = at
        begun = end


@piece
def _quoted(out: Bytes, at: int, text: Bytes, begun: int, end: int) -> int:
    out[at] = _MARK
    at = _copy(out, at + 1, text, begun, end)
    out[at] = _MARK
    return at + 1


@kernel
def _experts(out: Bytes, at: int, phrases: Phrases, shares: Floats, i: int, order: Ints) -> int:
    """Those that carry the row, the largest share first; of equal ones the first."""
    for e in range(phrases.experts):
        place = e
        while place > 0 and shares[i, order[place - 1]] < shares[i, e]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = e
    first = True
    for k in range(phrases.experts):
        e = order[k]
        millis = int(np.rint(shares[i, e] * 1000.0))
        if millis >= LEAST_MILLIS:
            if not first:
                at = _phrase(out, at, phrases, _COMMA)
            first = False
            at = _phrase(out, at, phrases, _FIRST_NAME + e)
            at = _phrase(out, at, phrases, _SHARE)
            at = _millionths(out, at, millis * 1000)
            at = _phrase(out, at, phrases, _END)
    return at


@kernel
def _horizons(out: Bytes, at: int, phrases: Phrases, days: Ints, sums: Floats, i: int, order: Ints) -> int:
    """Sums by days, ascending and each once."""
    horizons, levels = days.shape[1], _FIRST_NAME + phrases.experts
    for j in range(horizons):
        place = j
        while place > 0 and days[i, order[place - 1]] > days[i, j]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = j
    for k in range(horizons):
        j = order[k]
        if k > 0:
            if days[i, order[k - 1]] == days[i, j]:
                continue
            at = _phrase(out, at, phrases, _COMMA)
        at = _phrase(out, at, phrases, _DAYS)
        at = _whole(out, at, days[i, j])
        at = _phrase(out, at, phrases, _MEAN)
        at = _number(out, at, sums[i, j, 0])
        at = _phrase(out, at, phrases, _QUANTILES)
        for q in range(phrases.levels):
            if q > 0:
                at = _phrase(out, at, phrases, _COMMA)
            at = _phrase(out, at, phrases, levels + q)
            at = _number(out, at, sums[i, j, 1 + q])
        at = _phrase(out, at, phrases, _ENDS)
    return at


@piece
def _phrase(out: Bytes, at: int, phrases: Phrases, which: int) -> int:
    begun = phrases.ends[which - 1] if which > 0 else 0
    return _copy(out, at, phrases.text, begun, phrases.ends[which])


@kernel
def _copy(out: Bytes, at: int, text: Bytes, begun: int, end: int) -> int:
    for k in range(begun, end):
        out[at + k - begun] = text[k]
    return at + end - begun


@piece
def _when(out: Bytes, at: int, when: Bytes, which: int, begun: int, end: int) -> int:
    for k in range(begun, end):
        out[at + k - begun] = when[which, k]
    return at + end - begun


_ZERO, _POINT = ord("0"), ord(".")
_WIDE = 1e12  # from here on whole numbers only: millionths would not fit


@kernel
def _number(out: Bytes, at: int, value: float) -> int:
    """A number of at least 0; what is not one is 0."""
    if not value > 0.0:
        return _millionths(out, at, 0)
    if value >= _WIDE:
        at = _whole(out, at, int(np.rint(min(value, 9e18))))
        out[at], out[at + 1] = _POINT, _ZERO
        return at + 2
    return _millionths(out, at, int(np.rint(value * 1e6)))


@kernel
def _millionths(out: Bytes, at: int, count: int) -> int:
    """A count of millionths as a decimal: at least one place, and no zero at the end of more."""
    whole = count // 1_000_000
    rest = count - whole * 1_000_000
    at = _whole(out, at, whole)
    out[at] = _POINT
    at += 1
    step = 100_000
    while True:
        digit = rest // step
        out[at] = _ZERO + digit
        at += 1
        rest -= digit * step
        step //= 10
        if rest == 0:
            return at


@kernel
def _whole(out: Bytes, at: int, value: int) -> int:
    """An integer of at least 0."""
    digits, left = 1, value // 10
    while left > 0:
        digits, left = digits + 1, left // 10
    left = value
    for k in range(digits):
        out[at + digits - 1 - k] = _ZERO + left % 10
        left //= 10
    return at + digits


def warm() -> None:
    """Compile the loop, or load what is kept."""
    named, name_ends = names([b"S@L"])
    row, one = np.zeros(1, np.int64), np.ones((1, 1))
    when = np.full((1, INSTANT + DAY), _ZERO, np.uint8)
    told = Told(when, row, named, name_ends, np.ones((1, 1), np.int64), np.ones((1, 1, 2)), one, row,
                np.ones(1), row)  # fmt: skip
    write(phrases(['"regression"'], ["0.5"]), told)
