"""What is planned for the days ahead: prices, promotions, holidays, closures. The only columns a forecast may know.

A *plan provider* answers one question: what is planned for these rows on the days that follow? The planner's is
`Calendar`, fed by `calendar` facts and by the closed weekdays of locations; whoever has the plan as arrays gives an
`ArrayPlan` to the shelf instead (`shelf.plan = ArrayPlan(...)`), and everything else runs as it does live.

Rows with the same entries share a *group*; a group's days are worked out once and looked up by all its rows, so a shop
without a calendar pays nothing and one with a calendar pays a look-up a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stream.events.facts import Key
from stream.events.instants import parse_day

if TYPE_CHECKING:
    from agents.planner.shelf import Rows, Shelf

Floats = npt.NDArray[np.float64]

COLUMNS = ("price", "discount", "promotion", "holiday", "open")
PRICE, DISCOUNT, PROMOTION, HOLIDAY, OPEN = range(5)
NOTHING = np.array([np.nan, 0.0, 0.0, 0.0, 1.0])  # a day on which nothing is planned
TABLES_MAX = 4_000  # remembered (group, day) tables; a day is 40 B, a table of 64 days 2.5 kB: 10 MB a shelf

_RANK = {"all": 0, "location": 1, "category": 2, "sku": 3}  # the nearer entry says the price


class Plan(Protocol):
    """Whoever knows what is planned."""

    @property
    def empty(self) -> bool:
        """Whether nothing is planned for anybody, so that nobody need ask."""
        ...

    def ahead(self, shelf: Shelf, rows: Rows, day: Rows, days: int) -> Floats:
        """The plan of local days `day` + 1 to `day` + `days` of each row, shape (n, days, len(COLUMNS)).

        Columns: `price` money a unit, NaN where none is planned (it stays as it is); `discount` share taken off, 0
        to 1; `promotion` and `holiday` 0 or 1; `open` 0 where nothing can be sold, else 1. May be a read-only view.
        """
        ...


class ArrayPlan:
    """A plan known as an array: `columns` (rows, days, len(COLUMNS)), whose first day is local day `first_day`.

    Rows are numbered as the shelf numbers them. Beyond the array nothing is planned.
    """

    def __init__(self, columns: Floats, first_day: int) -> None:
        if columns.ndim != 3 or columns.shape[2] != len(COLUMNS):
            raise ValueError(f"columns must have shape (rows, days, {len(COLUMNS)}); got {columns.shape}")
        self.columns, self.first_day = columns, first_day

    @property
    def empty(self) -> bool:
        """See Plan."""
        return False

    def ahead(self, shelf: Shelf, rows: Rows, day: Rows, days: int) -> Floats:  # noqa: ARG002 the port's
        """See Plan."""
        at = (day + 1 - self.first_day)[:, None] + np.arange(days)
        known = (at >= 0) & (at < self.columns.shape[1])
        found = self.columns[rows[:, None], np.where(known, at, 0)]
        return np.where(known[:, :, None], found, NOTHING)


class Entry(NamedTuple):
    """One `calendar` fact; an empty sku, category or location is any."""

    rank: int
    first_day: int
    last_day: int
    key: Key  # equal in rank and first day, the later key says the price
    sku: str
    category: str
    location: str
    column: int
    value: float  # of the column
    discount: float

    @classmethod
    def of(cls, key: Key, said: dict[str, Any]) -> Entry:
        """The entry a fact under `key` makes."""
        _, kind, scope, target, location, _ = key
        column = {"price": PRICE, "promotion": PROMOTION, "holiday": HOLIDAY, "closure": OPEN}[kind]
        return cls(
            _RANK[scope],
            parse_day(said["first_day"]),
            parse_day(said["last_day"]),
            key,
            target if scope == "sku" else "",
            target if scope == "category" else "",
            target if scope == "location" else location,
            column,
            float(said["unit_price"]) if column == PRICE else 0.0 if column == OPEN else 1.0,
            float(said.get("discount_share") or 0.0),
        )

    def concerns(self, category: str, location: str) -> bool:
        """Whether it holds for a SKU of this category here; whose SKU it must be is asked elsewhere."""
        return self.category in ("", category) and self.location in ("", location)


class Calendar:
    """What `calendar` facts and closed weekdays plan for the rows of a shelf. See Plan."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._closed: dict[str, frozenset[int]] = {}  # location -> ISO weekdays
        self._forget_groups()

    def put(self, key: Key, said: dict[str, Any] | None) -> None:
        """A calendar fact is told, or taken back (None)."""
        if said is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = Entry.of(key, said)
        self._forget_groups()

    def put_location(self, location: str, said: dict[str, Any] | None) -> None:
        """A location's fact: on which weekdays it is closed."""
        closed = frozenset((said or {}).get("closed_weekdays") or ())
        if closed == self._closed.pop(location, frozenset()):
            if closed:
                self._closed[location] = closed
            return
        if closed:
            self._closed[location] = closed
        self._forget_groups()

    @property
    def empty(self) -> bool:
        """Whether nothing is planned for anybody."""
        return not (self._entries or self._closed)

    def regroup(self) -> None:
        """Rows changed their category."""
        if self._entries or self._closed:
            self._forget_groups()

    def ahead(self, shelf: Shelf, rows: Rows, day: Rows, days: int) -> Floats:
        """See Plan."""
        if self.empty:
            return np.broadcast_to(NOTHING, (len(rows), days, len(COLUMNS)))
        group = self._groups(shelf)[rows]
        if not group.any():
            return np.broadcast_to(NOTHING, (len(rows), days, len(COLUMNS)))
        pairs, back = np.unique(np.stack([group, day], axis=1), axis=0, return_inverse=True)
        tables = np.stack([self._table(number, at, days) for number, at in pairs.tolist()])
        return np.asarray(tables[back.reshape(-1)])

    def _forget_groups(self) -> None:
        self._members: list[tuple[tuple[Entry, ...], frozenset[int]]] = [((), frozenset())]
        self._number: dict[tuple[tuple[Entry, ...], frozenset[int]], int] = {self._members[0]: 0}
        self._group = np.zeros(0, np.int64)
        self._tables: dict[tuple[int, int, int], Floats] = {}

    def _groups(self, shelf: Shelf) -> Rows:
        """Each row's group, shape (n,); rows that came since the last call get theirs."""
        known = len(self._group)
        if known == shelf.n:
            return self._group
        wide = [e for e in sorted(self._entries.values()) if e.sku == ""]
        kinds = np.stack([shelf.category[known : shelf.n], shelf.place[known : shelf.n]], axis=1)
        unique, back = np.unique(kinds, axis=0, return_inverse=True)
        shared = [self._of(wide, shelf.facts.categories[of], shelf.places[at]) for of, at in unique.tolist()]
        self._group = np.concatenate([self._group, np.array(shared, np.int64)[back.reshape(-1)]])
        own: dict[str, list[Entry]] = {}
        for entry in self._entries.values():
            own.setdefault(entry.sku, []).append(entry)
        for sku in sorted(own.keys() - {""}):
            for row in shelf.sku_rows.get(sku, []):
                category_name = shelf.facts.categories[int(shelf.category[row])]
                self._group[row] = self._of(sorted([*wide, *own[sku]]), category_name, shelf.names[row][1])
        return self._group

    def _of(self, entries: list[Entry], category: str, location: str) -> int:
        mine = (
            tuple(e for e in entries if e.concerns(category, location)),
            self._closed.get(location, frozenset()),
        )
        if mine not in self._number:
            self._number[mine] = len(self._members)
            self._members.append(mine)
        return self._number[mine]

    def _table(self, group: int, day: int, days: int) -> Floats:
        """The days after `day` of a group, shape (days, columns)."""
        known = self._tables.get((group, day, days))
        if known is not None:
            return known
        table = np.tile(NOTHING, (days, 1))
        entries, closed = self._members[group]
        for entry in entries:  # the nearest last
            span = slice(max(entry.first_day - day - 1, 0), max(entry.last_day - day, 0))
            table[span, entry.column] = entry.value
            table[span, DISCOUNT] = np.maximum(table[span, DISCOUNT], entry.discount)
        if closed:
            weekday = (np.arange(day + 1, day + 1 + days) + 3) % 7 + 1  # day 0 was a Thursday
            table[np.isin(weekday, sorted(closed)), OPEN] = 0.0
        if len(self._tables) >= TABLES_MAX:
            self._tables.clear()
        self._tables[group, day, days] = table
        return table
