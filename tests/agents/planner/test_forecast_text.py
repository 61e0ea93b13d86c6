"""Forecasts as JSON: what a JSON library reads back is what went in, compiled or interpreted."""

from __future__ import annotations

import hashlib

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.planner import forecast_text as text
from stream.events.naming import row_key
from tests.interpreted import fingerprint_of

EXPERTS, LEVELS = ('"regression"', '"trees"', '"refit"'), ("0.5", "0.95")


def told(numbers: list[float], shares: list[float], days: list[int], name: str = "S") -> text.Told:
    """One row: its mean a day, then a mean and quantiles of each horizon."""
    names = [orjson.dumps("L"), orjson.dumps(name)]
    when = text.packed([b"2026-01-01T00:00:00.000Z", b"2025-12-31"]).reshape(1, -1)
    sums = np.array(numbers[1:]).reshape(1, len(days), 1 + len(LEVELS))
    return text.Told(
        when, np.zeros(1, np.int64), text.packed(names), text.ends(names), np.array([days]), sums,
        np.array([shares]), np.array([41]), np.array(numbers[:1]), np.array([9]),
    )  # fmt: skip


def fingerprint() -> str:
    """Of a thousand rows of many sizes of numbers."""
    made, rng = hashlib.sha256(), np.random.default_rng(3)
    for _ in range(1000):
        numbers = (10.0 ** rng.uniform(-8, 13, 10)).tolist()
        row = told(numbers, rng.dirichlet(np.ones(3)).tolist(), rng.integers(1, 30, 3).tolist())
        made.update(text.write(text.phrases(EXPERTS, LEVELS), row)[0])
    return made.hexdigest()


amounts = st.one_of(st.floats(0, 1e9), st.just(0.0), st.floats(0, 1e-4), st.integers(0, 10**6).map(float))


@settings(deadline=None)
@given(st.lists(amounts, min_size=10, max_size=10), st.lists(st.integers(1, 40), min_size=3, max_size=3), st.text())
def test_what_is_written_is_what_a_library_reads(numbers: list[float], days: list[int], name: str) -> None:
    """Numbers to six places, horizons by days and each once, experts by share, any name."""
    name = name.encode("utf-8", "ignore").decode()
    row = told(numbers, [0.2, 0.7, 0.004], days, name)
    [raw] = text.write(text.phrases(EXPERTS, LEVELS), row)
    data = orjson.loads(raw)
    first = {d: days.index(d) for d in sorted(set(days))}
    assert [h["days"] for h in data["horizons"]] == list(first)
    for horizon, j in zip(data["horizons"], first.values(), strict=True):
        mean, *quantiles = row.sums[0, j].tolist()
        assert horizon["mean"] == pytest.approx(mean, abs=6e-7, rel=1e-15)
        assert horizon["quantiles"] == pytest.approx(dict(zip(LEVELS, quantiles, strict=True)), abs=6e-7, rel=1e-15)
    assert data["experts"] == [{"expert": "trees", "share": 0.7}, {"expert": "regression", "share": 0.2}]
    assert data["mean_day"] == pytest.approx(numbers[0], abs=6e-7, rel=1e-15)
    assert (data["sku"], data["location"], data["protection_days"]) == (name, "L", 9)
    assert (data["learnt_from_cycles"], data["as_of"], data["as_of_day"]) == (
        41,
        "2026-01-01T00:00:00.000Z",
        "2025-12-31",
    )
    assert list(data) == sorted(data)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_names_are_written_as_a_library_writes_them(pairs: list[tuple[str, str]]) -> None:
    """Plain ones are copied from the keys, all others go through the library: no name shows which way it went."""
    pairs = [tuple(name.encode("utf-8", "ignore").decode() for name in pair) for pair in pairs]
    packed, ends = text.names([row_key(*pair).encode() for pair in pairs])
    parts = [orjson.dumps(name) for sku, location in pairs for name in (location, sku)]
    assert packed.tobytes() == b"".join(parts)
    assert ends.tolist() == text.ends(parts).tolist()


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.0, b"0.0"), (-1.0, b"0.0"), (float("nan"), b"0.0"), (3.0, b"3.0"), (0.000001, b"0.000001"), (4e-7, b"0.0"),
     (0.95, b"0.95"), (12.3456789, b"12.345679"), (1e6, b"1000000.0"), (2.5e12, b"2500000000000.0"),
     (float("inf"), b"9000000000000000000.0")],
)  # fmt: skip
def test_numbers_are_plain_decimals(number: float, written: bytes) -> None:
    """At least one place, at most six, no exponent; what is no amount is 0."""
    [raw] = text.write(text.phrases(EXPERTS, LEVELS), told([number] * 4, [1.0, 0.0, 0.0], [7]))
    assert b',"mean_day":%s,' % written in raw


def test_interpreted_source_gives_the_same_bytes() -> None:
    """Without compiling, the same loop writes the same JSON."""
    assert fingerprint_of(__name__) == fingerprint()
