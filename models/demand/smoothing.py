"""The classical forecasters, each over all rows of a shelf in one call, one contract.

`learn(period, units, exposure)` closes a period of all rows; `mean_sum(period, horizon)` is the mean of demand over the
periods after it. A period of exposure 0 moves nothing; of a period seen in part, units / exposure is what is smoothed,
with a step in proportion to the exposure. Steps start as 1 / periods seen, so a young row takes the plain mean. No
forecast is negative, and none runs away: trends are damped, autoregression is drawn to the mean and clipped.

>>> ses = SimpleSmoothing(1, step=0.3, from_first=True)
>>> for day, units in enumerate([100.0, 120.0, 150.0, 130.0, 180.0]):
...     ses.learn(day, np.array([units]), np.ones(1))
>>> ses.mean_sum(4, 1).round(3), ses.mean_sum(4, 30).round(2)
(array([139.708]), array([4191.24]))
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from models.demand.contract import Bools, Floats

MIN_EXPOSURE = 0.05


class Forecaster(Protocol):
    """What every forecaster of this file promises."""

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:
        """Close one period of every row."""

    def mean_sum(self, period: int, horizon: int) -> Floats:
        """Mean demand (n,) summed over the `horizon` periods after `period`."""


class _Smoother:
    """What they share: how many periods a row was seen, its largest period, and steps that start as plain means."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.seen, self.largest = np.zeros(rows), np.zeros(rows)

    def _look(self, units: Floats, exposure: Floats) -> tuple[Floats, Bools]:
        """Units a full period would have brought, and which rows were seen."""
        looked = exposure > MIN_EXPOSURE
        rate = np.where(looked, np.maximum(np.nan_to_num(units), 0.0) / np.where(looked, exposure, 1.0), 0.0)
        self.seen = self.seen + np.where(looked, exposure, 0.0)
        self.largest = np.maximum(self.largest, rate)
        return rate, looked

    def _step(self, step: float, exposure: Floats) -> Floats:
        return np.asarray(np.maximum(step, 1.0 / np.maximum(self.seen, MIN_EXPOSURE)) * exposure)

    def _bounded(self, mean_sum: Floats, horizon: int) -> Floats:
        return np.clip(np.nan_to_num(mean_sum), 0.0, self.largest * horizon)


class SimpleSmoothing(_Smoother):
    """Simple exponential smoothing (Brown 1956). `from_first` starts at the first value and steps evenly at once."""

    def __init__(self, rows: int, step: float = 0.1, *, from_first: bool = False) -> None:
        super().__init__(rows)
        self.step, self.from_first = step, from_first
        self.level = np.zeros(rows)

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:  # noqa: ARG002
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        step = (
            np.where(self.seen == exposure, 1.0, self.step * exposure)
            if self.from_first
            else self._step(self.step, exposure)
        )
        self.level = np.where(looked, self.level + step * (rate - self.level), self.level)

    def mean_sum(self, period: int, horizon: int) -> Floats:  # noqa: ARG002
        """Mean demand (n,) summed over the horizon."""
        return self._bounded(self.level * horizon, horizon)


class FixedMean(_Smoother):
    """The mean of all that was seen."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.units, self.exposure = np.zeros(rows), np.zeros(rows)

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:  # noqa: ARG002
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        self.units += np.where(looked, rate * exposure, 0.0)
        self.exposure += np.where(looked, exposure, 0.0)

    def mean_sum(self, period: int, horizon: int) -> Floats:  # noqa: ARG002
        """Mean demand (n,) summed over the horizon."""
        return self._bounded(self.units / np.maximum(self.exposure, 1e-9) * horizon, horizon)


class DampedTrend(_Smoother):
    """Holt's trend, damped by `damping` a period (Gardner & McKenzie 1985)."""

    def __init__(self, rows: int, step: float = 0.1, trend_step: float = 0.02, damping: float = 0.9) -> None:
        super().__init__(rows)
        self.step, self.trend_step, self.damping = step, trend_step, damping
        self.level, self.trend = np.zeros(rows), np.zeros(rows)

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:  # noqa: ARG002
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        expected = self.level + self.damping * self.trend
        level = expected + self._step(self.step, exposure) * (rate - expected)
        trend = self.damping * self.trend + self.trend_step * exposure * (
            level - self.level - self.damping * self.trend
        )
        young = self.seen <= 2
        self.trend = np.where(looked & ~young, trend, self.trend)
        self.level = np.where(looked, level, self.level)

    def mean_sum(self, period: int, horizon: int) -> Floats:  # noqa: ARG002
        """Mean demand (n,) summed over the horizon: a geometric series of the trend."""
        powers = self.damping ** np.arange(1, horizon + 1)
        return self._bounded(self.level * horizon + self.trend * np.cumsum(powers).sum(), horizon)


