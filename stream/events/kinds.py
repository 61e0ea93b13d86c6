"""What a row of `sku-events` can say, and where it can have come from.

One public event may become several rows: an order one a line, a shipped transfer one where it leaves and one where it
is coming. The numbers are written into the log: never reuse one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Source(IntEnum):
    """The topics intake reads; the number is part of a row's source coordinates."""

    ORDERS = 1
    CARTS = 2
    STOCK_MOVEMENTS = 3
    SUPPLY = 4
    CATALOG = 5
    CALENDAR = 6

    @property
    def topic(self) -> str:
        """The topic's short name, without namespace."""
        return self.name.lower().replace("_", "-")


NETWORK: Final = 7  # the source of a plan's rows: no topic, no marks; partition 0, the plan's number, the row in it

SLOW_LANE: Final = 8  # the source of outlooks: no topic, no rows, no marks; partition 0, the run, the part in it


def source_name(number: int) -> str:
    """What a source is called in ids and counters.

    >>> source_name(3), source_name(NETWORK)
    ('stock-movements', 'network')
    """
    return _SOURCE_NAMES[number]


_SOURCE_NAMES = {NETWORK: "network", SLOW_LANE: "slow-lane"} | {int(source): source.topic for source in Source}


class Kind(IntEnum):
    """What one row says of one SKU-location."""

    ORDER_PLACED = 1
    ORDER_CANCELLED = 2
    ORDER_FULFILLED = 3
    ORDER_RETURNED = 4

    CART_VIEWED = 10
    CART_ADDED = 11
    CART_REMOVED = 12
    CART_CHECKED_OUT = 13  # sku and location are empty; one copy in every shelf

    STOCK_RECEIVED = 20
    STOCK_ADJUSTED = 21  # milli is signed
    STOCK_COUNTED = 22  # milli is the count as of occurred_ms, zero allowed; `raw` holds the record's bytes
    TRANSFER_LEFT = 23  # stock.transfer_shipped, at the sender
    TRANSFER_COMING = 24  # stock.transfer_shipped, at the receiver
    TRANSFER_ARRIVED = 25  # stock.transfer_received, at the receiver
    STOCK_WRITTEN_OFF = 26
    TRANSFER_PROPOSED = 27  # one row at each end; `raw` holds the proposal as JSON
    TRANSFER_APPROVED = 28  # one row at each end
    TRANSFER_CANCELLED = 29  # one row at each end

    SUPPLY_ORDERED = 30
    SUPPLY_CONFIRMED = 31
    SUPPLY_RESCHEDULED = 32
    SUPPLY_CANCELLED = 33

    FACT = 40  # `fact` is the canonical JSON of a catalog or calendar record; sku empty: one copy in every shelf
    FACT_GONE = 41  # a tombstone: `fact` is the canonical JSON key


class Flag(IntEnum):
    """Bits of a row's `flags`."""

    SOLD_AT_ONCE = 1  # order.placed with "fulfilled": true
    LATE = 2  # occurred_at lies before its own source partition's mark
    OUTBOUND = 4  # of a transfer proposed, approved or cancelled: the row where it would leave
