"""What each row of a file says, before it is bytes: one entry a file row, in file order.

Every row gets exactly one fate here:

    published     it goes to a public topic, alone or as a line of an order; the pipeline accepts, repeats or refuses it
    repeated      equal in every column to an earlier row that is not published as a good line: counted, not sent
    refused       by a documented rule of the format (a postage line is not a product): counted, not sent

A later exact copy of a *published good* row is published too, with the identity of the first, so that the pipeline
itself recognises it. A row that is no good line (`sound` says which field) is published alone and as it stands, so
that intake refuses it with its reason and the rest of its order goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.events.public import MOST_MONEY, MOST_TEXT_CHARS

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class What(IntEnum):
    """The public event a row becomes; of rows at the same instant, the lower number goes first."""

    NOTHING = 0  # refused before publishing
    ITEM_VIEWED = 1
    ITEM_ADDED = 2
    ITEM_REMOVED = 3
    ADJUSTED = 4
    WRITTEN_OFF = 5
    PLACED = 6
    CANCELLED = 7
    RETURNED = 8
    CHECKED_OUT = 9

    @property
    def topic(self) -> str:
        """Short name of the topic it goes to."""
        if self in (What.PLACED, What.CANCELLED, What.RETURNED):
            return "orders"
        return "stock-movements" if self in (What.ADJUSTED, What.WRITTEN_OFF) else "carts"

    @property
    def type(self) -> str:
        """The event's public type."""
        return _TYPES[self]


_TYPES = {
    What.NOTHING: "",
    What.ITEM_VIEWED: "cart.item_viewed",
    What.ITEM_ADDED: "cart.item_added",
    What.ITEM_REMOVED: "cart.item_removed",
    What.ADJUSTED: "stock.adjusted",
    What.WRITTEN_OFF: "stock.written_off",
    What.PLACED: "order.placed",
    What.CANCELLED: "order.cancelled",
    What.RETURNED: "order.returned",
    What.CHECKED_OUT: "cart.checked_out",
}


@dataclass(frozen=True)
class Lines:
    """A whole file; every column has one entry a file row, shape (n,)."""

    what: npt.NDArray[np.uint8]  # What
    at_ms: Ints  # event time; where a row's own is unsound, that of the row before it
    event_id: pa.Array
    key: pa.Array  # order_id, cart_id or sku
    line_id: pa.Array
    sku: pa.Array
    location: pa.Array
    milli: Ints  # thousandths of a unit, signed
    price: Floats  # money a unit, NaN where not said
    refusal: npt.NDArray[np.str_]  # reason, "" where not refused here
    copy: Ints  # how many equal rows came before
    optional: dict[str, pa.Array] = field(default_factory=dict)  # customer_id, cart_id, session_id, reason
    sound: dict[str, Bools] = field(default_factory=dict)  # public field -> rows where it is sound; absent: all are
    raw: dict[str, pa.Array] = field(default_factory=dict)  # public field -> the file's own values, for unsound rows
    unreadable_rows: int = 0
    sold_at_once: bool = True

    def __len__(self) -> int:
        return len(self.what)

    @property
    def good(self) -> Bools:
        """Rows that are good lines."""
        good = np.ones(len(self), bool)
        for column in self.sound.values():
            good &= column
        return good

    @property
    def published(self) -> Bools:
        """Rows that go out: good lines with their copies, and the first of equal unsound rows."""
        return np.asarray((self.what != What.NOTHING) & (self.good | (self.copy == 0)))

    def counted_here(self) -> tuple[Counter[str], int]:
        """Rows the replay settles itself: refused by reason, and repeated."""
        out = ~self.published
        refused = Counter(self.refusal[out & (self.copy == 0)].tolist())
        if self.unreadable_rows > 0:
            refused["unreadable_row"] += self.unreadable_rows
        return refused, int(np.count_nonzero(out & (self.copy > 0)))


def carried_ms(at_ms: Ints, sound: Bools) -> Ints:
    """Times in which an unsound entry takes that of the sound one before it, the leading ones that of the first.

    >>> carried_ms(np.array([0, 5, 0, 7]), np.array([False, True, False, True])).tolist()
    [5, 5, 5, 7]
    """
    places = np.flatnonzero(sound)
    if len(places) == 0:
        return np.zeros(len(at_ms), np.int64)
    latest = np.maximum.accumulate(np.where(sound, np.arange(len(at_ms)), -1))
    return at_ms[np.where(latest < 0, places[0], latest)]


def minute_stamps(at_ms: Ints, unit: str = "m") -> pa.Array:
    """Instants as text for an identity, cut to the minute (or `unit`).

    >>> minute_stamps(np.array([1_291_191_960_000]))[0].as_py()
    '2010-12-01T08:26'
    """
    return pa.array(np.datetime_as_string(at_ms.astype("M8[ms]").astype(f"M8[{unit}]")).astype(object), pa.utf8())


def filled(column: pa.Array) -> Bools:
    """Entries the contract takes as a name: 1 to 256 characters, none of them U+0000."""
    chars = pc.utf8_length(column.fill_null("")).to_numpy(zero_copy_only=False)
    zero = pc.match_substring(column.fill_null(""), "\x00").to_numpy(zero_copy_only=False)
    return np.asarray((chars > 0) & (chars <= MOST_TEXT_CHARS) & ~zero, bool)


def absent_or_filled(column: pa.Array) -> Bools:
    """The same for a field that may be left out."""
    return np.asarray(filled(column) | ~np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool))


def payable(price: Floats) -> Bools:
    """Prices the contract takes, and absent ones."""
    return np.asarray(np.isnan(price) | ((price >= 0) & (price <= MOST_MONEY)), bool)
