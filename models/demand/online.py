"""The production family: quantiles of demand summed over several horizons, learnt period by period.

Idea. Levels as ratios of sums (`row_levels.py`) make features, features make quantiles by two experts and their guests
(`row_sums.py`), and what came of them teaches all rows (`shared_learning.py`). What a row needs for that is kept in it:
for each horizon a few *pending origins*, with the features and quantiles as they were told then, until the horizon is
over. A horizon of L periods with k pending origins opens one every L / k periods, staggered over rows by their phase,
so memory is constant and every period teaches. Only horizons seen in full teach quantiles.

A row is under 1.5 KB with the planner's setting; `FAMILY` is that one. Each call is one compiled loop over rows
(`row_loops.py`), and every number is made by arithmetic whose bytes do not depend on slices (`exactly.py`).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from models.demand import places, row_loops
from models.demand import row_sums as sums
from models.demand import shared_learning as learning
from models.demand.contract import (
    CLOSURE,
    SIGNALS,
    Ahead,
    Between,
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
    Verdict,
    go_on,
)
from models.demand.places import ABSENT, LEVELS, K
from models.demand.row_levels import MID, RATE_TIMES, SLOW, USUAL, PlanNames
from models.demand.row_loops import Known


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
    _shape: places.Shape = field(init=False)
    _known: dict[int, tuple[Any, Floats, Known]] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        names, guests = PlanNames(self.plan), len(self.guests)
        setting = learning.Setting(names, self.season, self.year, guests)
        columns, features = names.columns, setting.features
        flags = len(names.flags)
        row = places.row_type(self.season, len(names.prices), columns, flags, guests, features, self.slots)
        told = places.told_type(columns, flags, guests, features, len(self.slots))
        shape = places.shape(self.season, row, told)
        for name, value in (("setting", setting), ("row", row), ("told", told), ("_shape", shape)):
            object.__setattr__(self, name, value)

    @property
    def heads(self) -> int:
        """Horizons a row learns at once."""
        return len(self.slots)

    @property
    def experts(self) -> tuple[str, ...]:
        """Who may carry a row, by name."""
        return ("regression", "pooled errors", *self.guests)

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
        state, told = _copied(state), np.zeros(len(state), self.told)
        row_loops.close(
            self.known(shared), self._desk(seen.ahead), self._rows(state), places.words(told), self._seen(seen)
        )
        return Closing(state, told)

    def verdict(self, told: Told) -> Verdict:
        """How sums over the first horizon turned out."""
        over = told["lesson"][:, 0]
        taught = over["taught"] > 0
        scale, counts = over["scale"][taught].astype(np.float64), over["counts"][taught] > 0
        quantile = places.quantiles_of(over["final"][taught]) * scale[:, None]
        quantile = np.where(counts[:, None], np.rint(quantile), quantile)
        return Verdict(over["target"][taught] * scale, np.nan_to_num(quantile), tuple(LEVELS.tolist()))

    def settle(self, shared: Shared, told: Told, between: Between = go_on) -> Shared:
        """What all rows learn from those that closed."""
        return learning.settle(self.setting, shared, told, between)

    def outlook(
        self, state: State, shared: Shared, period: IntsLike, horizons: IntsLike, ahead: Ahead, levels: Floats
    ) -> Outlook:
        """The distribution of demand summed over each of `horizons` (n, J) after `period` (n,)."""
        horizons, n = _ints(horizons), len(state)
        one, mean, share = np.empty(n), np.empty(horizons.shape), np.zeros((n, self.setting.experts))
        quantile = np.empty((*horizons.shape, len(levels)))
        row_loops.look(
            self.known(shared),
            self._desk(ahead),
            self._rows(state),
            _ints(period),
            horizons,
            self._ahead(ahead, len(state)),
            _asked(tuple(np.asarray(levels, np.float64).tolist())),
            one,
            mean,
            quantile,
            share,
        )
        return Outlook(one, mean, quantile, state["head"]["cycles"][:, 0].astype(np.int64), self.experts, share)

    def features(
        self, state: State, shared: Shared, period: IntsLike, horizon: IntsLike, ahead: Ahead
    ) -> tuple[Floats, Floats]:
        """What the regression sees of one horizon (n,): features (n, p) in row scales, and the scale (n,) in units."""
        x, scale = np.empty((len(state), self.setting.features)), np.empty(len(state))
        known, rows = self.known(shared), self._rows(state)
        row_loops.features(
            known, self._desk(ahead), rows, _ints(period), _ints(horizon), self._ahead(ahead, len(state)), x, scale
        )
        return x, scale

    def regressed(self, shared: Shared, features: Floats, scale: Floats, horizon: IntsLike) -> Floats:
        """What the regression says (n, K) of features (n, p) before a horizon (n,), in row scales (n,)."""
        return learning.regressed(shared, features, scale, np.asarray(horizon))

    def sizes(self, state: State, shared: Shared) -> Ints:
        """Third of the rows by size (n,), as pooled statistics are kept."""
        units, expected = (state[name].astype(np.float64) for name in ("units", "expected"))
        rate = np.minimum(units / np.maximum(expected, 1e-9), RATE_TIMES * state["largest"].astype(np.float64)[:, None])
        middle = 0.5 * rate[:, USUAL] + 0.25 * rate[:, MID] + 0.25 * rate[:, SLOW]
        return np.searchsorted(shared["cuts"], middle).astype(np.int64)

    def explain(self, state: State, shared: Shared) -> Explanation:
        """Weights at the first horizon a row learns, losses in units of its sum, and why a guest is out."""
        none = Ahead(np.zeros((0, 0, len(self.plan))))
        share, loss, fresh = (np.empty((len(state), self.setting.experts)) for _ in range(3))
        row_loops.carriers(
            self.known(shared), self._desk(none), np.zeros((0, 1)), self._rows(state), share, loss, fresh
        )
        as_of = state["guest"]["as_of"]
        never = np.concatenate([np.zeros((len(state), sums.FIRST_GUEST), bool), as_of == ABSENT], axis=1)
        kinds = np.where(fresh > 0, 0, np.where(never, 1, 2))
        return Explanation(self.experts, share, loss, _why_out(kinds))

    def heard(self, state: State) -> Ints:
        """As of which period each guest spoke last of each row (n, G); ABSENT: never."""
        return np.asarray(state["guest"]["as_of"], np.int64)

    def adopt(
        self, state: State, guest: int, as_of: IntsLike, horizons: IntsLike, quantile_sum_units: Floats, levels: Floats
    ) -> State:
        """A guest's quantiles (n, J, K) of sums over `horizons` (n, J) after `as_of`; origins opened then hear them."""
        if not 0 <= guest < len(self.guests):
            raise ValueError(f"the online family has no guest {guest}; its guests are {', '.join(self.guests)}")
        state = state.copy()
        at_levels = _at_levels(np.asarray(levels), quantile_sum_units)
        _adopt(state, guest, np.asarray(as_of), np.asarray(horizons), at_levels)
        return state

    def tell_again(self, state: State, shared: Shared, period: IntsLike, horizons: IntsLike, ahead: Ahead) -> State:
        """What rows told as they closed `period` (n,), told anew with the words guests were adopted with since.

        For whoever forecasts after guests spoke: pending origins keep, and are calibrated by, what `outlook` says then.
        `shared` is the one `close` was given, before it settles.
        """
        state = _copied(state)
        row_loops.tell_again(
            self.known(shared),
            self._desk(ahead),
            self._rows(state),
            _ints(period),
            _ints(horizons),
            self._ahead(ahead, len(state)),
        )
        return state

    def start(self, like: State, phase: IntsLike) -> State:
        """Levels, weekdays and usual errors of the rows `like` them, as evidence of at most STARTED periods.

        Prices, answers to plans and what guests said stay behind: they are the other row's.
        """
        new = self.fresh(phase)
        for units, weights in _STARTED_SUMS:
            weight = like[weights].astype(np.float64)
            whole = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9) if units == "week_units" else weight
            part = np.minimum(STARTED / np.maximum(whole, 1e-9), 1.0)
            for name in (units, weights):
                new[name] = like[name] * part
        for name in ("seen", "bought"):
            new[name] = np.minimum(like[name], STARTED)
        for name in ("chance", "size", "largest", "since"):
            new[name] = like[name]
        head, known = new["head"], like["head"]
        head["horizon"] = known["horizon"]
        for error, weights in (("error", "error_weight"), ("blend_error", "weight")):
            part = np.minimum(STARTED / np.maximum(known[weights], 1e-9), 1.0)
            head[error], head[weights] = known[error] * part, known[weights] * part
        return new

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

    def known(self, shared: Shared) -> Known:
        """What of `shared` a row reads, made ready once: a shared state never changes, and has its own `period`."""
        mark, coefficients = shared["period"], shared["coefficients"]
        kept = self._known.get(id(mark))
        if kept is None or kept[0]() is not mark or kept[1] is not coefficients:
            place, all_known = id(mark), self._known
            gone = weakref.ref(mark, lambda _: all_known.pop(place, None))
            made = learning.known(self.setting, self._shape, self.slots, shared)
            kept = self._known[place] = (gone, coefficients, made)
        return kept[2]

    def _desk(self, ahead: Ahead) -> row_loops.Desk:
        return row_loops.desk(self._shape, ahead.plan.shape[1])

    def _rows(self, state: State) -> places.Words:
        """Words of rows; raises ValueError for those of another setting."""
        if state.dtype != self.row:
            raise ValueError(f"these are not rows of the family {self.name} with the plan columns {self.plan}")
        return places.words(state if state.flags.c_contiguous and state.flags.writeable else np.array(state))

    def _seen(self, seen: Observation) -> places.Seen:
        """An observation as kernels read it; raises ValueError where its columns do not fit."""
        n, plan = len(seen.period), _floats(seen.plan)
        made = places.Seen(
            _ints(seen.period),
            _floats(seen.units),
            _floats(seen.exposure),
            _ints(seen.horizons),
            plan if plan.shape[1] else np.full((n, len(self.plan)), np.nan),
            self._ahead(seen.ahead, n),
            _floats(seen.signals),
            _ints(seen.groups),
        )
        fits = all(len(column) == n for column in made) and made.plan.shape[1] == len(self.plan)
        if not (fits and made.signals.shape[1] == len(SIGNALS) and made.groups.shape[1] == places.KINDS - 1):
            raise ValueError(f"an observation of {n} rows needs {n} of each, and the plan columns {self.plan}")
        return made

    def _ahead(self, ahead: Ahead, n: int) -> Floats:
        plan = _floats(ahead.plan)
        if len(plan) != n or (plan.shape[1] and plan.shape[2] != len(self.plan)):
            raise ValueError(f"a plan of shape {plan.shape} does not fit {n} rows and the columns {self.plan}")
        return plan


