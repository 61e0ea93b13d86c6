"""What a row's own past says of a horizon, beside its features: columns that only trees read.

Levels and regressions see the past through a few fading memories. Trees can use it as it was: the last sums of the
horizon's length a week apart, the last week day by day, the same weeks a year ago and the place in the year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.demand.contract import Floats, Ints

SUMS = 8  # of the horizon's length, each ending a season before the other
DAYS = 7
LAST_YEAR = 4  # the horizon a year ago, a season earlier and later, and the four seasons that led to it
CALENDAR = 3  # place in the season, and in the year as sine and cosine
PAST_COLUMNS = SUMS + 1 + DAYS + LAST_YEAR + CALENDAR
LEAST_SEEN = 0.5  # of a sum's periods


@dataclass(frozen=True)
class Past:
    """Units (n, T) of consecutive periods, NaN where demand could not be seen; row i's first is `first` (n,).

    `season` and `year` count periods, as in a family's setting.
    """

    units: Floats
    first: Ints
    season: int
    year: int

    def before(self, row: Ints, origin: Ints, horizon: Ints, scale: Floats) -> Floats:
        """Columns (m, PAST_COLUMNS), in units over `scale` (m,), of rows `row` (m,) that look `horizon` ahead.

        Nothing after `origin` (m,) is read. NaN where under half could be seen. The place in the year is told from the
        second year on: before, it is but a date.

        >>> past = Past(np.arange(21.0)[None], np.zeros(1, int), 7, 364)
        >>> past.before(np.array([0]), np.array([20]), np.array([7]), np.array([7.0]))[0, :4]
        array([17., 10.,  3., nan])
        """
        end, step = origin - self.first[row] + 1, self.season if self.season > 1 else 1
        known = np.concatenate([np.zeros((len(self.units), 1)), np.cumsum(np.isfinite(self.units), axis=1)], axis=1)
        units = np.concatenate([np.zeros((len(self.units), 1)), np.cumsum(np.nan_to_num(self.units), axis=1)], axis=1)

        def summed(until: Ints, length: Ints) -> Floats:
            since, last = np.maximum(until - length, 0), np.clip(until, 0, end)
            seen = known[row, last] - known[row, np.minimum(since, last)]
            sold = units[row, last] - units[row, np.minimum(since, last)]
            enough = (until >= length) & (until <= end) & (seen >= LEAST_SEEN * length)
            return np.where(enough, sold * length / np.maximum(seen, 1.0), np.nan)

        sums = np.stack([summed(end - k * step, horizon) for k in range(SUMS)], axis=1)
        days = np.stack([summed(end - k, np.ones_like(end)) for k in range(DAYS)], axis=1)
        ago = end - self.year
        same = [summed(ago + horizon + shift, horizon) for shift in (-step, 0, step)]
        led = summed(ago, np.full_like(end, 4 * step))
        in_units = np.concatenate([sums, _spread(sums)[:, None], days, np.stack([*same, led], axis=1)], axis=1)
        return np.concatenate([in_units / scale[:, None], self._calendar(origin, end)], axis=1)

    def _calendar(self, origin: Ints, end: Ints) -> Floats:
        """Place in the season, sine and cosine of the place in the year, (m, CALENDAR)."""
        place = np.mod(origin, self.season).astype(np.float64)
        angle = np.where(end > self.year, 2.0 * np.pi * np.mod(origin, self.year) / self.year, np.nan)
        return np.stack([place, np.sin(angle), np.cos(angle)], axis=1)


def _spread(sums: Floats) -> Floats:
    """Standard deviation (m,) of those sums that are known; NaN of fewer than two."""
    known = np.isfinite(sums)
    count = known.sum(axis=1)
    mean = np.where(known, sums, 0.0).sum(axis=1) / np.maximum(count, 1)
    square = np.where(known, (sums - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 1, np.sqrt(square), np.nan)
