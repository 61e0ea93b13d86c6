"""Good records of every type, and a corpus of everything that may arrive instead."""

from __future__ import annotations

import copy
import json
from typing import Any

AT = "2026-01-05T10:00:00.000Z"


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"id of {type}", "type": type, "occurred_at": AT, **fields}


LINE = {"line_id": "1", "sku": "A1", "location": "shop", "quantity": 2, "unit_price": 3.5}
ORDER = {"order_id": "o1", "customer_id": "c1", "cart_id": "k1", "channel": "web", "lines": [LINE]}
ITEM = {"cart_id": "k1", "session_id": "s1", "customer_id": "c1", "sku": "A1", "location": "shop", "quantity": 1}
STOCK = {"sku": "A1", "location": "shop", "quantity": 4}
TRANSFER = {**STOCK, "to_location": "mall", "transfer_id": "t1"}
SUPPLY = {**STOCK, "order_ref": "p1", "supplier": "acme", "replenishment_id": "r1"}
TERMS = {
    "supplier": "acme", "lead_days": 7, "lead_days_sd": 1.5, "review_days": 1, "service_level": 0.95,
    "review": "periodic", "cover_days": 14, "service_measure": "fill", "unit_cost": 2,
    "unit_price": 3.5, "order_cost": 20, "holding_cost_rate_year": 0.25, "pack_units": 6, "min_order_units": 12,
    "max_stock_units": 100, "min_stock_units": 3, "frozen_units": 1, "status": "active",
    "launch_on": "2026-01-01", "last_buy_on": "2026-12-31",
}  # fmt: skip
ENTRY = {"entry_id": "e1", "first_day": "2026-02-01", "last_day": "2026-02-14", "name": "sale"}

GOOD: dict[str, list[dict[str, Any]]] = {
    "orders": [
        event("order.placed", **ORDER, fulfilled=True),
        event("order.cancelled", **ORDER),
        event("order.fulfilled", **ORDER),
        event("order.returned", **ORDER),
    ],
    "carts": [
        event("cart.item_viewed", **ITEM),
        event("cart.item_added", **ITEM),
        event("cart.item_removed", **ITEM),
        event("cart.checked_out", cart_id="k1"),
    ],
    "stock-movements": [
        event("stock.received", **STOCK, reference="p1"),
        event("stock.adjusted", **{**STOCK, "quantity": -1.5}),
        event("stock.counted", **{**STOCK, "quantity": 0}),
        event("stock.transfer_shipped", **TRANSFER),
        event("stock.transfer_received", **TRANSFER),
        event("transfer.approved", **TRANSFER),
        event("transfer.cancelled", **TRANSFER),
        event("stock.written_off", **STOCK, reason="broken"),
    ],
    "supply": [
        event("supply.ordered", **SUPPLY, expected_at="2026-01-12T08:00:00+01:00"),
        event("supply.confirmed", **SUPPLY, expected_at="2026-01-12T08:00:00+01:00"),
        event("supply.rescheduled", **SUPPLY, expected_at="2026-01-13T08:00:00+01:00"),
        event("supply.cancelled", **SUPPLY),
    ],
    "catalog": [
        event(
            "catalog.item", sku="A1", name="apple", category="fruit", weight_kg=0.2, volume_m3=0.001,
            shelf_life_days=14, like_sku="A0", successor="A2", share="fair", **TERMS,
        ),
        event("catalog.policy", sku="A1", location="shop", **TERMS),
        event("catalog.location", location="shop", name="Shop", timezone="Europe/Berlin", closed_weekdays=[7]),
        event(
            "catalog.lane", from_location="mall", to_location="shop", lead_days=1, lead_days_sd=0, order_cost=5,
            unit_cost=0.1, capacity_units=100, capacity_weight_kg=500, capacity_volume_m3=2.5,
        ),
        event(
            "catalog.supplier", supplier="acme", name="Acme", confirms=False, lead_days=7, lead_days_sd=2,
            review_days=7, order_cost=20,
        ),
    ],
    "calendar": [
        event(f"calendar.{kind}", **ENTRY, **target, **more)
        for kind, more in (
            ("price", {"unit_price": 2.5}), ("promotion", {"discount_share": 0.2}), ("holiday", {}), ("closure", {})
        )
        for target in ({"sku": "A1", "location": "shop"}, {"category": "fruit"}, {"location": "shop"}, {})
    ],
}  # fmt: skip


