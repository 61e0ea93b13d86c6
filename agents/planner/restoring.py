"""Rows from packed bytes, all of a shelf at once and column by column: a million of them in seconds.

What is laid over a row by its names (policy, category, lead time) follows from few different facts: each is looked up
once. Rows of an older version are brought to the shelf's.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from agents.planner import packing, segments, versions, young
from agents.planner.lead_times import Key
from agents.planner.packing import HEAD, HOT, NUMBER_BITS
from agents.planner.records import put
from stream.events.naming import split_row_key

if TYPE_CHECKING:
    from agents.planner.shelf import Shelf

Rows = npt.NDArray[np.int64]

LOT = 8_192  # rows unpacked at once: 16 MB beside the shelf


def add_packed(shelf: Shelf, hot: Mapping[bytes, bytes], model: Mapping[bytes, bytes]) -> None:
    """Load rows from the sections `hot` and `model` into a shelf that has none."""
    keys, versions_of = _in_order(shelf, hot)
    shelf.make_room(max(1024, len(keys) * 5 // 4))
    _name(shelf, keys)
    _lay_facts(shelf)
    for first in range(0, len(keys), LOT):
        lot = keys[first : first + LOT]
        _unpack_hot(shelf, first, list(map(hot.__getitem__, lot)), versions_of[first : first + LOT])
        _unpack_model(shelf, first, list(map(model.__getitem__, lot)))
    segments.apply(shelf, np.arange(shelf.n))
    shelf.commons.know(shelf.keys)


def _in_order(shelf: Shelf, hot: Mapping[bytes, bytes]) -> tuple[list[bytes], Rows]:
    """Keys by the rows' numbers, and the version that packed each (n,)."""
    heads = np.frombuffer(b"".join([packed[:HEAD] for packed in hot.values()]), "<u4").astype(np.int64)
    numbers = heads & ((1 << NUMBER_BITS) - 1)
    order = np.argsort(numbers, kind="stable")
    gaps = np.flatnonzero(numbers[order] != np.arange(len(order)))
    assert len(gaps) == 0, f"row numbers of shelf {shelf.config.shelf} have a gap at {gaps[0]}"
    keys = list(hot)
    return [keys[i] for i in order.tolist()], (heads >> NUMBER_BITS)[order] + 1


# -- names and facts --------------------------------------------------------------------------------------------------


def _name(shelf: Shelf, keys: list[bytes]) -> None:
    """Number rows and SKUs as they came. Names are kept once, however many rows have them."""
    names, index, groups, sku_rows = shelf.names, shelf.index, shelf.groups, shelf.sku_rows
    places: dict[str, str] = {}
    skus = list[int]()
    whole = b"\n".join(keys).decode()  # no control character is in a key
    split = split_row_key if "%" in whole else _split_plain
    for row, (sku, location) in enumerate(map(split, whole.split("\n") if keys else ())):
        rows = sku_rows.get(sku)
        if rows is None:
            rows = sku_rows[sku] = []
            skus.append(len(groups))
            groups.append(rows)
        else:
            sku = names[rows[0]][0]
            skus.append(skus[rows[0]])
        rows.append(row)
        name = sku, places.setdefault(location, location)
        names.append(name)
        index[name] = row
    shelf.keys.extend(keys)
    shelf.n = n = len(keys)
    shelf.sku_number[:n] = skus
    shelf.phase[:n] = np.fromiter(map(crc32, keys), np.int64, n)
    shelf.spread_rows()


def _split_plain(key: str) -> tuple[str, str]:
    """`split_row_key` of a key in which nothing is encoded."""
    sku, _, location = key.partition("@")
    return sku, location


