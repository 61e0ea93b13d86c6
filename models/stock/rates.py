"""Amounts a period: a number that says its period, so that a day's demand never meets a year's holding cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
FloatsLike: TypeAlias = npt.ArrayLike
Period: TypeAlias = Literal["day", "week", "month", "quarter", "year"]

DAYS_OF = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "quarter": 365.25 / 4, "year": 365.25}


class MixedPeriods(ValueError):
    """Two amounts of different periods met in one formula."""


@dataclass(frozen=True)
class Rate:
    """`amount` (n,) units or money in each `per`.

    >>> Rate(10_000.0, "year").to("day").amount.round(4)
    np.float64(27.3785)
    """

    amount: FloatsLike
    per: Period

    def __post_init__(self) -> None:
        if self.per not in get_args(Period):
            raise ValueError(f"unknown period {self.per!r}; known are {', '.join(get_args(Period))}")

    @property
    def values(self) -> Floats:
        """The amounts as float64."""
        return np.asarray(self.amount, dtype=np.float64)

    def to(self, per: Period) -> Rate:
        """The same rate a different period (a year has 365.25 days, a month a twelfth of it)."""
        return Rate(self.values * (DAYS_OF[per] / DAYS_OF[self.per]), per)


def same_period(**rates: Rate) -> Period:
    """The period all `rates` share.

    Raises MixedPeriods, naming each, when they do not share one; convert with `Rate.to` first.
    """
    periods = {rate.per for rate in rates.values()}
    if len(periods) != 1:
        told = ", ".join(f"{name} is per {rate.per}" for name, rate in rates.items())
        raise MixedPeriods(
            f"periods do not match; {told}; hint: convert one with .to({next(iter(rates.values())).per!r})"
        )
    return next(iter(rates.values())).per
