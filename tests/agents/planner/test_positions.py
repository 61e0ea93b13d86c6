"""Positions in text are what an encoder makes of their data."""

from __future__ import annotations

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from agents.planner import positions
from agents.planner.messages import identity
from agents.planner.shelf import Order, Shelf
from agents.planner.view import position_data
from stream.events.cloudevents import outgoing_event
from tests.agents.planner.worlds import config

NUMBERS = ("on_hand", "allocated", "on_order", "in_transit", "reorder_point", "order_up_to")
milli = st.one_of(st.integers(-(10**12), 10**12), st.integers(-(10**9), 10**9).map(lambda units: units * 1000))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
rows = st.tuples(
    names,
    names,
    st.lists(milli, min_size=len(NUMBERS), max_size=len(NUMBERS)),
    st.integers(-1, 2 * 10**12),
    st.lists(st.integers(0, 2 * 10**12), max_size=3),
)


@given(st.lists(rows, min_size=1, max_size=5, unique_by=lambda row: row[:2]))
def test_a_position_in_text_is_its_data_encoded(drawn):
    """Whatever the names, quantities and expected receipts of rows: the bytes of one encoder a message."""
    shelf = Shelf(config())
    for sku, location, values, at_ms, expected in drawn:
        row = shelf.row_of(sku, location, 0)
        for name, value in zip(NUMBERS, values, strict=True):
            shelf.hot[name][row] = value
        shelf.hot["updated_ms"][row] = at_ms
        if expected:
            shelf.orders[row] = [Order("R", "confirmed", 1, 1, 0, expected_ms=ms) for ms in expected]
    every = np.arange(shelf.n)
    said = positions.changed(shelf, every, "mark-0-7", 1_700_000_000_123)
    for row, data in enumerate(position_data(shelf, every)):
        key, namespace = shelf.keys[row].decode(), shelf.config.namespace
        ce_id = identity(namespace, "mark-0-7", key, "position")
        one = outgoing_event(
            "positions", key, "restock.position.changed", ce_id, f"/restock/{namespace}", 1_700_000_000_123, key, data
        )
        assert said[row] == one
        assert said[row].value == orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
