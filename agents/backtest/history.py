"""History as a table: one row a SKU-location, one column a period. What a backtest may know, and when.

`known` holds the columns that are known ahead; everything else of a period is known at its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.errors import SetupError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]

SEASON = {"day": 7, "week": 1, "month": 1}  # periods of the short season; 1: none
YEAR = {"day": 364, "week": 52, "month": 12}
DAYS = {"day": 1.0, "week": 7.0, "month": 365.0 / 12}
PRICE_NAMES = ("price", "discount")  # columns that act as a ratio; every other known column is a share of 0..1
FULL_PRICE_SHARE = 0.5  # a discount column whose median is above is what is paid, not what is taken off


@dataclass(frozen=True)
class History:
    """Demand of N rows over T periods.

    `units` (N, T) is NaN where nobody counted; `available` (N, T) in 0..1 is the share of a period in which demand
    could be seen; `price` and `cost` (N, T) are money a unit, NaN where not said. `dates` (T,) are the file's own.
    """

    period: str
    dates: Dates
    skus: list[str]
    locations: list[str]
    units: Floats
    available: Floats
    known: dict[str, Floats] = field(default_factory=dict)
    price: Floats | None = None
    cost: Floats | None = None
    carts: Floats | None = None  # units (N, T, 3) viewed, put into carts and removed
    found: dict[str, Any] = field(default_factory=dict)  # what the reader saw and did, for the report

    @property
    def rows(self) -> int:
        """N."""
        return int(self.units.shape[0])

    @property
    def periods(self) -> int:
        """T."""
        return int(self.units.shape[1])

    @property
    def exposure(self) -> Floats:
        """Share (N, T) of each period from which demand may be learnt: nothing where nobody counted."""
        return np.where(np.isfinite(self.units), self.available, 0.0)

    @property
    def demand(self) -> Floats:
        """Units (N, T) with nothing where nobody counted."""
        return np.nan_to_num(self.units)

    @property
    def whole(self) -> bool:
        """Whether every quantity is a whole number of units."""
        return bool(
            np.abs(self.demand - np.rint(self.demand)).max(initial=0.0) < 0.0005
        )  # as near as a quantity is told

    def worth(self, before: int) -> tuple[Floats | None, Floats | None]:
        """(cost, price) of a unit (N,), the mean of the periods before; where only one is known it stands for both."""
        cost, price = self.cost, self.price
        if cost is None and price is None:
            return None, None
        told = [_row_mean(column[:, :before]) for column in (cost, price) if column is not None]
        return told[0], told[-1]

    def take(self, rows: Ints) -> History:
        """Only these rows."""
        picked = rows.tolist()
        return replace(
            self,
            skus=[self.skus[i] for i in picked],
            locations=[self.locations[i] for i in picked],
            units=self.units[rows],
            available=self.available[rows],
            known={name: column[rows] for name, column in self.known.items()},
            price=None if self.price is None else self.price[rows],
            cost=None if self.cost is None else self.cost[rows],
            carts=None if self.carts is None else self.carts[rows],
        )


def _row_mean(column: Floats) -> Floats:
    """Mean of what is said of each row; the rows' mean where nothing is."""
    said = np.isfinite(column)
    count = said.sum(axis=1)
    mean = np.where(said, column, 0.0).sum(axis=1) / np.maximum(count, 1)
    usual = float(mean[count > 0].mean()) if (count > 0).any() else 1.0
    return np.where(count > 0, mean, usual)


def sample(history: History, asked: str | None) -> History:
    """N rows drawn with a seed, as `--rows N:seed` asks; all of them where nothing is asked.

    Raises SetupError where the text is not two whole numbers.
    """
    if asked is None:
        return history
    count, _, seed = asked.partition(":")
    try:
        wanted, seeded = int(count), int(seed or "0")
    except ValueError:
        wanted, seeded = 0, 0
    if wanted < 1 or seeded < 0:
        raise SetupError(f"could not read --rows {asked}", hint="write how many and a seed: --rows 500:1")
    if wanted >= history.rows:
        return history
    drawn = np.random.default_rng(seeded).choice(history.rows, wanted, replace=False)
    return history.take(np.sort(drawn))


def evaluated(history: History, first: str | None, last: str | None) -> tuple[int, int]:
    """(from, to): numbers of the first and last evaluated period. Without `first` a third of the history is warm-up.

    Raises SetupError where a date is none, lies outside the file, or leaves nothing to evaluate.
    """
    if history.periods < 3:
        raise SetupError(
            f"{history.periods} periods are too few",
            "some are needed to learn from and some to score",
            "take a longer file",
        )
    begin = _period_of(history, "--from", first, history.periods // 3)
    end = _period_of(history, "--to", last, history.periods - 1)
    if begin < 1:
        raise SetupError("--from leaves nothing to learn from", f"the file begins {history.dates[0]}", "start later")
    if begin >= end:
        raise SetupError(
            f"nothing lies between {history.dates[begin]} and {history.dates[end]}",
            f"the file ends {history.dates[-1]}",
            "let --from lie before --to and before the file's end",
        )
    if not (np.where(history.exposure > 0, history.demand, 0.0)[:, :begin] > 0).any():
        raise SetupError(
            f"nothing was sold before {history.dates[begin]}",
            "there is nothing to learn from, and rows that never sold are not scored",
            "check which column units is, or let --from be later",
        )
    return begin, end


def _period_of(history: History, option: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        date = np.datetime64(text, "D")
    except ValueError as wrong:
        raise SetupError(f"could not read {option} {text}", str(wrong), "write 2024-05-01") from wrong
    first, last = history.dates[0], history.dates[-1]
    if not first <= date <= last + np.timedelta64(31, "D"):
        raise SetupError(f"{option} {text} lies outside the file", f"it holds {first} to {last}")
    return (
        int(np.searchsorted(history.dates, date, side="right") - 1)
        if date not in history.dates
        else int(np.flatnonzero(history.dates == date)[0])
    )
