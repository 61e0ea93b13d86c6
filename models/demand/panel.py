"""History of many rows over regular periods, and what of the future is known ahead.

Arrays are (n rows, T periods). `units` may be missing (NaN: nobody counted); `exposure` in 0..1 is the share of a
period in which demand could be seen (0: closed, or sold out all day). Plan columns are the only ones a forecast may
read beyond its origin: prices (positive, NaN unknown) and flags (promotion, holiday; 0..1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from models.demand.contract import Bools, Floats, Ints

Repair: TypeAlias = Literal["censor", "mean", "median", "nearest", "interpolate"]

FULLY_SEEN = 0.8  # of a period: what sold then is taken as what was wanted
OUTLIER_RULES = ("box", "sigma", "robust")


@dataclass(frozen=True)
class Panel:
    """Rows of demand; `season` periods make a week (1: no week), `year` a year; `groups` (n,) each number like rows."""

    units: Floats
    exposure: Floats
    prices: tuple[Floats, ...] = ()
    flags: tuple[Floats, ...] = ()
    groups: tuple[Ints, ...] = ()
    season: int = 7
    year: int = 364

    def __post_init__(self) -> None:
        for name, columns in (("exposure", (self.exposure,)), ("prices", self.prices), ("flags", self.flags)):
            for column in columns:
                if column.shape != self.units.shape:
                    raise ValueError(f"{name} has shape {column.shape}, units {self.units.shape}")

    @property
    def rows(self) -> int:
        """How many rows."""
        return int(self.units.shape[0])

    @property
    def periods(self) -> int:
        """How many periods."""
        return int(self.units.shape[1])


def panel(units: Floats, exposure: Floats | None = None, **known: object) -> Panel:
    """A panel with exposure 1 where units are known, and 0 (and no units) where they are missing."""
    seen = np.isfinite(units)
    share = np.where(seen, 1.0 if exposure is None else np.clip(np.nan_to_num(exposure), 0.0, 1.0), 0.0)
    return Panel(np.where(seen, np.maximum(np.nan_to_num(units), 0.0), 0.0), share, **known)  # type: ignore[arg-type]


def repaired(units: Floats, how: Repair) -> tuple[Floats, Floats]:
    """Units (n, T) with gaps (NaN) filled by policy, and the exposure that goes with it.

    "censor" fills nothing: exposure 0 says that nothing is to be learnt there. Others believe their filling: "mean"
    and "median" of the row, "nearest" known period, straight "interpolate".

    >>> repaired(np.array([[2.0, np.nan, 6.0]]), "interpolate")[0]
    array([[2., 4., 6.]])
    """
    seen = np.isfinite(units)
    if how == "censor":
        return np.where(seen, units, 0.0), seen.astype(np.float64)
    filled: Floats = units.copy()
    at = np.arange(units.shape[1])
    for i in np.flatnonzero(np.isnan(units).any(axis=1) & np.isfinite(units).any(axis=1)):
        here: Bools = np.isfinite(units[i])
        known, gaps = at[here], at[~here]
        values = units[i, known]
        if how == "mean":
            filled[i, gaps] = values.mean()
        elif how == "median":
            filled[i, gaps] = np.median(values)
        elif how == "interpolate":
            filled[i, gaps] = np.interp(gaps, known, values)
        else:
            right = np.clip(np.searchsorted(known, gaps), 0, len(known) - 1)
            left = np.maximum(right - 1, 0)
            closer = np.where(np.abs(known[left] - gaps) <= np.abs(known[right] - gaps), left, right)
            filled[i, gaps] = values[closer]
    known_rows = np.asarray(seen.sum(axis=1) > 0, dtype=np.float64)
    return np.nan_to_num(filled), np.repeat(known_rows[:, None], units.shape[1], axis=1)


@dataclass(frozen=True)
class Outliers:
    """Which errors are outliers (n, T), and the limits they passed (n,): a list for a human."""

    flagged: Bools
    lower: Floats
    upper: Floats
    rule: str = field(default="robust")


def outliers(errors: Floats, rule: str = "robust", times: float | None = None) -> Outliers:
    """Outliers among each row's own forecast errors (n, T; NaN ignored), so that a season or a promotion is none.

    "box": beyond 1.5 interquartile ranges of the quartiles (Tukey 1977). "sigma": beyond 3 standard deviations.
    "robust": beyond 5 x 1.4826 median absolute deviations. `times` replaces 1.5, 3 or 5.

    >>> outliers(np.array([[0.0, 1, -1, 2, -2, 1, 0, 80_995]])).flagged.sum()
    np.int64(1)
    """
    if rule not in OUTLIER_RULES:
        raise ValueError(f"unknown rule {rule!r}; known are {', '.join(OUTLIER_RULES)}")
    if rule == "box":
        low, high = np.nanquantile(errors, 0.25, axis=1), np.nanquantile(errors, 0.75, axis=1)
        reach = (1.5 if times is None else times) * (high - low)
        lower, upper = low - reach, high + reach
    else:
        middle = np.nanmean(errors, axis=1) if rule == "sigma" else np.nanmedian(errors, axis=1)
        away = np.abs(errors - middle[:, None])
        spread = np.nanstd(errors, axis=1) if rule == "sigma" else 1.4826 * np.nanmedian(away, axis=1)
        reach = ({"sigma": 3.0, "robust": 5.0}[rule] if times is None else times) * spread
        lower, upper = middle - reach, middle + reach
    return Outliers((errors < lower[:, None]) | (errors > upper[:, None]), lower, upper, rule)
