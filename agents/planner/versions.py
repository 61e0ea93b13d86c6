"""Versions of the planner: how it decides, and how it packs what it remembers.

A shelf has one version at a time. It decides by it and is written in its format. Newer code decides and writes as the
shelf's version says, so that workers of two releases share a namespace during a rolling upgrade; a *switch* record in
`sku-events` (`restock upgrade --finish`) then takes the shelf to the newer version at its place in the log. So a replay
decides every record as it was decided. A log begins in version FIRST; that of a new installation begins with a switch.

A row is written again only when it changes, so a shelf holds rows of several formats for a while: each says which one,
and loading brings it to the shelf's version. That gives the same as at the switch itself because a family's `inherit`
reads nothing but the row's own state and number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agents.planner.commons import Commons, Counted, Settled
from models.demand import baseline, online
from models.demand.contract import Family, Ints, State
from stream.errors import SetupError

if TYPE_CHECKING:
    from agents.planner.shelf import Shelf

FIRST = 1

_HOT_1 = (  # noqa: SIM905 one line a meaning
    # where the stock is; milli
    "on_hand allocated in_transit on_order confirmed proposed "
    # the open day and the next: demand to be learnt, cancelled after the day's end, net flow of available stock
    "day day_start_ms day_end_ms next_end_ms opening flow0 flow1 units0 units1 after0 after1 "
    # exposure: first day with stated stock; latest instant counted by counts booked up to the open day, on the next
    "known_day counted0 counted1 "
    # what the last closing decided; milli
    "reorder_point order_up_to safety_stock expected imminent_point over_point cycles "
    # bookkeeping in event time
    "alerting counted_ms count_off_day timer_ms sent_ms sent_offset updated_ms as_of_offset zone flags "
    # totals since the row began; milli
    "ordered cancelled returned fulfilled received written_off late "
    # carts; milli
    "viewed added removed abandoned converted"
).split()
_HOT_2 = [*_HOT_1, "taught"]  # bit i: the (i + 1)th day before the open one was seen in full and taught
_F8 = ["demand_rate", "price"]


def layout(whole: list[str], real: list[str]) -> np.dtype[Any]:
    """A packed layout of a row's numbers: 64-bit integers, then 64-bit reals."""
    return np.dtype([(name, "<i8") for name in whole] + [(name, "<f8") for name in real])


def same_shelf(shelf: Shelf) -> None:
    """Nothing to bring over but the rows."""


@dataclass(frozen=True)
class Version:
    """One version, and how a shelf comes to it from the one before."""

    number: int
    release: str  # the first one whose code has it
    says: str  # what it decides or keeps differently, for `restock upgrade`
    hot: np.dtype[Any]  # a row's numbers as packed; names the version before does not have begin as 0
    family: Family  # of forecasters; it inherits the rows of the version before
    commons: Callable[[Family], Commons] = Settled  # what rows know together; begun anew where it or the family changes
    switch: Callable[[Shelf], None] = same_shelf  # what the shelf keeps beside its rows, at the switch record


VERSIONS = (
    Version(
        1,
        "0.1.0",
        "exponential smoothing, errors pooled",
        layout(_HOT_1, _F8),
        baseline.FAMILY,
        commons=lambda _: Counted(),
    ),
    Version(
        2,
        "0.2.0",
        "forecasts know the plan ahead and what other rows learn, and are published; closed days teach nothing",
        layout(_HOT_2, _F8),
        online.FAMILY,
    ),
)
NEWEST = VERSIONS[-1].number


def version(number: int) -> Version:
    """The version of a number. Raises SetupError for one this code does not have."""
    if FIRST <= number <= len(VERSIONS):
        return VERSIONS[number - FIRST]
    raise SetupError(
        "the log or the ledger was written by newer code",
        f"version {number} is asked for, this code decides up to version {NEWEST}",
        "start the newer release: the upgrade of this namespace is finished",
    )


def inherited(state: State, phase: Ints, since: int, to: int) -> State:
    """Forecaster state of version `since` as state of version `to`; `phase` (n,) are the rows' numbers."""
    before = version(since).family
    for step in VERSIONS[since : version(to).number]:
        if step.family is not before:
            state, before = step.family.inherit(before, state, phase), step.family
    return state


def packed_layout(number: int, whole: np.dtype[Any], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`rows` of layout `whole` as version `number` packs them; no copy where that is all of it."""
    wanted = version(number).hot
    if wanted == whole:
        return rows
    out = np.zeros(len(rows), wanted)
    for name in wanted.names or ():
        out[name] = rows[name]
    return out
