"""How long suppliers take, learnt from receipts: mean and sd of days from order to receipt, by supplier and location.

Rows of one supplier for which the same lead time is stated share a *pool* at each location, and the pools of a supplier
with about the same stated days make a *group*. What is stated counts as `PRIOR` receipts of the group's, the group's
mean as `PRIOR` of the pool's, and with fewer than `ENOUGH` in the group what is stated holds.

An order in parts counts by the share each part brings. A wait begins with `supply.ordered`, else with the proposal. An
order that is overdue as a day closes counts for that closing as what a wait that outlasts its age would be
(`models.stock.lead_time.outlasting`), and from `_lost_days` on as lost: no more. What is cancelled teaches nothing.

Like all that rows know together (commons.py) it is frozen when a closing begins. A receipt teaches at the closing of
the day it is booked on: until then it is one of the row's `waits`, and its order is still open. Sums are integers, so
that neither slices nor the order in which rows close or partitions are read can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from agents.planner.config import DAY_MS
from models.stock import lead_time

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEARNT_FROM = 2  # the version from which lead times are learnt
WHOLE = 1_000  # an order, in thousandths
CENT_MS = DAY_MS // 100  # waits are summed in hundredths of days, 14 minutes
PRIOR = 4.0  # receipts
ENOUGH = 8.0  # receipts and overdue orders in a group: the sd of a mean is a third of the waits' then
MEMORY = 100 * WHOLE  # receipts a pool remembers: beyond, older ones make room
MEMORY_DAYS = 256  # and after so many days without news it halves
LONGEST_DAYS = 366.0
LEAST_SD = 0.25  # days: the forecast's periods are whole days
_HEAD = b"lead:"
_UNITS = np.array([WHOLE, WHOLE * 100.0, WHOLE * 10_000.0])  # of a pool's sums in orders and days

POOL = np.dtype(
    [
        # weight in thousandths of orders, weighted hundredths of days, weighted squares of them
        ("known", "<i8", 3),  # receipts up to the closing before this one
        ("overdue", "<i8", 3),  # orders that were overdue at it
        ("told", "<i8", 3),  # what rows said since
        ("told_overdue", "<i8", 3),
        ("day", "<i8"),  # of the last news
        ("told_day", "<i8"),  # of what was told since; 0: nothing was
    ]
)


class Wait(msgspec.Struct, array_like=True):
    """Part of an order that came or was cancelled, told but booked on a day that is not closed."""

    day: int
    began_ms: int
    came_ms: int  # 0: it will not come
    share: int  # thousandths of the order


class Key(NamedTuple):
    """Whose waits are alike."""

    supplier: str
    location: str
    lead_days: float  # as stated
    lead_days_sd: float


class Learnt(NamedTuple):
    """A row's lead time and where it comes from."""

    lead_days: float
    lead_days_sd: float
    key: Key  # what is stated, and of whom
    receipts: int  # 0: nothing is learnt, what is stated holds
    overdue: int


