"""Arithmetic whose bytes depend on the numbers alone: not on slices, on the order of adding, or on the machine.

Numpy's + - * / sqrt and comparisons round exactly, element by element; its reductions, matrix products and `exp` may
pair or approximate differently with length, library and processor. So sums run one after the other, `exp` is ours, and
a matrix product is taken of numbers on a grid so coarse that every partial sum is exact in float64, in any order.
"""

from __future__ import annotations

import math

import numpy as np

from models.demand.compiled import kernel
from models.demand.contract import Floats, Ints

FEATURE_STEP = 2.0**-10  # features: |f| <= 8, 13 bits and a sign
COEFFICIENT_STEP = 2.0**-24  # coefficients: |c| < 64, 30 bits; 13 + 30 + 6 (64 features) = 49 < 53
LARGEST_COEFFICIENT = 63.0
WEIGHT_STEP = 2.0**-14  # weights over their largest: 14 + 13 + 13 = 40, so 8,192 rows sum exactly
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
TAYLOR = tuple(
    1.0 / f for f in (39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0)
)


@kernel
def exp_of(x: float) -> float:
    """e to the `x`, |x| <= 600: x = k ln 2 + r, then a Taylor series of r.

    >>> abs(exp_of(1.0) - np.e) < 1e-14, exp_of(0.0)
    (True, 1.0)
    """
    k = np.rint(x * LOG2_E)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = TAYLOR[0]
    for i in range(1, len(TAYLOR)):
        series = series * r + TAYLOR[i]
    return math.ldexp(series, int(k))


@kernel
def _exp_each(x: Floats, made: Floats) -> None:
    for i in range(len(x)):
        made[i] = exp_of(x[i])


def exp_each(values: Floats) -> Floats:
    """`exp_of` each of an array of any shape."""
    made = np.empty(values.size)
    _exp_each(np.ascontiguousarray(values, np.float64).ravel(), made)
    return made.reshape(values.shape)


def across(rows: Floats) -> Floats:
    """Sum of the rows of (k, n), one after the other."""
    total = np.zeros(rows.shape[1:])
    for row in rows:
        total = total + row
    return total


def total(values: Floats) -> float:
    """Sum of (n,), one after the other."""
    return float(np.bincount(np.zeros(len(values), np.int64), values, 1)[0])


def by_group(group: Ints, values: Floats, groups: int) -> Floats:
    """Sum of (n,) by group number, one after the other."""
    return np.asarray(np.bincount(group, values, groups), dtype=np.float64)


def columns_by_group(group: Ints, values: Floats, groups: int) -> Floats:
    """Sums (groups, k) of the columns of (n, k) by group number, each one row after the other."""
    k = values.shape[1]
    place = (group[:, None] * k + np.arange(k)).ravel()
    return np.asarray(np.bincount(place, values.ravel(), groups * k), np.float64).reshape(groups, k)


def on_grid(values: Floats, step: float) -> Floats:
    """Values rounded to whole steps."""
    return np.asarray(np.rint(values / step) * step)


def solve(left: Floats, right: Floats) -> Floats:
    """Solutions (B, p) of B symmetric positive definite systems (B, p, p), by elimination.

    >>> solve(np.array([[[4.0, 2.0], [2.0, 3.0]]]), np.array([[2.0, 2.0]]))
    array([[0.25, 0.5 ]])
    """
    a, b = np.array(left, np.float64), np.array(right, np.float64)
    _eliminate(a, b)
    return b


@kernel
def _eliminate(a: Floats, b: Floats) -> None:
    """The solutions of `a` x = `b` into `b`."""
    for s in range(len(b)):
        eliminate_one(a[s], b[s])


@kernel
def eliminate_one(a: Floats, b: Floats) -> None:
    """The solution of `a` x = `b` into `b`; only the upper half of `a` (p, p) is read, and it is written over."""
    p = len(b)
    for i in range(p):
        above = a[i]
        for j in range(i + 1, p):
            here, part = a[j], above[j] / above[i]
            for k in range(j, p):
                here[k] -= part * above[k]
            b[j] -= part * b[i]
    for i in range(p - 1, -1, -1):
        row = a[i]
        for j in range(i + 1, p):
            b[i] -= row[j] * b[j]
        b[i] /= row[i]
