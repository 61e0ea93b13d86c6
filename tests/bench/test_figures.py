"""The arithmetic behind printed figures."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import back_s, longest_gap, quantile, sliding

INSTANTS = st.lists(st.floats(0, 100), min_size=2, max_size=50).map(sorted)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1).map(sorted), st.floats(0, 1))
def test_a_quantile_is_a_value_with_at_most_its_share_below(values: list[float], level: float) -> None:
    """No more than `level` of the values lie strictly under the quantile."""
    found = quantile(values, level)
    assert found in values
    assert sum(value < found for value in values) <= level * len(values)


@given(INSTANTS)
def test_over_everything_the_longest_gap_is_the_greatest_difference(instants: list[float]) -> None:
    """From the first instant to the last, the gap is the greatest difference of neighbours."""
    greatest = max(b - a for a, b in itertools.pairwise(instants))
    assert longest_gap(instants, instants[0], instants[-1]) == greatest


def test_a_gap_that_never_ends_counts_to_the_end_of_the_window() -> None:
    """A worker that never came back shows as a gap up to the end, not as the gaps before it."""
    assert longest_gap([1.0, 1.5, 2.0], 1.8, 32.0) == 30.0
    assert longest_gap([], 2.0, 12.0) == 10.0


def test_a_gap_is_not_blamed_on_what_came_before_it() -> None:
    """Watched until 5, when the next thing happens and makes a gap up to 20: up to 5 it is one of half a second."""
    assert longest_gap([2.0, 3.0, 4.0, 4.5, 20.0], 2.0, 5.0) == 1.0


def test_a_take_over_is_back_when_the_late_alerts_have_left_the_second() -> None:
    """Ten alerts a second of 50 ms; none for 4 s; then those that waited, all at once; then as before."""
    before = [(n / 10, 50.0) for n in range(100)]
    waited = [(14.0, 4000.0 - n * 100) for n in range(40)]
    after = [(14.0 + n / 10, 50.0) for n in range(1, 100)]
    alerts = before + waited + after
    by_second = sliding(alerts, 0.99, 10.0, 20.0)
    found = back_s(by_second, 10.0, 1.5 * 50.0)
    assert found is not None
    assert math.isclose(found, 5.0, abs_tol=0.15)  # 4 s of silence, and a second until they have left the window
    assert longest_gap([at for at, _ in alerts], 10.0, 20.0) > 4.0


def test_what_is_good_for_a_moment_only_is_not_back() -> None:
    """A value must stay under the limit; one good look between bad ones does not count."""
    assert back_s([(0, 9), (1, 1), (2, 9), (3, 1), (4, 1), (5, 9)], 0, 2, hold_s=3) is None
    assert back_s([(0, 1), (1, 1), (2, 1), (3, 1)], 0, 2, hold_s=3) == 0
