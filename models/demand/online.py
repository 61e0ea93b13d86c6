"""The production family: quantiles of demand summed over several horizons, learnt period by period.

Idea. Levels as ratios of sums (`row_levels.py`) make features, features make quantiles by two experts and their guests
(`row_sums.py`), and what came of them teaches all rows (`shared_learning.py`). What a row needs for that is kept in it:
for each horizon a few *pending origins*, with the features and quantiles as they were told then, until the horizon is
over. A horizon of L periods with k pending origins opens one every L / k periods, staggered over rows by their phase,
so memory is constant and every period teaches. Only horizons seen in full teach quantiles.

A row is at most 1.5 KB with the planner's setting; `FAMILY` is that one. Work is done in slices of CHUNK rows that fit
the cache, and every number is made by arithmetic whose bytes do not depend on them (`exactly.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtri

from models.demand import row_levels as levels
from models.demand import row_sums as sums
from models.demand import shared_learning as learning
from models.demand.contract import (
    CLOSURE,
    Ahead,
    Bools,
    Closing,
    Explanation,
    Family,
    Floats,
    Ints,
    IntsLike,
    Observation,
    Outlook,
    Shared,
    State,
    Told,
)
from models.demand.exactly import FEATURE_STEP
from models.demand.row_levels import Columns, PlanNames
from models.demand.row_sums import LEVELS

CHUNK = 2048  # rows: 3 MB of state, 16 KB a column
MOST_AHEAD = 64  # periods of plan that are looked at
LONGEST = 1000  # periods a horizon may have; beyond it is that of LONGEST, in proportion
FIRST_LESSON_PERIODS = 7.0  # a row seen less knows too little for its forecasts to teach
ABSENT = -1


@dataclass(frozen=True)
class Online:
    """The family for a setting: `plan` names its plan columns, `season` and `year` count periods, `slots` a horizon.

    `season` is 7 for days, 1, 52 for weeks, 1, 12 for months; `year` 364, 52, 12. `slots` (heads,) is how many pending
    origins a row keeps of each horizon.
    """

    plan: tuple[str, ...] = ("price", "promotion", "holiday", CLOSURE)
    season: int = 7
    year: int = 364
    slots: tuple[int, ...] = (2, 2, 1)
    guests: tuple[str, ...] = ("trees", "refit")
    name: str = "online"
    version: int = 2
    setting: learning.Setting = field(init=False)
    row: np.dtype[Any] = field(init=False)
    told: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        setting = learning.Setting(PlanNames(self.plan), self.season, self.year, len(self.guests))
        object.__setattr__(self, "setting", setting)
        object.__setattr__(self, "row", _row_type(setting, self.slots))
        object.__setattr__(self, "told", _told_type(setting, len(self.slots)))

    @property
    def heads(self) -> int:
        """Horizons a row learns at once."""
        return len(self.slots)

    def fresh(self, phase: IntsLike) -> State:
        """State of rows nobody has seen demand of: forecast 0."""
        state = np.zeros(len(phase), self.row)
        state["phase"] = np.mod(phase, 65_536)
        state["last"] = ABSENT
        state["expected"] = 1.0
        state["clean_expected"] = 0.5
        state["pending"]["opened"] = ABSENT
        state["guest"]["as_of"] = ABSENT
        return state

    def fresh_shared(self) -> Shared:
        """What is known before any row closed."""
        return learning.fresh(self.setting)

    def close(self, state: State, shared: Shared, seen: Observation) -> Closing:
        """Learn one closed period a row."""
        state, told = state.copy(), np.zeros(len(state), self.told)
        read = _Read(self.setting, shared)
        for first in range(0, len(state), CHUNK):
            rows = slice(first, first + CHUNK)
            _Slice(self, read, state[rows]).close(seen.of(rows), told[rows])
        return Closing(state, told)

    def settle(self, shared: Shared, told: Told) -> Shared:
        """What all rows learn from those that closed."""
        return learning.settle(self.setting, shared, told)

    def outlook(
        self, state: State, shared: Shared, period: IntsLike, horizons: IntsLike, ahead: Ahead, levels: Floats
    ) -> Outlook:
        """The distribution of demand summed over each of `horizons` (n, J) after `period` (n,)."""
        read = _Read(self.setting, shared)
        parts = []
        for first in range(0, max(len(state), 1), CHUNK):
            rows = slice(first, first + CHUNK)
            parts.append(
                _Slice(self, read, state[rows]).outlook(
                    np.asarray(period[rows], np.int64), np.asarray(horizons[rows], np.int64), ahead.of(rows), levels
                )
            )
        one, mean, quantile, cycles = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Outlook(one, mean, quantile, cycles)

    def features(
        self, state: State, shared: Shared, period: IntsLike, horizon: IntsLike, ahead: Ahead
    ) -> tuple[Floats, Floats]:
        """What the regression sees of one horizon (n,): features (n, p) in row scales, and the scale (n,) in units."""
        read, parts = _Read(self.setting, shared), []
        for first in range(0, len(state), CHUNK):
            rows = slice(first, first + CHUNK)
            span = np.clip(np.asarray(horizon[rows], np.int64), 1, LONGEST)
            parts.append(_Slice(self, read, state[rows]).view(np.asarray(period[rows], np.int64), span, ahead.of(rows)))
        return np.concatenate([v.features for v in parts]), np.concatenate([v.scale for v in parts])

    def sizes(self, state: State, shared: Shared) -> Ints:
        """Third of the rows by size (n,), as pooled statistics are kept."""
        read = _Read(self.setting, shared)
        rate = levels.middle_rate(_Slice(self, read, state).s)
        return np.searchsorted(shared["cuts"], rate).astype(np.int64)

    def explain(self, state: State, shared: Shared) -> Explanation:
        """Weights at the first horizon a row learns, losses in units of its sum, and why a guest is out."""
        read = _Read(self.setting, shared)
        told = _Slice(self, read, state).explain()
        return Explanation(("regression", "pooled errors", *self.guests), *told)

    def adopt(
        self, state: State, guest: int, as_of: IntsLike, horizons: IntsLike, quantile_sum_units: Floats, levels: Floats
    ) -> State:
        """A guest's quantiles (n, J, K) of sums over `horizons` (n, J) after `as_of`; origins opened then hear them."""
        if not 0 <= guest < len(self.guests):
            raise ValueError(f"the online family has no guest {guest}; its guests are {', '.join(self.guests)}")
        state = state.copy()
        at_levels = _at_levels(np.asarray(levels), quantile_sum_units)
        for first in range(0, len(state), CHUNK):
            rows = slice(first, first + CHUNK)
            _adopt(state[rows], guest, np.asarray(as_of[rows]), np.asarray(horizons[rows]), at_levels[rows])
        return state

    def inherit(self, source: Family, state: State, phase: IntsLike) -> State:
        """Rows of another family: their levels, as plain sums of what they expect and how long they were seen."""
        if source.version == self.version:
            if source.row != self.row:
                raise ValueError(f"rows of {source.name} were made with another setting of plan, season or horizons")
            return state.copy()
        n = len(phase)
        ones = np.ones((n, 1), np.int64)
        out = source.outlook(state, source.fresh_shared(), np.zeros(n, np.int64), ones, _nothing(source, n), LEVELS)
        rate, cycles = out.mean_period_units, np.asarray(out.cycles, np.float64)
        taken = self.fresh(phase)
        known = np.minimum(np.maximum(cycles, 1.0), 30.0) * (rate > 0)
        for units, expected in (("units", "expected"), ("clean_units", "clean_expected")):
            taken[expected] = np.maximum(known[:, None], taken[expected])
            taken[units] = rate[:, None] * taken[expected]
        taken["chance"] = np.minimum(rate, 0.95)
        taken["size"] = rate / np.maximum(taken["chance"], 1e-9)
        taken["seen"] = taken["bought"] = known
        taken["largest"] = 3.0 * rate + (rate > 0)
        taken["period_error"], taken["period_error_weight"] = rate * known, known
        return taken


