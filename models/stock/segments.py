"""Which rows are alike: ABC by value, XYZ by variability, and how demand comes (smooth, erratic, intermittent, lumpy).

Segments drive defaults (service level, review, forecaster pool) and the breakdown of every report.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.stock.rates import Floats

Names: TypeAlias = npt.NDArray[np.str_]

DEFAULT_SERVICE_LEVEL = {
    "AX": 0.98, "AY": 0.97, "AZ": 0.95,
    "BX": 0.97, "BY": 0.95, "BZ": 0.93,
    "CX": 0.95, "CY": 0.92, "CZ": 0.90,
}  # fmt: skip


def abc(value: Floats, shares: tuple[float, float] = (0.80, 0.95)) -> Names:
    """A, B or C (n,): rows that make up the first 80 % of total value, the next 15 %, the rest (Dickie 1951).

    The row that crosses a share still counts below it, so one row of all the value is A. Equal values keep their order.

    >>> abc(np.array([5.0, 80.0, 1.0, 14.0]))
    array(['B', 'A', 'C', 'B'], dtype='<U1')
    """
    order = np.argsort(-value, kind="stable")
    before = np.empty(len(value))
    before[order] = np.cumsum(value[order]) - value[order]
    share = before / max(float(value.sum()), 1e-300)
    return np.where(share < shares[0] - 1e-12, "A", np.where(share < shares[1] - 1e-12, "B", "C"))


def xyz(mean: Floats, sd: Floats, limits: tuple[float, float] = (0.5, 1.0)) -> Names:
    """X, Y or Z (n,): coefficient of variation (of weekly sums) under 0.5, under 1, or more; without demand Z.

    >>> xyz(np.array([10.0, 10.0, 10.0, 0.0]), np.array([1.0, 7.0, 30.0, 0.0]))
    array(['X', 'Y', 'Z', 'Z'], dtype='<U1')
    """
    cv = np.where(mean > 0, sd / np.where(mean > 0, mean, 1.0), np.inf)
    return np.where(cv < limits[0], "X", np.where(cv < limits[1], "Y", "Z"))


def demand_pattern(demand_units: Floats) -> Names:
    """How demand (n, T) comes, by interval between demands (1.32) and squared variation of sizes (0.49).

    Syntetos, Boylan & Croston 2005. A row without demand is "none".

    >>> demand_pattern(np.array([[4.0, 5, 4, 5], [0, 0, 4, 0], [1, 20, 1, 20], [0, 1, 0, 30], [0, 0, 0, 0]]))
    array(['smooth', 'intermittent', 'erratic', 'lumpy', 'none'], dtype='<U12')
    """
    bought = demand_units > 0
    times = bought.sum(axis=1)
    some = np.maximum(times, 1)
    interval = demand_units.shape[1] / some
    mean = np.where(bought, demand_units, 0.0).sum(axis=1) / some
    variance = np.where(bought, (demand_units - mean[:, None]) ** 2, 0.0).sum(axis=1) / some
    cv2 = variance / np.where(mean > 0, mean, 1.0) ** 2
    often = np.where(cv2 < 0.49, "smooth", "erratic")
    seldom = np.where(cv2 < 0.49, "intermittent", "lumpy")
    return np.where(times == 0, "none", np.where(interval < 1.32, often, seldom))


def default_service_level(abc_class: Names, xyz_class: Names) -> Floats:
    """Cycle service level of rows whose policy does not name one: dearer promises where value is high and risk low."""
    return np.array([DEFAULT_SERVICE_LEVEL[a + x] for a, x in zip(abc_class, xyz_class, strict=True)])
