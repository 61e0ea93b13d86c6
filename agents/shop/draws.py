"""Chance: everything random is a function of the seed, what it is for, and where; not of what came before."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class For(IntEnum):
    """What a random number is for. The numbers are part of every world: never reuse one."""

    ITEMS = 1
    PLACES = 2
    DEMAND = 3
    CARTS = 4
    PROMOTIONS = 5
    PRICES = 6
    STOCK = 7
    SMALL_THINGS = 8
    COUNTS = 9
    BUYER = 10
    FATE = 11
    LEAD = 12
    LATE = 13
    PART = 14
    SHORT = 15
    CONFIRM = 16
    RETURNS = 17
    HELP = 18


def generator(seed: int, purpose: For, *where: int) -> np.random.Generator:
    """A generator of its own for one purpose and place (numbers of zero or more)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, int(purpose), *where))))


def uniform(seed: int, purpose: For, *keys: Ints) -> Floats:
    """A number in (0, 1) for each row of the keys (n,), by SplitMix64 (Steele, Lea & Flood 2014).

    >>> bool(np.array_equal(uniform(1, For.FATE, np.array([5])), uniform(1, For.FATE, np.array([4, 5]))[1:]))
    True
    """
    state = np.full(len(keys[0]), (seed * 64 + int(purpose)) % 2**64, np.uint64)
    for key in keys:
        state = _mixed(state + key.astype(np.uint64))
    return np.asarray((_mixed(state) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = state + np.uint64(0x9E3779B97F4A7C15)  # wraps, as it should
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