def _nothing(source: Family, n: int) -> Ahead:
    return Ahead(np.zeros((n, 0, len(source.plan))))


def _row_type(setting: learning.Setting, slots: tuple[int, ...]) -> np.dtype[Any]:
    columns, prices, k = setting.names.columns, len(setting.names.prices), len(LEVELS)
    head = np.dtype(
        [
            ("horizon", "<i2"),
            ("error", "<f4", (len(sums.SPREAD_KEPT),)),
            ("error_weight", "<f4", (len(sums.SPREAD_KEPT),)),
            ("base_error", "<f4", (sums.BASES,)),
            ("blend_error", "<f4"),
            ("weight", "<f4"),
            ("excess", "<f4", (setting.experts,)),
            ("pooled_loss", "<f4"),
            ("cycles", "<i4"),
        ]
    )
    pending = np.dtype(
        [
            ("opened", "<i4"),
            ("span", "<i2"),
            ("size", "u1"),
            ("segment", "u1"),
            ("actual", "<f4"),
            ("scale", "<f4"),
            ("seen", "<f2"),
            ("features", "<i2", (setting.features,)),
            ("told", "<f2", (setting.experts, k)),
            ("final", "<f2", (k,)),
        ]
    )
    guest = np.dtype(
        [("as_of", "<i4"), ("horizon", "<i2", (len(slots),)), ("most", "<f4"), ("quantile", "<f2", (len(slots), k))]
    )
    return np.dtype(
        [
            ("last", "<i4"),
            ("phase", "<u2"),
            ("groups", "u1", (2,)),
            *((name, "<f4") for name in ("seen", "bought", "since", "largest", "chance", "size")),
            ("units", "<f4", (6,)),
            ("expected", "<f4", (6,)),
            ("clean_units", "<f4", (3,)),
            ("clean_expected", "<f4", (3,)),
            ("week_units", "<f4", (setting.season,)),
            ("week_expected", "<f4", (setting.season,)),
            ("period_error", "<f4"),
            ("period_error_weight", "<f4"),
            ("price_sum", "<f4", (prices,)),
            ("price_weight", "<f4", (prices,)),
            ("answer_more", "<f4", (columns,)),
            ("answer_weight", "<f4", (columns,)),
            ("plan_past", "<f4", (columns,)),
            ("signal_fast", "<f4", (5,)),
            ("signal_slow", "<f4", (5,)),
            ("head", head, (len(slots),)),
            ("pending", pending, (sum(slots),)),
            ("guest", guest, (setting.guests,)),
        ]
    )


