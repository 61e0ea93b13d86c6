"""New rows: what they begin with, and from when on they are ordered and teach.

A row that has had no demand begins as another row of its shelf is (`Family.start`: as a week of that size, so its own
demand soon says more). As which one, the first of these that sells:

1. `like_sku` of its item, at the same location;
2. the SKU whose `successor` it is, at the same location, once that is no longer bought;
3. the row of middle size of its category at its location, where it has a `launch_on`, a `like_sku` or is `new`.

A SKU is on one shelf, and a shelf knows its own alone: where the like SKU is on another, its category speaks for it.

Until stock of it is stated or somebody asks for it, its days teach nothing: it cannot be there yet.
With a `launch_on` it begins, and is ordered, as early as lead time and review ask for it to be there on that day; until
then days count as closed, so they teach nothing and nothing is expected of them (learning.py).

All of this happens as a closing begins, in rows as the closing before left them: so slices and batches cannot show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agents.planner.flags import LEARNING, ORIGIN_BITS, ORIGIN_SHIFT

if TYPE_CHECKING:
    from agents.planner.shelf import Shelf

Rows = npt.NDArray[np.int64]

STARTED_FROM = 2  # the version from which rows begin as others are
LEAST_ROWS = 3  # of a category at a location: fewer have no middle
ORIGINS = ("", "like_sku", "successor", "category")  # what a row began as, two bits of its flags


def note(shelf: Shelf, row: int) -> None:
    """A row is new, or something was stated of it: whether it may begin as another, and from when on it is ordered."""
    if shelf.version < STARTED_FROM:
        return
    if shelf.policy["launch_day"][row] > 0:
        order_from(shelf, np.array([row]))
    if begins(shelf, row) or shelf.names[row][0] in shelf.facts.follows:
        shelf.young.add(row)


def begins(shelf: Shelf, row: int) -> bool:
    """Whether what is stated of a row alone says that it may begin as another."""
    sku, location = shelf.names[row]
    item = shelf.facts.get("item", sku)
    if item.get("like_sku") or shelf.policy["launch_day"][row] > 0:
        return True
    return "new" in (item.get("status"), shelf.facts.get("policy", sku, location).get("status"))


def told(shelf: Shelf, key: tuple[str, ...]) -> None:
    """A fact was stated: of an item that names a successor, the successor's rows may begin."""
    successor = shelf.facts.get(*key).get("successor") if key[0] == "item" else None
    if successor and shelf.version >= STARTED_FROM:
        shelf.young.update(shelf.sku_rows.get(successor, ()))


def order_from(shelf: Shelf, rows: Rows) -> None:
    """Set from when on rows are ordered: their launch less lead time and review."""
    p = shelf.policy
    launch = p["launch_day"][rows]
    wait = np.ceil(p["lead_days"][rows] + p["review_days"][rows]).astype(np.int64)
    p["order_from"][rows] = np.where((launch > 0) & (shelf.version >= STARTED_FROM), launch - wait, 0)


def begin(shelf: Shelf) -> None:
    """A closing begins: rows whose time has come begin as others are."""
    if not shelf.young:
        return
    middles: dict[tuple[int, int], int] = {}
    for row in sorted(shelf.young, key=lambda row: shelf.keys[row]):
        hot, p = shelf.hot[row], shelf.policy[row]
        if hot["flags"] & LEARNING:
            shelf.young.discard(row)
        elif p["orderable"] and hot["day"] + 1 >= p["order_from"]:
            origin, source = _like(shelf, row, middles)
            if source >= 0:
                _start(shelf, row, origin, source)


def _like(shelf: Shelf, row: int, middles: dict[tuple[int, int], int]) -> tuple[int, int]:
    """What a row begins as: place in ORIGINS, and a row; under 0 where there is none."""
    sku, location = shelf.names[row]
    like = shelf.facts.get("item", sku).get("like_sku")
    if like and _sells(shelf, source := shelf.index.get((like, location), -1)):
        return 1, source
    for before in sorted(shelf.facts.follows.get(sku, ())):
        source = shelf.index.get((before, location), -1)
        if _sells(shelf, source) and not shelf.policy["orderable"][source]:
            return 2, source
    if sku in shelf.facts.follows and not (like or shelf.policy["launch_day"][row] > 0):
        return 0, -1  # the one before it is still bought
    group = int(shelf.place[row]), int(shelf.category[row])
    if group not in middles:
        middles[group] = _middle(shelf, *group)
    return 3, middles[group]


def _sells(shelf: Shelf, row: int) -> bool:
    return row >= 0 and bool(shelf.hot["flags"][row] & LEARNING) and bool(shelf.hot["demand_rate"][row] > 0)


def _middle(shelf: Shelf, place: int, category: int) -> int:
    """The row of middle size of a category at a location; under 0 where there are too few, or no category is named."""
    if shelf.facts.categories[category] == "":
        return -1
    hot, n = shelf.hot, shelf.n
    sells = (hot["flags"][:n] & LEARNING > 0) & (hot["demand_rate"][:n] > 0)
    own = ~began_as_another(hot["flags"][:n])
    rows = np.flatnonzero(sells & own & (shelf.place[:n] == place) & (shelf.category[:n] == category))
    if len(rows) < LEAST_ROWS:
        return -1
    rate = hot["demand_rate"][rows]
    middle = np.sort(rate)[len(rows) // 2]
    return int(min(rows[rate == middle].tolist(), key=lambda row: shelf.keys[row]))


def _start(shelf: Shelf, row: int, origin: int, source: int) -> None:
    shelf.model[row] = shelf.family.start(shelf.model[source : source + 1], shelf.phase[row : row + 1])[0]
    shelf.hot["flags"][row] |= LEARNING | origin << ORIGIN_SHIFT
    shelf.dirty_hot.add_one(row)
    shelf.dirty_model.add_one(row)
    shelf.young.discard(row)


def began_as_another(flags: Rows) -> npt.NDArray[np.bool_]:
    """Which rows (n,) of these flags began as another."""
    return np.asarray(flags >> ORIGIN_SHIFT & ORIGIN_BITS > 0)


def began(shelf: Shelf, row: int) -> dict[str, Any] | None:
    """What a row began as, for people; None where it began with its own demand."""
    origin = ORIGINS[int(shelf.hot["flags"][row]) >> ORIGIN_SHIFT & ORIGIN_BITS]
    sku, _ = shelf.names[row]
    item = shelf.facts.get("item", sku)
    if origin == "like_sku":
        return {"as": origin, "name": item.get("like_sku")}
    if origin == "successor":
        return {"as": origin, "name": ", ".join(sorted(shelf.facts.follows.get(sku, ()))) or None}
    return {"as": origin, "name": shelf.facts.categories[int(shelf.category[row])]} if origin else None
