"""The public contract: every event and fact that comes in, every message that goes out, field by field.

These models are the one source of the JSON Schemas, of the AsyncAPI document and of what intake accepts. They are
written as the JSON is (times as text, quantities as decimal numbers); rows hold the inside forms.

What is accepted: unknown fields are ignored; an optional field may be absent or null; everything else must be there
with exactly its JSON type. `"1"` and `true` are not numbers.
"""

from __future__ import annotations

import importlib.resources
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from stream.events import instants, units

MOST_TEXT_CHARS = 256
MOST_MONEY = 1e12  # a price or cost; more is a mistake, and sums of rows stay exact far beyond
MOST_DAYS = 3650.0
MOST_SPAN_DAYS = 3660  # of one calendar entry

# --- what a value may be -------------------------------------------------------------------------------------------


def _identifier(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("bad_value", "must not hold the character U+0000")
    return text


def _instant(text: str) -> str:
    try:
        instants.parse_ms(text)
    except ValueError as wrong:
        raise PydanticCustomError("bad_time", "{wrong}", {"wrong": str(wrong)}) from wrong
    return text


def _day(text: str) -> str:
    try:
        instants.parse_day(text)
    except ValueError as wrong:
        raise PydanticCustomError("bad_time", "{wrong}", {"wrong": str(wrong)}) from wrong
    return text


def _decimal(number: float) -> float:
    try:
        units.milli_from_number(number)
    except ValueError as wrong:
        raise PydanticCustomError("bad_quantity", "{wrong}", {"wrong": str(wrong)}) from wrong
    return number


def _positive(number: float) -> float:
    if number <= 0:
        raise PydanticCustomError("bad_quantity", "must be above zero")
    return _decimal(number)


def _not_negative(number: float) -> float:
    if number < 0:
        raise PydanticCustomError("bad_quantity", "must not be below zero")
    return _decimal(number)


def _not_zero(number: float) -> float:
    if number == 0:
        raise PydanticCustomError("bad_quantity", "must not be zero")
    return _decimal(number)


def _zone(name: str) -> str:
    if name not in known_zones():
        raise PydanticCustomError("bad_value", "is not a time zone of the tz database, like Europe/London")
    return name


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """Every time zone name of the pinned tz database; what the machine has installed does not matter."""
    return frozenset(importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


_DECIMALS = "a decimal number of units, at most three decimals"

Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT_CHARS)]  # any characters: SKUs, locations, names
Id = Annotated[Text, AfterValidator(_identifier)]  # goes into hashes, two at a time with U+0000 between
Instant = Annotated[
    str, AfterValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339"})
]
Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Zone = Annotated[
    str, AfterValidator(_zone), WithJsonSchema({"type": "string", "description": "a name of the tz database"})
]


