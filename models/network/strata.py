"""A demand distribution as a few equally plausible amounts: what the marginal value of stock is read from.

A stratum is a slice of probability with its mean demand. Expected sales of z units are then `sum(p * min(z, d))`:
concave and piecewise linear in z, so that a linear programme stays one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.network.circulation import Floats

LOWER_STRATA = 4  # slices under the lowest quantile given; their shape comes from the mean


@dataclass(frozen=True)
class Strata:
    """`probability` (u, k) sums to one over u for every SKU; `units` (u, k, l) never falls over u."""

    probability: Floats
    units: Floats

    def mean(self) -> Floats:
        """Mean demand, shape (k, l)."""
        mean: Floats = np.einsum("uk,ukl->kl", self.probability, self.units)
        return mean


def from_quantiles(mean: Floats, levels: Floats, quantiles: Floats) -> Strata:
    """Strata from quantiles (q, k, l) at rising `levels` (q,) and the mean (k, l).

    Between two levels the quantile function is a straight line; above the last it goes half a step on; below the first
    it is a power of the level, chosen so that the mean comes out (as far as the quantiles allow: they win).

    Raises ValueError where levels do not rise within (0, 1).

    >>> s = from_quantiles(np.array([[10.0]]), np.array([0.5, 0.9]), np.array([[[10.0]], [[10.0]]]))
    >>> s.units[:, 0, 0], s.mean()
    (array([10., 10., 10., 10., 10., 10.]), array([[10.]]))
    """
    if len(levels) == 0 or np.any(np.diff(levels) <= 0) or levels[0] <= 0 or levels[-1] >= 1:
        raise ValueError(f"quantile levels must rise within (0, 1): {levels.tolist()}")
    rising = np.maximum.accumulate(np.maximum(quantiles, 0.0), axis=0)
    between = (rising[1:] + rising[:-1]) / 2
    last_step = rising[-1] - rising[-2] if len(levels) > 1 else np.zeros_like(rising[-1])
    upper = np.concatenate([between, (rising[-1] + last_step / 2)[None]])
    weight = np.concatenate([np.diff(levels), [1 - levels[-1]]])
    lower = _below(rising[0], (mean - np.einsum("u,ukl->kl", weight, upper)) / levels[0])
    probability = np.concatenate([np.full(LOWER_STRATA, levels[0] / LOWER_STRATA), weight])
    return Strata(np.repeat(probability[:, None], mean.shape[0], axis=1), np.concatenate([lower, upper]))


def fair(rate_units_day: Floats, days_most: Floats, strata: int = 24) -> Strata:
    """Pseudo-demand that makes a unit worth the same wherever the days of cover are the same: fair share.

    Each stratum is one more step of cover, `days_most / strata` days, for every location (k, l) alike.

    >>> fair(np.array([[2.0, 4.0]]), np.array([12.0]), strata=3).units[:, 0]
    array([[ 8., 16.],
           [16., 32.],
           [24., 48.]])
    """
    steps = np.arange(1, strata + 1) / strata
    units = steps[:, None, None] * (rate_units_day * days_most[:, None])[None]
    return Strata(np.full((strata, len(rate_units_day)), 1 / strata), units)


def by_rule(marginal: Strata, fairly: Strata, is_fair: np.ndarray) -> Strata:
    """Fair strata for the SKUs of `is_fair` (k,), marginal ones for the others; padded with empty slices."""
    depth = max(len(marginal.probability), len(fairly.probability))
    one, other = _padded(marginal, depth), _padded(fairly, depth)
    return Strata(
        np.where(is_fair[None, :], other.probability, one.probability),
        np.where(is_fair[None, :, None], other.units, one.units),
    )


def _padded(s: Strata, depth: int) -> Strata:
    more = depth - len(s.probability)
    if more == 0:
        return s
    return Strata(
        np.concatenate([s.probability, np.zeros((more, s.probability.shape[1]))]),
        np.concatenate([s.units, np.repeat(s.units[-1:], more, axis=0)]),
    )


def _below(lowest: Floats, wanted_mean: Floats) -> Floats:
    """Mean demand of the slices under the lowest quantile q: q * v^g over equal slices of v, g = q / mean - 1."""
    wanted = np.clip(wanted_mean, lowest * 1e-3, lowest)
    power = np.where(lowest > 0, lowest / np.maximum(wanted, 1e-300), 1.0)  # g + 1
    edges = np.arange(LOWER_STRATA + 1) / LOWER_STRATA
    areas = edges[:, None, None] ** power[None]
    slices: Floats = lowest * np.diff(areas, axis=0) * LOWER_STRATA / power
    return slices
