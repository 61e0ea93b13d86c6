"""What really was: one line a row and local day. What the columns mean; README.md has the laws they obey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.shop.demand import Law
from agents.shop.draws import Floats, Ints

COUNTED = (
    "sold_units",
    "lost_units",
    "stolen_units",
    "shipped_units",
    "failed_units",
    "wholesale_cancelled_units",
    "received_units",
    "returned_units",
    "written_off_units",
    "adjusted_units",
    "moved_in_units",
    "moved_out_units",
    "corrected_units",
    "cart_viewed_units",
    "cart_added_units",
    "cart_removed_units",
    "cart_converted_units",
)


@dataclass(frozen=True)
class Day:
    """The truth of one local day, columns (n,): of all rows, or of the rows of one location.

    Units are whole numbers, those of the day unless said otherwise.
    """

    day: int  # days since 1970-01-01, of the location's calendar
    first_row: int  # columns are of the rows from this one on

    sold_units: Ints  # ordered (wholesale that is cancelled apart)
    lost_units: Ints  # wanted, and not there or not on offer
    stolen_units: Ints
    shipped_units: Ints  # left the shelf for customers
    failed_units: Ints  # sold earlier, missing when packed: cancelled
    wholesale_cancelled_units: Ints  # placed and cancelled minutes later; nowhere else
    received_units: Ints
    returned_units: Ints
    written_off_units: Ints
    adjusted_units: Ints  # signed: stock.adjusted
    moved_in_units: Ints
    moved_out_units: Ints
    corrected_units: Ints  # what counts took off the books, or put on (signed: count less book)
    cart_viewed_units: Ints
    cart_added_units: Ints
    cart_removed_units: Ints
    cart_converted_units: Ints

    opening_units: Ints  # on hand when the day began
    on_hand_units: Ints  # on hand when it ended
    book_units: Ints  # what all published events say, when it ended
    allocated_units: Ints  # ordered and not yet packed, when it ended
    exposure_share: Floats  # share of the day's custom, by the hours, that found stock; 0 on closed days
    mean_units: Floats  # of the law the day's demand was drawn from
    variance_units: Floats
    price: Floats  # what a unit cost that day
    discount_share: Floats
    promotion: npt.NDArray[np.bool_]
    holiday: npt.NDArray[np.bool_]
    closed: npt.NDArray[np.bool_]

    @property
    def wanted_units(self) -> Ints:
        """What customers wanted: sold and lost."""
        return self.sold_units + self.lost_units

    @property
    def dispersion(self) -> Floats:
        """Variance over mean of the day's demand; 1 where nobody is expected."""
        mean = self.mean_units
        return np.asarray(np.divide(self.variance_units, mean, out=np.ones_like(mean), where=mean > 0))


COLUMNS = [field.name for field in fields(Day) if field.name not in ("day", "first_row")]


class Tally:
    """Counters of each row's open local day."""

    def __init__(self, rows: int) -> None:
        self.counts = {name: np.zeros(rows, np.int32) for name in COUNTED}
        self.exposure = np.zeros(rows, np.float32)

    def add(self, name: str, rows: Ints, units: Ints) -> None:
        """Count units of rows (n,); a row may be there twice."""
        np.add.at(self.counts[name], rows, units)

    def closed(self, begin: int, end: int) -> dict[str, npt.NDArray[Any]]:
        """The counters of rows `begin` to `end`, which then begin anew."""
        out: dict[str, npt.NDArray[Any]] = {}
        for name, column in self.counts.items():
            out[name] = column[begin:end].astype(np.int64)
            column[begin:end] = 0
        out["exposure_share"] = np.minimum(self.exposure[begin:end].astype(np.float64), 1.0)
        self.exposure[begin:end] = 0
        return out


def of_law(law: Law) -> dict[str, npt.NDArray[Any]]:
    """The columns of a day that its law says."""
    n = len(law.customers)
    return {
        "mean_units": law.mean_units,
        "variance_units": law.variance_units,
        "price": law.price,
        "discount_share": law.discount,
        "promotion": law.discount > 0,
        "holiday": np.full(n, law.holiday),
        "closed": np.full(n, law.closed),
    }


def joined(days: Iterable[Day]) -> Day:
    """One day of all locations, from the days of each, in order of rows."""
    parts = sorted(days, key=lambda part: part.first_row)
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Day(parts[0].day, 0, **columns)


def table(day: Day, skus: Sequence[str], locations: Sequence[str]) -> pa.Table:
    """A day as a table with names: `skus` and `locations` are those of its rows (n,)."""
    n = len(day.sold_units)
    named = {
        "day": pa.array(np.full(n, day.day, np.int32)).cast(pa.date32()),
        "sku": pa.array(skus).dictionary_encode(),
        "location": pa.array(locations).dictionary_encode(),
        "wanted_units": day.wanted_units,
        "dispersion": day.dispersion,
    }
    return pa.table(named | {name: getattr(day, name) for name in COLUMNS})