_NOT_LEVELS = ("last", "phase", "head", "pending", "guest")


def _told_type(setting: learning.Setting, heads: int) -> np.dtype[Any]:
    k = len(LEVELS)
    lesson = np.dtype(
        [
            ("taught", "u1"),
            ("band", "u1"),
            ("size", "u1"),
            ("segment", "u1"),
            ("span", "<i2"),
            ("features", "<i2", (setting.features,)),
            ("scale", "<f4"),
            ("target", "<f4"),
            ("error", "<f4"),
            ("told", "<f2", (setting.experts, k)),
            ("final", "<f2", (k,)),
        ]
    )
    return np.dtype(
        [
            ("closed", "u1"),
            ("teaches", "u1"),
            ("groups", "u1", (2,)),
            ("period", "<i4"),
            *((name, "<f4") for name in ("mean", "missed", "usual", "plain_units", "believed", "scale", "rate")),
            ("came", "<f4"),
            ("expected", "<f4"),
            ("drift", "<f4", (len(sums.DRIFT_LEVELS),)),
            ("plan", "<f4", (setting.names.columns,)),
            ("lesson", lesson, (heads,)),
        ]
    )


class _Read:
    """What of the shared state a closing or an outlook reads, made ready once."""

    def __init__(self, setting: learning.Setting, shared: Shared) -> None:
        self.setting, self.shared = setting, shared
        self.nearest = learning.trained_band(shared)
        self.pooled = {int(b): learning.pooled_quantiles(shared, int(b)) for b in np.unique(self.nearest)}
        self.year = learning.LastYear(setting, shared)
        self.excess = {int(b): learning.expert_excess(shared, int(b)) for b in np.unique(self.nearest)}


