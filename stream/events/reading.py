"""One record at a time, by pydantic: the authority on what is accepted, and the one that says what is wrong.

`columnar.read` does the same to whole batches; whatever it accepts, this accepts with the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json
from xxhash import xxh3_64_intdigest

from stream.events import public
from stream.events.facts import fact_text, home_of, key_of, key_text, parse_key
from stream.events.instants import parse_ms
from stream.events.kinds import Flag, Kind
from stream.events.refusals import Reason, Refusal, from_validation, refusal
from stream.events.units import milli_from_number

TICK: Final = "clock.tick"
COMPACTED: Final = frozenset({"catalog", "calendar"})

KINDS: Final[dict[str, Kind]] = {
    "order.placed": Kind.ORDER_PLACED,
    "order.cancelled": Kind.ORDER_CANCELLED,
    "order.fulfilled": Kind.ORDER_FULFILLED,
    "order.returned": Kind.ORDER_RETURNED,
    "cart.item_viewed": Kind.CART_VIEWED,
    "cart.item_added": Kind.CART_ADDED,
    "cart.item_removed": Kind.CART_REMOVED,
    "cart.checked_out": Kind.CART_CHECKED_OUT,
    "stock.received": Kind.STOCK_RECEIVED,
    "stock.adjusted": Kind.STOCK_ADJUSTED,
    "stock.counted": Kind.STOCK_COUNTED,
    "stock.transfer_shipped": Kind.TRANSFER_LEFT,
    "stock.transfer_received": Kind.TRANSFER_ARRIVED,
    "stock.written_off": Kind.STOCK_WRITTEN_OFF,
    "transfer.approved": Kind.TRANSFER_APPROVED,
    "transfer.cancelled": Kind.TRANSFER_CANCELLED,
    "supply.ordered": Kind.SUPPLY_ORDERED,
    "supply.confirmed": Kind.SUPPLY_CONFIRMED,
    "supply.rescheduled": Kind.SUPPLY_RESCHEDULED,
    "supply.cancelled": Kind.SUPPLY_CANCELLED,
}
_KIND_OF: Final = {
    model: KINDS[name] for models in public.INCOMING.values() for name, model in models.items() if name in KINDS
}
REFERENCE_FIELDS: Final = ("reference", "transfer_id", "reason", "order_ref")  # a type has at most one of them
COMING_LINE: Final = "coming"  # stands for line_id in a transfer's second row, the one where it arrives
AT_BOTH_ENDS: Final = (public.TransferShipped, public.TransferApproved, public.TransferCancelled)


class Row(NamedTuple):
    """One row without its source coordinates; names and units as in `rows.SCHEMA`."""

    line: int
    kind: int
    sku: str
    location: str
    milli: int = 0
    event_hash: int = 0
    order_hash: int = 0
    cart_hash: int = 0
    price: float = nan
    flags: int = 0
    expected_ms: int = 0
    reference: str | None = None
    replenishment_id: str | None = None
    supplier: str | None = None
    fact: str | None = None
    raw: bytes | None = None


@dataclass(frozen=True)
class Said:
    """An accepted record. A tick has no rows; a tombstone has no time of its own."""

    occurred_ms: int | None
    rows: tuple[Row, ...]


def hash_of(name: str, part: str) -> int:
    """xxh3_64 of a name and a part of it, U+0000 between; names do not hold that character.

    >>> hash_of("order 1", "line 1") == hash_of("order 1", "line 2")
    False
    """
    return xxh3_64_intdigest(f"{name}\x00{part}".encode())


def cart_hash_of(cart_id: str) -> int:
    """xxh3_64 of a cart's name."""
    return xxh3_64_intdigest(cart_id.encode())


def read_one(topic: str, key: bytes | None, value: bytes | None, most_bytes: int) -> Said | Refusal:
    """What one record of a topic (short name) says, or why it is refused."""
    if value is None:
        return _gone(topic, key) if topic in COMPACTED else refusal(Reason.TOMBSTONE, f"{topic} has nothing to delete")
    if len(value) > most_bytes:
        return refusal(Reason.TOO_LARGE, f"{len(value):,} bytes; at most {most_bytes:,}")
    event = _event(topic, value)
    if isinstance(event, Refusal):
        return event
    if isinstance(event, public.Fact) and key != key_text(key_of(event.__dict__)).encode():
        return refusal(Reason.KEY_MISMATCH, f"the record's key must be {key_text(key_of(event.__dict__))}")
    return Said(parse_ms(event.occurred_at), rows_of(event, value))


