"""Watching forecast errors: has a segment drifted, is a row's period an anomaly.

Both look at what rows tell at closings, in units of their own spread, and change nothing: they raise a hand. A drift
says which rows the slow lane should refit first; an anomaly is listed for a human.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from river import anomaly, drift

from models.demand.contract import Bools, Floats, Ints, Told
from models.demand.row_sums import SIZES
from models.demand.trees import lessons_of

MOST_ERRORS = 256  # of a segment and period
ADWIN_DELTA = 0.002
PAGE_HINKLEY = {"min_instances": 60, "delta": 0.02, "threshold": 20.0}
LEVEL_MOVED = {
    "min_instances": 14,
    "delta": 0.2,
    "threshold": 10.0,
}  # of steady rows one in 20 rings, of halved ones all
SEASON = 7
LEAST_PERIODS = 30
ANOMALY_SCORE = 0.999  # chance, under the usual spread, of being nearer to the middle


@dataclass
class DriftWatch:
    """ADWIN (Bifet & Gavalda 2007) and Page-Hinkley (Page 1954) on absolute pooled errors, a size of row each."""

    adwin: list[Any] = field(default_factory=lambda: [drift.ADWIN(delta=ADWIN_DELTA) for _ in range(SIZES)])
    page_hinkley: list[Any] = field(default_factory=lambda: [drift.PageHinkley(**PAGE_HINKLEY) for _ in range(SIZES)])

    def hear(self, told: Told) -> tuple[Bools, Bools]:
        """Whether each size (SIZES,) drifted at this closing, by ADWIN and by Page-Hinkley.

        A period counts as one error, the mean of its rows': rows of a period share its shocks, and a watch that counts
        them one by one calls every holiday a drift.
        """
        lessons = lessons_of(told)
        found = np.zeros((2, SIZES), dtype=bool)
        for size in range(SIZES):
            error = np.abs(lessons["error"][lessons["size"] == size][:MOST_ERRORS].astype(np.float64))
            if len(error) == 0:
                continue
            for place, detector in enumerate((self.adwin[size], self.page_hinkley[size])):
                detector.update(float(np.minimum(error, 8.0).mean()))
                found[place, size] = bool(detector.drift_detected)
        return found[0], found[1]


@dataclass
class AnomalyWatch:
    """Gaussian scores of each row's own one-period errors: which rows had a period nobody would expect."""

    rows: dict[int, Any] = field(default_factory=dict)
    periods: dict[int, int] = field(default_factory=dict)

    def hear(self, rows: Ints, errors: Floats) -> Ints:
        """Rows among `rows` (m,) whose `errors` (m,), units over expectation, are anomalies; learns the others."""
        found = []
        for row, error in zip(rows.tolist(), errors.tolist(), strict=True):
            scorer = self.rows.setdefault(row, anomaly.GaussianScorer(grace_period=LEAST_PERIODS))
            score = scorer.score_one(None, error)
            if self.periods.get(row, 0) >= LEAST_PERIODS and score >= ANOMALY_SCORE:
                found.append(row)
            else:
                scorer.learn_one(None, error)
                self.periods[row] = self.periods.get(row, 0) + 1
        return np.array(found, dtype=np.int64)


def moved(units: Floats) -> bool:
    """Whether the level of a row's periods (T,) moved within them, up or down: Page-Hinkley on units over their spread.

    The spread is the mean absolute step from one season to the next, so that a weekly pattern is no drift.
    """
    if len(units) < 2 * SEASON:
        return False
    spread = float(np.abs(units[SEASON:] - units[:-SEASON]).mean())
    if spread == 0:
        return False
    watch = drift.PageHinkley(**LEVEL_MOVED)
    found = False
    for one in (units / spread).tolist():
        watch.update(one)
        found = found or bool(watch.drift_detected)
    return found