def _number(**limits: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", **limits})


_TOP = units.MOST_UNITS
Quantity = Annotated[float, AfterValidator(_positive), _number(exclusiveMinimum=0, maximum=_TOP, description=_DECIMALS)]
Count = Annotated[float, AfterValidator(_not_negative), _number(minimum=0, maximum=_TOP, description=_DECIMALS)]
Change = Annotated[
    float,
    AfterValidator(_not_zero),
    WithJsonSchema(
        {
            "type": "number",
            "minimum": -_TOP,
            "maximum": _TOP,
            "not": {"const": 0},
            "description": f"signed; {_DECIMALS}",
        }
    ),
]
Money = Annotated[float, Field(ge=0, le=MOST_MONEY)]
Days = Annotated[float, Field(ge=0, le=MOST_DAYS)]
Share = Annotated[float, Field(gt=0, lt=1)]
Amount = Annotated[float, Field(ge=0, le=1e9)]  # weight, volume


class Model(BaseModel):
    """Strict: no value is turned into another type to fit."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, ser_json_inf_nan="null")


class Event(Model):
    """What every event says."""

    event_id: Id = Field(description="names the event for ever: the same id again is the same event, and is dropped")
    occurred_at: Instant = Field(description="when it happened, by the clock of whoever saw it")


class Tick(Event):
    """Event time has come this far in this partition. Only where the installation runs by the event clock (replays)."""

    type: Literal["clock.tick"]


# --- orders --------------------------------------------------------------------------------------------------------


class OrderLine(Model):
    """One line of an order."""

    line_id: Id = Field(description="names the line within the order; an order does not use it twice")
    sku: Text
    location: Text = Field(description="where it is sold from")
    quantity: Quantity
    unit_price: Money | None = Field(None, description="money a unit, in the installation's currency")


class OrderEvent(Event):
    """What every order event says. Each carries the lines it is about."""

    order_id: Id
    customer_id: Id | None = None
    cart_id: Id | None = Field(None, description="the cart it came from: joins carts to orders")
    channel: Text | None = Field(None, description="web, shop, market place ...")
    lines: list[OrderLine] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_line_once(self) -> Self:
        seen: set[str] = set()
        for line in self.lines:
            if line.line_id in seen:
                raise PydanticCustomError("bad_value", "lines: line_id {id} is there twice", {"id": repr(line.line_id)})
            seen.add(line.line_id)
        return self


class OrderPlaced(OrderEvent):
    """A customer wants these lines."""

    type: Literal["order.placed"]
    fulfilled: bool | None = Field(None, description="true: sold from stock at once, as over a counter")


class OrderCancelled(OrderEvent):
    """These lines are not wanted any more."""

    type: Literal["order.cancelled"]


class OrderFulfilled(OrderEvent):
    """These lines left the shelf."""

    type: Literal["order.fulfilled"]


class OrderReturned(OrderEvent):
    """These lines came back and can be sold again."""

    type: Literal["order.returned"]


# --- carts ---------------------------------------------------------------------------------------------------------


class CartEvent(Event):
    """What every cart event says."""

    cart_id: Id


class CartItemEvent(CartEvent):
    """An item of a cart."""

    session_id: Id | None = None
    customer_id: Id | None = None
    sku: Text
    location: Text | None = Field(None, description="absent: no location yet")
    quantity: Quantity


class CartItemViewed(CartItemEvent):
    """Somebody looked at an item."""

    type: Literal["cart.item_viewed"]


class CartItemAdded(CartItemEvent):
    """An item went into a cart."""

    type: Literal["cart.item_added"]


class CartItemRemoved(CartItemEvent):
    """An item left a cart."""

    type: Literal["cart.item_removed"]


class CartCheckedOut(CartEvent):
    """The cart became an order."""

    type: Literal["cart.checked_out"]


# --- stock movements -----------------------------------------------------------------------------------------------


class MovementEvent(Event):
    """What every movement says."""

    sku: Text
    location: Text = Field(description="where the stock is; of a transfer, where it comes from")


class StockReceived(MovementEvent):
    """Goods came in."""

    type: Literal["stock.received"]
    quantity: Quantity
    reference: Id | None = Field(None, description="the order_ref of the supply order; absent: the oldest open one")


class StockAdjusted(MovementEvent):
    """A correction, up or down."""

    type: Literal["stock.adjusted"]
    quantity: Change


class StockCounted(MovementEvent):
    """Somebody counted: this is what was there at occurred_at."""

    type: Literal["stock.counted"]
    quantity: Count


class TransferEvent(MovementEvent):
    """Stock on its way between two locations."""

    to_location: Text
    transfer_id: Id
    quantity: Quantity

    @model_validator(mode="after")
    def _two_places(self) -> Self:
        if self.to_location == self.location:
            raise PydanticCustomError("bad_value", "to_location: is the location it comes from")
        return self


class TransferShipped(TransferEvent):
    """It left `location`; it is in transit to `to_location`."""

    type: Literal["stock.transfer_shipped"]


class TransferReceived(TransferEvent):
    """It arrived at `to_location`."""

    type: Literal["stock.transfer_received"]


class TransferApproved(TransferEvent):
    """Somebody agreed to a proposed transfer; `quantity` is what will be sent, perhaps another one than proposed."""

    type: Literal["transfer.approved"]


class TransferCancelled(TransferEvent):
    """`quantity` of a transfer that is not shipped yet will not be sent."""

    type: Literal["transfer.cancelled"]


class StockWrittenOff(MovementEvent):
    """Broken, expired, lost."""

    type: Literal["stock.written_off"]
    quantity: Quantity
    reason: Text | None = None


# --- supply --------------------------------------------------------------------------------------------------------


class SupplyEvent(Event):
    """What every supply event says."""

    order_ref: Id = Field(description="the supply order's name; with SKU and location it names one open order")
    supplier: Text | None = None
    sku: Text
    location: Text
    quantity: Quantity = Field(description="the units this is about")
    replenishment_id: Id | None = Field(
        None, description="the replenishment it answers; absent: ordered outside Restock"
    )


class SupplyOrdered(SupplyEvent):
    """An order went to a supplier."""

    type: Literal["supply.ordered"]
    expected_at: Instant | None = Field(None, description="when it should arrive, if already known")


class SupplyConfirmed(SupplyEvent):
    """The supplier will deliver."""

    type: Literal["supply.confirmed"]
    expected_at: Instant


class SupplyRescheduled(SupplyEvent):
    """It will arrive at another time."""

    type: Literal["supply.rescheduled"]
    expected_at: Instant


class SupplyCancelled(SupplyEvent):
    """It will not come."""

    type: Literal["supply.cancelled"]


# --- catalog -------------------------------------------------------------------------------------------------------


class Terms(Model):
    """How a SKU is bought and kept. Each may be said for the SKU (item) and again for one location of it (policy)."""

    supplier: Text | None = None
    lead_days: Days | None = Field(None, description="from order to receipt, mean")
    lead_days_sd: Days | None = Field(None, description="from order to receipt, standard deviation")
    review_days: Days | None = Field(None, description="between two chances to order; 0: at any time")
    review: Literal["continuous", "periodic"] | None = Field(
        None, description="periodic: orders only when a day closes, every review_days; absent: continuous"
    )
    cover_days: Days | None = Field(
        None, description="an order brings this many days of demand beyond the reorder point; 0: up to it"
    )
    service_level: Share | None = Field(None, description="what service_measure names is to reach it")
    service_measure: Literal["cycle", "fill"] | None = Field(
        None, description="cycle: chance not to run out in a cycle; fill: share of demand served; absent: cycle"
    )
    unit_cost: Money | None = None
    unit_price: Money | None = None
    order_cost: Money | None = Field(None, description="money an order, whatever its size")
    holding_cost_rate_year: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="yearly cost of keeping a unit, as a share of unit_cost"
    )
    pack_units: Quantity | None = Field(None, description="ordered in whole packs of this size")
    min_order_units: Count | None = Field(None, description="the least that can be ordered")
    max_stock_units: Count | None = Field(None, description="never order above this")
    min_stock_units: Count | None = Field(
        None, description="transfers leave at least this, and bring it where it lacks"
    )
    frozen_units: Count | None = Field(
        None, description="not to be sent to other locations, whatever it is worth there"
    )
    status: Literal["new", "active", "phase_out", "do_not_stock"] | None = None
    launch_on: Day | None = Field(None, description="first day it is sold")
    last_buy_on: Day | None = Field(None, description="last day it can be ordered")


class Fact(Event):
    """What every fact says. The record's key names the fact; a later record with that key replaces it."""


class ItemFact(Fact, Terms):
    """A SKU, wherever it is kept."""

    type: Literal["catalog.item"]
    sku: Text
    name: Text | None = None
    category: Text | None = None
    weight_kg: Amount | None = None
    volume_m3: Amount | None = None
    shelf_life_days: Days | None = None
    like_sku: Text | None = Field(None, description="learn from this SKU while there is no history")
    successor: Text | None = Field(None, description="the SKU that takes over its demand")
    share: Literal["marginal", "fair"] | None = Field(
        None, description="how scarce stock is shared by transfers: where it earns most (absent), or by days of cover"
    )


class PolicyFact(Fact, Terms):
    """A SKU at one location: what is said here goes before what the item says."""

    type: Literal["catalog.policy"]
    sku: Text
    location: Text


class LocationFact(Fact):
    """A shop or warehouse."""

    type: Literal["catalog.location"]
    location: Text
    name: Text | None = None
    timezone: Zone | None = Field(None, description="cuts its days; absent: UTC")
    closed_weekdays: list[Annotated[int, Field(ge=1, le=7)]] | None = Field(
        None, max_length=7, description="1 Monday to 7 Sunday"
    )


class LaneFact(Fact):
    """A way to move stock between two locations."""

    type: Literal["catalog.lane"]
    from_location: Text
    to_location: Text
    lead_days: Days | None = None
    lead_days_sd: Days | None = None
    order_cost: Money | None = Field(None, description="money a transfer, whatever its size")
    unit_cost: Money | None = Field(None, description="money to carry a unit; absent: 0")
    capacity_units: Amount | None = Field(None, description="most units a plan may put on it; absent: no limit")
    capacity_weight_kg: Amount | None = Field(None, description="most weight")
    capacity_volume_m3: Amount | None = Field(None, description="most volume")


class SupplierFact(Fact):
    """Somebody we buy from. Its times and costs hold where neither policy nor item says otherwise."""

    type: Literal["catalog.supplier"]
    supplier: Text
    name: Text | None = None
    confirms: bool | None = Field(None, description="false: sends no confirmations, so ordered counts as confirmed")
    lead_days: Days | None = None
    lead_days_sd: Days | None = None
    review_days: Days | None = None
    order_cost: Money | None = None


# --- calendar ------------------------------------------------------------------------------------------------------


class CalendarFact(Fact):
    """Something planned over local dates, for a SKU, a category, a location or everybody."""

    entry_id: Id = Field(description="names the entry among those of its kind and target")
    sku: Text | None = Field(None, description="for this SKU; not together with category")
    category: Text | None = Field(None, description="for the SKUs of this category")
    location: Text | None = Field(None, description="at this location; absent: at all")
    first_day: Day
    last_day: Day = Field(description="inclusive")
    name: Text | None = None

    @model_validator(mode="after")
    def _one_target_and_span(self) -> Self:
        if self.sku is not None and self.category is not None:
            raise PydanticCustomError("bad_value", "category: not together with sku")
        span = instants.parse_day(self.last_day) - instants.parse_day(self.first_day)
        if not 0 <= span <= MOST_SPAN_DAYS:
            raise PydanticCustomError(
                "bad_value", "last_day: must lie 0 to {most} days after first_day", {"most": MOST_SPAN_DAYS}
            )
        return self


class PriceEntry(CalendarFact):
    """The price there will be."""

    type: Literal["calendar.price"]
    unit_price: Money


class PromotionEntry(CalendarFact):
    """A promotion, with or without a price cut."""

    type: Literal["calendar.promotion"]
    discount_share: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="part of the price taken off")


