"""Forecasts of a whole history by the production family: close a period, look ahead, settle, go on.

A thin loop, as the planner does it, for whoever has arrays and wants forecasts. Nothing is read beyond an origin except
plan columns: `tests/models/test_backtest.py` shuffles everything after an origin and finds the forecast unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.demand.contract import SIGNALS, Ahead, Closing, Floats, Ints, Observation, Shared, State, Told
from models.demand.online import Online
from models.demand.panel import Panel
from models.demand.places import LEVELS as QUANTILES

SLOTS = {1: (4,), 2: (3, 2), 3: (2, 2, 1)}  # pending origins a row by number of horizons: about the planner's memory


class Guest(Protocol):
    """An expert of the slow lane, as a backtest asks it: it hears what is told and speaks after each closing."""

    name: str

    def hear(self, period: int, told: Told) -> None:
        """A period has closed; `told` is what its rows told."""

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) at QUANTILES of sums over `horizons` (n, H) in units; None: nothing to say yet."""


@dataclass(frozen=True)
class Forecasts:
    """Made at the end of each of `origins` (O,): `mean` (O, n) and `quantiles` (O, n, K) of the summed demand."""

    origins: Ints
    horizon_periods: int
    mean: Floats
    quantiles: Floats


def family_of(panel: Panel, horizons: int, guests: tuple[str, ...] = ()) -> Online:
    """The production family in the setting of a panel: its plan columns, season and year."""
    prices = tuple(f"price {i}" for i in range(len(panel.prices)))
    flags = tuple(f"flag {i}" for i in range(len(panel.flags)))
    slots = SLOTS.get(horizons, (1,) * horizons)
    return Online(plan=prices + flags, season=panel.season, year=panel.year, slots=slots, guests=guests)


def plan_of(panel: Panel) -> Floats:
    """Plan columns (n, T, C) as a family reads them: logarithms of prices (NaN: not known), then flags."""
    if not panel.prices and not panel.flags:
        return np.zeros((panel.rows, panel.periods, 0))
    known = [np.where(np.isfinite(price) & (price > 0), price, np.nan) for price in panel.prices]
    return np.stack([*(np.log(price) for price in known), *panel.flags], axis=2)


def groups_of(panel: Panel) -> Ints:
    """Like rows (n, 2) by location and by category, of the panel's last and first groups."""
    groups = np.zeros((panel.rows, 2), dtype=np.int64)
    for place, group in enumerate(panel.groups[::-1][:2]):
        groups[:, place] = group
    return groups


def forecast_history(
    panel: Panel,
    horizons: Iterable[int],
    origins: Iterable[int],
    guests: tuple[Guest, ...] = (),
    signals: Floats | None = None,
) -> list[Forecasts]:
    """Forecasts of every horizon at every origin; `guests` join as experts; `signals` (n, T, 5) as observed."""
    wanted, spans = sorted(set(origins)), list(horizons)
    family = family_of(panel, len(spans), tuple(guest.name for guest in guests))
    state, shared = family.fresh(np.arange(panel.rows)), family.fresh_shared()
    asked = np.broadcast_to(np.array(spans), (panel.rows, len(spans)))
    plan, groups, none = plan_of(panel), groups_of(panel), np.zeros((panel.rows, len(SIGNALS)))
    means, quantiles = [], []
    for t in range((wanted[-1] if wanted else -1) + 1):
        period = np.full(panel.rows, t)
        ahead = Ahead(plan[:, t + 1 : t + 2 + max(spans)])  # one more: the last period may lie before a flag
        carts = none if signals is None else signals[:, t]
        seen = Observation(period, panel.units[:, t], panel.exposure[:, t], asked, plan[:, t], ahead, carts, groups)
        closed = family.close(state, shared, seen)
        state = _with_guests(guests, closed, family, shared, t, asked, ahead)
        if t in wanted:
            out = family.outlook(state, shared, period, asked, ahead, QUANTILES)
            means.append(out.mean_sum_units)
            quantiles.append(out.quantile_sum_units)
        shared = family.settle(shared, closed.told)
    made, told_quantiles = np.array(means), np.array(quantiles)
    return [Forecasts(np.array(wanted), span, made[..., j], told_quantiles[:, :, j]) for j, span in enumerate(spans)]


def _with_guests(
    guests: tuple[Guest, ...], closed: Closing, family: Online, shared: Shared, period: int, asked: Ints, ahead: Ahead
) -> State:
    """Rows that have heard what guests say of the period that closed; what it told is told anew with that."""
    state, now, spoke = closed.state, np.full(len(closed.state), period), False
    for place, guest in enumerate(guests):
        guest.hear(period, closed.told)
        told = guest.quantiles(family, state, shared, period, asked, ahead)
        if told is not None:
            state, spoke = family.adopt(state, place, now, asked, told, QUANTILES), True
    return family.tell_again(state, shared, now, asked, ahead) if spoke else state
