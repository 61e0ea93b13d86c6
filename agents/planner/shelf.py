"""A shelf in memory: one partition of `sku-events` with the state of all its SKU-locations.

Numbers of a row live in one structured array (`hot`), so that a row packs to bytes as it stands; what few rows have
(open replenishments, alerts, days kept aside) lives in dictionaries by row. A shelf is a value: no clock, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from agents.planner import days, packing, segments, versions, young
from agents.planner.calendar import Plan
from agents.planner.carts import Carts
from agents.planner.changed import Changed
from agents.planner.commons import Commons
from agents.planner.config import HISTORY_DAYS, LONG_AGO, NEVER, PlannerConfig
from agents.planner.dues import Dues
from agents.planner.facts import POLICY, FactBook
from agents.planner.flags import SEGMENT_SHIFT
from agents.planner.journal import Journal
from agents.planner.lead_times import LEARNT_FROM, Key, LeadTimes, Wait
from agents.planner.names import Names
from agents.planner.packing import HOT
from agents.planner.records import gathered
from agents.planner.row_index import RowIndex
from models.demand.contract import Family
from stream.events.naming import row_key, split_row_key

Rows = npt.NDArray[np.int64]
Kept = TypeVar("Kept")

FIELDS = HOT.names or ()

# What the fast lane looks at first of a row, in one place of memory: see guards.py; `seen` is in which run of the lane.
GUARD = np.dtype({"names": ["lo", "hi", "seen"], "formats": ["<i8", "<i8", "<i8"], "itemsize": 32})

SPREAD_FROM = 2  # the version from which SKUs close a day one after the other
SPREAD_STEP_MS = 1_000  # so no more closings wait at once than there are seconds


class Order(msgspec.Struct, array_like=True):
    """A replenishment, ours or placed outside: see life.py."""

    id: str
    status: str
    quantity: int  # milli
    remaining: int
    proposed_ms: int
    ref: str = ""
    expected_ms: int = 0
    expires_ms: int = 0
    supplier: str = ""
    ordered_ms: int = 0  # from version 2 on, as its supply.ordered says; 0: none came, under 0: it came late


class Transfer(msgspec.Struct, array_like=True):
    """One end's copy of a transfer: see transfers.py."""

    id: str
    status: str
    outbound: bool  # whether this end is where it leaves
    other: str  # the location at the other end
    quantity: int  # milli
    remaining: int
    proposed_ms: int
    expires_ms: int
    plan: str
    lead_days: float
    reason: str
    numbers: dict[str, float]

    @property
    def counts(self) -> bool:
        """Whether it counts in an inventory position (shipped units are in transit instead)."""
        return self.status in ("proposed", "approved")


class Alert(msgspec.Struct, array_like=True):
    """An alert that is raised and not resolved."""

    id: str
    severity: int
    raised_ms: int


class Ahead(msgspec.Struct, array_like=True):
    """A day further ahead than the next one, kept aside until it is."""

    units: int = 0
    after: int = 0
    flow: int = 0
    counted: int = LONG_AGO  # latest instant counted by counts booked on it


class Wake(msgspec.Struct, array_like=True):
    """A mark that made rows due: the watermark it brought and the coordinates its messages carry."""

    watermark_ms: int
    cause: str
    offset: int
    closing: bool


_transfers_encode = msgspec.msgpack.Encoder(order="deterministic").encode
unpack_transfers = msgspec.msgpack.Decoder(list[Transfer]).decode
_tail_encode = msgspec.msgpack.Encoder().encode
_tail_decode = msgspec.msgpack.Decoder(tuple[list[Order], dict[str, Alert], dict[int, Ahead]]).decode
_tail_with_signals = msgspec.msgpack.Decoder(
    tuple[list[Order], dict[str, Alert], dict[int, Ahead], list[Wait], dict[int, list[int]]]
).decode
_FIVE = 0x95
_tail_with_waits = msgspec.msgpack.Decoder(tuple[list[Order], dict[str, Alert], dict[int, Ahead], list[Wait]]).decode
_FOUR = 0x94  # the first byte of four things packed together
_ORDER_1 = 9  # fields of an order in version 1


