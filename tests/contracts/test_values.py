"""Times, quantities, partitions: the values everything else is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.events.instants import BELOW_MS, parse_day, parse_ms, parse_ms_column, text_from_ms
from stream.events.partition import murmur2, partition_of, shelf_of
from stream.events.units import (
    milli_from_column,
    milli_from_number,
    milli_from_text,
    number_from_milli,
    text_from_milli,
)

GOOD_TIMES = {
    "1970-01-01T00:00:00Z": 0,
    "1970-01-01T00:00:00.001Z": 1,
    "1970-01-01T01:00:00+01:00": 0,
    "1969-12-31T23:00:00-01:00": 0,
    "2199-12-31T23:59:59.999999999Z": BELOW_MS - 1,
    "2200-01-01T00:00:00+00:01": BELOW_MS - 60_000,
    "2000-02-29T12:30:15.5Z": 951_827_415_500,
    "2024-02-29T00:00:00.1239Z": 1_709_164_800_123,
    "2026-01-05t10:00:00z": 1_767_607_200_000,
    "2026-01-05T10:00:00-00:00": 1_767_607_200_000,
    "2026-01-05T10:00:00+23:59": 1_767_607_200_000 - 86_340_000,
}
BAD_TIMES = [
    "",
    "2026-01-05",
    "2026-01-05T10:00Z",
    "2026-01-05T10:00:00",
    "2026-01-05 10:00:00Z",
    "2026-01-05T10:00:00.Z",
    "2026-01-05T10:00:00.1234567890Z",
    "2026-01-05T10:00:00,5Z",
    "2026-01-05T10:00:00+0100",
    "2026-01-05T10:00:00+01",
    "2026-01-05T10:00:00+24:00",
    "2026-01-05T10:00:00+01:60",
    "2026-01-05T10:00:00.5+01:00Z",
    "2026-01-05T24:00:00Z",
    "2026-01-05T10:60:00Z",
    "2026-12-31T23:59:60Z",
    "2026-13-01T10:00:00Z",
    "2026-00-01T10:00:00Z",
    "2026-01-00T10:00:00Z",
    "2026-04-31T10:00:00Z",
    "2026-02-29T10:00:00Z",
    "2100-02-29T10:00:00Z",
    "0000-01-01T10:00:00Z",
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00+00:01",
    "2200-01-01T00:00:00Z",
    "+2026-01-05T10:00:00Z",
    " 2026-01-05T10:00:00Z",
    "2026-01-05T10:00:00Z\n",
    "2026-1-05T10:00:00.00Z",
    "٢026-01-05T10:00:00Z",
    "2026-01-05T10:00:00Ｚ",
]


def one(text: str) -> int | None:
    try:
        return parse_ms(text)
    except ValueError:
        return None


def column(texts: list[str | None]) -> list[int | None]:
    ms, good = parse_ms_column(pa.array(texts, pa.utf8()))
    return [value if fine else None for value, fine in zip(ms.tolist(), good.tolist(), strict=True)]


@pytest.mark.parametrize("text", GOOD_TIMES)
def test_a_time_is_milliseconds_since_1970(text: str) -> None:
    """Digits beyond the third are dropped, zones are taken off, both forms agree."""
    assert one(text) == GOOD_TIMES[text]
    assert column([text]) == [GOOD_TIMES[text]]


@pytest.mark.parametrize("text", BAD_TIMES)
def test_what_is_not_a_time_with_a_zone_is_refused(text: str) -> None:
    """Leap seconds, missing zones or seconds, days there are not, and years out of range."""
    assert one(text) is None
    assert column([text]) == [None]


def test_a_column_is_read_wherever_its_strings_lie() -> None:
    """Mixed lengths, nulls, and a slice of a longer array."""
    texts = [*GOOD_TIMES, None, *BAD_TIMES, None]
    assert column(texts) == [one(text) if text is not None else None for text in texts]
    ms, good = parse_ms_column(pa.array(texts, pa.utf8()).slice(3, 10))
    expected = [one(text) for text in texts[3:13] if text is not None]
    assert [m if g else None for m, g in zip(ms.tolist(), good.tolist(), strict=True) if g] == [
        e for e in expected if e is not None
    ]
    assert column([]) == []


some_time = st.builds(
    lambda at, shift, digits: (
        at.replace(tzinfo=None).isoformat(timespec="seconds")
        + (f".{at.microsecond:06d}000"[: digits + 1] if digits else "")
        + ("Z" if shift == 0 else f"{'+-'[shift < 0]}{abs(shift) // 60:02d}:{abs(shift) % 60:02d}"),
        at.replace(tzinfo=timezone(timedelta(minutes=shift))),
        digits,
    ),
    st.datetimes(datetime(1969, 12, 30), datetime(2200, 1, 3)),
    st.integers(-1439, 1439),
    st.integers(0, 9),
)


@settings(deadline=None)
@given(st.lists(some_time, max_size=5))
def test_times_agree_with_datetime(drawn: list[tuple[str, datetime, int]]) -> None:
    """Any real time, in any zone, with any number of digits: the standard library says the same."""
    for text, at, digits in drawn:
        cut = at.replace(microsecond=at.microsecond // 10 ** max(6 - digits, 0) * 10 ** max(6 - digits, 0))
        ms = (cut - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        assert one(text) == (ms if 0 <= ms < BELOW_MS else None)
    assert column([text for text, _, _ in drawn]) == [one(text) for text, _, _ in drawn]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*GOOD_TIMES, *BAD_TIMES]), min_size=1, max_size=4), st.data())
def test_one_and_column_agree_on_spoilt_times(texts: list[str], data: st.DataObject) -> None:
    """A character changed, added or taken away anywhere."""
    spoilt = []
    for text in texts:
        at = data.draw(st.integers(0, len(text)))
        put = data.draw(st.sampled_from(["", *"0123456789-:.TZ+ é"]))
        spoilt.append(text[:at] + put + text[at + data.draw(st.integers(0, 1)) :])
    assert column(spoilt) == [one(text) for text in spoilt]


@settings(deadline=None)
@given(st.integers(0, BELOW_MS - 1))
def test_a_time_written_is_the_time_read(ms: int) -> None:
    """Text out and back."""
    assert parse_ms(text_from_ms(ms)) == ms


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-1-1", "20260101", "1969-12-31", "2200-01-01", "2026-01-01T00:00:00Z"]
)
def test_what_is_not_a_date_is_refused(text: str) -> None:
    """Dates are YYYY-MM-DD, 1970 to 2199."""
    with pytest.raises(ValueError, match=r"not a date|no such day|not between"):
        parse_day(text)
    assert parse_day("2199-12-31") == (datetime(2199, 12, 31) - datetime(1970, 1, 1)).days


def milli(number: float) -> int | None:
    try:
        return milli_from_number(number)
    except ValueError:
        return None


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_thousandths_survive_as_json_numbers(thousandths: int) -> None:
    """Any quantity within bounds, out as a number or as text and back, is itself."""
    exact = Decimal(thousandths) / 1000
    assert milli(number_from_milli(thousandths)) == milli(float(str(exact))) == thousandths
    assert milli_from_text(text_from_milli(thousandths)) == thousandths
    assert Decimal(text_from_milli(thousandths)) == exact


@settings(deadline=None)
@given(st.lists(st.floats() | st.decimals(-2, 2, places=4).map(float) | st.integers(-(2**60), 2**60).map(float)))
@example([0.0, -0.0, 1e9, -1e9, 1e9 + 0.001, 0.0005, 0.1 + 0.2, float("nan"), float("inf"), 5e-324])
def test_one_quantity_and_a_column_agree(numbers: list[float]) -> None:
    """The same numbers are accepted, with the same thousandths."""
    found, good = milli_from_column(np.array(numbers, np.float64))
    assert [m if g else None for m, g in zip(found.tolist(), good.tolist(), strict=True)] == [milli(n) for n in numbers]


def test_what_has_more_than_three_decimals_is_refused() -> None:
    """0.3 is three tenths; 0.1 + 0.2 is not a number of thousandths."""
    assert milli(0.3) == 300
    assert milli(0.1 + 0.2) is None
    assert milli(1.0005) is None
    assert milli(1e9) == 10**12
    assert milli(1e9 + 0.001) is None


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_quantities_are_written_without_exponent(thousandths: int) -> None:
    """Plain decimal text, no trailing zeros, whatever the size."""
    text = text_from_milli(thousandths)
    assert set(text) <= set("-0123456789.")
    assert Decimal(text) * 1000 == thousandths
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize("text", ["", "1e3", "+1", "1.", ".5", "1.0001", "1,5", "NaN", "1_0", "１", "1000000000.001"])
def test_text_that_is_not_a_plain_decimal_is_refused(text: str) -> None:
    """Files and command lines are read strictly too."""
    with pytest.raises(ValueError, match=r"not a plain decimal|must lie between"):
        milli_from_text(text)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(key: str, expected: int) -> None:
    """The vectors of UtilsTest.testMurmur2 in Apache Kafka."""
    assert murmur2(key.encode()) == expected & 0xFFFFFFFF


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(1, 64))
def test_partitions_are_those_of_another_client(key: bytes, partitions: int) -> None:
    """aiokafka's partitioner, written by others, chooses the same for every key."""
    from aiokafka.partitioner import DefaultPartitioner

    everything = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everything, everything)


def test_a_sku_lives_where_its_utf8_key_goes() -> None:
    """The shelf of a SKU is the partition of a record keyed by it."""
    for sku in ("A1", "Käse", "😀", "a@b%"):
        assert shelf_of(sku, 7) == partition_of(sku.encode(), 7)