STARTED = 7.0  # periods: a new row's own demand weighs as much as its like row's after a week
_STARTED_SUMS = (
    ("units", "expected"),
    ("clean_units", "clean_expected"),
    ("week_units", "week_expected"),
)
_WHY_OUT = ("", "never computed", "too old, or made for another horizon")


def _copied(state: State) -> State:
    """A copy, as the bytes it is: numpy goes field by field, 1 us a row."""
    whole = np.dtype((np.void, state.dtype.itemsize))
    return np.array(state.view(whole)).view(state.dtype)


def _why_out(kinds: Ints) -> tuple[tuple[str, ...], ...]:
    """Why experts (n, E) are out, in words: rows that are alike share theirs."""
    codes = kinds @ len(_WHY_OUT) ** np.arange(kinds.shape[1])
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    said = [tuple(_WHY_OUT[kind] for kind in kinds[at].tolist()) for at in first.tolist()]
    return tuple(map(said.__getitem__, which.reshape(-1).tolist()))


def _floats(values: npt.ArrayLike) -> Floats:
    made = np.ascontiguousarray(values, np.float64)
    return made if made.flags.writeable else made.copy()  # kernels are compiled for one kind of array


def _ints(values: npt.ArrayLike) -> Ints:
    made = np.ascontiguousarray(values, np.int64)
    return made if made.flags.writeable else made.copy()


