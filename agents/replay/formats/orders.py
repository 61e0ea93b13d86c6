"""Any file of order lines: `--columns` says which column is which field.

Rows of the same order and instant are one `order.placed`. Without an order column each row is an order of its own;
without a line column a row's identity is the digest of all its columns, so that an exact copy is a repeat.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agents.replay.formats import reading, values
from agents.replay.formats.lines import Ints, Lines, What, absent_or_filled, carried_ms, filled, minute_stamps, payable
from agents.replay.formats.options import Options
from agents.replay.formats.reading import Sheet, shown
from agents.replay.formats.records import EVENT_LINES
from stream.errors import SetupError

FIELDS = ("order_id", "sku", "location", "quantity", "occurred_at", "unit_price", "customer_id", "cart_id", "line_id")
NEEDED = ("sku", "quantity", "occurred_at")


def lines_of_orders(sheet: Sheet, options: Options) -> Lines:
    """Order lines by `options.columns`; a column with a field's own name needs no mapping.

    Raises SetupError where a needed field has no column.
    """
    columns = {name: name for name in FIELDS if name in sheet.table.column_names} | dict(options.columns)
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise SetupError(
            f"no column is mapped to {', '.join(missing)}",
            f"the file has {shown(sheet.table.column_names)}",
            "for example --columns order_id=InvoiceNo,sku=StockCode,quantity=Quantity,occurred_at=InvoiceDate",
        )
    raw = {name: sheet.column(column) for name, column in columns.items()}
    n = sheet.table.num_rows
    digest = reading.digests(sheet.table)
    first, copy = reading.repeats(digest)
    instant = values.instants(raw["occurred_at"], options.timezone or "UTC", options.time_format)
    at_ms = carried_ms(instant.values, instant.sound)
    milli, whole = values.millis(raw["quantity"])
    price, priced = values.prices(raw["unit_price"]) if "unit_price" in raw else (np.full(n, np.nan), np.ones(n, bool))
    order_id = reading.text(raw["order_id"]) if "order_id" in raw else digest
    sku = reading.text(raw["sku"])
    location = (
        reading.text(raw["location"]) if "location" in raw else pa.array([options.location or "main"] * n, pa.utf8())
    )
    line_id = reading.text(raw["line_id"]) if "line_id" in raw else digest
    optional: dict[str, pa.Array] = {
        name: reading.text(raw[name]) for name in ("customer_id", "cart_id") if name in raw
    }
    sound = {
        "occurred_at": instant.sound,
        "quantity": whole & (milli > 0),
        "unit_price": priced & payable(price),
        "sku": filled(sku),
        "location": filled(location),
        "key": filled(order_id),
        "line_id": filled(line_id),
        **{name: absent_or_filled(column) for name, column in optional.items()},
    }
    raw_values = {"unit_price": pa.nulls(n), "location": location, "key": order_id, "line_id": line_id} | raw
    return Lines(
        what=np.full(n, What.PLACED, np.uint8),
        at_ms=at_ms,
        event_id=_event_ids(order_id, at_ms, first, digest),
        key=order_id,
        line_id=line_id,
        sku=sku,
        location=location,
        milli=milli,
        price=price,
        refusal=np.full(n, "", "U1"),
        copy=copy,
        optional=optional,
        sound=sound,
        raw=raw_values | ({"key": raw["order_id"]} if "order_id" in raw else {}),
        unreadable_rows=sheet.unreadable_rows,
        sold_at_once=options.sold_at_once,
    )


def _event_ids(order_id: pa.Array, at_ms: Ints, first: Ints, digest: pa.Array) -> pa.Array:
    """One identity per order and instant; a copy has that of the first; long orders are cut."""
    base = pc.binary_join_element_wise(order_id, minute_stamps(at_ms, "ms"), "@")
    return cut(pc.if_else(base.is_valid(), base, digest), first)


def cut(event_id: pa.Array, first: Ints) -> pa.Array:
    """Identities with `/1`, `/2`, ... after each EVENT_LINES first-seen lines; copies follow their first."""
    event_id = _short(event_id)
    part = reading.rank_within(np.where(first == np.arange(len(first)), reading.codes_of(event_id), -1)) // EVENT_LINES
    part = part[first]
    if not np.any(part > 0):
        return event_id
    suffixed = pc.binary_join_element_wise(event_id, pa.array(part).cast(pa.utf8()), "/")
    return pc.if_else(pa.array(part > 0), suffixed, event_id)


def _short(event_id: pa.Array) -> pa.Array:
    """Identities of at most 200 characters: what is longer goes by its digest."""
    long = pc.greater(pc.utf8_length(event_id), 200)
    if not pc.any(long).as_py():
        return event_id
    return pc.if_else(long, reading.digests(pa.table({"event_id": event_id})), event_id)