class HolidayEntry(CalendarFact):
    """A day that is not like others."""

    type: Literal["calendar.holiday"]


class ClosureEntry(CalendarFact):
    """Nothing is sold."""

    type: Literal["calendar.closure"]


# --- what goes out -------------------------------------------------------------------------------------------------


Numbers = dict[str, float | int | str | bool | None]
Units = Annotated[float, _number(description="a decimal number of units")]


class Alert(Model):
    """Data of `restock.alert.raised`, `.updated` and `.resolved`."""

    alert_id: str = Field(description="the same from raised to resolved")
    kind: Literal["low_stock", "stockout_imminent", "stocked_out", "overstock", "discrepancy"]
    severity: Literal["info", "warning", "critical"]
    sku: str
    location: str
    money_at_risk_day: float = Field(description="money a day that is lost, or bound for nothing, while this stands")
    currency: str = Field(description="the installation's, ISO 4217")
    raised_at: Instant = Field(description="event time")
    numbers: Numbers = Field(description="the numbers behind it, by name with the unit last")
    sentence: str = Field(description="the same for a person")


class Replenishment(Model):
    """Data of `restock.replenishment.proposed`, `.ordered`, `.confirmed` and so on, by status.

    `.unlawful` tells of a move the life-cycle does not allow; the replenishment is as it was.
    """

    replenishment_id: str
    status: Literal["proposed", "ordered", "confirmed", "part_received", "received", "cancelled", "expired"]
    sku: str
    location: str
    quantity: Units
    remaining: Units = Field(description="of quantity, not yet received or cancelled")
    order_ref: str | None = Field(description="the supply order's, once there is one")
    supplier: str | None
    expected_at: Instant | None = Field(description="of the next receipt, once known")
    numbers: Numbers = Field(description="the numbers behind it, by name with the unit last")
    sentence: str = Field(description="the same for a person")


