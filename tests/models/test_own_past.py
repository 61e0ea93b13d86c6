"""A row's own past, as trees read it."""

from __future__ import annotations

import numpy as np

from models.demand.own_past import DAYS, LAST_YEAR, PAST_COLUMNS, SUMS, Past

SPREAD, LAST = SUMS, SUMS + 1
YEAR, PLACE = LAST + DAYS, LAST + DAYS + LAST_YEAR


def before(past: Past, origin: int, horizon: int = 7, row: int = 0, scale: float = 1.0) -> np.ndarray:
    """Columns of one row at one origin."""
    return past.before(np.array([row]), np.array([origin]), np.array([horizon]), np.array([scale]))[0]


def test_sums_days_and_last_year_are_what_sold():
    """Units 0, 1, 2, .. of 400 days, looked at from day 399 over a week: each column by hand, over a scale of 2."""
    told = before(Past(np.arange(400.0)[None], np.zeros(1, int), 7, 364), 399, scale=2.0)
    assert len(told) == PAST_COLUMNS
    weeks = np.array([7 * (399 - 3 - 7 * k) for k in range(SUMS)])
    np.testing.assert_allclose(told[:SUMS], weeks / 2)
    np.testing.assert_allclose(told[SPREAD], weeks.std() / 2)
    np.testing.assert_allclose(told[LAST:YEAR], (399 - np.arange(DAYS)) / 2)
    ago = 399 - 364  # the week after it is 36..42, in the middle 39
    np.testing.assert_allclose(told[YEAR:PLACE], np.array([7 * 32, 7 * 39, 7 * 46, 28 * (ago - 13.5)]) / 2)
    assert told[PLACE] == 399 % 7
    np.testing.assert_allclose(told[PLACE + 1 :], [np.sin(2 * np.pi * 35 / 364), np.cos(2 * np.pi * 35 / 364)])


def test_days_that_could_not_be_seen_are_not_zero():
    """A sum of which over half was seen is scaled to its length; of less nothing is said."""
    units = np.full((2, 14), 3.0)
    units[0, 12:], units[1, 9:] = np.nan, np.nan
    past = Past(units, np.zeros(2, int), 7, 364)
    assert before(past, 13)[0] == 21.0
    assert np.isnan(before(past, 13)[LAST])
    assert np.isnan(before(past, 13, row=1)[0])


def test_rows_may_begin_on_different_periods():
    """What is told depends on the days before the origin, not on when the table begins; the year on a row's own."""
    units = np.arange(42.0)[None]
    early, late = Past(units, np.array([100]), 7, 364), Past(units, np.array([107]), 7, 364)
    np.testing.assert_array_equal(before(early, 141), before(late, 148))
    assert np.isnan(before(early, 141)[PLACE + 1 :]).all()


def test_nothing_after_the_origin_is_read():
    """Other units after the origin, the same columns to the bit."""
    rng = np.random.default_rng(3)
    units = rng.gamma(1.0, 7.0, (3, 800))
    other = units.copy()
    other[:, 700:] = rng.gamma(1.0, 99.0, (3, 100))
    asked = (np.arange(3), np.full(3, 699), np.array([1, 7, 60]), np.ones(3))
    made = [Past(u, np.zeros(3, int), 7, 364).before(*asked) for u in (units, other)]
    assert made[0].tobytes() == made[1].tobytes()