def _lay_facts(shelf: Shelf) -> None:
    """Whatever follows for rows from what is stated of them: as `Shelf.set_policy` has it, fact by fact."""
    n, facts = shelf.n, shelf.facts
    own, items = facts.stated("policy"), facts.stated("item")
    known: dict[Any, int] = {}  # whom facts are stated of -> the first such row's place in `first`
    first, which = list[int](), np.empty(n, np.int64)
    for row, name in enumerate(shelf.names):
        whom = name if name in own else name[0] if name[0] in items else None
        at = known.get(whom)
        if at is None:
            at = known[whom] = len(first)
            first.append(row)
        which[row] = at
    stated = [shelf.names[row] for row in first]
    records = [facts.policy_record(*name) for name in stated]
    shelf.policy[:n] = np.array(records, shelf.policy.dtype)[which]
    shelf.category[:n] = np.array([facts.category_number(*name) for name in stated], np.int64)[which]
    shelf.place[:n] = list(map(shelf.places.number, (location for _, location in shelf.names)))
    zones = [shelf.zone_id(facts.zone(place)) for place in dict.fromkeys(location for _, location in shelf.names)]
    shelf.fact_zone[:n] = np.array(zones, np.int64)[shelf.place[:n]]
    _pool(shelf, which, [record[:2] for record in records])
    _note_young(shelf, which, first)


def _pool(shelf: Shelf, which: Rows, stated: list[tuple[Any, ...]]) -> None:
    """Whose lead times are alike; `which` (n,) is the place in `stated` of each row's lead time and its sd."""
    n, places = shelf.n, int(shelf.place[: shelf.n].max(initial=0)) + 1
    _, first, back = np.unique(which * places + shelf.place[:n], return_index=True, return_inverse=True)
    pools = np.empty(len(first), np.int64)
    for at in np.argsort(first).tolist():  # in the order rows came
        sku, location = shelf.names[first[at]]
        key = Key(shelf.facts.supplier(sku, location), location, *stated[which[first[at]]])
        pools[at] = shelf.lead_times.number(key)
    shelf.lead_pool[:n] = pools[back.reshape(-1)]
    if shelf.lead_times.any:
        terms = shelf.lead_times.terms[shelf.lead_pool[:n]]
        shelf.policy["lead_days"][:n], shelf.policy["lead_days_sd"][:n] = terms.T


def _note_young(shelf: Shelf, which: Rows, first: list[int]) -> None:
    launched = np.flatnonzero(shelf.policy["launch_day"][: shelf.n] > 0)
    shelf.launches = len(launched)
    if shelf.version < young.STARTED_FROM:
        return
    young.order_from(shelf, launched)
    begins = np.array([young.begins(shelf, row) for row in first], np.bool_)
    followers = chain.from_iterable(shelf.sku_rows.get(sku, ()) for sku in shelf.facts.follows)
    shelf.young.update(np.flatnonzero(begins[which]).tolist(), followers)


# -- numbers ----------------------------------------------------------------------------------------------------------


def _unpack_hot(shelf: Shelf, first: int, packed: list[bytes], versions_of: Rows) -> None:
    for version in np.unique(versions_of).tolist():
        kept = versions.version(version).hot
        end = HEAD + kept.itemsize
        at = np.flatnonzero(versions_of == version)
        numbers = np.frombuffer(b"".join([packed[i][HEAD:end] for i in at.tolist()]), kept)
        if kept == HOT:
            put(shelf.hot, first + at, numbers)
        else:
            for name in kept.names or ():
                shelf.hot[name][first + at] = numbers[name]
        for i in at.tolist():
            if len(packed[i]) > end:
                shelf.take_tail(first + i, packed[i][end:])


def _unpack_model(shelf: Shelf, first: int, packed: list[bytes]) -> None:
    kept = np.frombuffer(b"".join([one[:1] for one in packed]), np.uint8)
    for version in np.unique(kept).tolist():
        at = np.flatnonzero(kept == version)
        family = shelf.family if version == shelf.version else versions.version(version).family
        history, state = packing.models_of([packed[i] for i in at.tolist()], family)
        rows = first + at
        shelf.history[rows] = history
        if version != shelf.version:
            state = versions.inherited(state, shelf.phase[rows], version, shelf.version)
        put(shelf.model, rows, state)
