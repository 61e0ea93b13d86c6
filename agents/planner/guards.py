"""Guards: the range of available stock in which a row decides nothing: twins of alerts.py and of `propose`.

Each condition there is a comparison of available stock plus constants of the row with a threshold. Here each becomes a
bound on available stock alone; the greatest lower and the least upper bound are the row's guard, both exclusive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.alerts import CRITICAL
from agents.planner.config import LONG_AGO, NEVER
from agents.planner.row import shift_of
from agents.planner.shelf import Rows, Shelf
from models.demand.compiled import kernel

STAND_FROM = 2  # the version from which a closing leaves alone what only stands: it grew older at its timer's time

Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

# plain numbers: a compiled loop knows no tables
_LOW, _SOON, _OUT, _OVER, _OFF = map(
    shift_of, ("low_stock", "stockout_imminent", "stocked_out", "overstock", "discrepancy")
)
_CRITICAL, _LONG_AGO, _NEVER = CRITICAL, LONG_AGO, NEVER


def unsettled(shelf: Shelf, rows: Rows, closing: bool = False) -> Bools:
    """Which rows might decide something as they stand, shape (n,); sets their guards. A closing knows no hysteresis."""
    may = np.zeros(len(rows), np.bool_)
    config = shelf.config
    state = (shelf.hot, shelf.policy, shelf.inbound, shelf.outbound, shelf.guard)
    stand = shelf.version >= STAND_FROM
    _unsettled(*state, rows, shelf.live, config.silent, config.hysteresis, closing, stand, may)
    return may


@kernel
def _slack(share: float, threshold: int) -> int:
    """Hysteresis in milli, as `alerts.slack`."""
    return max(1000, int(threshold * share))


@kernel
def _severity(h: Any, shift: int) -> Any:
    return h["alerting"] >> shift & 3


@kernel
def _stock(h: Any, share: float, available: int) -> tuple[int, int]:
    """(lo, hi) between which no alert about too little is raised, worsens or clears."""
    lo, hi = _LONG_AGO, _NEVER
    point, coming, low = h["reorder_point"], h["in_transit"] + h["confirmed"], _severity(h, _LOW)
    if point > 0 and (low == 0 or (low < _CRITICAL and available + coming > point)):
        lo = max(lo, point - coming)
    if point > 0 and low < _CRITICAL:
        lo = max(lo, h["safety_stock"] - coming - 1)
    if low > 0:
        hi = min(hi, point + _slack(share, point) - coming + 1 if point > 0 else _LONG_AGO)
    soon = h["imminent_point"]
    if _severity(h, _SOON) > 0:
        lo, hi = max(lo, 0), min(hi, soon + _slack(share, soon))
    elif available > 0:
        lo = max(lo, soon - 1)
    else:
        hi = min(hi, 1)
    if _severity(h, _OUT) > 0:
        hi = min(hi, 1)
    else:
        lo = max(lo, 0 if h["demand_rate"] > 0 else -1)
    return lo, hi


@kernel
def _overstock(h: Any, share: float, lo: int, hi: int) -> tuple[int, int]:
    """The same narrowed to where no alert about too much is raised or clears."""
    most, held = h["over_point"], h["in_transit"] + h["on_order"]
    if _severity(h, _OVER) > 0:
        return max(lo, most - _slack(share, most) - held if most < _NEVER else _NEVER), hi
    return lo, min(hi, most - held + 1) if most < _NEVER else hi


@kernel
def _clears(h: Any) -> bool:
    """Whether an alert that is open holds no more, hysteresis aside."""
    available, point = h["on_hand"] - h["allocated"], h["reorder_point"]
    low = point > 0 and available + h["in_transit"] + h["confirmed"] <= point
    soon = 0 < available < h["imminent_point"]
    out = available < 0 or (available == 0 and h["demand_rate"] > 0)
    over = h["over_point"] < _NEVER and available + h["in_transit"] + h["on_order"] > h["over_point"]
    return bool(
        (not low and _severity(h, _LOW) > 0)
        or (not soon and _severity(h, _SOON) > 0)
        or (not out and _severity(h, _OUT) > 0)
        or (not over and _severity(h, _OVER) > 0)
    )


@kernel
def _closes(h: Any, policy: Any, orderable: bool, position: int, stand: bool) -> bool:
    """Whether a closing may withdraw, clear, or order where that waits for its day: as `row.Row.reviews`."""
    if h["proposed"] > 0 and (position > h["reorder_point"] or not orderable):
        return True
    if h["alerting"] > 0 and (_clears(h) or not stand):
        return True
    if not orderable or policy["periodic"] == 0 or h["day"] % max(np.int64(policy["review_days"]), 1) != 0:
        return False
    return bool(position + h["proposed"] <= min(h["reorder_point"], h["order_up_to"] - 1))


@kernel
def _unsettled(
    hot: Records,
    policies: Records,
    inbound: Rows,
    outbound: Rows,
    guard: Records,
    rows: Rows,
    live: bool,
    silent: bool,
    share: float,
    closing: bool,
    stand: bool,
    may: Bools,
) -> None:
    """While lo < available < hi, `settle` would do nothing."""
    for i in range(len(rows)):
        row = rows[i]
        h, policy = hot[row], policies[row]
        available, moving = h["on_hand"] - h["allocated"], inbound[row] - outbound[row]
        coming = h["in_transit"] + h["on_order"]
        orderable = policy["orderable"] > 0 and policy["order_from"] <= h["day"] <= policy["last_buy_day"]
        lo, hi = _LONG_AGO, _NEVER
        if live and not silent:
            lo, hi = _stock(h, share, available)
            lo, hi = _overstock(h, share, lo, hi)
        if live and orderable and policy["periodic"] == 0:
            lo = max(lo, min(h["reorder_point"], h["order_up_to"] - 1) - coming - h["proposed"] - moving)
        guard[row]["lo"], guard[row]["hi"] = lo, hi
        if live:
            off = not silent and (((h["on_hand"] < 0) != (_severity(h, _OFF) > 0)) or h["count_off_day"] > 0)
            may[i] = off or available <= lo or available >= hi
            may[i] |= closing and _closes(h, policy, orderable, available + coming + moving, stand)
