"""Text and numbers of a file as instants, thousandths of a unit and money; beside each, which rows are sound.

What is not sound is not repaired: the row is published as it stands and intake names what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream.errors import SetupError
from stream.events.instants import BELOW_MS, FROM_MS
from stream.events.units import MILLI, MOST_UNITS, milli_from_column

MILLI_MAX = int(MOST_UNITS * MILLI)  # what the contract takes
_DAY_MS = 86_400_000
_YEAR_1 = -62_135_596_800_000
_YEAR_9999 = 253_402_300_800_000
_SLOT_MS = 900_000  # zones change on quarter hours
_SECONDS, _MILLISECONDS = re.compile(r"\d{9,10}$"), re.compile(r"\d{13}$")  # since 1970, as text: 1973 or 2001 to 2286
_COMMON_FORMATS = ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d")
_DAY_FIRST = ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y")


class Numbers(NamedTuple):
    """A column of numbers and which of them are sound; both of shape (n,)."""

    values: npt.NDArray[Any]
    sound: npt.NDArray[np.bool_]


def instants(column: pa.Array, timezone: str, time_format: str | None = None) -> Numbers:
    """Milliseconds since 1970 UTC. Naive times are local times of `timezone`; an hour that happens twice is the first.

    Sound is what the contract takes: 1970 to 2199. Text is ISO 8601, a trailing ` UTC` allowed, or `time_format`
    (strptime), or one of a few common forms with the month before the day. Numbers, also as text, are seconds, or
    milliseconds from 10^11 on. Raises SetupError where texts can only be read with the day before the month: others of
    the same column would be taken for another day without a word.
    """
    moments = _instants(column, timezone, time_format)
    return Numbers(moments.values, moments.sound & (moments.values >= FROM_MS) & (moments.values < BELOW_MS))


def _instants(column: pa.Array, timezone: str, time_format: str | None) -> Numbers:
    kind = column.type
    if pa.types.is_timestamp(kind):
        stamps = column.cast(pa.timestamp("ms", kind.tz), safe=False)
        local, sound = _integers(stamps.cast(pa.int64()))
        return Numbers(local if kind.tz else to_utc_ms(local, timezone), sound)
    if pa.types.is_date(kind):
        days, sound = _integers(column.cast(pa.date32()).cast(pa.int32()))
        return Numbers(to_utc_ms(days * _DAY_MS, timezone), sound)
    if pa.types.is_integer(kind):
        counts, sound = _integers(column)
        return Numbers(np.where(np.abs(counts) < 10**11, counts * 1000, counts), sound)
    return _instants_of_text(column.cast(pa.utf8()), timezone, time_format)


def to_utc_ms(local_ms: npt.NDArray[np.int64], timezone: str) -> npt.NDArray[np.int64]:
    """Local wall-clock time (ms since a local 1970) as UTC; one look into the zone a quarter hour that occurs.

    >>> to_utc_ms(np.array([1_311_854_400_000]), "Europe/London")  # 2011-07-28 12:00 in summer
    array([1311850800000])
    """
    zone = _zone(timezone)
    slots, inverse = np.unique(local_ms // _SLOT_MS, return_inverse=True)
    offsets = np.array([_offset_ms(int(slot) * _SLOT_MS, zone) for slot in slots], np.int64)
    return local_ms - offsets[inverse] if len(slots) else local_ms


def millis(column: pa.Array) -> Numbers:
    """Quantities as thousandths; sound where a finite number of at most three decimals stands there. Sign is kept.

    >>> millis(pa.array(["6", "-2.5", "0.0001", "six", None]))[1].tolist()
    [True, True, False, False, False]
    """
    if pa.types.is_integer(column.type):
        units, sound = _integers(column)
        fits = np.abs(units) <= MILLI_MAX // 1000
        return Numbers(np.where(fits, units, 0) * 1000, sound & fits)
    if pa.types.is_floating(column.type):
        return Numbers(*milli_from_column(column.cast(pa.float64()).to_numpy(zero_copy_only=False)))
    return _by_distinct(column, _milli_of_text)


def prices(column: pa.Array) -> Numbers:
    """Money a unit; NaN where none is given. Sound where absent or a finite number; sign is kept.

    >>> [x.tolist() for x in prices(pa.array(["2.55", None, "free"]))]
    [[2.55, nan, nan], [True, True, False]]
    """
    absent = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        sound = np.isfinite(np.where(absent, 0.0, values))
    else:
        values, sound = _by_distinct(column, _price_of_text, np.float64)
    return Numbers(np.where(absent | ~sound, np.nan, values), sound | absent)


def _integers(column: pa.Array) -> Numbers:
    sound = column.is_valid().to_numpy(zero_copy_only=False)
    return Numbers(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), sound)


def _by_distinct(column: pa.Array, parse: Callable[[str], Any], dtype: type = np.int64) -> Numbers:
    """Parse each distinct text once; `parse` returns None where it is not sound."""
    encoded = column.cast(pa.utf8()).dictionary_encode()
    parsed = [parse(entry) for entry in encoded.dictionary.to_pylist()]
    table: npt.NDArray[Any] = np.array([0 if p is None else p for p in parsed] + [0], dtype)
    good = np.array([p is not None for p in parsed] + [False], bool)
    codes = encoded.indices.fill_null(len(parsed)).to_numpy(zero_copy_only=False)
    return Numbers(table[codes], good[codes])


def _milli_of_text(entry: str) -> int | None:
    try:
        milli = Decimal(entry.strip()) * 1000
    except InvalidOperation:
        return None
    if not milli.is_finite() or abs(milli) > MILLI_MAX or milli != milli.to_integral_value():
        return None
    return int(milli)


def _price_of_text(entry: str) -> float | None:
    try:
        price = float(entry)
    except ValueError:
        return None
    return price if np.isfinite(price) else None


def _instants_of_text(column: pa.Array, timezone: str, time_format: str | None) -> Numbers:
    zone = _zone(timezone)

    def parse(entry: str) -> int | None:
        entry = entry.strip()
        if time_format is None and (_SECONDS.match(entry) or _MILLISECONDS.match(entry)):
            return int(entry) * (1 if len(entry) == 13 else 1000)
        moment = _moment(entry.removesuffix(" UTC"), time_format)
        if moment is None:
            _refuse_day_first(entry, time_format)
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC if entry.endswith(" UTC") else zone)
        ms = round(moment.timestamp() * 1000)
        return ms if _YEAR_1 + 2 * _DAY_MS <= ms < _YEAR_9999 - 2 * _DAY_MS else None

    return _by_distinct(column, parse)


def _moment(entry: str, time_format: str | None) -> datetime | None:
    if time_format is not None:
        return _strptime(entry, time_format)
    try:
        return datetime.fromisoformat(entry)
    except ValueError:
        tried = (_strptime(entry, form) for form in _COMMON_FORMATS)
        return next((moment for moment in tried if moment is not None), None)


def _refuse_day_first(entry: str, time_format: str | None) -> None:
    if time_format is not None:
        return
    for form in _DAY_FIRST:
        if _strptime(entry, form) is not None:
            raise SetupError(
                f"the time {entry!r} has the day before the month",
                "without a format months go first, and other times of this column would be another day",
                f"--time-format '{form}'",
            )


def _strptime(entry: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(entry, form)
    except ValueError:
        return None


def _offset_ms(local_ms: int, zone: ZoneInfo) -> int:
    clamped = min(max(local_ms, _YEAR_1 + 2 * _DAY_MS), _YEAR_9999 - 2 * _DAY_MS)
    local = datetime.fromtimestamp(clamped / 1000, UTC).replace(tzinfo=zone)
    offset = local.utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SetupError(f"no such time zone: {name}", hint="use an IANA name such as Europe/London") from error
