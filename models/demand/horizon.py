"""The distribution of demand summed over one horizon: features, experts, mixture, calibration.

For each origin the rows' features and what each expert told are kept until the horizon is over; then all of them learn
from the sum that came, if it could be seen. Everything is in *row scales*: units over a blend of the row's level and
spread, so that rows of 0.1 and of 10,000 a day share coefficients; weights rise with the root of the scale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.demand.contract import Bools, Floats, Ints, Outlook
from models.demand.levels import FAST, LONG, MID, SLOW, USUAL, Ahead, Levels
from models.demand.mixture import Calibration, Mixture
from models.demand.panel import FULLY_SEEN
from models.demand.pooled_errors import PooledErrors
from models.demand.quantile_regression import LARGEST, SegmentedRegression

MEMORIES_PERIODS = (40.0, 120.0, 400.0)  # of shocks, not of rows
RIDGE, SEGMENT_RIDGE = 1.0, 5.0
SEGMENTS = 3  # by size, thirds of the rows
SPREAD_KEPT = (0.95, 0.983, 0.995)
TRAINED_AFTER = 21  # matured origins before calibration starts
FIRST_LESSON = 7  # origins before this one know too little to teach
PRIOR_LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
PRIOR_SPREADS = np.array([-0.05, 0.7, 1.3, 1.8, 2.3, 3.0])
PRIOR_BLEND = np.array([0.05, 0.2, 0.3, 0.25, 0.2])  # of the levels of 7, 14, 28, 90, 365 periods

REGRESSION, POOLED, GUEST = 0, 1, 2
Guest = Callable[[Floats, Floats], Floats]  # features (n, p), scale (n,) -> quantiles (n, K) in row scales


@dataclass(frozen=True)
class Lesson:
    """A matured origin: what was known then, and what came."""

    features: Floats
    scale: Floats
    actual: Floats
    teaches: Bools


@dataclass
class _Pending:
    features: Floats
    bases: Floats
    scale: Floats
    middle: Floats
    segment: Ints
    born: Bools
    told: dict[int, Floats]
    final: Floats


class Horizon:
    """Demand of n rows summed over the next `periods`, at quantile `levels` (K,)."""

    def __init__(
        self, periods: int, levels: Floats, state: Levels, groups: tuple[Ints, ...], year: int, *, censored: bool
    ) -> None:
        self.periods, self.levels, self.state, self.year, self.censored = periods, levels, state, year, censored
        rows = state.rows
        everybody = np.zeros(rows, dtype=np.int64)
        sizes = [(group, int(group.max()) + 1) for group in groups]
        self.groups = [(g, count) for g, count in sizes if 1 < count < rows]
        self.yearly = [(everybody, 1), *self.groups]
        self.index: list[list[Floats]] = [[] for _ in self.yearly]
        self.recent: deque[tuple[Floats, Floats, Floats]] = deque(maxlen=periods)
        self.error, self.error_weight = np.zeros((3, rows)), np.zeros((3, rows))
        self.pending: deque[_Pending] = deque()
        self.origins = self.lessons = 0
        self.cuts: Floats = np.zeros(SEGMENTS - 1)
        self.regression: SegmentedRegression | None = None
        self.pooled = PooledErrors(levels, rows, 8 if censored else 7, SEGMENTS)
        self.mixture = Mixture(levels, 3)
        self.calibration = Calibration(levels, SEGMENTS)
        self.guest: Guest | None = None
        self.matured: Lesson | None = None

    def close(self, units: Floats, exposure: Floats, plan: Floats) -> None:
        """A period ended (after `Levels.learn` of it): the origin whose horizon it completes teaches everybody."""
        self.recent.append((units, exposure, plan))
        self._count_year(units)
        self.matured = None
        if len(self.pending) < self.periods:
            return
        past = self.pending.popleft()
        actual = np.sum([u for u, _, _ in self.recent], axis=0)
        seen = np.min([e for _, e, _ in self.recent], axis=0) >= FULLY_SEEN
        error = np.minimum(np.abs(actual - past.middle), LARGEST * past.scale)
        kept = np.array(SPREAD_KEPT)[:, None]
        self.error = np.where(seen, kept * self.error + error, self.error)
        self.error_weight = np.where(seen, kept * self.error_weight + 1.0, self.error_weight)
        teaches = seen & past.born
        if teaches.any() and self.origins - self.periods >= FIRST_LESSON:
            self._teach(past, actual, teaches)

    def _teach(self, past: _Pending, actual: Floats, teaches: Bools) -> None:
        assert self.regression is not None
        self.lessons += 1
        scaled = np.clip(actual / past.scale, 0.0, LARGEST)[teaches]
        self.mixture.learn({k: np.clip(q[teaches], 0.0, LARGEST) for k, q in past.told.items()}, scaled)
        if self.lessons > self.periods + TRAINED_AFTER:
            self.calibration.learn(past.final, actual, past.segment, teaches, self.regression.usual_error)
        weight = np.sqrt(past.scale[teaches])
        self.regression.learn(past.features[teaches], scaled, weight, past.segment[teaches])
        self.pooled.learn(past.bases, actual, past.scale, past.segment, teaches)
        self.matured = Lesson(past.features, past.scale, actual, teaches)

    def outlook(self, period: int, plans: list[Floats]) -> Outlook:
        """The distribution after `period`, whose plan is `plans`, one (n, columns) a period of the horizon."""
        ahead = self.state.ahead(period, plans)
        features, bases, scale, middle = self._features(period, ahead)
        if self.regression is None:
            self.regression = self._fresh_regression(features.shape[1])
        segment = self._segments(scale)
        mean, pooled = self.pooled.predict(bases, scale, segment)
        told = {REGRESSION: self.regression.predict(features, segment), POOLED: pooled / scale[:, None]}
        if self.guest is not None:
            told[GUEST] = np.clip(self.guest(features, scale), 0.0, 1.5 * LARGEST)
        shares = self.mixture.shares(list(told))
        mixed = sum(share * q for share, q in zip(shares, told.values(), strict=True)) * scale[:, None]
        final = self.calibration.apply(mixed, scale, segment)
        born = self.state.bought_periods > 0
        final = np.where(born[:, None], final, 0.0)
        self.pending.append(_Pending(features, bases, scale, middle, segment, born, told, final))
        self.origins += 1
        mean = np.where(born, mean, 0.0)
        return Outlook(mean / self.periods, mean[:, None], final[:, None], self.pooled.weight.astype(np.int64))

    def _fresh_regression(self, columns: int) -> SegmentedRegression:
        prior = np.zeros((len(self.levels), columns))
        prior[:, 1 + FAST : 2 + LONG] = PRIOR_BLEND
        prior[:, 10] = np.interp(self.levels, PRIOR_LEVELS, PRIOR_SPREADS)
        return SegmentedRegression(
            self.levels, prior, MEMORIES_PERIODS, segments=SEGMENTS, ridge=RIDGE, segment_ridge=SEGMENT_RIDGE
        )

    def _segments(self, scale: Floats) -> Ints:
        """Third of the rows by size; the cuts move slowly, so that rows do not change sides every day."""
        size = np.log(np.maximum(scale, 1e-9))
        cuts = np.quantile(size, np.arange(1, SEGMENTS) / SEGMENTS)
        self.cuts = cuts if self.origins == 0 else 0.98 * self.cuts + 0.02 * cuts
        return np.searchsorted(self.cuts, size).astype(np.int64)

    # --- features ---------------------------------------------------------------------------------------------------

    def _features(self, period: int, ahead: Ahead) -> tuple[Floats, Floats, Floats, Floats]:
        """Features (n, p) in row scales, plain forecasts (b, n), scale (n,), the middle forecast (n,)."""
        state = self.state
        rates = state.rates
        level = rates * ahead.planned
        tsb = state.chance * state.size * ahead.planned
        middle = 0.5 * level[USUAL] + 0.25 * level[MID] + 0.25 * level[SLOW]
        guess = 0.35 * level[USUAL] + 0.5 * np.sqrt(level[USUAL])
        spread = (self.error + 2.0 * guess) / (self.error_weight + 2.0)
        scale = np.maximum(middle, 0.5 * spread[1]) + 0.3 * spread[1] + 1e-6
        plain = rates[USUAL] * ahead.plain
        recent_units = np.sum([u for u, _, _ in self.recent], axis=0)
        recent_seen = np.maximum(np.sum([e for _, e, _ in self.recent], axis=0), 0.5)
        recent = np.minimum(recent_units * ahead.planned / recent_seen, LARGEST * scale)
        clean = list(state.clean_rates * ahead.planned) if self.censored else []
        columns = [
            scale / (1.0 + scale),
            *level,
            tsb,
            *spread,
            np.sqrt(middle),
            middle * state.since / (state.since + 5.0),
            middle * _drift(level[FAST], level[SLOW], scale, self.yearly[0]),
            middle * _drift(level[MID], level[LONG], scale, self.yearly[0]),
            np.sqrt(spread[1] * middle),
            np.maximum(level[FAST] - level[SLOW], 0.0),
            recent,
            *clean,
            plain,
            *self._group_columns(period, level, middle, scale),
            *self._plan_columns(ahead, plain, middle),
        ]
        features = np.stack([*columns, scale], axis=1) / scale[:, None]
        bases = np.stack([level[MID], level[USUAL], *clean] if self.censored else [*level[:LONG], level[LONG], tsb])
        if self.censored:
            bases = np.concatenate([bases, level[[FAST, SLOW]], tsb[None]])
        return np.clip(np.nan_to_num(features), -LARGEST, LARGEST), np.maximum(bases, 0.0), scale, middle

    def _group_columns(self, period: int, level: Floats, middle: Floats, scale: Floats) -> list[Floats]:
        """How like rows drift, and what the same weeks did last year."""
        columns = []
        for like in self.groups:
            columns.append(middle * _drift(level[FAST], level[USUAL], scale, like))
            columns.append(middle * _drift(level[MID], level[SLOW], scale, like))
        for index, (group, _) in zip(self.index, self.yearly, strict=True):
            columns.append(middle * self._last_year(index, period)[group])
        return columns

    def _plan_columns(self, ahead: Ahead, plain: Floats, middle: Floats) -> list[Floats]:
        """Each plan column's share ahead and behind, what is beyond one period of it, and the row's own answer."""
        past = np.mean([p for _, _, p in self.recent], axis=0)
        answer = np.clip((self.state.answers * ahead.columns).sum(axis=1), -0.8, 2.0)
        columns = [answer * plain]
        for j in range(self.state.columns):
            share = ahead.columns[:, j]
            beyond = np.maximum(np.abs(share) - 1.01 / self.periods, 0.0)
            columns += [share * plain, past[:, j] * middle, beyond * middle]
        return columns

    def _count_year(self, units: Floats) -> None:
        """Keep each group's demand over what its slow level expected, a number a group and period."""
        slow = self.state.rates[SLOW]
        root = np.sqrt(np.maximum(slow, 1e-9))
        for index, (group, count) in zip(self.index, self.yearly, strict=True):
            came = np.bincount(group, np.minimum(units, 10.0 * slow + 3.0) / root, count)
            usual = np.bincount(group, slow / root, count)
            index.append((came + 0.1) / (usual + 0.1))
            del index[: max(0, len(index) - self.year - 3 * self.periods)]

    def _last_year(self, index: list[Floats], period: int) -> Floats:
        """Demand a year before the horizon over that of the weeks before it, less one; zero without a year."""
        groups = len(index[-1])
        start = len(index) - self.year  # the first period of the horizon, a year ago
        if period < self.year or start < 2 * self.periods:
            return np.zeros(groups)
        then = np.sum(index[start : start + self.periods], axis=0)
        before = np.sum(index[start - 2 * self.periods : start], axis=0) / 2.0
        return np.asarray(np.clip(then / np.maximum(before, 1e-9) - 1.0, -0.7, 2.0))


def _drift(fast: Floats, slow: Floats, scale: Floats, group: tuple[Ints, int]) -> Floats:
    """How far a group's fast level is over its slow one, less one, each row counted by its scale; drawn to none."""
    member, count = group
    above, below = np.bincount(member, fast / scale, count), np.bincount(member, slow / scale, count)
    return np.asarray(np.clip((above + 0.3) / (below + 0.3) - 1.0, -0.8, 2.0)[member])
