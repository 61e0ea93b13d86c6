"""A row of the shelf, taken out of the arrays and put back: what the slow lane works on, in plain integers.

Its attributes are named as in `packing.HOT`, plus what is kept beside those: orders, alerts, days ahead, transfers.
"""

from __future__ import annotations

from collections import namedtuple
from struct import Struct
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agents.planner import alerts, life, transfers
from agents.planner.facts import POLICY
from agents.planner.packing import HOT
from agents.planner.records import gathered, put
from agents.planner.shelf import FIELDS, Ahead, Alert, Order, Rows, Shelf, Transfer
from stream.events.kinds import Flag, source_name

PolicyRow: Any = namedtuple("PolicyRow", POLICY.names or ())  # type: ignore[misc]  # as the dtype says


def _struct_of(layout: np.dtype[Any]) -> Struct:
    """A record's bytes to a tuple and back: numpy takes three times as long to make plain numbers of its fields."""
    return Struct("<" + "".join("q" if layout[name] == np.int64 else "d" for name in layout.names or ()))


_NUMBERS, _POLICY = _struct_of(HOT), _struct_of(POLICY)


class Event(NamedTuple):
    """One row of `sku-events` for the slow lane."""

    kind: int
    milli: int
    occurred_ms: int
    source: int
    partition: int
    offset: int
    line: int
    order_hash: int
    price: float
    flags: int
    logged_ms: int
    late_ms: int
    expected_ms: int
    reference: str | None
    replenishment_id: str | None
    supplier: str | None
    raw: bytes | None

    @property
    def cause(self) -> str:
        """Source coordinates, as ids derive from them."""
        return f"{source_name(self.source)}-{self.partition}-{self.offset}-{self.line}"

    @property
    def late(self) -> bool:
        """Whether it occurred before its own partition's mark."""
        return bool(self.flags & Flag.LATE)


class Row(msgspec.Struct, eq=False):
    """A row of the shelf, taken out. (A Struct is made of a tuple, and gives one back, in a microsecond.)"""

    # as packing.HOT, in its order
    on_hand: int
    allocated: int
    in_transit: int
    on_order: int
    confirmed: int
    proposed: int
    day: int
    day_start_ms: int
    day_end_ms: int
    next_end_ms: int
    opening: int
    flow0: int
    flow1: int
    units0: int
    units1: int
    after0: int
    after1: int
    known_day: int
    counted0: int
    counted1: int
    reorder_point: int
    order_up_to: int
    safety_stock: int
    expected: int
    imminent_point: int
    over_point: int
    cycles: int
    alerting: int
    counted_ms: int
    count_off_day: int
    timer_ms: int
    sent_ms: int
    sent_offset: int
    updated_ms: int
    as_of_offset: int
    zone: int
    flags: int
    ordered: int
    cancelled: int
    returned: int
    fulfilled: int
    received: int
    written_off: int
    late: int
    viewed: int
    added: int
    removed: int
    abandoned: int
    converted: int
    taught: int
    demand_rate: float
    price: float
    # what is kept beside the numbers
    number: int
    sku: str
    location: str
    key: str
    orders: list[Order]
    alerts: dict[str, Alert]
    ahead: dict[int, Ahead]
    transfers: list[Transfer]
    inbound: int
    outbound: int
    policy: Any
    transfers_moved: bool = False

    @property
    def available(self) -> int:
        """On hand less allocated."""
        return self.on_hand - self.allocated

    @property
    def position(self) -> int:
        """Inventory position: available, in transit, on order, proposed, and what transfers will bring or take."""
        coming = self.in_transit + self.on_order + self.proposed + self.inbound - self.outbound
        return self.on_hand - self.allocated + coming

    @property
    def orderable(self) -> bool:
        """Whether anything may be proposed for it today."""
        return bool(self.policy.orderable) and self.policy.order_from <= self.day <= self.policy.last_buy_day

    def reviews(self, closing: bool) -> bool:
        """Whether it may order now: at any time, or as a day closes, every `review_days`."""
        return not self.policy.periodic or (closing and self.day % max(int(self.policy.review_days), 1) == 0)

    @property
    def covered(self) -> int:
        """What low_stock looks at: available, coming by truck, or confirmed by a supplier."""
        return self.on_hand - self.allocated + self.in_transit + self.confirmed

    def sum_orders(self) -> None:
        """Bring the three sums in line with the open replenishments."""
        kept, confirms = list[Order](), self.policy.confirms
        self.proposed = self.on_order = self.confirmed = 0
        for order in self.orders:
            status, remaining = order.status, order.remaining
            if remaining <= 0 or status not in life.OPEN:
                continue
            kept.append(order)
            if status == "proposed":
                self.proposed += remaining
                continue
            self.on_order += remaining
            if status in life.CONFIRMED or not confirms:
                self.confirmed += remaining
        self.orders = kept

    def sum_transfers(self) -> None:
        """Drop transfers that are done and bring both sums in line with the open ones."""
        self.transfers = transfers.open_at(self.transfers)
        counting = [t for t in self.transfers if t.counts]
        self.inbound = sum(t.remaining for t in counting if not t.outbound)
        self.outbound = sum(t.remaining for t in counting if t.outbound)
        self.transfers_moved = True


