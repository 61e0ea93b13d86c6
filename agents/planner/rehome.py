"""Shelves made of other shelves: every row, and what belongs to it, on the shelf its SKU has among another number.

Pure. It is done at rest: each shelf has folded its log to the end, nothing is pending and nothing is owed. The log of
each new shelf goes on behind its *moved* record; what lies before it says nothing about the shelf's state.

A row goes as it is, with all that is its own: stock, open days, orders, alerts, transfers, forecaster state, journal
and cart lines. What a shelf knows as a whole is put together so that nothing is lost or counted twice:

* marks and watermark: the least of all, so that no row is due that has not been woken;
* high-water marks: the greatest of all, as everything up to each was folded by the shelf it was for;
* counters stay with the shelf's number; of alerts each counts as open what is open there. Sums stay;
* what rows learnt together: as the shelf has it that most rows come from. Pooled sums fade with their own memories;
* the journal: by time, numbered below 0. An entry that names no row is known wherever its SKU can be now;
* a cart is split by SKU; where several parts meet again it was last touched when the last of them was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from agents.planner import versions
from agents.planner.alerts import KINDS
from agents.planner.carts import Cart, pack_cart, unpack_cart
from agents.planner.config import PlannerConfig
from agents.planner.journal import ENTRY
from agents.planner.keeping import load, meta
from agents.planner.packing import NUMBER_BITS
from agents.planner.shelf import Rows, Shelf
from stream.events.facts import home_of
from stream.events.naming import split_row_key
from stream.events.partition import shelf_of
from stream.ledger.port import SECTIONS, Fields

CHUNK_ROWS = 1_000  # of the journal: 50 kB a field, where a record each would be hundreds of thousands of small ones


@dataclass(frozen=True)
class Old:
    """A shelf at rest, as the ledger has it."""

    config: PlannerConfig
    offset: int
    sections: Mapping[str, Mapping[bytes, bytes]]


@dataclass
class _New:
    """A shelf being filled."""

    shelf: Shelf
    moved_at: int  # offset of its moved record
    sections: dict[str, Fields] = field(default_factory=lambda: {name: {} for name in SECTIONS})
    journal: list[tuple[int, int, int, npt.NDArray[Any]]] = field(default_factory=list)  # time, old shelf, place, rows
    carts: dict[bytes, Cart] = field(default_factory=dict)
    rows_from: Counter[int] = field(default_factory=Counter)  # old shelf -> rows

    @property
    def number(self) -> int:
        return self.shelf.config.shelf


def rehome(old: Sequence[Old], configs: Sequence[PlannerConfig], moved_at: Sequence[int]) -> Iterator[Shelf]:
    """The shelves of `configs`, in their order, made of all of `old`; each stands behind its moved record.

    Rows, what they own and all sums over shelves are the same afterwards. Raises AssertionError where one is lost.
    """
    states = [load(one.config, {"meta": one.sections["meta"]}, one.offset) for one in old]
    new = [_New(_begun(config, states), at) for config, at in zip(configs, moved_at, strict=True)]
    for state, one in zip(states, old, strict=True):
        homes, numbers = _move_rows(state, one, new)
        _move_journal(state, one, homes, numbers, new)
        _move_facts(one, new)
        _move_carts(one, new)
        new[state.config.shelf].shelf.counters = state.counters
    lost = sum(len(one.sections.get("hot", {})) for one in old) - sum(len(one.sections["hot"]) for one in new)
    assert lost == 0, f"{lost} rows were lost"
    shared = {one.config.shelf: one.sections.get("shared", {}) for one in old}
    for filled in new:
        yield _finished(filled, shared)


def _begun(config: PlannerConfig, states: Sequence[Shelf]) -> Shelf:
    """An empty shelf that knows what all of the old ones know of the log."""
    first = states[0]
    shelf = Shelf(replace(config, warm_until_ms=first.config.warm_until_ms, version=first.version))
    shelf.readers = max(state.readers for state in states)
    shelf.watermark_ms = min(state.watermark_ms for state in states)
    for source in set.intersection(*(set(state.marks) for state in states)):
        shelf.marks[source] = min(state.marks[source] for state in states)
    for state in states:
        for source, high in state.high_water.items():
            shelf.high_water[source] = max(high, shelf.high_water.get(source, high))
    return shelf


def _may_meet(old: PlannerConfig, new: _New) -> bool:
    """Whether a SKU can be on both: the same hash leaves these two remainders."""
    return (old.shelf - new.number) % math.gcd(old.shelves, new.shelf.config.shelves) == 0


# -- rows -------------------------------------------------------------------------------------------------------------


def _move_rows(state: Shelf, old: Old, new: Sequence[_New]) -> tuple[Rows, Rows]:
    """Each row to its new shelf; the new shelf and the number there of each old number, shape (n,)."""
    hot, model, transfers = (old.sections.get(name, {}) for name in ("hot", "model", "transfers"))
    homes, numbers = np.zeros(len(hot), np.int64), np.zeros(len(hot), np.int64)
    mask = (1 << NUMBER_BITS) - 1
    for key, packed in sorted(hot.items(), key=lambda item: int.from_bytes(item[1][:4], "little") & mask):
        was = int.from_bytes(packed[:4], "little") & mask
        to = new[shelf_of(split_row_key(key.decode())[0], len(new))]
        homes[was], numbers[was] = to.number, len(to.sections["hot"])
        to.sections["hot"][key] = _renumbered(state, packed, int(numbers[was]), to)
        to.sections["model"][key] = model[key]
        to.rows_from[state.config.shelf] += 1
        if key in transfers:
            to.sections["transfers"][key] = transfers[key]
    return homes, numbers


def _renumbered(state: Shelf, packed: bytes, number: int, to: _New) -> bytes:
    """A packed row under its new number, its zone as the new shelf numbers zones, its offsets in the new shelf's log.

    On another shelf it counts as changed by the moved record and as not sent yet: its position is due in the new
    partition.
    """
    version = (int.from_bytes(packed[:4], "little") >> NUMBER_BITS) + 1
    layout = versions.version(version).hot
    row = np.frombuffer(packed, layout, 1, 4).copy()
    row["zone"] = to.shelf.zone_id(state.zones[int(row["zone"][0])])
    if to.number != state.config.shelf:
        row["as_of_offset"], row["sent_offset"] = to.moved_at, to.moved_at - 1
    head = number | (version - 1) << NUMBER_BITS
    return head.to_bytes(4, "little") + row.tobytes() + packed[4 + layout.itemsize :]


def _move_journal(state: Shelf, old: Old, homes: Rows, numbers: Rows, new: Sequence[_New]) -> None:
    """What each new shelf may be asked about: entries of its rows, and those without a row."""
    chunks = old.sections.get("journal", {})
    heirs = [one for one in new if _may_meet(old.config, one)]
    for one in heirs:
        one.shelf.journal.horizon_ms = max(one.shelf.journal.horizon_ms, state.journal.horizon_ms)
    latest_ms = 0
    for place, name in enumerate(sorted(chunks, key=int)):
        entries = np.frombuffer(chunks[name], ENTRY)
        latest_ms = max(latest_ms, int(entries["occurred_ms"].max()))
        row = entries["row"]
        home = np.where(row >= 0, homes[np.maximum(row, 0)], -1) if len(homes) else np.full(len(row), -1)
        for one in heirs:
            mine = entries[(home == one.number) | (home == -1)]
            if len(mine):
                named = mine["row"] >= 0
                mine["row"][named] = numbers[mine["row"][named]]
                one.journal.append((latest_ms, state.config.shelf, place, mine))


# -- what is not a row's ----------------------------------------------------------------------------------------------


def _move_facts(old: Old, new: Sequence[_New]) -> None:
    """A fact about a SKU to its shelf, every other one to all."""
    for name, fact in old.sections.get("facts", {}).items():
        sku = home_of(tuple(orjson.loads(name))).sku
        for one in [new[shelf_of(sku, len(new))]] if sku else new:
            one.sections["facts"][name] = fact


def _move_carts(old: Old, new: Sequence[_New]) -> None:
    """Cart lines to the shelves of their SKUs; a cart that holds nothing is forgotten."""
    for name, packed in old.sections.get("carts", {}).items():
        cart = unpack_cart(packed)
        for line, milli in cart.lines.items():
            carts = new[shelf_of(split_row_key(line)[0], len(new))].carts
            part = carts.setdefault(name, Cart(cart.last_ms, {}))
            part.last_ms, part.checked_out = max(part.last_ms, cart.last_ms), part.checked_out or cart.checked_out
            part.lines[line] = milli


def _finished(new: _New, shared: Mapping[int, Mapping[bytes, bytes]]) -> Shelf:
    """The shelf as its sections say."""
    new.sections["journal"] = dict(_merged(new.journal))
    new.sections["carts"] = {name: pack_cart(cart) for name, cart in new.carts.items()}
    parent = max(sorted(shared), key=lambda number: (new.rows_from[number], number == new.number % len(shared)))
    new.sections["shared"] = dict(shared[parent])
    new.sections["meta"] = meta(new.shelf)
    shelf = load(new.shelf.config, new.sections, new.moved_at + 1)
    for kind in KINDS:
        here = sum(kind in alerts for alerts in shelf.alerts.values())
        told = shelf.counters[f"alerts_raised:{kind}"] - shelf.counters[f"alerts_resolved:{kind}"]
        if here != told:
            shelf.counters[f"alerts_raised:{kind}"] += here - told
    return shelf


def _merged(parts: list[tuple[int, int, int, npt.NDArray[Any]]]) -> Iterator[tuple[bytes, bytes]]:
    """The journal's fields: parts in order of time, several together, named by numbers up to -1."""
    parts.sort(key=lambda part: part[:3])
    groups: list[list[npt.NDArray[Any]]] = []
    for *_, entries in parts:
        if not groups or sum(map(len, groups[-1])) + len(entries) > CHUNK_ROWS:
            groups.append([])
        groups[-1].append(entries)
    for i, group in enumerate(groups):
        yield b"%d" % (i - len(groups)), np.concatenate(group).tobytes()
