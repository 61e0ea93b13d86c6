"""Reorder points, order quantities and risks, by hand and by law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.stock import reorder as r

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.99])
MILLI = st.integers(0, 10**9)
CURVES = st.lists(st.floats(0, 1e6), min_size=5, max_size=5).map(lambda v: np.array([sorted(v)]))


def test_the_sentence_of_the_planner_adds_up():
    """Position 12 under reorder point 31 = 22 + 9; 48 in packs of 12 reach 60."""
    assert r.safety_stock_units(31.0, 22.0) == 9.0
    assert r.order_quantity_milli(12_000, 31_000, 60_000, 12_000) == 48_000
    assert r.order_quantity_milli(31_001, 31_000, 60_000, 12_000) == 0
    assert r.order_quantity_milli(31_000, 31_000, 60_000, 12_000) == 36_000


def test_the_maximum_wins_over_packs_and_minimum():
    """Whole packs stay under the maximum; where not even the minimum order fits, nothing is ordered."""
    assert r.order_quantity_milli(10_000, 31_000, 60_000, 12_000, 0, 50_000) == 36_000
    assert r.order_quantity_milli(10_000, 31_000, 60_000, 12_000, 48_000, 50_000) == 0
    assert r.order_quantity_milli(10_000, 31_000, 40_000, 1_000, 48_000) == 48_000
    assert r.order_quantity_milli(-5_000, 0, 0, 1_000) == 5_000  # backorders are filled
    assert r.order_quantity_milli(0, 0, 0) == 0  # nobody asks: nothing is bought


@given(MILLI, MILLI, MILLI, st.integers(0, 50_000), st.integers(0, 10**8), MILLI)
def test_an_order_is_packs_within_limits(position, point, more, pack, minimum, maximum):
    """Whole packs, not under the minimum, never over the maximum, up to the level when free to."""
    up_to = point + more
    q = int(r.order_quantity_milli(position, point, up_to, pack, minimum, maximum))
    assert r.order_milli(position, point, up_to, pack, minimum, maximum) == q
    assert q >= 0
    assert q % max(pack, 1) == 0
    if q > 0:
        assert position <= point
        assert q >= minimum
        assert maximum == 0 or position + q <= maximum
        if maximum == 0:
            assert position + q >= up_to
            assert q - max(up_to - position, minimum) < max(pack, 1)


@given(CURVES, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_higher_promise_never_lowers_the_reorder_point(curve, a, b):
    """The reorder point grows with the service level and stays within the quantiles."""
    low, high = sorted((a, b))
    one, two = r.reorder_point_units(LEVELS, curve, low)[0], r.reorder_point_units(LEVELS, curve, high)[0]
    assert one <= two * (1 + 1e-12) + 1e-9
    assert curve[0, 0] - 1e-9 <= one <= curve[0, -1] * (1 + 1e-12) + 1e-9


def test_a_level_that_is_none_is_refused():
    """A service level of 1 promises the impossible."""
    with pytest.raises(ValueError, match="service_level"):
        r.reorder_point_units(LEVELS, np.ones((1, 5)), 1.0)


@given(CURVES, st.floats(-10, 2e6), st.floats(-10, 2e6))
def test_more_stock_never_raises_the_chance_to_run_out(curve, a, b):
    """The chance lies in 0..1 and falls with stock."""
    low, high = sorted((a, b))
    one, two = (r.chance_of_running_out(LEVELS, curve, np.array([v]))[0] for v in (low, high))
    assert 0.0 <= two <= one + 1e-12 <= 1.0 + 1e-9


def test_chances_by_hand():
    """At the 90 % quantile the chance is 10 %; with half of it zero demand, empty shelves run out half the time."""
    curve = np.array([[20.0, 26.0, 30.0, 33.0, 40.0]])
    assert r.chance_of_running_out(LEVELS, curve, 30.0)[0] == pytest.approx(0.1)
    assert r.chance_of_running_out(LEVELS, curve, 10.0)[0] == pytest.approx(0.75)
    assert r.chance_of_running_out(LEVELS, curve, 80.0)[0] == pytest.approx(0.0025)
    assert r.chance_of_running_out(LEVELS, np.array([[0.0, 0.0, 1.0, 2.0, 3.0]]), 0.0)[0] == pytest.approx(0.2)
    assert r.chance_of_running_out(LEVELS, np.zeros((1, 5)), 0.0)[0] == 0.0
    assert r.chance_of_running_out(LEVELS, curve, -1.0)[0] == 1.0


def test_one_row_and_many_are_the_same_bytes():
    """A column of rows and rows one by one give identical results."""
    rng = np.random.default_rng(1)
    curve = np.sort(rng.gamma(1.0, 20.0, (50, 5)), axis=1)
    level, stock = rng.uniform(0.5, 0.99, 50), rng.uniform(0, 60, 50)
    point, chance = r.reorder_point_units(LEVELS, curve, level), r.chance_of_running_out(LEVELS, curve, stock)
    milli = r.to_milli_up(point)
    for i in range(50):
        assert r.reorder_point_units(LEVELS, curve[i : i + 1], level[i]).tobytes() == point[i : i + 1].tobytes()
        assert r.chance_of_running_out(LEVELS, curve[i : i + 1], stock[i]).tobytes() == chance[i : i + 1].tobytes()
        assert r.to_milli_up(point[i]) == milli[i]


def test_units_round_up_once():
    """Thousandths round up to the step, a rounding error is forgiven, nothing is negative or endless."""
    assert r.to_milli_up(0.0) == 0
    assert r.to_milli_up(-3.0) == 0
    assert r.to_milli_up(0.1 + 0.2, 100) == 300
    assert r.to_milli_up(7.0000001) == 8_000
    assert r.to_milli_up(np.inf) == r.LARGEST_MILLI // 1000 * 1000 + 1000