class HoltWinters(_Smoother):
    """A smoothed level times a ratio for each period of the season, as sums over sums (zeros do no harm)."""

    def __init__(self, rows: int, season: int = 7, step: float = 0.1, season_kept: float = 0.95) -> None:
        super().__init__(rows)
        self.season, self.step, self.kept = season, step, season_kept
        self.level = np.zeros(rows)
        self.season_units, self.season_expected = np.zeros((season, rows)), np.zeros((season, rows))

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        j, ratio, before = period % self.season, self._ratio(period), self.level
        plain = rate / np.maximum(ratio, 0.1)
        tells = self._step(self.step, exposure) * np.minimum(
            ratio, 1.0
        )  # a day nobody buys on says little of the level
        self.level = np.where(looked, before + tells * (plain - before), before)
        units_j, expected_j = self.season_units[j], self.season_expected[j]
        self.season_units[j] = np.where(looked, self.kept * units_j + rate * exposure, units_j)
        self.season_expected[j] = np.where(looked, self.kept * expected_j + self.level * exposure, expected_j)

    def mean_sum(self, period: int, horizon: int) -> Floats:
        """Mean demand (n,) summed over the horizon."""
        ratios = sum((self._ratio(period + h) for h in range(1, horizon + 1)), np.zeros(self.rows))
        return self._bounded(self.level * ratios, horizon)

    def _ratio(self, period: int) -> Floats:
        j = period % self.season
        prior = 4.0 * self.level + 2.0
        return np.asarray((self.season_units[j] + prior) / (self.season_expected[j] + prior))


class Croston(_Smoother):
    """Croston 1972: size over interval, smoothed at demand. `debiased`: times 1 - step / 2 (SBA, Syntetos 2005)."""

    def __init__(self, rows: int, step: float = 0.1, *, debiased: bool = False) -> None:
        super().__init__(rows)
        self.step, self.factor = step, 1.0 - step / 2.0 if debiased else 1.0
        self.size, self.interval, self.gap, self.times = np.zeros(rows), np.zeros(rows), np.zeros(rows), np.zeros(rows)

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:  # noqa: ARG002
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        self.gap = self.gap + np.where(looked, exposure, 0.0)
        bought = looked & (rate > 0)
        self.times = self.times + bought
        step = np.maximum(self.step, 1.0 / np.maximum(self.times, 1.0))
        self.size = np.where(bought, self.size + step * (rate - self.size), self.size)
        self.interval = np.where(bought, self.interval + step * (self.gap - self.interval), self.interval)
        self.gap = np.where(bought, 0.0, self.gap)

    def mean_sum(self, period: int, horizon: int) -> Floats:  # noqa: ARG002
        """Mean demand (n,) summed over the horizon."""
        rate = self.factor * self.size / np.maximum(self.interval, 1.0)
        return self._bounded(rate * horizon, horizon)


