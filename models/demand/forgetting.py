"""Normal equations that forget, and their solutions: one pass over all memories, sizes and levels.

A period adds what it taught to every memory's equations; each memory keeps its own share of what was before. Solutions
of all rows are drawn to a prior, those of each size to them, and what rows read is the mean over memories.
"""

from __future__ import annotations

import numpy as np

from models.demand.compiled import kernel, piece
from models.demand.contract import Floats
from models.demand.exactly import eliminate_one


def learnt(
    before: tuple[Floats, Floats],
    kept: Floats,
    taught: tuple[Floats, Floats],
    prior: Floats,
    ridges: tuple[float, float],
) -> tuple[Floats, Floats, Floats]:
    """Equations (M, S, K, p, p) and right sides (M, S, K, p) after a period that `taught` (S, K, p, p) and (S, K, p).

    `kept` (M,) is each memory's share of `before`; `ridges` draw all rows to `prior` (K, p), and sizes to all rows.
    Third comes the mean solution (S, K, p).
    """
    normal, side = np.empty_like(before[0]), np.empty_like(before[1])
    mean = np.zeros(taught[1].shape)
    p = prior.shape[1]
    _learn(*before, kept, *taught, prior, *ridges, normal, side, mean, np.empty((p, p)), np.empty(p), np.empty(p))
    return normal, side, mean


@kernel
def _learn(
    old_normal: Floats,
    old_side: Floats,
    kept: Floats,
    new_normal: Floats,
    new_side: Floats,
    prior: Floats,
    ridge: float,
    size_ridge: float,
    normal: Floats,
    side: Floats,
    mean: Floats,
    a: Floats,
    b: Floats,
    everybody: Floats,
) -> None:
    memories, sizes, levels, p = old_side.shape
    for m in range(memories):
        for s in range(sizes):
            for k in range(levels):
                for i in range(p):
                    side[m, s, k, i] = kept[m] * old_side[m, s, k, i] + new_side[s, k, i]
                    for j in range(p):
                        normal[m, s, k, i, j] = kept[m] * old_normal[m, s, k, i, j] + new_normal[s, k, i, j]
        for k in range(levels):
            for i in range(p):
                b[i] = _sum_side(side[m], k, i) + ridge * prior[k, i]
                for j in range(i, p):
                    a[i, j] = _sum_normal(normal[m], k, i, j) + (ridge if i == j else 0.0)
            eliminate_one(a, b)
            for i in range(p):
                everybody[i] = b[i]
            for s in range(sizes):
                for i in range(p):
                    b[i] = side[m, s, k, i] + size_ridge * everybody[i]
                    for j in range(i, p):
                        a[i, j] = normal[m, s, k, i, j] + (size_ridge if i == j else 0.0)
                eliminate_one(a, b)
                for i in range(p):
                    mean[s, k, i] = b[i] if m == 0 else mean[s, k, i] + b[i]
    for s in range(sizes):
        for k in range(levels):
            for i in range(p):
                mean[s, k, i] = mean[s, k, i] / memories


@piece
def _sum_side(side: Floats, k: int, i: int) -> float:
    total: float = side[0, k, i]
    for s in range(1, len(side)):
        total = total + side[s, k, i]
    return total


@piece
def _sum_normal(normal: Floats, k: int, i: int, j: int) -> float:
    total: float = normal[0, k, i, j]
    for s in range(1, len(normal)):
        total = total + normal[s, k, i, j]
    return total