@dataclass
class _Told:
    """What was told of one horizon: the view, experts' quantiles (E, n, K), the final ones (n, K), the mean (n,)."""

    view: sums.View
    experts: Floats
    final: Floats
    mean: Floats


class _Slice:
    """Some rows at work: their columns, and how they go back."""

    def __init__(self, family: Online, read: _Read, state: State) -> None:
        self.family, self.read, self.state = family, read, state
        self.setting, self.shared, self.n = read.setting, read.shared, len(state)
        names = [name for name in family.row.names or () if name not in _NOT_LEVELS]
        self.s: Columns = {name: _column(state[name]) for name in names}

    # --- closing ----------------------------------------------------------------------------------------------------

    def close(self, seen: Observation, told: Told) -> None:
        """Learn the period; `self.state` and `told` are views that are written."""
        period = np.asarray(seen.period, np.int64)
        exposure = np.clip(np.nan_to_num(np.asarray(seen.exposure, np.float64), nan=0.0), 0.0, 1.0)
        units = np.nan_to_num(np.asarray(seen.units, np.float64), nan=0.0, posinf=levels.MOST_UNITS)
        units = np.where(exposure > 0, np.clip(units, 0.0, levels.MOST_UNITS), 0.0)
        self.s["groups"] = np.mod(np.asarray(seen.groups, np.int64).T, sums.GROUPS).astype(np.float64)
        self._count_year(units, told)
        lesson = levels.learn(self.s, self.shared, self.setting.names, period, units, exposure, seen.plan)
        levels.learn_signals(self.s, seen.signals)
        for name in ("mean", "missed", "usual", "plain_units", "believed", "teaches", "plan"):
            told[name] = lesson[name].T
        told["closed"], told["period"], told["groups"] = 1, period, self.s["groups"].T
        self._mature(period, units, exposure, told)
        self._open(period, seen)
        self._tell_levels(told)
        self.state["last"] = period
        for name, column in self.s.items():
            self.state[name] = column.T

    def _count_year(self, units: Floats, told: Told) -> None:
        """Demand over what the slow level expected, for the yearly profile."""
        slow = levels.rates(self.s)[levels.SLOW]
        root = np.sqrt(np.maximum(slow, 1e-9))
        told["came"], told["expected"] = np.minimum(units, 10.0 * slow + 3.0) / root, slow / root
        told["came"][slow <= 0] = 0.0

    def _tell_levels(self, told: Told) -> None:
        rate, middle = levels.rates(self.s), levels.middle_rate(self.s)
        error = self.s["period_error"] / np.maximum(self.s["period_error_weight"], 1.0)
        told["rate"], told["scale"] = middle, np.maximum(middle, 0.5 * error) + 0.3 * error + 1e-6
        told["drift"] = rate[list(sums.DRIFT_LEVELS)].T

    def _mature(self, period: Ints, units: Floats, exposure: Floats, told: Told) -> None:
        """Add the period to every pending origin; of those whose horizon is over, one a head teaches."""
        pending = self.state["pending"]
        opened, span = pending["opened"].astype(np.int64), pending["span"].astype(np.int64)
        is_open = opened != ABSENT
        today = period[:, None]
        inside = is_open & (today <= opened + span)
        gap = (self.state["last"].astype(np.int64)[:, None] != today - 1) & inside
        pending["actual"] += np.where(inside, units[:, None], 0.0).astype(np.float32)
        seen = np.where(gap, 0.0, np.minimum(pending["seen"].astype(np.float64), exposure[:, None]))
        pending["seen"] = np.where(inside, seen, pending["seen"])
        could = is_open & (today == opened + span) & (pending["seen"] >= levels.FULLY_SEEN)
        first = 0
        for head, slots in enumerate(self.family.slots):
            here = could[:, first : first + slots]
            rows = np.flatnonzero(here.any(axis=1))
            if len(rows):
                slot = first + np.argmax(here[rows], axis=1)
                self._teach(head, rows, pending[rows, slot], told)
            first += slots
        pending["opened"][is_open & (today >= opened + span)] = ABSENT

    def _teach(self, head: int, rows: Ints, past: State, told: Told) -> None:
        own = self._head(head, rows)
        features, scale = past["features"] * FEATURE_STEP, past["scale"].astype(np.float64)
        experts = np.ascontiguousarray(past["told"].astype(np.float64).transpose(1, 0, 2))
        actual = past["actual"].astype(np.float64)
        error = sums.learn(own, np.ones(len(rows), bool), features, scale, experts, actual)
        self._put_head(head, rows, own)
        self.state["head"]["cycles"][rows, head] += 1
        lesson = np.zeros(len(rows), self.family.told["lesson"].base)
        lesson["taught"], lesson["band"] = 1, learning.band_of(past["span"].astype(np.int64))
        for name in ("size", "segment", "span", "features", "scale", "told", "final"):
            lesson[name] = past[name]
        lesson["target"], lesson["error"] = np.minimum(actual / scale, 1e6), np.clip(error, -1e6, 1e6)
        told["lesson"][rows, head] = lesson

    def _open(self, period: Ints, seen: Observation) -> None:
        """Keep what is told now of the horizons ahead, where it is a row's turn."""
        ratios = levels.week_ratios(self.s, self.shared)
        steps = self._steps(seen.ahead, np.asarray(seen.horizons))
        first = 0
        for head, slots in enumerate(self.family.slots[: seen.horizons.shape[1]]):
            horizon = np.clip(np.asarray(seen.horizons[:, head], np.int64), 1, LONGEST)
            self.state["head"]["horizon"][:, head] = horizon
            stride = -(-horizon // slots)
            turn = period + self.state["phase"]
            ready = (self.s["bought"] > 0) & (self.s["seen"] >= FIRST_LESSON_PERIODS)
            rows = np.flatnonzero((np.mod(turn, stride) == 0) & ready)
            if len(rows):
                slot = first + np.mod(turn[rows] // stride[rows], slots)
                part = self._part(rows)
                mine = [(columns[:, rows], worth[rows]) for columns, worth in steps]
                told = part._tell(head, period[rows], horizon[rows], mine, np.ascontiguousarray(ratios[:, rows]))
                self.state["pending"][rows, slot] = part._pending(period[rows], horizon[rows], told)
            first += slots

    def _part(self, rows: Ints) -> _Slice:
        part = object.__new__(_Slice)
        part.family, part.read, part.state = self.family, self.read, self.state[rows]
        part.setting, part.shared, part.n = self.setting, self.shared, len(rows)
        part.s = {name: np.ascontiguousarray(column[..., rows]) for name, column in self.s.items()}
        return part

    def _pending(self, period: Ints, horizon: Ints, told: _Told) -> State:
        new = np.zeros(self.n, self.family.row["pending"].base)
        new["opened"], new["span"], new["seen"] = period, horizon, 1.0
        new["size"], new["segment"], new["scale"] = told.view.size, told.view.segment, told.view.scale
        new["features"] = np.rint(told.view.features / FEATURE_STEP)
        new["told"], new["final"] = told.experts.transpose(1, 0, 2), told.final
        return new

    # --- looking ahead ----------------------------------------------------------------------------------------------

    def outlook(self, period: Ints, horizons: Ints, ahead: Ahead, asked: Floats) -> tuple[Floats, Floats, Floats, Ints]:
        """Mean of a period (n,), means (n, J), quantiles (n, J, K), cycles (n,)."""
        ratios = levels.week_ratios(self.s, self.shared)
        one = np.where(self.s["bought"] > 0, levels.middle_rate(self.s), 0.0)
        steps, means, quantiles = self._steps(ahead, horizons), [], []
        for j in range(horizons.shape[1]):
            horizon = np.clip(horizons[:, j], 1, LONGEST)
            stretch = np.maximum(horizons[:, j], 0) / horizon  # 0 periods bring nothing, a decade ten times a year
            told = self._tell(self._nearest_head(horizon), period, horizon, steps, ratios)
            born = (self.s["bought"] > 0) * told.view.scale * stretch
            means.append(told.mean * born)
            quantiles.append(_from_levels(asked, told.final) * born[:, None])
        return one, np.stack(means, axis=1), np.stack(quantiles, axis=1), self.state["head"]["cycles"][:, 0].astype(int)

    def _nearest_head(self, horizon: Ints) -> Ints:
        """Which of its heads tells most of a horizon, a row: the one whose horizon is nearest in proportion."""
        own = self.state["head"]["horizon"].astype(np.float64)
        ratio = np.where(own > 0, own / horizon[:, None], 1e-9)
        return np.asarray(np.argmax(np.minimum(ratio, 1.0 / ratio), axis=1), np.int64)

    def view(self, period: Ints, horizon: Ints, ahead: Ahead) -> sums.View:
        """What is seen of a horizon."""
        ratios = levels.week_ratios(self.s, self.shared)
        own = self._head_for(self._nearest_head(horizon), horizon)
        return self._view(own, period, horizon, self._steps(ahead, horizon[:, None]), ratios)

    def _steps(self, ahead: Ahead, horizons: Ints) -> levels.Steps:
        """The plan of the periods ahead, as far as any horizon goes."""
        longest = min(MOST_AHEAD, int(horizons.max(initial=0)))
        return levels.plan_steps(self.s, self.shared, self.setting.names, ahead.plan[:, :longest])

    def _tell(self, head: Ints | int, period: Ints, horizon: Ints, steps: levels.Steps, ratios: Floats) -> _Told:
        own = self._head_for(head, horizon)
        return self._experts(self._view(own, period, horizon, steps, ratios), own, period, horizon)

    def _head_for(self, head: Ints | int, horizon: Ints) -> Columns:
        """A head's columns, its errors grown from the horizon it learnt to the one asked."""
        own = self._head(head, np.arange(self.n))
        part = horizon / np.maximum(own["horizon"], 1.0)
        grown = np.where(own["horizon"] > 0, np.sqrt(part * np.sqrt(part)), 0.0)  # between a root and in proportion
        for name in ("error", "base_error", "blend_error"):
            own[name] = own[name] * grown
        return own

    def _view(self, own: Columns, period: Ints, horizon: Ints, steps: levels.Steps, ratios: Floats) -> sums.View:
        worth = levels.ahead(self.setting.names, period, horizon, steps, ratios)
        year = self.read.year.ahead(period, horizon, sums.buckets(self.s))
        return sums.view(self.s, own, self.shared, year, worth, horizon)

    def _experts(self, view: sums.View, own: Columns, period: Ints, horizon: Ints) -> _Told:
        told, mean = np.full((self.setting.experts, self.n, len(LEVELS)), np.nan), np.zeros(self.n)
        final = np.zeros((self.n, len(LEVELS)))
        present = np.ones((self.setting.experts, self.n))
        told[sums.FIRST_GUEST :], present[sums.FIRST_GUEST :] = self._guests(horizon, period, view.scale)
        some = self.setting.experts if present[sums.FIRST_GUEST :].any() else sums.FIRST_GUEST
        bands = self.read.nearest[learning.band_of(horizon)]
        several = np.unique(bands).tolist()
        for band in several:
            rows = np.flatnonzero(bands == band) if len(several) > 1 else slice(None)
            part = _rows_of_view(view, rows)
            head = {name: np.ascontiguousarray(column[..., rows]) for name, column in own.items()}
            errors, error_means = self.read.pooled[band]
            middle, pooled = sums.pooled(part, head, errors, error_means)
            told[sums.POOLED, rows], mean[rows] = pooled, np.minimum(middle, part.farthest)
            told[sums.REGRESSION, rows] = sums.regression(part, self.shared["coefficients"][band])
            excess, usual = self.read.excess[band]
            head["excess"] = head["excess"][:some]
            share = sums.shares(head, excess[part.size].T[:some], usual[part.size], present[:some, rows])
            shift = self.shared["shift"][band][part.segment]
            heard = told[:some, rows] if some == sums.FIRST_GUEST else np.nan_to_num(told[:, rows])
            final[rows] = sums.mixed(share, heard, shift, part.farthest)
        return _Told(view, told, final, mean)

    def _guests(self, horizon: Ints, period: Ints, scale: Floats) -> tuple[Floats, Floats]:
        """Guests' quantiles (G, n, K) in row scales, NaN where absent, and how fresh they are (G, n) in 0..1."""
        guest = self.state["guest"]
        count = guest.shape[1]
        quantile, fresh = np.full((count, self.n, len(LEVELS)), np.nan), np.zeros((count, self.n))
        for g in np.flatnonzero((guest["as_of"] != ABSENT).any(axis=0)).tolist():
            match = guest["horizon"][:, g] == horizon[:, None]
            place = np.argmax(match, axis=1)
            age = period - guest["as_of"][:, g]
            here = match.any(axis=1) & (guest["as_of"][:, g] != ABSENT) & (age >= 0) & (age < sums.GUEST_AGE)
            units = guest["quantile"][np.arange(self.n), g, place] * guest["most"][:, g, None].astype(np.float64)
            told = units / scale[:, None]
            quantile[g] = np.where(here[:, None], np.clip(told, 0.0, sums.FARTHEST), np.nan)
            fresh[g] = np.where(here, 1.0 - age / sums.GUEST_AGE, 0.0)
        return quantile, fresh

    # --- heads ------------------------------------------------------------------------------------------------------

    def _head(self, head: Ints | int, rows: Ints) -> Columns:
        own = self.state["head"][rows, head]
        return {name: _column(own[name]) for name in own.dtype.names or ()}

    def _put_head(self, head: int, rows: Ints, own: Columns) -> None:
        new = self.state["head"][rows, head]
        for name, column in own.items():
            new[name] = column.T
        self.state["head"][rows, head] = new

    def explain(self) -> tuple[Floats, Floats, tuple[tuple[str, ...], ...]]:
        """Weights (n, E), losses (n, E) in units, and why a guest is out."""
        rows = np.arange(self.n)
        own = self._head(0, rows)
        horizon = np.maximum(own["horizon"], 1.0).astype(np.int64)
        period = self.state["last"].astype(np.int64)
        ratios = levels.week_ratios(self.s, self.shared)
        view = self._tell(0, period, horizon, [], ratios).view
        _, fresh = self._guests(horizon, period, view.scale)
        present = np.ones((self.setting.experts, self.n))
        present[sums.FIRST_GUEST :] = fresh
        excess, usual = np.zeros((self.setting.experts, self.n)), np.zeros(self.n)
        for i, band in enumerate(self.read.nearest[learning.band_of(horizon)].tolist()):
            over, loss = self.read.excess[band]
            excess[:, i], usual[i] = over[view.size[i]], loss[view.size[i]]
        share = sums.shares(own, excess, usual, present)
        evidence = own["pooled_loss"] + sums.ROW_EVIDENCE * usual + 1e-12
        relative = 1.0 + (own["excess"] + sums.ROW_EVIDENCE * usual * excess) / evidence
        return share.T, (relative * usual * view.scale).T, tuple(self._reasons(fresh[:, i], i) for i in range(self.n))

    def _reasons(self, fresh: Floats, row: int) -> tuple[str, ...]:
        as_of = self.state["guest"]["as_of"][row]
        why = ["", ""]
        for g, word in enumerate(fresh.tolist()):
            if word > 0:
                why.append("")
            else:
                why.append("never computed" if as_of[g] == ABSENT else "too old, or made for another horizon")
        return tuple(why)


def _column(values: State) -> Floats:
    return np.ascontiguousarray(values.T, dtype=np.float64)


def _rows_of_view(view: sums.View, rows: Ints | slice) -> sums.View:
    return sums.View(view.features[rows], view.scale[rows], view.farthest[rows], view.size[rows], view.segment[rows])


def _from_levels(asked: Floats, quantile: Floats) -> Floats:
    """Quantiles (n, K) at LEVELS as quantiles at `asked` levels.

    Between levels in a straight line over the normal score; above the highest as an exponential tail; below one half
    mirrored at it, not under zero.
    """
    columns = []
    for level in np.asarray(asked, np.float64).tolist():
        if level < LEVELS[0]:
            mirrored = 2.0 * quantile[:, 0] - _from_levels(np.array([1.0 - level]), quantile)[:, 0]
            columns.append(np.maximum(mirrored, 0.0))
        elif level > LEVELS[-1]:
            further = float(np.log((1.0 - LEVELS[-1]) / (1.0 - min(level, 0.999999))))
            over = (quantile[:, -1] - quantile[:, -2]) / float(np.log((1.0 - LEVELS[-2]) / (1.0 - LEVELS[-1])))
            columns.append(np.minimum(quantile[:, -1] + further * over, 2.0 * sums.FARTHEST))
        else:
            i = min(int(np.searchsorted(LEVELS, level, side="right")) - 1, len(LEVELS) - 2)
            low, high, here = (float(z) for z in ndtri(np.array([LEVELS[i], LEVELS[i + 1], level])))
            part = min(max((here - low) / (high - low), 0.0), 1.0)
            columns.append(quantile[:, i] + part * (quantile[:, i + 1] - quantile[:, i]))
    return np.maximum.accumulate(np.stack(columns, axis=1), axis=1)


def _at_levels(made_at: Floats, quantile: Floats) -> Floats:
    """Quantiles (n, J, K') made at some levels, read at LEVELS in a straight line over the normal score."""
    scores, wanted = ndtri(made_at), ndtri(LEVELS)
    place = np.clip(np.searchsorted(scores, wanted, side="right") - 1, 0, max(len(scores) - 2, 0))
    above = np.minimum(place + 1, len(scores) - 1)
    part = np.clip((wanted - scores[place]) / np.where(above > place, scores[above] - scores[place], 1.0), 0.0, 1.0)
    told = np.maximum(np.nan_to_num(quantile), 0.0)
    return np.maximum.accumulate(told[:, :, place] + part * (told[:, :, above] - told[:, :, place]), axis=2)


def _adopt(state: State, guest: int, as_of: Ints, horizons: Ints, quantile: Floats) -> None:
    """Keep a guest's quantiles at the row's horizons, and let the origins opened after the same period hear them."""
    kept = np.zeros(len(state), state.dtype["guest"].base)
    kept["as_of"] = as_of
    heads = min(horizons.shape[1], kept["horizon"].shape[1])
    most = np.maximum(quantile[:, :heads].max(axis=(1, 2), initial=0.0), 1e-6)
    kept["horizon"][:, :heads], kept["most"] = horizons[:, :heads], most
    kept["quantile"][:, :heads] = quantile[:, :heads] / most[:, None, None]
    state["guest"][:, guest] = kept
    pending = state["pending"]
    for j in range(horizons.shape[1]):
        hears: Bools = (pending["opened"] == as_of[:, None]) & (pending["span"] == horizons[:, j, None])
        rows, slot = np.nonzero(hears)
        scaled = quantile[rows, j] / pending["scale"][rows, slot][:, None]
        pending["told"][rows, slot, sums.FIRST_GUEST + guest] = np.clip(scaled, 0.0, sums.FARTHEST)


FAMILY = Online()
