"""Arithmetic whose bytes depend on the numbers alone: not on slices, on the order of adding, or on the machine.

Numpy's + - * / sqrt and comparisons round exactly, element by element; its reductions, matrix products and `exp` may
pair or approximate differently with length, library and processor. So sums run one after the other, `exp` is ours, and
a matrix product is taken of numbers on a grid so coarse that every partial sum is exact in float64, in any order.
"""

from __future__ import annotations

import numpy as np

from models.demand.contract import Floats, Ints

FEATURE_STEP = 2.0**-10  # features: |f| <= 8, 13 bits and a sign
COEFFICIENT_STEP = 2.0**-24  # coefficients: |c| < 64, 30 bits; 13 + 30 + 6 (64 features) = 49 < 53
LARGEST_COEFFICIENT = 63.0
WEIGHT_STEP = 2.0**-14  # weights over their largest: 14 + 13 + 13 = 40, so 8,192 rows sum exactly
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
TAYLOR = [1.0 / f for f in (39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0)]


def exp(x: Floats) -> Floats:
    """e to the `x`, |x| <= 600: x = k ln 2 + r, then a Taylor series of r.

    >>> bool(abs(exp(np.array([1.0]))[0] - np.e) < 1e-14), float(exp(np.zeros(1))[0])
    (True, 1.0)
    """
    k = np.rint(x * LOG2_E)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = np.full_like(r, TAYLOR[0])
    for term in TAYLOR[1:]:
        series = series * r + term
    return np.asarray(np.ldexp(series, k.astype(np.int32)))


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


def on_grid(values: Floats, step: float) -> Floats:
    """Values rounded to whole steps."""
    return np.asarray(np.rint(values / step) * step)


def solve(left: Floats, right: Floats) -> Floats:
    """Solutions (B, p) of B symmetric positive definite systems (B, p, p), by elimination.

    >>> solve(np.array([[[4.0, 2.0], [2.0, 3.0]]]), np.array([[2.0, 2.0]]))
    array([[0.25, 0.5 ]])
    """
    a, b = left.transpose(1, 2, 0).copy(), right.T.copy()  # systems side by side
    p = len(b)
    for i in range(p):
        row = a[i, i + 1 :] / a[i, i]
        a[i + 1 :, i + 1 :] -= a[i, i + 1 :, None] * row[None]
        b[i + 1 :] -= row * b[i]
    for i in range(p - 1, -1, -1):
        b[i] /= a[i, i]
        b[:i] -= a[:i, i] * b[i]
    return np.ascontiguousarray(b.T)
