"""Files of shoppers' actions: `carts` by mapping, and the presets `jd-actions` and `rees46`.

One row is one event. Words of the file are mapped to view, add, remove, checkout or order; a word that is mapped to
nothing is refused (`not_a_cart_event`: JD's `follow`). An `order` row becomes an `order.placed` that carries the
cart_id, so that the conversion is joined and not guessed; rows of one cart and instant share the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agents.replay.formats import reading, values
from agents.replay.formats.lines import (
    Bools,
    Ints,
    Lines,
    What,
    absent_or_filled,
    carried_ms,
    filled,
    minute_stamps,
    payable,
)
from agents.replay.formats.options import Options
from agents.replay.formats.orders import cut
from agents.replay.formats.reading import Sheet, shown
from stream.errors import SetupError

FIELDS = ("cart_id", "sku", "action", "occurred_at", "location", "quantity", "unit_price", "customer_id", "session_id")
NEEDED = ("cart_id", "sku", "action", "occurred_at")
ACTIONS = {
    "view": What.ITEM_VIEWED,
    "add": What.ITEM_ADDED,
    "remove": What.ITEM_REMOVED,
    "checkout": What.CHECKED_OUT,
    "order": What.PLACED,
}


@dataclass(frozen=True)
class CartFile:
    """What a preset knows of its file."""

    columns: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=lambda: {word: word for word in ACTIONS})
    timezone: str = "UTC"


CARTS = CartFile()
JD_ACTIONS = CartFile(
    columns={
        "cart_id": "user_id",  # no session is recorded: a shopper has one cart
        "sku": "sku_id",
        "action": "event",
        "occurred_at": "time",
        "customer_id": "user_id",
    },
    actions={
        "browse": "view",
        "click": "view",
        "add_to_cart": "add",
        "remove_from_cart": "remove",
        "order": "order",
    },
    timezone="Asia/Shanghai",
)
REES46 = CartFile(
    columns={
        "cart_id": "user_session",
        "sku": "product_id",
        "action": "event_type",
        "occurred_at": "event_time",
        "unit_price": "price",
        "customer_id": "user_id",
        "session_id": "user_session",
    },
    actions={"view": "view", "cart": "add", "remove_from_cart": "remove", "purchase": "order"},
)


def lines_of_carts(sheet: Sheet, options: Options, file: CartFile = CARTS) -> Lines:
    """Shoppers' actions as lines. Raises SetupError where a needed field is not mapped or an action is unknown."""
    own = {} if file.columns else {name: name for name in FIELDS if name in sheet.table.column_names}
    file = replace(
        file, columns={**own, **file.columns, **options.columns}, actions={**file.actions, **options.actions}
    )
    raw = {name: sheet.column(column) for name, column in _checked(file, sheet).items()}
    n = sheet.table.num_rows
    digest = reading.digests(sheet.table)
    first, copy = reading.repeats(digest)
    what = _whats(raw["action"], file.actions)
    instant = values.instants(raw["occurred_at"], options.timezone or file.timezone, options.time_format)
    at_ms = carried_ms(instant.values, instant.sound)
    milli, whole = values.millis(raw["quantity"]) if "quantity" in raw else (np.full(n, 1000), np.ones(n, bool))
    price, priced = values.prices(raw["unit_price"]) if "unit_price" in raw else (np.full(n, np.nan), np.ones(n, bool))
    cart_id, sku = reading.text(raw["cart_id"]), reading.text(raw["sku"])
    location = (
        reading.text(raw["location"]) if "location" in raw else pa.array([options.location or "main"] * n, pa.utf8())
    )
    people: dict[str, pa.Array] = {
        name: reading.text(raw[name]) for name in ("customer_id", "session_id") if name in raw
    }
    ordered, leaving = what == What.PLACED, what == What.CHECKED_OUT
    event_id, order_id = _identities(ordered, cart_id, at_ms, digest, first)
    return Lines(
        what=what,
        at_ms=at_ms,
        event_id=event_id,
        key=pc.if_else(pa.array(ordered), order_id, cart_id),
        line_id=digest,
        sku=sku,
        location=location,
        milli=milli,
        price=price,
        refusal=np.where(what == What.NOTHING, "not_a_cart_event", ""),
        copy=copy,
        optional={"cart_id": cart_id, **people},
        sound={
            "occurred_at": instant.sound,
            "quantity": leaving | (whole & (milli > 0)),
            "unit_price": ~ordered | (priced & payable(price)),
            "sku": leaving | filled(sku),
            "location": filled(location),
            "key": filled(cart_id) & filled(pc.if_else(pa.array(ordered), order_id, cart_id)),
            **{name: absent_or_filled(column) for name, column in people.items()},
        },
        raw={"quantity": pa.nulls(n), "unit_price": pa.nulls(n), "location": location} | raw | {"key": raw["cart_id"]},
        unreadable_rows=sheet.unreadable_rows,
        sold_at_once=options.sold_at_once,
    )


def _checked(file: CartFile, sheet: Sheet) -> Mapping[str, str]:
    missing = [name for name in NEEDED if name not in file.columns]
    if missing:
        raise SetupError(
            f"no column is mapped to {', '.join(missing)}",
            f"the file has {shown(sheet.table.column_names)}",
            "for example --columns cart_id=session,sku=product,action=event,occurred_at=time",
        )
    unknown = sorted(set(file.actions.values()) - ACTIONS.keys())
    if unknown:
        raise SetupError(f"no such action: {', '.join(unknown)}", hint=f"the actions are {', '.join(ACTIONS)}")
    return file.columns


def _whats(action: pa.Array, actions: Mapping[str, str]) -> npt.NDArray[np.uint8]:
    encoded = reading.text(action).dictionary_encode()
    table = [ACTIONS[actions[word]] if word in actions else What.NOTHING for word in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*table, What.NOTHING], np.uint8)[codes])


def _identities(
    ordered: Bools, cart_id: pa.Array, at_ms: Ints, digest: pa.Array, first: Ints
) -> tuple[pa.Array, pa.Array]:
    """(event_id, order_id): an order is a cart at an instant, any other event is its row."""
    order_id = pc.binary_join_element_wise(cart_id, minute_stamps(at_ms, "ms"), "@")
    event_id = pc.if_else(pa.array(ordered & filled(cart_id)), order_id, digest)
    return cut(event_id, first), order_id
