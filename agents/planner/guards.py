"""Guards: the range of available stock in which a row decides nothing: twins of alerts.py and of `propose`.

Each condition there is a comparison of available stock plus constants of the row with a threshold. Here each becomes a
bound on available stock alone; the greatest lower and the least upper bound are the row's guard, both exclusive.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.planner.alerts import CRITICAL
from agents.planner.config import LONG_AGO, NEVER
from agents.planner.records import gathered
from agents.planner.row import shift_of
from agents.planner.shelf import Rows, Shelf

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]


def slack(share: float, threshold: Ints) -> Ints:
    """Hysteresis in milli, as `alerts.slack`."""
    return np.maximum(1000, (threshold * share).astype(np.int64))


def _bounds(shelf: Shelf, rows: Rows, h: Records, policy: Records, orderable: Bools) -> tuple[Ints, Ints]:
    """(lo, hi): while lo < available < hi, `settle` would do nothing; shapes (n,). `h`, `policy` (n,) are the rows'."""
    lo, hi = np.full(len(rows), LONG_AGO, np.int64), np.full(len(rows), NEVER, np.int64)
    if not shelf.live:
        return lo, hi
    point, held = h["reorder_point"], h["in_transit"] + h["on_order"]
    if not shelf.config.silent:
        _alerts(shelf, h, lo, hi)
    orders = orderable & (policy["periodic"] == 0)
    least = np.minimum(point, h["order_up_to"] - 1) - held - h["proposed"] - shelf.moving(rows)
    np.copyto(lo, np.maximum(lo, least), where=orders)
    return lo, hi


def _alerts(shelf: Shelf, h: Records, lo: Ints, hi: Ints) -> None:
    """Narrow the bounds of rows to where no alert is raised, worsens or clears."""
    share = shelf.config.hysteresis
    available = h["on_hand"] - h["allocated"]

    def severity(kind: str) -> Ints:
        return np.asarray((h["alerting"] >> shift_of(kind)) & 3)

    def below(where: Bools, bound: Ints | int) -> None:
        np.copyto(lo, np.maximum(lo, bound), where=where)

    def above(where: Bools, bound: Ints | int) -> None:
        np.copyto(hi, np.minimum(hi, bound), where=where)

    point, coming = h["reorder_point"], h["in_transit"] + h["confirmed"]
    low = severity("low_stock")
    below((point > 0) & ((low == 0) | ((low < CRITICAL) & (available + coming > point))), point - coming)
    below((point > 0) & (low < CRITICAL), h["safety_stock"] - coming - 1)
    above(low > 0, np.where(point > 0, point + slack(share, point) - coming + 1, LONG_AGO))
    soon, imminent = h["imminent_point"], severity("stockout_imminent")
    below((imminent == 0) & (available > 0), soon - 1)
    above((imminent == 0) & (available <= 0), 1)
    below(imminent > 0, 0)
    above(imminent > 0, soon + slack(share, soon))
    out = severity("stocked_out")
    below(out == 0, np.where(h["demand_rate"] > 0, 0, -1))
    above(out > 0, 1)
    most, over, held = h["over_point"], severity("overstock"), h["in_transit"] + h["on_order"]
    above((over == 0) & (most < NEVER), most - held + 1)
    below(over > 0, np.where(most < NEVER, most - slack(share, most) - held, NEVER))


def _orderable(h: Records, policy: Records) -> Bools:
    day = h["day"]
    return np.asarray((policy["orderable"] > 0) & (policy["order_from"] <= day) & (day <= policy["last_buy_day"]))


def _reviews(h: Records, policy: Records) -> Bools:
    """Rows that order only as a day closes, and may as this one does: as `row.Row.reviews`, if orderable."""
    due = h["day"] % np.maximum(policy["review_days"].astype(np.int64), 1) == 0
    return np.asarray((policy["periodic"] > 0) & due)


def unsettled(shelf: Shelf, rows: Rows, closing: bool = False) -> Bools:
    """Which rows might decide something as they stand, shape (n,); sets their guards. A closing knows no hysteresis."""
    h, policy = gathered(shelf.hot, rows), gathered(shelf.policy, rows)
    orderable = _orderable(h, policy)
    lo, hi = _bounds(shelf, rows, h, policy, orderable)
    shelf.guard_lo[rows], shelf.guard_hi[rows] = lo, hi
    if not shelf.live:
        return np.zeros(len(rows), np.bool_)
    available = h["on_hand"] - h["allocated"]
    may = (available <= lo) | (available >= hi)
    if not shelf.config.silent:
        off = (h["on_hand"] < 0) != (((h["alerting"] >> shift_of("discrepancy")) & 3) > 0)
        may |= off | (h["count_off_day"] > 0)
    if closing:
        position = available + h["in_transit"] + h["on_order"] + shelf.moving(rows)
        may |= (h["proposed"] > 0) & ((position > h["reorder_point"]) | ~orderable)
        may |= h["alerting"] > 0
        may |= (orderable & _reviews(h, policy)) & (
            position + h["proposed"] <= np.minimum(h["reorder_point"], h["order_up_to"] - 1)
        )
    return np.asarray(may)