def _event(topic: str, value: bytes) -> public.Event | Refusal:
    try:
        said = from_json(value, allow_inf_nan=False)
    except ValueError as wrong:
        return refusal(Reason.NOT_JSON, str(wrong))
    if not isinstance(said, dict):
        return refusal(Reason.NOT_AN_OBJECT, f"the record is a JSON {_json_kind(said)}")
    kind = said.get("type")
    if not isinstance(kind, str):
        if kind is None:
            return refusal(Reason.MISSING_FIELD, "type: is null" if "type" in said else "type: is missing")
        return refusal(Reason.WRONG_TYPE, f"type: should be a string, not a JSON {_json_kind(kind)}")
    model = public.Tick if kind == TICK else public.INCOMING[topic].get(kind)
    if model is None:
        return refusal(Reason.UNKNOWN_TYPE, f"type: {kind[:100]!r} is none of {', '.join(public.INCOMING[topic])}")
    try:
        return model.model_validate(said)
    except ValidationError as wrong:
        return from_validation(wrong)


def _json_kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return kinds.get(type(value), "object")


def _gone(topic: str, key: bytes | None) -> Said | Refusal:
    """A tombstone of a compacted topic. Its event id is its key: there is nothing else that names it."""
    try:
        parts = parse_key(key or b"", topic)
    except ValueError as wrong:
        return refusal(Reason.KEY_MISMATCH, f"the record's key is {wrong}")
    home = home_of(parts)
    return Said(None, (Row(0, Kind.FACT_GONE, home.sku, home.location, fact=key_text(parts)),))


def rows_of(event: public.Event, value: bytes) -> tuple[Row, ...]:
    """The rows an accepted event becomes; `value` is the record it came in."""
    if isinstance(event, public.OrderEvent):
        return _order_rows(event)
    if isinstance(event, public.CartEvent):
        return (_cart_row(event),)
    if isinstance(event, public.MovementEvent):
        return _movement_rows(event, value)
    if isinstance(event, public.SupplyEvent):
        return (_supply_row(event),)
    if isinstance(event, public.Fact):
        home = home_of(key_of(event.__dict__))
        own = hash_of(event.event_id, "")
        return (Row(0, Kind.FACT, home.sku, home.location, event_hash=own, fact=fact_text(event)),)
    return ()


def _order_rows(event: public.OrderEvent) -> tuple[Row, ...]:
    kind = _KIND_OF[type(event)]
    at_once = isinstance(event, public.OrderPlaced) and event.fulfilled is True
    cart = 0 if event.cart_id is None else cart_hash_of(event.cart_id)
    return tuple(
        Row(
            line=number,
            kind=kind,
            sku=line.sku,
            location=line.location,
            milli=milli_from_number(line.quantity),
            event_hash=hash_of(event.event_id, line.line_id),
            order_hash=hash_of(event.order_id, line.line_id),
            cart_hash=cart,
            price=nan if line.unit_price is None else line.unit_price,
            flags=Flag.SOLD_AT_ONCE if at_once else 0,
        )
        for number, line in enumerate(event.lines)
    )


def _cart_row(event: public.CartEvent) -> Row:
    own, cart = hash_of(event.event_id, ""), cart_hash_of(event.cart_id)
    if not isinstance(event, public.CartItemEvent):
        return Row(0, Kind.CART_CHECKED_OUT, "", "", event_hash=own, cart_hash=cart)
    kind, milli = _KIND_OF[type(event)], milli_from_number(event.quantity)
    return Row(0, kind, event.sku, event.location or "", milli, own, cart_hash=cart)


def _movement_rows(event: public.MovementEvent, value: bytes) -> tuple[Row, ...]:
    said: Any = event
    row = Row(
        line=0,
        kind=_KIND_OF[type(event)],
        sku=event.sku,
        location=event.location,
        milli=milli_from_number(said.quantity),
        event_hash=hash_of(event.event_id, ""),
        reference=_reference(said),
        raw=value if isinstance(event, public.StockCounted) else None,
    )
    if isinstance(event, public.TransferReceived):
        return (row._replace(location=event.to_location),)
    if isinstance(event, AT_BOTH_ENDS):
        there = row._replace(line=1, location=event.to_location, event_hash=hash_of(event.event_id, COMING_LINE))
        if isinstance(event, public.TransferShipped):
            return row, there._replace(kind=Kind.TRANSFER_COMING)
        return row._replace(flags=Flag.OUTBOUND), there
    return (row,)


def _supply_row(event: public.SupplyEvent) -> Row:
    expected = getattr(event, "expected_at", None)
    return Row(
        line=0,
        kind=_KIND_OF[type(event)],
        sku=event.sku,
        location=event.location,
        milli=milli_from_number(event.quantity),
        event_hash=hash_of(event.event_id, ""),
        expected_ms=0 if expected is None else parse_ms(expected),
        reference=_reference(event),
        replenishment_id=event.replenishment_id,
        supplier=event.supplier,
    )


def _reference(event: Any) -> str | None:
    return next((getattr(event, name) for name in REFERENCE_FIELDS if hasattr(event, name)), None)
