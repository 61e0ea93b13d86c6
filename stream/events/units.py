"""Quantities: a decimal number of units outside, an integer of thousandths ("milli") inside.

Sums of floats depend on where a batch is cut; sums of integers do not. A JSON number counts as the double nearest to
its text, and has at most three decimals when it is the double nearest to a whole number of thousandths. Up to 1e9
units that reading is exact: x * 1000 lies within 2e-4 of the whole number meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

MOST_UNITS = 1_000_000_000.0
MILLI = 1000

_DECIMAL = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,3})0*)?")


@lru_cache(maxsize=4_096)  # a record's quantities are read as they are checked and again for its rows
def milli_from_number(units: float) -> int:
    """Thousandths in a number of units. Raises ValueError saying what is wrong.

    >>> milli_from_number(2.5), milli_from_number(1)
    (2500, 1000)
    """
    if not math.isfinite(units) or abs(units) > MOST_UNITS:
        raise ValueError("must lie between -1e9 and 1e9")
    milli = round(units * MILLI)
    if milli / MILLI != units:
        raise ValueError("must have at most three decimals")
    return milli


def milli_from_column(units: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """`milli_from_number` of a column: thousandths (0 where refused) and whether accepted, each of shape (n,)."""
    bounded = np.abs(units) <= MOST_UNITS  # False for NaN
    safe = np.where(bounded, units, 0.0)
    milli = np.rint(safe * MILLI)
    good = bounded & (milli / MILLI == safe)
    return np.where(good, milli, 0.0).astype(np.int64), good


def milli_from_text(text: str) -> int:
    """Thousandths in a plain decimal text, as in files and at the command line. Raises ValueError.

    >>> milli_from_text("12.50")
    12500
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a plain decimal number with at most three decimals: {text!r}")
    milli = int(match[2]) * MILLI + int((match[3] or "").ljust(3, "0"))
    if milli > MOST_UNITS * MILLI:
        raise ValueError("must lie between -1e9 and 1e9")
    return -milli if match[1] else milli


def text_from_milli(milli: int) -> str:
    """Units as plain decimal text: no exponent, no trailing zeros.

    >>> text_from_milli(12500), text_from_milli(-1), text_from_milli(3000)
    ('12.5', '-0.001', '3')
    """
    whole, rest = divmod(abs(milli), MILLI)
    if rest == 0:
        return f"-{whole}" if milli < 0 else f"{whole}"
    text = f"{whole}.{rest:03d}".rstrip("0").rstrip(".")
    return f"-{text}" if milli < 0 else text


def numbers_from_milli(milli: Iterable[int]) -> list[int | float]:
    """Each as `number_from_milli`, in a third of the time."""
    return [one // MILLI if one % MILLI == 0 else one / MILLI for one in milli]


def number_from_milli(milli: int) -> int | float:
    """Units as a JSON number: whole ones as an integer, others with at most three decimals.

    >>> number_from_milli(12500), number_from_milli(3000)
    (12.5, 3)
    """
    whole, rest = divmod(milli, MILLI)
    return whole if rest == 0 else milli / MILLI
