"""Expected shortfall E[(D - x)+] of a stock of x, by distribution of demand D: what a cycle fails to serve.

Source: Snyder & Shen, appendix C; Zipkin, Foundations of Inventory Management, appendix C. Arrays broadcast.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.stock.rates import Floats, FloatsLike


def normal_shortfall_units(stock: FloatsLike, mean: FloatsLike, sd: FloatsLike) -> Floats:
    """Of normal demand: sd times (phi(z) - z (1 - Phi(z))).

    >>> normal_shortfall_units(0.0, 0.0, 1.0).round(6)
    np.float64(0.398942)
    """
    x, m, s = (np.asarray(v, dtype=np.float64) for v in (stock, mean, sd))
    z = (x - m) / np.where(s > 0, s, 1.0)
    wide = s * (stats.norm.pdf(z) - z * stats.norm.sf(z))
    return np.where(s > 0, np.maximum(wide, 0.0), np.maximum(m - x, 0.0))[()]


def poisson_shortfall_units(stock: FloatsLike, mean: FloatsLike) -> Floats:
    """Of Poisson demand and whole stock x: (m - x) P(D > x) + m P(D = x)... held to a direct sum in the tests.

    >>> poisson_shortfall_units(2, 1.0).round(6)
    np.float64(0.103638)
    """
    x, m = np.floor(np.asarray(stock, dtype=np.float64)), np.asarray(mean, dtype=np.float64)
    return np.where(x < 0, m - x, (m - x) * stats.poisson.sf(x, m) + m * stats.poisson.pmf(x, m))[()]


def gamma_shortfall_units(stock: FloatsLike, mean: FloatsLike, sd: FloatsLike) -> Floats:
    """Of gamma demand, positive and skewed; shape (mean / sd)^2."""
    x, m, s = (np.asarray(v, dtype=np.float64) for v in (stock, mean, sd))
    shape, scale = (m / s) ** 2, s * s / m
    over = m * stats.gamma.sf(x, shape + 1.0, scale=scale) - x * stats.gamma.sf(x, shape, scale=scale)
    return np.where(x <= 0, m - x, np.maximum(over, 0.0))[()]


def negative_binomial_shortfall_units(stock: FloatsLike, mean: FloatsLike, variance: FloatsLike) -> Floats:
    """Of negative binomial demand (counts with variance over their mean) and whole stock."""
    x, m, v = (np.asarray(a, dtype=np.float64) for a in (stock, mean, variance))
    r, p = negative_binomial_parameters(m, v)
    x = np.floor(x)
    # E[D; D > x] = m P(D' >= x) with D' of size r + 1
    over = m * stats.nbinom.sf(x - 1.0, r + 1.0, p) - x * stats.nbinom.sf(x, r, p)
    return np.where(x < 0, m - x, np.maximum(over, 0.0))[()]


def negative_binomial_parameters(mean: FloatsLike, variance: FloatsLike) -> tuple[Floats, Floats]:
    """Size and probability (as scipy's nbinom takes them) of the negative binomial with these moments.

    Raises ValueError where the variance does not exceed the mean: those counts are Poisson or narrower.
    """
    m, v = np.asarray(mean, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if not bool(((m > 0) & (v > m)).all()):
        raise ValueError("a negative binomial needs a variance greater than its mean; use Poisson")
    return (m * m / (v - m))[()], (m / v)[()]


def discrete_shortfall_units(stock: FloatsLike, pmf: Floats) -> Floats:
    """Of whole demand 0, 1, .. with probabilities `pmf` (D,).

    >>> discrete_shortfall_units([0, 1, 2], np.array([0.2, 0.3, 0.5]))
    array([1.3, 0.5, 0. ])
    """
    values = np.arange(len(pmf), dtype=np.float64)
    x = np.asarray(stock, dtype=np.float64)
    return np.asarray((np.maximum(values - x[..., None], 0.0) * pmf).sum(axis=-1))
