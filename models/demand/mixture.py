"""Combining experts' quantiles by what they cost lately, and holding the result to the levels it promises."""

from __future__ import annotations

import numpy as np

from models.demand.contract import Bools, Floats, Ints

LOSS_KEPT = 0.995  # weights look back 200 periods: one bad holiday must not turn them
SHARPNESS = 20.0  # a tenth more costly is a seventh of the weight
LEAST_SHARE = 0.1  # a member that is out keeps a word: it is the one that does not break


def pinball(actual: Floats, quantile: Floats, levels: Floats) -> Floats:
    """Pinball loss (n, K) of quantiles (n, K) against `actual` (n,).

    >>> pinball(np.array([10.0]), np.array([[8.0, 12.0]]), np.array([0.5, 0.9]))
    array([[1. , 0.2]])
    """
    error = actual[:, None] - quantile
    return np.asarray(np.maximum(levels * error, (levels - 1.0) * error))


class Mixture:
    """Weights over experts by recent pinball loss, pooled over all rows."""

    def __init__(self, levels: Floats, experts: int) -> None:
        self.levels = levels
        self.loss, self.weight = np.zeros(experts), np.zeros(experts)
        self.members: set[int] = set()

    def shares(self, present: list[int]) -> Floats:
        """Share of each expert in `present`; equal until there is evidence of all of them."""
        if bool((self.weight[present] == 0).any()):
            return np.full(len(present), 1.0 / len(present))
        loss = self.loss[present] / self.weight[present]
        raw = (loss.min() / np.maximum(loss, 1e-12)) ** SHARPNESS
        share = np.maximum(raw / raw.sum(), LEAST_SHARE)
        return np.asarray(share / share.sum())

    def learn(self, told: dict[int, Floats], actual: Floats) -> None:
        """Quantiles (n, K) in row scales that each expert told, and what came (n,).

        Losses are compared over the same periods only: when somebody joins or leaves, the count starts again.
        """
        if self.members != set(told):
            self.members = set(told)
            self.loss[:], self.weight[:] = 0.0, 0.0
        for k, quantile in told.items():
            self.loss[k] = LOSS_KEPT * self.loss[k] + float(pinball(actual, quantile, self.levels).mean())
            self.weight[k] = LOSS_KEPT * self.weight[k] + 1.0


class Calibration:
    """Integral action on realised coverage, a segment and level (Angelopoulos, Candes & Tibshirani 2023).

    Coverage of counts is the interval [P(D < q), P(D <= q)]: only the distance of the level from it moves anything. It
    leaks, so that an old correction does not outlive its cause, and starts when the experts are trained. Steps are in
    units of the usual error: rows of a period miss together, and large steps chase the shock of the week.
    """

    STEP, KEPT, FULL_ROWS = 0.10, 0.998, 50.0

    def __init__(self, levels: Floats, segments: int) -> None:
        self.levels, self.shift = levels, np.zeros((segments, len(levels)))

    def learn(self, told: Floats, actual: Floats, segment: Ints, teaches: Bools, usual_error: float) -> None:
        """Quantiles told (n, K) and what came (n,), both in units; `usual_error` in row scales."""
        step = self.STEP * usual_error
        for k in range(len(self.shift)):
            here = teaches & (segment == k)
            rows = int(here.sum())
            if rows == 0:
                continue
            came = actual[here][:, None]
            under, within = (came < told[here] - 1e-9).mean(axis=0), (came <= told[here] + 1e-9).mean(axis=0)
            missed = np.maximum(self.levels - within, 0.0) - np.maximum(under - self.levels, 0.0)
            self.shift[k] = self.KEPT * self.shift[k] + step * min(1.0, rows / self.FULL_ROWS) * missed

    def apply(self, quantile: Floats, scale: Floats, segment: Ints) -> Floats:
        """Corrected quantiles (n, K), ascending and not negative."""
        moved = quantile + self.shift[segment] * scale[:, None]
        return np.asarray(np.maximum(np.maximum.accumulate(moved, axis=1), 0.0))