class LeadTimes:
    """See the module."""

    def __init__(self, used: bool) -> None:
        self.used = used  # whether decisions look at what is learnt
        self.waits: dict[int, list[Wait]] = {}  # by row
        self.keys: list[Key] = []
        self._numbers: dict[Key, int] = {}
        self._groups: dict[tuple[str, int], int] = {}
        self._places: dict[str, int] = {}
        self._pools = np.zeros(16, POOL)
        self._of = np.zeros((16, 2), np.int64)  # group, place
        self._sums = np.zeros((16, 3), np.int64)  # by group, as in POOL: receipts and overdue orders
        self._overdue = np.zeros(16, np.int64)  # by group: thousandths of overdue orders
        self._stated = np.zeros((16, 2))
        self._found = np.zeros((16, 2))  # mean and sd; what is stated where too little is learnt
        self.terms = np.zeros((16, 2))  # lead time and its sd as decisions use them: learnt ones whole days and tenths
        self.any = False  # whether any differs from what is stated
        self._changed: set[int] = set()

    def number(self, key: Key) -> int:
        """The number of a pool, begun where it is new."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.keys)
            self.keys.append(key)
            if number == len(self._pools):
                for name in ("_pools", "_of", "_sums", "_overdue", "_stated", "_found", "terms"):
                    its = getattr(self, name)
                    setattr(self, name, np.concatenate([its, np.zeros_like(its)]))
            self._stated[number] = key.lead_days, key.lead_days_sd
            group = self._groups.setdefault((key.supplier, round(key.lead_days)), len(self._groups))
            self._of[number] = group, self._places.setdefault(key.location, len(self._places))
            self._estimate(np.array([number]))
        return number

    # -- telling --------------------------------------------------------------------------------------------------

    def note(self, row: int, wait: Wait) -> None:
        """Part of an order came or was cancelled."""
        self.waits.setdefault(row, []).append(wait)

    def close(self, pools: Rows) -> None:
        """Days of rows of these pools close: what is overdue at their locations is told anew."""
        late = np.flatnonzero(self._pools["overdue"][: len(self.keys), 0] > 0)
        if len(late):
            closing = np.isin(self._of[late, 1], self._of[np.unique(pools), 1])
            for pool in late[closing].tolist():
                self._tell(pool, "told", 1, 0, 0.0, 0.0)

    def tell(self, row: int, pool: int, day: int, end_ms: int, still_open: Iterable[tuple[int, int]]) -> None:
        """The day of a row closes, of whose orders `still_open` (when it began, share) have not come by now."""
        later, overdue = [], list(still_open)
        for wait in self.waits.pop(row, ()):
            if wait.day > day:
                later.append(wait)
                overdue.append((wait.began_ms, wait.share))
            elif wait.came_ms >= wait.began_ms > 0:
                days = min((wait.came_ms - wait.began_ms) / DAY_MS, LONGEST_DAYS)
                self._tell(pool, "told", day, wait.share, days, days * days)
        if later:
            self.waits[row] = later
        for began_ms, share in overdue:
            age = (end_ms - began_ms) / DAY_MS
            mean, sd = self._found[pool].tolist()
            if mean < age < self._lost_days(pool):
                self._tell(pool, "told_overdue", day, share, *lead_time.outlasting(mean, max(sd, mean / 10, 0.5), age))

    def _tell(self, pool: int, what: str, day: int, share: int, days: float, squares: float) -> None:
        one = self._pools[pool]
        one[what] += (share, round(share * days * 100), round(share * squares * 10_000))
        one["told_day"] = max(int(one["told_day"]), day)
        self._changed.add(pool)

    def _lost_days(self, pool: int) -> float:
        """From which age on an order counts as lost: so that what never comes cannot stretch the mean for ever."""
        weight, total, _ = self._pools["known"][pool].tolist()
        usual = total / 100 / weight if weight else 0.0
        return 3.0 * max(usual, self.keys[pool].lead_days) + 7.0

    # -- knowing --------------------------------------------------------------------------------------------------

    def freeze(self) -> bool:
        """A closing begins: what was told holds from here on. Whether any lead time moved."""
        pools = np.flatnonzero(self._pools["told_day"] > 0)
        if len(pools) == 0:
            return False
        p = self._pools[pools]
        told = p["told"]
        silent = np.where(p["day"] > 0, np.maximum(p["told_day"] - p["day"], 0), 0)
        kept = p["known"] * MEMORY_DAYS // (MEMORY_DAYS + silent)[:, None]
        weight, room = kept[:, 0], np.maximum(MEMORY - told[:, 0], 0)
        fits = weight <= room
        part = kept * room[:, None] // np.maximum(weight, 1)[:, None]
        p["known"] = np.where(fits[:, None], kept, part) + told
        p["overdue"], p["day"] = p["told_overdue"], np.maximum(p["day"], p["told_day"])
        p["told"] = p["told_overdue"] = p["told_day"] = 0
        self._pools[pools] = p
        self._changed.update(pools.tolist())
        self._pool_groups()
        return True

    def _pool_groups(self) -> None:
        n = len(self.keys)
        self._sums[:] = 0
        self._overdue[:] = 0
        np.add.at(self._sums, self._of[:n, 0], self._heard(np.arange(n)))
        np.add.at(self._overdue, self._of[:n, 0], self._pools["overdue"][:n, 0])
        self._estimate(np.arange(n))

    def _heard(self, pools: Rows) -> Rows:
        """Receipts and overdue orders of pools (n, 3), as in POOL."""
        return np.asarray(self._pools["known"][pools] + self._pools["overdue"][pools])

    def _estimate(self, pools: Rows) -> None:
        group, its = self._sums[self._of[pools, 0]] / _UNITS, self._heard(pools) / _UNITS
        said = self._stated[pools]
        mean, sd = lead_time.drawn(said[:, 0], said[:, 1], PRIOR, group)
        found = np.stack(lead_time.drawn(mean, sd, PRIOR, its), axis=1)
        enough = (group[:, 0] >= ENOUGH)[:, None]
        self._found[pools] = found = np.where(enough, np.minimum(found, LONGEST_DAYS), said)
        told = np.stack([np.rint(found[:, 0]), np.where(found[:, 1] < LEAST_SD, 0.0, np.round(found[:, 1], 1))], axis=1)
        self.terms[pools] = np.where(enough & self.used, told, said)
        self.any = self.any or bool(self.used & enough.any())

    def learnt(self, pool: int) -> Learnt:
        """Where a pool's lead time comes from."""
        key = self.keys[pool]
        if not self.any:  # a fiftieth of a decision less, where nothing is learnt yet
            return Learnt(key.lead_days, key.lead_days_sd, key, 0, 0)
        group = self._of[pool, 0]
        if self._sums[group, 0] < ENOUGH * WHOLE:
            return Learnt(key.lead_days, key.lead_days_sd, key, 0, 0)
        overdue = int(self._overdue[group])
        receipts = round((int(self._sums[group, 0]) - overdue) / WHOLE)
        mean, sd = self._found[pool].tolist()
        return Learnt(round(mean, 2), round(sd, 2), key, receipts, round(overdue / WHOLE))

    # -- bytes ----------------------------------------------------------------------------------------------------

    def pack_changes(self) -> dict[bytes, bytes | None]:
        """Pools that changed, as fields of the section `shared`, and forget that they did."""
        changed, self._changed = sorted(self._changed), set()
        return {_HEAD + orjson.dumps(list(self.keys[pool])): self._pools[pool].tobytes() for pool in changed}

    def forget_kept(self) -> None:
        """The ledger holds nothing of it any more: all of it is to be written."""
        self._changed = set(np.flatnonzero((self._pools["day"] > 0) | (self._pools["told_day"] > 0)).tolist())

    def load(self, section: Mapping[bytes, bytes]) -> None:
        """As it was kept."""
        for name in sorted(name for name in section if name.startswith(_HEAD)):
            pool = self.number(Key(*orjson.loads(name[len(_HEAD) :])))
            self._pools[pool] = np.frombuffer(section[name], POOL)[0]
        self._pool_groups()