assert Row.__struct_fields__[: len(FIELDS)] == FIELDS, "a row's numbers are declared in the order of packing.HOT"
assert (_NUMBERS.size, _POLICY.size) == (HOT.itemsize, POLICY.itemsize), "records are 64-bit numbers without gaps"


def take(shelf: Shelf, numbers: list[int]) -> dict[int, Row]:
    """Take rows out of the arrays."""
    at = np.array(numbers, np.int64)
    values = _NUMBERS.iter_unpack(gathered(shelf.hot, at).tobytes())
    policies = map(PolicyRow._make, _POLICY.iter_unpack(gathered(shelf.policy, at).tobytes()))
    moving = (its[at].tolist() for its in (shelf.inbound, shelf.outbound))
    return {
        n: Row(*(*its, *_beside(shelf, n), inbound, outbound, policy))
        for n, its, policy, inbound, outbound in zip(numbers, values, policies, *moving, strict=True)
    }


def _beside(shelf: Shelf, number: int) -> tuple[Any, ...]:
    """What is kept beside a row's numbers, in the order of its attributes."""
    kept = (shelf.orders.get(number, []), shelf.alerts.get(number, {}), shelf.ahead.get(number, {}))
    return number, *shelf.names[number], shelf.keys[number].decode(), *kept, shelf.transfers.get(number, [])


def put_back(shelf: Shelf, rows: dict[int, Row]) -> Rows:
    """Put rows back into the arrays; returns their numbers."""
    if not rows:
        return np.zeros(0, np.int64)
    numbers = np.fromiter(rows, np.int64, len(rows))
    for row in rows.values():
        row.alerting = sum(a.severity << shift_of(kind) for kind, a in row.alerts.items())
    packed = b"".join([_NUMBERS.pack(*msgspec.structs.astuple(row)[: len(FIELDS)]) for row in rows.values()])
    put(shelf.hot, numbers, np.frombuffer(packed, HOT))
    for n, row in rows.items():
        shelf.tails.pop(n, None)
        shelf.keep_aside(n, row.orders, row.alerts, row.ahead)
        if row.transfers_moved:
            _put_transfers(shelf, n, row)
    shelf.moved(numbers)
    return numbers


def _put_transfers(shelf: Shelf, number: int, row: Row) -> None:
    if row.transfers:
        shelf.transfers[number] = row.transfers
    else:
        shelf.transfers.pop(number, None)
    shelf.inbound[number], shelf.outbound[number] = row.inbound, row.outbound
    shelf.changed_transfers.add(number)


def shift_of(kind: str) -> int:
    """Where a kind's severity (two bits) stands in `alerting`."""
    return _SHIFTS[kind]


_SHIFTS = {kind: 2 * place for place, kind in enumerate(alerts.KINDS)}