def text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def changed(record: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with one field set; Ellipsis takes the field away."""
    new = copy.deepcopy(record)
    place: Any = new
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        place.pop(path[-1])
    else:
        place[path[-1]] = value
    return new


def paths(record: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a record."""
    found = []
    for step, value in record.items() if isinstance(record, dict) else enumerate(record):
        found.append((*at, step))
        if isinstance(value, dict | list):
            found += paths(value, (*at, step))
    return found


PLACED = text(GOOD["orders"][0])
HALF = PLACED.index(b'"order_id"')


def placed(**fields: str) -> bytes:
    """An order whose named values are these raw JSON texts."""
    raw = {name: json.dumps(value) for name, value in GOOD["orders"][0].items()}
    raw.update(fields)
    return ("{" + ",".join(f'"{name}":{value}' for name, value in raw.items()) + "}").encode()


def with_line(**fields: str) -> bytes:
    """An order whose line's named values are these raw JSON texts."""
    raw = {name: json.dumps(value) for name, value in LINE.items()}
    raw.update(fields)
    return placed(lines="[{" + ",".join(f'"{name}":{value}' for name, value in raw.items()) + "}]")


# Texts that have fooled one JSON reader or another. Whether each is good is for `read_one` to say.
ODD_ORDERS: list[bytes | None] = [
    None,
    b"",
    b" ",
    b"\n",
    b"null",
    b"true",
    b"1",
    b'"x"',
    b"[]",
    b"{}",
    b"[" + PLACED + b"]",
    PLACED[:HALF],
    PLACED[HALF:],
    b"{" + PLACED[HALF:],
    PLACED[:-1],
    PLACED + b"}",
    PLACED + PLACED,
    PLACED + b"\n" + PLACED,
    PLACED + b"," + PLACED,
    PLACED + b',"x":{"y":1}',
    PLACED + b'],"x":[1',
    PLACED + b" \r\n\t",
    b" \r\n\t" + PLACED,
    PLACED + b"\x00",
    b"\x00" + PLACED,
    PLACED + b"\x0c",
    b"\xef\xbb\xbf" + PLACED,
    PLACED.decode().encode("utf-16"),
    PLACED.decode().encode("utf-16-le"),
    PLACED.replace(b",", b",\n"),
    PLACED.replace(b"{", b"/*c*/{"),
    PLACED[:-1] + b",}",
    PLACED.replace(b'"', b"'"),
    placed(x="NaN"),
    placed(x="Infinity"),
    placed(x="-Infinity"),
    placed(x="1e400"),
    placed(x="-1e400"),
    placed(x="1e-400"),
    placed(x="12345678901234567890e300"),
    placed(x="1e99999999999999999999"),
    placed(x="0e99999999999999999999"),
    placed(x="9" * 400),
    placed(x="9" * 4200),
    placed(x="9" * 4301),
    placed(x="9" * 5000),
    placed(x="0." + "0" * 5000 + "1"),
    placed(x="01"),
    placed(x="1."),
    placed(x=".5"),
    placed(x="+1"),
    placed(x="-"),
    placed(x="tru"),
    placed(x="True"),
    placed(x="[" * 100 + "]" * 100),
    placed(x="[" * 185 + "]" * 185),
    placed(x="[" * 198 + "]" * 198),
    placed(x="[" * 199 + "]" * 199),
    placed(x="[" * 200 + "]" * 200),
    placed(x="[" * 201 + "]" * 201),
    placed(x="[" * 300 + "]" * 300),
    placed(x="[" * 900 + "]" * 900),
    placed(x="[" * 5000 + "]" * 5000),
    placed(x="[" * 100_000),
    placed(x='{"a":' * 199 + "1" + "}" * 199),
    placed(x="[" + "{}," * 300 + "{}]"),
    placed(x='"' + "[" * 300 + '"'),
    placed(x='"\\ud800"'),
    placed(x='"\\udc00"'),
    placed(x='"\\udc00\\ud800"'),
    placed(x='"\\ud83d\\ude00"'),
    placed(x='"\\x41"'),
    placed(x='"\\u00"'),
    placed(x='"\x01"'),
    placed(x='"tab\there"'),
    placed(x='"line\nbreak"'),
    placed(x='"a"').replace(b'"a"', b'"\xff"'),
    placed(x='"a"').replace(b'"a"', b'"\xc3"'),
    placed(x='"a"').replace(b'"a"', b'"\xed\xa0\x80"'),
    placed(x='"a"').replace(b'"a"', b'"\xc0\x80"'),
    placed(x='"a"').replace(b'"a"', b'"\xf4\x90\x80\x80"'),
    PLACED[:-1] + b',"order_id":"o2"}',
    PLACED[:-1] + b',"order_id":null}',
    PLACED[:-1] + b',"order_id":7}',
    PLACED[:-1] + b',"x":1,"x":2}',
    PLACED[:-1] + b',"lines":[]}',
    PLACED[:-1] + b',"order_\\u0069d":"o3"}',
    PLACED.replace(b'"order_id"', b'"order_\\u0069d"'),
    PLACED.replace(b'"order_id"', b'"Order_id"'),
    PLACED.replace(b'"order_id"', b'"order_id\\u0000"'),
    with_line(quantity='"1"'),
    with_line(quantity="true"),
    with_line(quantity="null"),
    with_line(quantity="0"),
    with_line(quantity="-0"),
    with_line(quantity="-0.0"),
    with_line(quantity="-1"),
    with_line(quantity="1.0"),
    with_line(quantity="1e0"),
    with_line(quantity="1E+2"),
    with_line(quantity="10e-1"),
    with_line(quantity="0.001"),
    with_line(quantity="1e-3"),
    with_line(quantity="0.0001"),
    with_line(quantity="1.0005"),
    with_line(quantity="1.0000000000000000000000001"),
    with_line(quantity="0.1000000000000000055511151231257827021181583404541015625"),
    with_line(quantity="999999999.999"),
    with_line(quantity="1e9"),
    with_line(quantity="1000000000.001"),
    with_line(quantity="1e400"),
    with_line(quantity="1e-400"),
    with_line(quantity="NaN"),
    with_line(quantity="9" * 400),
    with_line(quantity="9" * 30),
    with_line(quantity="[1]"),
    with_line(quantity="{}"),
    with_line(unit_price="0"),
    with_line(unit_price="-0.0"),
    with_line(unit_price="-0.01"),
    with_line(unit_price="null"),
    with_line(unit_price="1e12"),
    with_line(unit_price="1000000000001"),
    with_line(unit_price="0.30000000000000004441"),
    with_line(unit_price='"1"'),
    with_line(unit_price="1e400"),
    with_line(sku='""'),
    with_line(sku='" "'),
    with_line(sku='"a\\u0000b"'),
    with_line(sku='"' + "x" * 256 + '"'),
    with_line(sku='"' + "x" * 257 + '"'),
    with_line(sku='"' + "\U0001f600" * 256 + '"'),
    with_line(sku='"' + "\U0001f600" * 257 + '"'),
    with_line(sku="7"),
    with_line(line_id='"a\\u0000b"'),
    with_line(line_id="null"),
    with_line(location='"\\ud83d\\ude00"'),
    with_line(x="1e400"),
    with_line(x='{"sku":"B2"}'),
    placed(lines="[]"),
    placed(lines="null"),
    placed(lines="{}"),
    placed(lines="[null]"),
    placed(lines="[1]"),
    placed(lines="[[]]"),
    placed(lines="[{}]"),
    placed(lines=json.dumps([LINE, None])),
    placed(lines=json.dumps([LINE, LINE])),
    placed(lines=json.dumps([LINE, {**LINE, "line_id": "2"}])),
    placed(lines=json.dumps([{**LINE, "line_id": str(i)} for i in range(150)])),
    placed(lines=json.dumps([{**LINE, "line_id": str(i)} for i in range(250)])),
    placed(lines=json.dumps([{**LINE, "line_id": str(i)} for i in range(150)] + [LINE])),
    placed(fulfilled="false"),
    placed(fulfilled="null"),
    placed(fulfilled="1"),
    placed(fulfilled='"true"'),
    placed(type='"order.cancelled"'),
    placed(type='"order.cancelled"', fulfilled='"maybe"'),
    placed(type='"order.exploded"'),
    placed(type='"cart.item_added"'),
    placed(type='"clock.tick"'),
    placed(type="null"),
    placed(type="7"),
    placed(type="[]"),
    placed(event_id='"a\\u0000b"'),
    placed(event_id='""'),
    placed(event_id="{}"),
    placed(customer_id="7"),
    placed(customer_id='""'),
    placed(customer_id="null"),
    placed(cart_id="null"),
    placed(cart_id="[]"),
    placed(channel="null"),
    placed(occurred_at='"2026-01-05"'),
    placed(occurred_at='"2026-01-05T10:00:00"'),
    placed(occurred_at='"2026-01-05 10:00:00Z"'),
    placed(occurred_at='"2026-01-05T10:00Z"'),
    placed(occurred_at='"2026-02-29T10:00:00Z"'),
    placed(occurred_at='"2026-01-05T24:00:00Z"'),
    placed(occurred_at='"2026-12-31T23:59:60Z"'),
    placed(occurred_at='"2026-01-05T10:00:00.Z"'),
    placed(occurred_at='"2026-01-05T10:00:00.1234567891Z"'),
    placed(occurred_at='"1969-12-31T23:59:59Z"'),
    placed(occurred_at='"2200-01-01T00:00:00Z"'),
    placed(occurred_at='"2026-01-05T10:00:00+25:00"'),
    placed(occurred_at='"\\u0662026-01-05T10:00:00Z"'),
    placed(occurred_at='"٢026-01-05T10:00:00Z"'),
    placed(occurred_at="1767607200"),
    placed(occurred_at="null"),
]
HUGE_ORDERS: list[bytes | None] = [
    placed(x='"' + "y" * 500_000 + '"'),
    b"x" * 10_000_000,
    placed(x='"' + "y" * 10_000_000 + '"'),
]
