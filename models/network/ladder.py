"""Marginal value as steps: the first packs to leave cost least, the first to arrive are worth most.

Both functions take the strata of n places at once and return flat columns (place, width in packs, money a pack), widths
whole, zero widths left out. Between whole packs the value is exact: every bend is enclosed by the packs around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.network.circulation import Floats, Ints


class Steps(NamedTuple):
    """Steps of n places: `place` (s,) says whose, `width` (s,) packs, `money` (s,) a pack; cheapest way first."""

    place: Ints
    width: Floats
    money: Floats


def gained_units(packs: Floats, pack_units: Floats, probability: Floats, reach_units: Floats) -> Floats:
    """Expected sales saved by `packs` (b, n) arriving, where stratum u could still use `reach_units` (u, n)."""
    units = packs * pack_units
    total = np.zeros_like(units)
    for p, reach in zip(probability, reach_units, strict=True):
        total += p * np.minimum(units, reach)
    return total


def lost_units(packs: Floats, pack_units: Floats, probability: Floats, spare_units: Floats) -> Floats:
    """Expected sales lost by `packs` (b, n) leaving, where stratum u would leave `spare_units` (u, n) over."""
    units = packs * pack_units
    total = np.zeros_like(units)
    for p, spare in zip(probability, spare_units, strict=True):
        total += p * np.maximum(units - spare, 0.0)
    return total


def take_steps(
    probability: Floats, reach_units: Floats, pack_units: Floats, worth: Floats, holding: Floats, most_packs: Floats
) -> Steps:
    """What arriving packs are worth: `worth` money for each unit sold through them, less `holding` for each unit.

    Shapes: probability and reach_units (u, n), the others (n,). Money is a *cost*: negative where a pack is wanted.
    """
    bends = _bends(reach_units, pack_units, most_packs)
    return _steps(bends, gained_units(bends, pack_units, probability, reach_units), pack_units, -worth, holding)


def give_steps(
    probability: Floats, spare_units: Floats, pack_units: Floats, worth: Floats, holding: Floats, most_packs: Floats
) -> Steps:
    """What leaving packs cost: `worth` money for each unit no longer sold, less the `holding` saved.

    Shapes as in `take_steps`; `most_packs` (n,) may leave at all.
    """
    bends = _bends(spare_units, pack_units, most_packs)
    return _steps(bends, lost_units(bends, pack_units, probability, spare_units), pack_units, worth, -holding)


def _bends(units: Floats, pack_units: Floats, most_packs: Floats) -> Floats:
    """Whole packs at and around every bend, from 0 to `most_packs`, rising; shape (2u + 2, n)."""
    exact = np.minimum(units / pack_units, most_packs)
    low = np.floor(exact + 1e-9)
    high = np.minimum(np.ceil(exact - 1e-9), most_packs)
    return np.sort(np.concatenate([np.zeros((1, units.shape[1])), low, high, most_packs[None]]), axis=0)


def _steps(bends: Floats, units: Floats, pack_units: Floats, worth: Floats, holding: Floats) -> Steps:
    width = np.diff(bends, axis=0)
    step, place = np.nonzero(width > 0)
    wide = width[step, place]
    sold = (units[step + 1, place] - units[step, place]) / wide
    money = worth[place] * sold + holding[place] * pack_units[place]
    order = np.lexsort((step, place))
    return Steps(place[order].astype(np.int64), wide[order], money[order])
