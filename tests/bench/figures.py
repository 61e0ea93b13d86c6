"""Arithmetic of the benches: quantiles, the longest gap, and when a figure was back. Instants are in seconds."""

from __future__ import annotations

import itertools
import statistics
from bisect import bisect_right
from collections.abc import Sequence

Series = Sequence[tuple[float, float]]  # (instant, value) in the order of instants


def quantile(values: Sequence[float], level: float) -> float:
    """A quantile of sorted values, one of them; not a number where there are none.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0], 1.0)
    (3.0, 2.0)
    """
    return values[min(len(values) - 1, int(len(values) * level))] if values else float("nan")


def median(values: Sequence[float]) -> float:
    """The median; not a number where nothing ran."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median with least and most behind it.

    >>> spread([1000.0, 1200.0, 1100.0])
    '1,100 (1,000 to 1,200)'
    """
    if len(values) < 2:
        return f"{median(values):,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def longest_gap(instants: Sequence[float], since: float, until: float) -> float:
    """The longest time between two neighbours of sorted `instants` that touches [since, until].

    A gap that began before `since` counts from its beginning; one still open at `until` counts up to there: what makes
    it longer happened later.

    >>> longest_gap([0.0, 1.0, 4.0, 4.5], 2.0, 5.0), longest_gap([0.0, 1.0], 0.5, 9.0)
    (3.0, 8.0)
    """
    first, behind = max(bisect_right(instants, since) - 1, 0), bisect_right(instants, until)
    seen = [*(instants[first:behind] or [since]), until]
    return max(after - before for before, after in itertools.pairwise(seen))


def sliding(series: Series, level: float, since: float, until: float, step_s: float = 0.1) -> list[tuple[float, float]]:
    """The quantile over the second that ends at each step; infinite where that second holds nothing.

    >>> sliding([(0.5, 10.0), (0.9, 30.0)], 0.5, 1.0, 2.0, step_s=1.0)
    [(1.0, 30.0), (2.0, inf)]
    """
    instants = [at for at, _ in series]
    out = []
    for number in range(int((until - since) / step_s + 1e-9) + 1):
        at = since + number * step_s
        held = sorted(value for _, value in series[bisect_right(instants, at - 1.0) : bisect_right(instants, at)])
        out.append((at, quantile(held, level) if held else float("inf")))
    return out


def back_s(series: Series, since: float, limit: float, hold_s: float = 3.0) -> float | None:
    """Seconds after `since` from which values stay at or under `limit` for `hold_s`; None where they do not.

    >>> back_s([(0.0, 1.0), (1.0, 9.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (5.0, 1.0)], 0.0, 2.0)
    2.0
    """
    good_from: float | None = None
    for at, value in series:
        if at < since:
            continue
        if value > limit:
            good_from = None
        elif good_from is None:
            good_from = at
        if good_from is not None and at - good_from >= hold_s:
            return good_from - since
    return None
