"""Which rows a refit spends its time on: those with most money at stake a day, and those whose level has moved.

What a refit can know of a row is what the ledger keeps: its last HISTORY_DAYS closed days, and which of them taught (it
was in stock and open, and had begun to sell). Days that did not teach are missing, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.planner.config import HISTORY_DAYS
from agents.planner.shelf import Rows, Shelf
from models.demand.refit.fits import LEAST_PERIODS
from models.demand.row_sums import GUEST_AGE
from models.demand.rowwise.watch import moved

REFIT = "refit"  # the family's guest that fits of single rows speak through
CANDIDATES = 5_000  # are looked at for drift: 42 days of 1 us each are 0.2 s
DRIFT_TIMES = 3.0  # as much at stake where the level has moved

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """One row to be fitted: where it is, how urgent in money a day, and whether its level has moved."""

    shelf: Shelf
    row: int
    urgency: float
    moved: bool


def known_days(shelf: Shelf, rows: Rows) -> Floats:
    """Units of the kept closed days (n, HISTORY_DAYS), the oldest first; NaN where a day did not teach."""
    back = np.arange(HISTORY_DAYS, 0, -1)  # days before the open one
    day = (shelf.hot["day"][rows][:, None] - back) % HISTORY_DAYS
    units = np.maximum(np.take_along_axis(shelf.history[rows], day, axis=1), 0) / 1000.0
    taught = shelf.hot["taught"][rows][:, None] >> (back - 1) & 1
    return np.where(taught > 0, units, np.nan)


def stake(shelf: Shelf, rows: Rows) -> Floats:
    """Money a day (n,) that depends on the forecast: demand at its price, else at its cost, else at 1."""
    p, paid = shelf.policy[rows], shelf.hot["price"][rows]
    price = np.where(p["unit_price"] > 0, p["unit_price"], np.where(paid > 0, paid, p["unit_cost"]))
    return np.asarray(shelf.hot["demand_rate"][rows] * np.where(price > 0, price, 1.0))


def fit_to_be_asked(shelf: Shelf) -> Rows:
    """Rows with enough taught days for a fit, that are bought at all."""
    rows = np.arange(shelf.n)
    taught = (shelf.hot["taught"][rows][:, None] >> np.arange(HISTORY_DAYS) & 1).sum(axis=1)
    return np.flatnonzero((taught >= LEAST_PERIODS) & (shelf.hot["demand_rate"][rows] > 0))


def chosen(shelves: list[Shelf]) -> list[Chosen]:
    """All rows a fit can be made of, the most urgent first: money, the age of their last fit, a level that moved."""
    found = [Chosen(shelf, row, urgency, False) for shelf in shelves for row, urgency in _urgent(shelf)]
    found.sort(key=_by_urgency)
    looked, rest = found[:CANDIDATES], found[CANDIDATES:]
    looked = [Chosen(one.shelf, one.row, one.urgency * DRIFT_TIMES, True) if _moved(one) else one for one in looked]
    return sorted(looked, key=_by_urgency) + rest


def _urgent(shelf: Shelf) -> list[tuple[int, float]]:
    """(row, money a day times the share of its life its last fit has behind it)."""
    rows = fit_to_be_asked(shelf)
    if REFIT not in shelf.family.guests or len(rows) == 0:
        return []
    heard = shelf.family.heard(shelf.model[rows])[:, shelf.family.guests.index(REFIT)]
    age = np.where(heard < 0, GUEST_AGE, shelf.hot["day"][rows] - 1 - heard)
    urgency = stake(shelf, rows) * np.clip(age, 0.0, GUEST_AGE) / GUEST_AGE
    return [(row, u) for row, u in zip(rows.tolist(), urgency.tolist(), strict=True) if u > 0]


def _by_urgency(one: Chosen) -> tuple[float, bytes]:
    return -one.urgency, one.shelf.keys[one.row]


def _moved(one: Chosen) -> bool:
    units = known_days(one.shelf, np.array([one.row]))[0]
    return moved(units[np.isfinite(units)])