class Transfer(Model):
    """Data of `restock.transfer.proposed`, `.approved`, `.shipped`, `.received`, `.cancelled` and `.expired`.

    `.unlawful` tells of a move the life-cycle does not allow; the transfer is as it was.
    """

    transfer_id: str
    status: Literal["unknown", "proposed", "approved", "shipped", "received", "cancelled", "expired"]
    sku: str
    from_location: str | None = Field(description="null where an unknown transfer is asked about")
    to_location: str
    quantity: Units
    remaining: Units = Field(description="of quantity, not yet received or cancelled")
    lead_days: float | None
    proposed_at: Instant | None
    expires_at: Instant | None = Field(description="when it stops counting unless it is shipped; null once it is")
    plan_id: str | None = Field(description="the plan it belongs to")
    reason: str | None = Field(description="why it was proposed, for a person")
    numbers: Numbers = Field(description="the numbers behind it, by name with the unit last")
    sentence: str = Field(description="what just happened, for a person")


class Position(Model):
    """The stock of a SKU at a location, as of a moment of event time."""

    sku: str
    location: str
    on_hand: Units = Field(description="physically there; below zero: a discrepancy")
    allocated: Units = Field(description="promised to open orders")
    available: Units = Field(description="on_hand less allocated")
    on_order: Units = Field(description="still to come from suppliers")
    in_transit: Units = Field(description="on its way from other locations")
    next_receipt_at: Instant | None = Field(description="when the next receipt is expected, if known")
    reorder_point: Units | None = Field(description="order when the inventory position is at or below; null: none yet")
    order_up_to: Units | None
    as_of: Instant