class Shelf:
    """State of one shelf. `fold` owns it: it is changed in place and never shared."""

    def __init__(self, config: PlannerConfig) -> None:
        self.config = config
        self.version = config.version  # how it decides and is packed; only a switch record moves it
        self.readers = config.version  # code must have this version to read it; an upgrade raises it before the switch
        self.facts = FactBook(config.policy)
        self.plan: Plan = self.facts.calendar
        self.journal = Journal(config.journal_rows, config.journal_days)
        self.carts = Carts(config.cart_silence_ms, config.carts_max)
        self.n = 0
        self.names: list[tuple[str, str]] = []
        self.keys: list[bytes] = []
        self.index: dict[tuple[str, str], int] = {}
        self.row_index = RowIndex()
        self.runs = 0  # of the fast lane
        self.sku_rows: dict[str, list[int]] = {}  # its rows in the order they came
        self.groups: list[list[int]] = []  # the same lists, by number of the SKU
        self.places = Names()
        self.lead_times = LeadTimes(config.lead_times == "learnt")
        self.signals: dict[int, dict[int, list[int]]] = {}  # by row and day: see signals.py
        self.young: set[int] = set()  # rows that may begin as others are: see young.py
        self.launches = 0  # rows with a stated first day
        self.orders: dict[int, list[Order]] = {}
        self.alerts: dict[int, dict[str, Alert]] = {}
        self.ahead: dict[int, dict[int, Ahead]] = {}
        self.tails: dict[int, bytes] = {}  # packed orders, alerts, ...; who changes a row's drops its
        self.transfers: dict[int, list[Transfer]] = {}  # open ones, at both ends: see transfers.py
        self.changed_transfers: set[int] = set()
        self.zones: list[str] = ["UTC"]
        self.marks: dict[tuple[int, int], int] = {}
        self.high_water: dict[tuple[int, int], int] = {}  # offset << 20 | line
        self.watermark_ms = LONG_AGO
        self.counters: Counter[str] = Counter()
        self.commons: Commons = versions.version(self.version).commons(self.family)
        self.pending: list[Wake] = []
        self.pass_wakes = 0  # how many of `pending` the pass under way handles
        self.cursor = 0  # number of the SKU it goes on with
        self.closing_end_ms: int | None = None  # the day's end whose closing was begun and is not settled: see wakes.py
        self.offset = -1  # next record of sku-events
        self.clean_through = 0  # rows changed at or after this record may have a stale readable view
        self.dues = Dues()
        self.dirty_hot, self.dirty_model, self.dirty_view = Changed(), Changed(), Changed()
        self.next_end_from = self.next_end_after = LONG_AGO  # see wakes._next_closing
        self.make_room(1024)
        self.changed_facts: set[str] = set()
        self.kept_meta: dict[bytes, bytes] = {}  # as last written
        # Who knows better than our own stock how much of a day demand could be seen: (rows, days) -> shares.
        self.exposure: Callable[[Rows, Rows], npt.NDArray[np.float64]] | None = None
        # Who knows of carts beside the log: (rows, days) -> units viewed, added, removed (n, 3).
        self.carts_of: Callable[[Rows, Rows], npt.NDArray[np.float64]] | None = None
        self.live = config.warm_until_ms <= LONG_AGO  # whether decisions are taken; set by fold and wakes

    @property
    def family(self) -> Family:
        """The forecasters of the shelf's version, unless the configuration names others."""
        return self.config.family or versions.version(self.version).family

    @property
    def spread_ms(self) -> int:
        """How long past its end the last SKUs close a day."""
        return self.config.close_spread_ms if self.version >= SPREAD_FROM else 0

    # -- rows -----------------------------------------------------------------------------------------------------

    def make_room(self, capacity: int) -> None:
        """Arrays for so many rows, with what is in them."""

        def grown(
            old: npt.NDArray[Any] | None, shape: tuple[int, ...], dtype: Any, fill: Any = None
        ) -> npt.NDArray[Any]:
            new = np.full(shape, fill, dtype) if fill is not None else np.zeros(shape, dtype)
            if old is not None:
                new[: self.n] = old[: self.n]
            return new

        def at(name: str) -> npt.NDArray[Any] | None:
            return getattr(self, name, None)

        self.hot = grown(at("hot"), (capacity,), HOT)
        self.model = grown(at("model"), (capacity,), self.family.row)
        self.history = grown(at("history"), (capacity, HISTORY_DAYS), np.int64)
        self.policy = grown(at("policy"), (capacity,), POLICY)
        self.category = grown(at("category"), (capacity,), np.int64)
        self.place = grown(at("place"), (capacity,), np.int64)
        self.phase = grown(at("phase"), (capacity,), np.int64)
        self.lead_pool = grown(at("lead_pool"), (capacity,), np.int64)  # whose lead times are alike: see lead_times.py
        self.inbound = grown(at("inbound"), (capacity,), np.int64)  # of transfers not shipped yet; milli
        self.outbound = grown(at("outbound"), (capacity,), np.int64)
        self.guard = grown(at("guard"), (capacity,), GUARD, np.array((LONG_AGO, NEVER, 0), GUARD))
        self.fact_zone = grown(at("fact_zone"), (capacity,), np.int64)
        self.sku_number = grown(at("sku_number"), (capacity,), np.int64)
        self.spread = grown(at("spread"), (capacity,), np.int64)  # ms past its end that a row's day closes
        for one in (self.dues, self.dirty_hot, self.dirty_model, self.dirty_view):
            one.make_room(capacity)
        self.capacity = capacity

    def row_of(self, sku: str, location: str, occurred_ms: int) -> int:
        """The row of a SKU-location, made with defaults where it is new; its open day is that of `occurred_ms`."""
        row = self.index.get((sku, location))
        if row is None:
            row = self._add(sku, location)
            zone = self.facts.zone(location)
            hot = self.hot
            day = days.day_of(zone, max(occurred_ms, self.watermark_ms))  # a late event opens no day that is over
            hot["zone"][row] = self.zone_id(zone)
            hot["day"][row] = day
            for name, at in (("day_start_ms", day), ("day_end_ms", day + 1), ("next_end_ms", day + 2)):
                hot[name][row] = days.midnight_ms(zone, at)
            for name in ("counted_ms", "counted0", "counted1"):
                hot[name][row] = LONG_AGO
            hot["known_day"][row] = NEVER
            hot["sent_ms"][row] = LONG_AGO
            hot["updated_ms"][row] = occurred_ms
            hot["timer_ms"][row] = NEVER
            hot["over_point"][row] = NEVER
            hot["price"][row] = np.nan
            hot["as_of_offset"][row] = self.offset
            hot["sent_offset"][row] = -1
            self.model[row] = self.family.fresh(self.phase[row : row + 1])[0]
            for changed in (self.dirty_model, self.dirty_hot, self.dirty_view):
                changed.add_one(row)
            if not self.live:
                hot["timer_ms"][row] = self.config.warm_until_ms
            closes_ms = hot["day_end_ms"][row] + self.spread[row]
            self.dues.put(np.array([row]), np.minimum(closes_ms, hot["timer_ms"][row]))
            self.next_end_from = min(self.next_end_from, int(closes_ms))
        return row

    def _add(self, sku: str, location: str) -> int:
        if self.n == self.capacity:
            self.make_room(self.capacity * 2)
        row = self.n
        self.n += 1
        self.keys.append(row_key(sku, location).encode())
        siblings = self.sku_rows.setdefault(sku, [])
        self.sku_number[row] = self.sku_number[siblings[0]] if siblings else len(self.groups)
        if siblings:
            sku = self.names[siblings[0]][0]  # a name is kept once
        else:
            self.groups.append(siblings)
        siblings.append(row)
        name = sku, self.places[self.places.number(location)]
        self.names.append(name)
        self.index[name] = row
        self.set_policy(row)
        self.category[row] = self.facts.category_number(sku, location)
        self.place[row] = self.places.number(location)
        self.phase[row] = crc32(self.keys[row])
        self.spread[row] = self._spread(sku)
        self.fact_zone[row] = self.zone_id(self.facts.zone(location))
        return row

    def spread_rows(self) -> None:
        """Say when each row closes its days: those of a SKU together, so that its messages stay in order."""
        if self.spread_ms > 0:
            by_sku = [self._spread(self.names[rows[0]][0]) for rows in self.groups]
            self.spread[: self.n] = np.array(by_sku, np.int64)[self.sku_number[: self.n]]

    def _spread(self, sku: str) -> int:
        return crc32(sku.encode()) % (self.spread_ms // SPREAD_STEP_MS + 1) * SPREAD_STEP_MS

    def set_policy(self, row: int) -> None:
        """How a row is to be replenished, as facts now state it, and as its lead time is learnt."""
        sku, location = self.names[row]
        record = self.facts.policy_record(sku, location)
        self.launches -= int(self.policy["launch_day"][row] > 0)
        self.policy[row] = record
        self.launches += int(self.policy["launch_day"][row] > 0)
        pool = self.lead_times.number(Key(self.facts.supplier(sku, location), location, *record[:2]))
        self.lead_pool[row] = pool
        if self.lead_times.any:
            self.policy["lead_days"][row], self.policy["lead_days_sd"][row] = self.lead_times.terms[pool]
        young.note(self, row)
        if self.hot["flags"][row] >> SEGMENT_SHIFT:
            segments.apply(self, np.array([row]))

    def freeze(self) -> None:
        """A closing begins: what rows told together holds from here on."""
        self.commons.freeze()
        if self.lead_times.freeze() and self.lead_times.any:
            terms = self.lead_times.terms[self.lead_pool[: self.n]]
            self.policy["lead_days"][: self.n], self.policy["lead_days_sd"][: self.n] = terms.T
            young.order_from(self, np.arange(self.n))
        young.begin(self)
        segments.sort(self)

    def with_siblings(self, rows: Rows) -> Rows:
        """These rows and all others of their SKUs, each once: SKU by SKU, in the order a SKU's rows came."""
        skus = np.unique(self.sku_number[rows])
        if len(self.groups) == self.n:
            return skus  # one location a SKU: rows and SKUs have the same numbers
        return np.fromiter(chain.from_iterable(self.groups[sku] for sku in skus.tolist()), np.int64)

    def zone_id(self, zone: str) -> int:
        """The number a zone has in this shelf, in order of first use."""
        if zone not in self.zones:
            self.zones.append(zone)
        return self.zones.index(zone)

    def available(self, rows: Rows) -> Rows:
        """On hand less allocated, milli."""
        return np.asarray(self.hot["on_hand"][rows] - self.hot["allocated"][rows])

    def position(self, rows: Rows) -> Rows:
        """Inventory position, milli: available + in transit + on order + proposed + inbound - outbound."""
        hot = self.hot
        coming = hot["in_transit"][rows] + hot["on_order"][rows] + hot["proposed"][rows]
        return np.asarray(self.available(rows) + coming + self.moving(rows))

    def moved(self, rows: Rows) -> None:
        """Numbers of these rows changed that are shown too."""
        self.dirty_hot.add(rows)
        self.dirty_view.add(rows)

    def moving(self, rows: Rows) -> Rows:
        """What transfers that are not shipped yet will bring, less what they will take, milli."""
        return np.asarray(self.inbound[rows] - self.outbound[rows])

    def sum_transfers(self, row: int) -> None:
        """Bring both sums in line with the row's open transfers."""
        counting = [t for t in self.transfers.get(row, ()) if t.counts]
        self.inbound[row] = sum(t.remaining for t in counting if not t.outbound)
        self.outbound[row] = sum(t.remaining for t in counting if t.outbound)

    # -- bytes ----------------------------------------------------------------------------------------------------

    def pack_hot(self, rows: Rows) -> dict[bytes, bytes | None]:
        """Packed hot values: row number and version (u32), the numbers, then what few rows have."""
        blob, size = packing.numbers(self.version, rows, gathered(self.hot, rows))
        numbers, keys = rows.tolist(), self.keys
        packed = [blob[at : at + size] for at in range(0, len(blob), size)]
        out: dict[bytes, bytes | None] = dict(zip(map(keys.__getitem__, numbers), packed, strict=True))
        for row, its in self._with_more(numbers, packed):
            tail = self.tails.get(row)
            out[keys[row]] = its + (self._tail(row) if tail is None else tail)
        return out

    def _with_more(self, rows: list[int], packed: list[bytes]) -> Iterable[tuple[int, bytes]]:
        """Those of these rows, each with its own of `packed`, that have what few have."""
        found = set[int]()
        for few in (self.orders, self.alerts, self.ahead, self.lead_times.waits, self.signals):
            if few:
                found.update(filter(few.__contains__, rows))
        return [pair for pair in zip(rows, packed, strict=True) if pair[0] in found] if found else ()

    def _tail(self, row: int) -> bytes:
        orders: list[Any] = self.orders.get(row, [])
        alerts, ahead, waits = self.alerts.get(row, {}), self.ahead.get(row, {}), self.lead_times.waits.get(row)
        seen = self.signals.get(row)
        if not (orders or alerts or ahead or waits or seen):
            return b""
        if self.version < LEARNT_FROM:
            orders = [msgspec.structs.astuple(order)[:_ORDER_1] for order in orders]
        more: list[Any] = [waits or [], _by_key(seen)] if seen else [waits] if waits else []
        tail = self.tails[row] = _tail_encode((orders, _by_key(alerts), _by_key(ahead), *more))
        return tail

    def pack_transfers(self) -> dict[bytes, bytes | None]:
        """Open transfers of the rows where they changed since the last call; None where none is left."""
        changed = sorted(self.changed_transfers)
        self.changed_transfers.clear()
        kept = ((self.keys[row], self.transfers.get(row)) for row in changed)
        return {key: _transfers_encode(transfers) if transfers else None for key, transfers in kept}

    def add_transfers(self, packed: Mapping[bytes, bytes]) -> None:
        """Load open transfers by row key; of rows that are not here, nothing."""
        for key, transfers in sorted(packed.items()):
            row = self.index.get(split_row_key(key.decode()))
            if row is not None:
                self.transfers[row] = unpack_transfers(transfers)
                self.sum_transfers(row)

    def pack_model(self, rows: Rows) -> dict[bytes, bytes | None]:
        """Packed model values: version u8, closed days, forecaster state."""
        if len(rows) == 0:  # as with every record but those that close days
            return {}
        packed = packing.models(self.version, self.family, self.history[rows], gathered(self.model, rows))
        return dict(zip(map(self.keys.__getitem__, rows.tolist()), packed, strict=True))

    def take_tail(self, row: int, tail: bytes) -> None:
        """What few rows have, as it was packed."""
        if tail[0] == _FIVE:
            orders, alerts, ahead, waits, self.signals[row] = _tail_with_signals(tail)
            if waits:
                self.lead_times.waits[row] = waits
        elif tail[0] == _FOUR:
            orders, alerts, ahead, self.lead_times.waits[row] = _tail_with_waits(tail)
        else:
            orders, alerts, ahead = _tail_decode(tail)
        self.keep_aside(row, orders, alerts, ahead)

    def keep_aside(self, row: int, orders: list[Order], alerts: dict[str, Alert], ahead: dict[int, Ahead]) -> None:
        """What few rows have is kept where there is some."""
        _keep(self.orders, row, orders)
        _keep(self.alerts, row, alerts)
        _keep(self.ahead, row, ahead)

    # -- versions -------------------------------------------------------------------------------------------------

    def switch(self, to: int) -> None:
        """Decide and pack as version `to` from here on; one that is reached already changes nothing.

        Rows are packed anew when they change next. Raises SetupError for a version this code does not have.
        """
        versions.version(to)
        self.tails.clear()
        while self.version < to:
            since, kept, rows = self.version, self.model, np.arange(self.n)
            self.version += 1
            self.model = np.zeros(self.capacity, self.family.row)
            self.model[rows] = versions.inherited(kept[rows], self.phase[rows], since, self.version)
            before, self.commons = self.commons, versions.version(self.version).commons(self.family)
            self.commons.replace(before.fields())
            versions.version(self.version).switch(self)
        self.spread_rows()
        for row in range(self.n):
            young.note(self, row)
        self.readers = max(self.readers, self.version)


def _by_key(kept: dict[Any, Any]) -> dict[Any, Any]:
    return kept if len(kept) < 2 else dict(sorted(kept.items()))


def _keep(where: dict[int, Kept], row: int, found: Kept) -> None:
    if found:
        where[row] = found
    else:
        where.pop(row, None)
