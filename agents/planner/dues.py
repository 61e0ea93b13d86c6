"""When rows are next due, and the earliest of each block of them: who is due is found without looking at everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.config import NEVER
from models.demand.compiled import kernel

Ints = npt.NDArray[np.int64]

BLOCK = 1_024  # rows: of 250,000 there are 245 blocks, both are gone through in microseconds


class Dues:
    """An instant for each row under `capacity`, NEVER until it is set.

    >>> dues = Dues()
    >>> dues.make_room(3_000)
    >>> dues.put(np.array([7, 2_500]), np.array([40, 60]))
    >>> dues.by(50).tolist(), dues.any_by(39), dues.at[2_500]
    ([7], False, np.int64(60))
    """

    def __init__(self) -> None:
        self.at: Ints = np.zeros(0, np.int64)
        self._least: Ints = np.zeros(0, np.int64)  # by block: none of its rows is due before

    def make_room(self, capacity: int) -> None:
        """There will be rows up to this number."""
        blocks = max(0, -(-capacity // BLOCK) - len(self._least))
        self._least = np.concatenate([self._least, np.full(blocks, NEVER, np.int64)])
        self.at = np.concatenate([self.at, np.full(blocks * BLOCK, NEVER, np.int64)])

    def put(self, rows: Ints, at: Ints) -> None:
        """Rows are due then; both of shape (n,)."""
        self.at[rows] = at
        np.minimum.at(self._least, rows // BLOCK, at)

    def refresh(self, hot: npt.NDArray[Any], spread: Ints, rows: Ints, interval_ms: int) -> None:
        """Rows are due as their day closes, at their timer, or when a changed position may be told (0: not for that).

        `spread` is by row: how long past its end a day closes.
        """
        _refresh(hot, spread, rows, interval_ms, self.at, self._least)

    def any_by(self, instant: int) -> bool:
        """Whether any row is due by an instant."""
        for block in np.flatnonzero(self._least <= instant).tolist():
            self._least[block] = self.at[block * BLOCK : (block + 1) * BLOCK].min()
            if self._least[block] <= instant:
                return True
        return False

    def by(self, instant: int) -> Ints:
        """Rows that are due by an instant, ascending."""
        blocks = np.flatnonzero(self._least <= instant)
        at = self.at.reshape(-1, BLOCK)[blocks]
        self._least[blocks] = at.min(axis=1)
        found, place = np.nonzero(at <= instant)
        return np.asarray(blocks[found] * BLOCK + place)


_BLOCK = BLOCK


@kernel
def _refresh(hot: npt.NDArray[Any], spread: Ints, rows: Ints, interval_ms: int, due: Ints, least: Ints) -> None:
    for number in rows:
        row = hot[number]
        at = min(row["day_end_ms"] + spread[number], row["timer_ms"])
        if interval_ms > 0 and row["as_of_offset"] > row["sent_offset"]:
            at = min(at, row["sent_ms"] + interval_ms)
        due[number] = at
        least[number // _BLOCK] = min(least[number // _BLOCK], at)
