"""Taking units from stock, many at once: who comes first gets what is there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.shop.draws import Ints


def take(stock: Ints, rows: Ints, units: Ints) -> Ints:
    """What each of n takers gets, shape (n,): in their order, from `stock` (by row), as far as it goes.

    `stock` is not changed: subtract what was got with `np.subtract.at`.

    >>> take(np.array([3, 9]), np.array([0, 1, 0, 0]), np.array([2, 5, 2, 1])).tolist()
    [2, 5, 1, 0]
    """
    if len(rows) == 0:
        return units
    order = np.argsort(rows, kind="stable")
    row, want = rows[order], units[order]
    upto = np.cumsum(want)
    begins = _begins(row)
    first = np.flatnonzero(begins)
    upto -= (upto[first] - want[first])[np.cumsum(begins) - 1]
    have = np.maximum(stock[row], 0)
    got = np.empty_like(want)
    got[order] = np.minimum(upto, have) - np.minimum(upto - want, have)
    return got


def nth(rows: Ints) -> Ints:
    """How often each entry's row came before it, shape (n,).

    >>> nth(np.array([4, 7, 4, 4])).tolist()
    [0, 0, 1, 2]
    """
    if len(rows) == 0:
        return rows
    order = np.argsort(rows, kind="stable")
    row = rows[order]
    begins = _begins(row)
    out = np.empty(len(rows), np.int64)
    out[order] = np.arange(len(rows)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
    return out


def _begins(rows: Ints) -> npt.NDArray[np.bool_]:
    """Where a row stands that is not the one before it."""
    begins = np.empty(len(rows), np.bool_)
    begins[0] = True
    np.not_equal(rows[1:], rows[:-1], out=begins[1:])
    return begins
