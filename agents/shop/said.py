"""What happened, as the shop's tills and offices would publish it: columns to events of the contract."""

from __future__ import annotations

from typing import Any, NamedTuple

from agents.shop.draws import Floats, Ints
from stream.events.facts import key_of, key_text
from stream.events.instants import text_from_ms

CHANNELS = ("till", "web", "wholesale")


class Said(NamedTuple):
    """One event of the shop: its topic, key and JSON object."""

    at_ms: int
    topic: str
    key: str
    event: dict[str, Any]


class Lines(NamedTuple):
    """Order lines of one type, columns (n,); lines of one order event stand together, with one time."""

    type: str
    at_ms: Ints
    order: Ints
    line: Ints
    row: Ints
    units: Ints
    price: Floats | None = None  # of placed lines
    channel: int = 0
    cart: bool = False  # the order came from the cart of its number


class Carts(NamedTuple):
    """Cart events, columns (n,); `row` is not looked at where a cart is checked out."""

    types: list[str]
    at_ms: Ints
    cart: Ints
    row: Ints
    units: Ints


class Moves(NamedTuple):
    """Stock movements of one type, columns (n,)."""

    type: str
    at_ms: Ints
    row: Ints
    units: Ints
    reference: list[str] | None = None
    to: Ints | None = None  # location numbers
    reason: str = ""


class Supplies(NamedTuple):
    """Supply events of one type, columns (n,)."""

    type: str
    at_ms: Ints
    row: Ints
    units: Ints
    order: Ints
    expected_ms: Ints | None = None
    replenishment: list[str] | None = None


class Facts(NamedTuple):
    """Catalog or calendar records without id and time."""

    at_ms: int
    facts: list[dict[str, Any]]


Happened = Lines | Carts | Moves | Supplies | Facts


class Voice:
    """Writes events; numbers them, so that each has an id of its own."""

    def __init__(self, run: str, skus: list[str], locations: list[str], suppliers: list[str]) -> None:
        self._run, self._count = run, 0
        self._skus, self._locations, self._suppliers = skus, locations, suppliers

    def say(self, happened: list[Happened]) -> list[Said]:
        """Events of a step, in order of time."""
        said: list[Said] = []
        for what in happened:
            if isinstance(what, Lines):
                self._lines(what, said)
            elif isinstance(what, Carts):
                self._carts(what, said)
            elif isinstance(what, Moves):
                self._moves(what, said)
            elif isinstance(what, Supplies):
                self._supplies(what, said)
            else:
                self._facts(what, said)
        said.sort(key=lambda one: one.at_ms)
        return said

    def _begin(self, type: str, at_ms: int) -> dict[str, Any]:
        self._count += 1
        return {"event_id": f"{self._run}-{self._count}", "type": type, "occurred_at": text_from_ms(at_ms)}

    def _row(self, row: int) -> tuple[str, str]:
        location, sku = divmod(row, len(self._skus))
        return self._skus[sku], self._locations[location]

    def _lines(self, what: Lines, said: list[Said]) -> None:
        n = len(what.row)
        prices = [None] * n if what.price is None else what.price.tolist()
        columns = zip(*(c.tolist() for c in (what.at_ms, what.order, what.line, what.row, what.units)), prices,
                      strict=True)  # fmt: skip
        last = (-1, -1)
        lines: list[dict[str, Any]] = []
        for at_ms, order, number, row, units, price in columns:
            if (at_ms, order) != last:
                last, lines = (at_ms, order), []
                event = self._begin(what.type, at_ms)
                event["order_id"] = f"o{order}-{self._run}"
                if what.type == "order.placed":
                    event["channel"] = CHANNELS[what.channel]
                    if what.channel == 0:
                        event["fulfilled"] = True
                    if what.cart:
                        event["cart_id"] = f"c{order}-{self._run}"
                event["lines"] = lines
                said.append(Said(at_ms, "orders", event["order_id"], event))
            sku, location = self._row(row)
            line = {"line_id": str(number), "sku": sku, "location": location, "quantity": units}
            if price is not None:
                line["unit_price"] = price
            lines.append(line)

    def _carts(self, what: Carts, said: list[Said]) -> None:
        columns = zip(what.types, *(c.tolist() for c in (what.at_ms, what.cart, what.row, what.units)), strict=True)
        for type, at_ms, cart, row, units in columns:
            event = self._begin(type, at_ms)
            event["cart_id"] = key = f"c{cart}-{self._run}"
            if type != "cart.checked_out":
                event["sku"], event["location"] = self._row(row)
                event["quantity"] = units
            said.append(Said(at_ms, "carts", key, event))

    def _moves(self, what: Moves, said: list[Said]) -> None:
        moved = "transfer" in what.type
        for i, (at_ms, row, units) in enumerate(zip(*(c.tolist() for c in what[1:4]), strict=True)):
            event = self._begin(what.type, at_ms)
            event["sku"], event["location"] = self._row(row)
            event["quantity"] = units
            if moved and what.to is not None and what.reference is not None:
                event["to_location"], event["transfer_id"] = self._locations[int(what.to[i])], what.reference[i]
            elif what.reference is not None:
                event["reference"] = what.reference[i]
            if what.reason:
                event["reason"] = what.reason
            said.append(Said(at_ms, "stock-movements", event["sku"], event))

    def _supplies(self, what: Supplies, said: list[Said]) -> None:
        columns = zip(*(c.tolist() for c in (what.at_ms, what.row, what.units, what.order)), strict=True)
        for i, (at_ms, row, units, order) in enumerate(columns):
            event = self._begin(what.type, at_ms)
            event["order_ref"] = order_name(order)
            event["sku"], event["location"] = self._row(row)
            event["supplier"] = self._suppliers[row % len(self._skus)]
            event["quantity"] = units
            if what.expected_ms is not None:
                event["expected_at"] = text_from_ms(int(what.expected_ms[i]))
            if what.replenishment is not None and what.replenishment[i]:
                event["replenishment_id"] = what.replenishment[i]
            said.append(Said(at_ms, "supply", event["sku"], event))

    def _facts(self, what: Facts, said: list[Said]) -> None:
        for fact in what.facts:
            event = self._begin(fact["type"], what.at_ms) | fact
            topic = fact["type"].partition(".")[0]
            said.append(Said(what.at_ms, topic, key_text(key_of(event)), event))


def order_name(order: int) -> str:
    """The name of a supply order."""
    return f"po-{order}"