class Horizon(Model):
    """Demand summed over the days that follow."""

    days: int = Field(description="how many local days, the first being the one after as_of_day")
    mean: float = Field(description="expected units")
    quantiles: dict[str, float] = Field(description='units by level, as in {"0.5": 20, "0.95": 31}; never crossing')


class Carrier(Model):
    """An expert of the forecast and how much of it is its word."""

    expert: str
    share: float = Field(description="0 to 1; the shares of a forecast sum to one")


class Forecast(Model):
    """What is expected to be wanted of a SKU at a location, as of the end of a local day."""

    sku: str
    location: str
    as_of_day: Day = Field(description="the last closed local day")
    as_of: Instant = Field(description="the instant it ended")
    mean_day: float = Field(description="expected units on an average day")
    horizons: list[Horizon] = Field(description="by days, ascending; one of them is lead time plus review")
    protection_days: int = Field(description="lead time plus review, whole days")
    experts: list[Carrier] = Field(description="who carries it, the largest share first")
    learnt_from_cycles: int = Field(description="errors of summed demand its spread was learnt from")


class DeadLetter(Model):
    """A refused record."""

    reason: str = Field(description="a code, see the table of reasons")
    detail: str = Field(description="what is wrong, naming the field")
    topic: str = Field(description="where it came from, without the namespace")
    partition: int
    offset: int
    timestamp: Instant | None = Field(description="the record's Kafka timestamp")
    key: str | None = Field(description="base64")
    value: str | None = Field(description="base64")
    value_bytes: int = Field(description="the value's full length")
    truncated: bool = Field(description="true: key or value was too large to be kept whole; it cannot be re-submitted")


# --- which type belongs to which topic -----------------------------------------------------------------------------

ORDER_TYPES = (OrderPlaced, OrderCancelled, OrderFulfilled, OrderReturned)
CART_TYPES = (CartItemViewed, CartItemAdded, CartItemRemoved, CartCheckedOut)
MOVEMENT_TYPES = (
    StockReceived,
    StockAdjusted,
    StockCounted,
    TransferShipped,
    TransferReceived,
    StockWrittenOff,
    TransferApproved,
    TransferCancelled,
)
SUPPLY_TYPES = (SupplyOrdered, SupplyConfirmed, SupplyRescheduled, SupplyCancelled)
CATALOG_TYPES = (ItemFact, PolicyFact, LocationFact, LaneFact, SupplierFact)
CALENDAR_TYPES = (PriceEntry, PromotionEntry, HolidayEntry, ClosureEntry)

ALERT_EVENTS = tuple(f"restock.alert.{verb}" for verb in ("raised", "updated", "resolved"))
REPLENISHMENT_EVENTS = tuple(
    f"restock.replenishment.{status}"
    for status in ("proposed", "ordered", "confirmed", "part_received", "received", "cancelled", "expired", "unlawful")
)
TRANSFER_EVENTS = tuple(
    f"restock.transfer.{status}"
    for status in ("proposed", "approved", "shipped", "received", "cancelled", "expired", "unlawful")
)
POSITION_EVENT = "restock.position.changed"
FORECAST_EVENT = "restock.forecast.made"
DEAD_LETTER_EVENT = "restock.record.refused"


def type_name(model: type[Event]) -> str:
    """The `type` an event model stands for.

    >>> type_name(OrderPlaced)
    'order.placed'
    """
    name: str = model.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
    return name


INCOMING: Final[dict[str, dict[str, type[Event]]]] = {
    topic: {type_name(model): model for model in models}
    for topic, models in (
        ("orders", ORDER_TYPES),
        ("carts", CART_TYPES),
        ("stock-movements", MOVEMENT_TYPES),
        ("supply", SUPPLY_TYPES),
        ("catalog", CATALOG_TYPES),
        ("calendar", CALENDAR_TYPES),
    )
}  # topic -> type -> model

OUTGOING: Final[dict[str, tuple[type[Model], tuple[str, ...]]]] = {
    "replenishments": (Replenishment, REPLENISHMENT_EVENTS),
    "stock-alerts": (Alert, ALERT_EVENTS),
    "transfers": (Transfer, TRANSFER_EVENTS),
    "positions": (Position, (POSITION_EVENT,)),
    "forecasts": (Forecast, (FORECAST_EVENT,)),
    "dead-letters": (DeadLetter, (DEAD_LETTER_EVENT,)),
}  # topic -> model of the data, its ce_types
