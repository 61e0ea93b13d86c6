"""Positions as they are published: the JSON of many rows at once, the same bytes as `view.position_data` would give.

A shop sends more of these than of anything else (each changed row once a second), so a row's text is filled into a
template: a dictionary and an encoder for each cost four times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import orjson

from agents.planner.messages import identities
from agents.planner.records import gathered
from agents.planner.shelf import Order, Rows, Shelf
from stream.events.cloudevents import Envelope
from stream.events.instants import text_from_ms as instant
from stream.events.outgoing import Outgoing
from stream.events.public import POSITION_EVENT
from stream.events.units import MILLI, text_from_milli

_DATA = (  # keys in order, as everything outgoing has them
    '{"allocated":%s,"as_of":"%s","available":%s,"in_transit":%s,"location":%s,"next_receipt_at":%s,"on_hand":%s,'
    '"on_order":%s,"order_up_to":%s,"reorder_point":%s,"sku":%s}'
)


def changed(shelf: Shelf, rows: Rows, cause: str, time_ms: int) -> list[Outgoing]:
    """`restock.position.changed` of each row, key sku@location."""
    namespace = shelf.config.namespace
    envelope = Envelope("positions", POSITION_EVENT, f"/restock/{namespace}", instant(time_ms))
    keys = list(map(shelf.keys.__getitem__, rows.tolist()))
    return envelope.messages(keys, identities((namespace, cause), keys, "position"), encoded(shelf, rows))


def encoded(shelf: Shelf, rows: Rows) -> list[bytes]:
    """The data of each row as JSON."""
    h, numbers, place = gathered(shelf.hot, rows), rows.tolist(), cache(_quoted)
    names, orders = list(map(shelf.names.__getitem__, numbers)), shelf.orders
    columns = zip(
        _texts(h["allocated"]),
        map(instant, np.maximum(h["updated_ms"], 0).tolist()),
        _texts(h["on_hand"] - h["allocated"]),
        _texts(h["in_transit"]),
        [place(location) for _, location in names],
        [_next_receipt(orders[row]) if row in orders else "null" for row in numbers],
        _texts(h["on_hand"]),
        _texts(h["on_order"]),
        _texts(h["order_up_to"]),
        _texts(h["reorder_point"]),
        [_quoted(sku) for sku, _ in names],
        strict=True,
    )
    return list(map(str.encode, map(_DATA.__mod__, columns)))


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()


def _texts(milli: Rows) -> Sequence[object]:
    """Quantities as JSON numbers; whole ones, the common case, all at once."""
    whole = milli // MILLI
    return whole.tolist() if bool((whole * MILLI == milli).all()) else [text_from_milli(one) for one in milli.tolist()]


def _next_receipt(orders: Sequence[Order]) -> str:
    expected = [order.expected_ms for order in orders if order.expected_ms > 0]
    return f'"{instant(min(expected))}"' if expected else "null"
