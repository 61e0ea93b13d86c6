"""What every family of forecasters promises to whoever keeps its state: the planner's fold, and so the backtest.

A family is a set of pure functions over arrays. A *row* is one SKU at one location, and its state is one record of
`family.row`: `state[i].tobytes()` is all there is to keep and `np.frombuffer` brings it back exactly. What rows of a
shelf know together is `Shared`: named arrays (coefficients, pooled counts, calibration shifts). A *period* is a local
day, an ordinal week or a month, counted as an integer since any fixed one (day number mod 7 is the weekday).

One closing, whatever its slices:

1. `close(state[rows], shared, observation)` for each slice of rows: `shared` is frozen until all have closed. It gives
   the rows' new state and `told`, one fixed-width record a row of what everybody may learn from it.
2. `settle(shared, told)` once, with the `told` of all rows that closed, in the order of their row numbers.
3. `outlook(...)` at any time, between 1 and 2 as well.

Promises, held by `tests/models/conformance.py`:

* *Cut-invariance*: what a row gets from `close`, `outlook` and `explain` is a function of that row and of the frozen
  shared state alone. Rows in any slices, the same bytes.
* *Order*: `settle` is a function of its arguments; so slices, batches and workers cannot show.
* *Boundedness*: whatever came in, answers are finite, not negative, of the data's size, and quantiles do not cross.
* *Continuity*: `inherit` takes over another family's rows, so that a family is changed without losing what rows know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
IntsLike: TypeAlias = npt.NDArray[np.integer[Any]]
State: TypeAlias = npt.NDArray[Any]  # n records of `family.row`
Told: TypeAlias = npt.NDArray[Any]  # n records of `family.told`
Between: TypeAlias = Callable[[], None]  # called between steps of some milliseconds
Shared: TypeAlias = dict[str, npt.NDArray[Any]]  # never changed in place

SIGNALS = ("viewed", "added", "removed", "abandoned", "converted")
CLOSURE = "closure"  # a plan column of this name is the share of the period in which nothing can be bought
PRICE = "price"  # plan columns whose names begin so are logarithms of a price; others are flags in 0..1


@dataclass(frozen=True)
class Ahead:
    """What is known of the periods to come: `plan` (n, A, C), the C columns of `family.plan` in each of the next A.

    A price is the logarithm of price over any reference that is fixed for the row (NaN: not known); a flag is 0..1.
    Beyond A, and where the array is empty, nothing is planned and prices stay as they were last.
    """

    plan: Floats

    def of(self, rows: slice) -> Ahead:
        """The part of some rows."""
        return Ahead(self.plan[rows])


@dataclass(frozen=True)
class Observation:
    """One closed period of n rows.

    `period` (n,) grows from close to close (periods left out count as not seen). `units` (n,) wanted in it, `exposure`
    (n,) in 0..1 the share of it in which demand could be seen (0: closed or sold out, nothing is learnt). `horizons`
    (n, H), at most `family.heads` columns, are the numbers of periods whose sum is to be forecast from here on: lead
    time plus review first, then the fixed ones. `plan` (n, C) as in `Ahead`, of this period. `signals` (n, 5) are the
    period's units viewed, added to carts, removed, abandoned and converted. `groups` (n, 2) number rows alike by
    location and by category (any integers).
    """

    period: IntsLike
    units: Floats
    exposure: Floats
    horizons: IntsLike
    plan: Floats
    ahead: Ahead
    signals: Floats
    groups: IntsLike

    def of(self, rows: slice) -> Observation:
        """The part of some rows."""
        return Observation(
            self.period[rows],
            self.units[rows],
            self.exposure[rows],
            self.horizons[rows],
            self.plan[rows],
            self.ahead.of(rows),
            self.signals[rows],
            self.groups[rows],
        )


def go_on() -> None:
    """Nobody waits between the steps of a settling."""


def observation(
    period: IntsLike,
    units: Floats,
    exposure: Floats,
    horizons: IntsLike,
    *,
    plan: Floats | None = None,
    ahead: Floats | None = None,
    signals: Floats | None = None,
    groups: IntsLike | None = None,
) -> Observation:
    """An observation; what is not given is nothing: no plan, no cart, one group. One horizon a row may be (n,)."""
    n = len(units)
    return Observation(
        np.asarray(period),
        units,
        exposure,
        np.asarray(horizons).reshape(n, -1),
        np.zeros((n, 0)) if plan is None else plan,
        Ahead(np.zeros((n, 0, 0)) if ahead is None else ahead),
        np.zeros((n, len(SIGNALS))) if signals is None else signals,
        np.zeros((n, 2), np.int64) if groups is None else groups,
    )


@dataclass(frozen=True)
class Outlook:
    """What a family expects of the periods after the last closed one; J horizons, K levels.

    `mean_period_units` (n,) is the mean of one average period, `mean_sum_units` (n, J) the mean of demand summed over
    each horizon, `quantile_sum_units` (n, J, K) its quantiles, `cycles` (n,) how many horizons' errors were learnt.
    `experts` (E,) by name carry each row's first horizon by `weights` (n, E).
    """

    mean_period_units: Floats
    mean_sum_units: Floats
    quantile_sum_units: Floats
    cycles: Ints
    experts: tuple[str, ...]
    weights: Floats


@dataclass(frozen=True)
class Closing:
    """State after one closed period, and what each row tells the others."""

    state: State
    told: Told


@dataclass(frozen=True)
class Verdict:
    """Sums that were forecast and came to their end with a closing, m of them, at a row's first horizon.

    `came_units` (m,) is what came, `quantile_units` (m, K) what had been told at `levels` (K).
    """

    came_units: Floats
    quantile_units: Floats
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """Who carries a row at its first horizon: E experts by name, weights (n, E), recent loss (n, E) in units, and why.

    `out` holds, a row and expert, an empty text where the expert is in, else why it is out.
    """

    experts: tuple[str, ...]
    weights: Floats
    loss_units: Floats
    out: tuple[tuple[str, ...], ...]


class Family(Protocol):
    """A family of forecasters."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def version(self) -> int:
        """Of the bytes of `row`, one number a family and layout: packed rows carry it."""

    @property
    def row(self) -> np.dtype[Any]:
        """State of a row."""

    @property
    def told(self) -> np.dtype[Any]:
        """What a row tells the others as it closes."""

    @property
    def heads(self) -> int:
        """Horizons a row learns at once."""

    @property
    def plan(self) -> tuple[str, ...]:
        """Names of the plan columns."""

    @property
    def guests(self) -> tuple[str, ...]:
        """Experts that compute elsewhere and are taken over by `adopt`."""

    def fresh(self, phase: IntsLike) -> State:
        """State of rows nobody has seen demand of; `phase` (n,), any fixed number a row, spreads work over periods."""

    def fresh_shared(self) -> Shared:
        """What rows know together before any has closed."""

    def close(self, state: State, shared: Shared, seen: Observation) -> Closing:
        """Learn one closed period a row; neither `state` nor `shared` is touched."""

    def verdict(self, told: Told) -> Verdict:
        """How forecasts turned out that came to their end, of what rows told; nothing where a family does not say."""

    def settle(self, shared: Shared, told: Told, between: Between = go_on) -> Shared:
        """What all rows learn from those that closed; `told` in the order of their row numbers.

        `between` is called between steps of some milliseconds: who settles beside other work may wait there.
        """

    def outlook(
        self, state: State, shared: Shared, period: IntsLike, horizons: IntsLike, ahead: Ahead, levels: Floats
    ) -> Outlook:
        """The distribution of demand summed over each of `horizons` (n, J) after `period` (n,), the last closed one.

        `levels` (K,) in (0, 1), ascending.
        """

    def explain(self, state: State, shared: Shared) -> Explanation:
        """Which experts carry each row, and why others do not."""

    def heard(self, state: State) -> Ints:
        """As of which period each guest spoke last of each row (n, G); under 0: never."""

    def adopt(
        self, state: State, guest: int, as_of: IntsLike, horizons: IntsLike, quantile_sum_units: Floats, levels: Floats
    ) -> State:
        """Take over a guest's quantiles (n, J, K) of sums over `horizons` (n, J), made after period `as_of` (n,)."""

    def start(self, like: State, phase: IntsLike) -> State:
        """Rows nobody has seen demand of that begin as the rows `like` them (n,) are: as a few periods of that size."""

    def inherit(self, source: Family, state: State, phase: IntsLike) -> State:
        """The rows of another family as rows of this one: levels and evidence are kept, what is not known is fresh."""


def no_ahead(n: int) -> Ahead:
    """Nothing is known of the periods to come."""
    return Ahead(np.zeros((n, 0, 0)))