def _nothing(source: Family, n: int) -> Ahead:
    return Ahead(np.zeros((n, 0, len(source.plan))))


@lru_cache(maxsize=64)
def _asked(asked: tuple[float, ...]) -> Floats:
    """How quantiles at LEVELS become those at other levels (Q, 3): place, part of the way to the next, if mirrored.

    Between levels in a straight line over the normal score; above the highest as an exponential tail; below one half
    mirrored at it in roots, as the roots of counts lie even about their middle (Anscombe 1948).
    """
    made = []
    for level in asked:
        upper, tail = max(level, 1.0 - level), (1.0 - LEVELS[-2]) / (1.0 - LEVELS[-1])
        if upper > LEVELS[-1]:
            further = float(np.log((1.0 - LEVELS[-1]) / (1.0 - min(upper, 0.999999))))
            place, part = K - 2, 1.0 + further / float(np.log(tail))
        else:
            place = min(int(np.searchsorted(LEVELS, upper, side="right")) - 1, K - 2)
            low, high, here = (float(z) for z in ndtri(np.array([LEVELS[place], LEVELS[place + 1], upper])))
            part = min(max((here - low) / (high - low), 0.0), 1.0)
        made.append((float(place), part, float(level < LEVELS[0])))
    return np.array(made).reshape(len(asked), 3)


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
    kept["quantile"][:, :heads] = np.rint(quantile[:, :heads] / most[:, None, None] * places.GUEST_STEPS)
    state["guest"][:, guest] = kept
    pending = state["pending"]
    for j in range(horizons.shape[1]):
        hears: Bools = (pending["opened"] == as_of[:, None]) & (pending["span"] == horizons[:, j, None])
        rows, slot = np.nonzero(hears)
        scaled = np.clip(quantile[rows, j] / pending["scale"][rows, slot][:, None], 0.0, sums.FARTHEST)
        pending["told"][rows, slot, sums.FIRST_GUEST + guest] = places.quantile_words(scaled)


FAMILY = Online()