class Tsb(_Smoother):
    """Teunter, Syntetos & Babai 2011: the chance of demand is smoothed every period, so what dies fades."""

    def __init__(self, rows: int, chance_step: float = 0.05, size_step: float = 0.1) -> None:
        super().__init__(rows)
        self.chance_step, self.size_step = chance_step, size_step
        self.chance, self.size, self.times = np.zeros(rows), np.zeros(rows), np.zeros(rows)

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:  # noqa: ARG002
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        bought = looked & (rate > 0)
        self.times = self.times + bought
        chance = self.chance + self._step(self.chance_step, exposure) * (bought - self.chance)
        self.chance = np.where(looked, chance, self.chance)
        step = np.maximum(self.size_step, 1.0 / np.maximum(self.times, 1.0))
        self.size = np.where(bought, self.size + step * (rate - self.size), self.size)

    def mean_sum(self, period: int, horizon: int) -> Floats:  # noqa: ARG002
        """Mean demand (n,) summed over the horizon."""
        return self._bounded(self.chance * self.size * horizon, horizon)


class SeasonalNaive(_Smoother):
    """What the same period of the last season brought."""

    def __init__(self, rows: int, season: int = 7) -> None:
        super().__init__(rows)
        self.season = season
        self.last = np.zeros((season, rows))

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:
        """Close one period of every row."""
        rate, looked = self._look(units, exposure)
        j = period % self.season
        self.last[j] = np.where(looked, rate, self.last[j])

    def mean_sum(self, period: int, horizon: int) -> Floats:
        """Mean demand (n,) summed over the horizon."""
        places = (period + np.arange(1, horizon + 1)) % self.season
        return self._bounded(self.last[places].sum(axis=0), horizon)


class Autoregression(_Smoother):
    """Autoregression on the last `lags` periods, recursive forgotten least squares, all rows at once.

    Values are over the row's own mean and coefficients are drawn to "the mean of everything" by ridge; each step ahead
    is clipped to what the row has seen, so nothing can run away.
    """

    def __init__(self, rows: int, lags: int = 7, kept: float = 0.995, ridge: float = 5.0) -> None:
        super().__init__(rows)
        self.lags, self.kept, self.ridge = lags, kept, ridge
        self.mean = FixedMean(rows)
        self.past = np.zeros((lags, rows))
        self.normal, self.right = np.zeros((rows, lags, lags)), np.zeros((rows, lags))

    def learn(self, period: int, units: Floats, exposure: Floats) -> None:
        """Close one period of every row; a period not seen enters the past as the mean."""
        rate, looked = self._look(units, exposure)
        self.mean.learn(period, units, exposure)
        mean = self.mean.mean_sum(period, 1)
        scale = np.maximum(mean, 1e-9)
        lagged, now = (self.past / scale).T - 1.0, np.where(looked, rate, mean) / scale - 1.0
        lagged = np.clip(np.where(mean[:, None] > 0, lagged, 0.0), -1.0, 10.0)
        taught = (looked & (self.seen > self.lags))[:, None]
        right = self.kept * self.right + lagged * np.clip(now, -1.0, 10.0)[:, None]
        normal = self.kept * self.normal + lagged[:, :, None] * lagged[:, None, :]
        self.right = np.where(taught, right, self.right)
        self.normal = np.where(taught[:, :, None], normal, self.normal)
        self.past = np.concatenate([np.where(looked, rate, mean)[None], self.past[:-1]])

    def mean_sum(self, period: int, horizon: int) -> Floats:
        """Mean demand (n,) summed over the horizon, a step at a time."""
        mean = np.maximum(self.mean.mean_sum(period, 1), 1e-9)
        left = self.normal + self.ridge * np.eye(self.lags)
        weights = np.linalg.solve(left, self.right[..., None])[..., 0]
        past, total = self.past / mean - 1.0, np.zeros(self.rows)
        for _ in range(horizon):
            ahead = np.clip((weights.T * past).sum(axis=0), -1.0, self.largest / mean - 1.0)
            total = total + (1.0 + ahead) * mean
            past = np.concatenate([ahead[None], past[:-1]])
        return self._bounded(total, horizon)


FAMILY: dict[str, type] = {
    "simple": SimpleSmoothing,
    "mean": FixedMean,
    "damped": DampedTrend,
    "holt_winters": HoltWinters,
    "croston": Croston,
    "tsb": Tsb,
    "seasonal_naive": SeasonalNaive,
    "autoregression": Autoregression,
}
