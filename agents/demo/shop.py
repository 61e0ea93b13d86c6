"""A small believable shop: three locations, two dozen products, customers, a buyer and suppliers.

Pure but for its own seeded random numbers: `until(t)` gives everything that happened up to t in order of event time,
and depends only on the seed, the start and the replenishments it was told of, each at its time. Stock is physical: a
till cannot sell what is not there, the web shop can (a backorder).
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from math import exp, floor
from typing import Any, NamedTuple

from stream.events.instants import text_from_ms

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STEP_MS = 6 * MINUTE_MS  # demand is drawn per step: ten steps an hour

WEB, TILLS = "web", ("berlin", "hamburg")
LOCATIONS = (*TILLS, WEB)

# name, price, units a day over all locations, pack, lead days of its supplier
PRODUCTS = (
    ("espresso-beans-1kg", 18.90, 46.0, 6, 2),
    ("filter-coffee-500g", 8.40, 60.0, 12, 2),
    ("green-tea-100g", 6.20, 28.0, 10, 3),
    ("earl-grey-100g", 5.80, 32.0, 10, 3),
    ("rooibos-100g", 5.40, 18.0, 10, 3),
    ("oat-drink-1l", 2.10, 90.0, 12, 1),
    ("cane-sugar-1kg", 2.90, 40.0, 10, 2),
    ("honey-500g", 7.50, 24.0, 6, 4),
    ("dark-chocolate-70", 2.60, 75.0, 20, 2),
    ("milk-chocolate", 2.30, 80.0, 20, 2),
    ("hazelnut-spread", 4.90, 36.0, 12, 3),
    ("butter-biscuits", 3.20, 55.0, 16, 2),
    ("cup-white", 7.90, 14.0, 6, 5),
    ("cup-blue", 8.90, 11.0, 6, 5),
    ("teapot-1l", 24.90, 4.0, 2, 6),
    ("french-press", 29.90, 5.0, 2, 6),
    ("coffee-grinder", 54.00, 3.0, 1, 7),
    ("milk-frother", 19.90, 6.0, 4, 6),
    ("paper-filters-100", 2.80, 44.0, 20, 3),
    ("kettle-steel", 39.00, 3.5, 1, 7),
    ("gift-box-tea", 16.50, 9.0, 4, 4),
    ("gift-box-coffee", 21.50, 8.0, 4, 4),
    ("travel-mug", 17.90, 7.0, 6, 5),
    ("tea-strainer", 4.50, 10.0, 10, 4),
)
SHARE = {"berlin": 0.4, "hamburg": 0.25, WEB: 0.35}  # of a product's demand
OPENING_DAYS = (5.0, 16.0)  # opening stock, in days of demand: some run low at once
WEEKDAY = (0.9, 0.85, 0.95, 1.0, 1.2, 1.45, 0.65)  # Monday first
HOURS = {True: (8, 20), False: (6, 24)}  # tills, web: when anybody buys

CHECKED_OUT, CANCELLED, RETURNED, UNDELIVERED, IGNORED = 0.55, 0.02, 0.03, 0.04, 0.05  # shares


class Said(NamedTuple):
    """One event of the shop: its topic, key and JSON object."""

    at_ms: int
    topic: str
    key: str
    event: dict[str, Any]


@dataclass(order=True)
class _Due:
    at_ms: int
    number: int
    act: Callable[[int], Iterable[Said]] = field(compare=False)


def _emit(said: Said, _: int) -> list[Said]:
    return [said]


class Shop:
    """The shop from `start_ms` on; the same seed and answers give the same events."""

    def __init__(self, seed: int, start_ms: int) -> None:
        self._random = random.Random(seed)
        self._now_ms = start_ms - start_ms % STEP_MS
        self._numbers = 0
        self._due: list[_Due] = []
        self.shelf: dict[tuple[str, str], int] = {}  # units that lie there
        self.lost_units = 0  # customers who left a till with empty hands

    # -- what happens ---------------------------------------------------------------------------------------------

    def opening(self) -> list[Said]:
        """The catalog and the first count of everything, as of the start."""
        said = [self._fact("location", name, location=name, timezone="UTC") for name in LOCATIONS]
        for sku, price, rate, pack, lead_days in PRODUCTS:
            supplier = f"supplier-{lead_days}"
            about: dict[str, Any] = {"supplier": supplier, "lead_days": lead_days, "lead_days_sd": lead_days / 5}
            said.append(self._fact("supplier", supplier, **about))
            costs = {"unit_price": price, "unit_cost": round(price * 0.55, 2), "order_cost": 4.0}
            said.append(self._fact("item", sku, sku=sku, supplier=supplier, pack_units=pack, **costs))
            for location in LOCATIONS:
                days = self._random.uniform(*OPENING_DAYS)
                self.shelf[sku, location] = max(1, round(rate * SHARE[location] * days))
                said.append(self._count(self._now_ms, sku, location, self.shelf[sku, location]))
        return said

    def until(self, now_ms: int) -> list[Said]:
        """Everything that happened since the last call, up to `now_ms`, in order of event time."""
        said: list[Said] = []
        while self._now_ms + STEP_MS <= now_ms:
            self._step(self._now_ms)
            self._now_ms += STEP_MS
            while self._due and self._due[0].at_ms < self._now_ms:
                due = heapq.heappop(self._due)
                for one in due.act(due.at_ms):
                    if one.at_ms == due.at_ms:
                        said.append(one)
                    else:  # a visit takes minutes: its later events wait for their time
                        self._at(one.at_ms, partial(_emit, one))
        return said

    def replenish(self, replenishment_id: str, sku: str, location: str, units: int) -> None:
        """A proposal reached the buyer, who orders it within hours, or now and then overlooks it."""
        if self._random.random() < IGNORED:
            return
        delay_ms = round(self._random.uniform(0.5, 4) * HOUR_MS)
        self._at(self._now_ms + delay_ms, lambda at: self._order(at, replenishment_id, sku, location, units))

    @property
    def now_ms(self) -> int:
        """Event time up to which everything was told."""
        return self._now_ms

    # -- customers ------------------------------------------------------------------------------------------------

    def _step(self, at_ms: int) -> None:
        day, hour = at_ms // DAY_MS, at_ms % DAY_MS / HOUR_MS
        season = WEEKDAY[(day + 3) % 7]  # 1970-01-01 was a Thursday
        for sku, price, rate, _, _ in PRODUCTS:
            for location in LOCATIONS:
                opens, closes = HOURS[location in TILLS]
                if not opens <= hour < closes:
                    continue
                steps_a_day = (closes - opens) * HOUR_MS / STEP_MS
                for _ in range(self._poisson(rate * SHARE[location] * season / 1.3 / steps_a_day)):
                    self._customer(at_ms + self._random.randrange(STEP_MS), sku, location, price)
        if hour == 21:
            self._evening(at_ms)

    def _customer(self, at_ms: int, sku: str, location: str, price: float) -> None:
        units = 1 + (self._random.random() < 0.25) + (self._random.random() < 0.1)
        if location == WEB:
            self._at(at_ms, lambda at: self._visit(at, sku, units, price))
        else:
            self._at(at_ms, lambda at: self._till(at, sku, location, units, price))

    def _till(self, at_ms: int, sku: str, location: str, units: int, price: float) -> list[Said]:
        """Sold from stock at once, as far as it lies there."""
        sold = min(units, max(0, self.shelf[sku, location]))
        self.lost_units += units - sold
        if sold == 0:
            return []
        self.shelf[sku, location] -= sold
        order = self._name("T")
        lines = [self._line(1, sku, location, sold, price)]
        return [self._order_event(at_ms, "order.placed", order, lines, channel="till", fulfilled=True)]

    def _visit(self, at_ms: int, sku: str, units: int, price: float) -> list[Said]:
        """A visit to the web shop: views, a cart, perhaps a second product, perhaps an order."""
        cart = self._name("C")
        wanted = [(sku, units, price)]
        if self._random.random() < 0.3:
            other = self._random.choice(PRODUCTS)
            wanted.append((other[0], 1, other[1]))
        said = []
        for n, (product, quantity, _) in enumerate(wanted):
            seen_ms = at_ms + n * 90_000
            said.append(self._cart(seen_ms, "cart.item_viewed", cart, product, 1))
            said.append(self._cart(seen_ms + 20_000, "cart.item_added", cart, product, quantity))
        if self._random.random() < CHECKED_OUT:
            self._at(at_ms + 5 * MINUTE_MS, lambda at: self._check_out(at, cart, wanted))
        return said

    def _check_out(self, at_ms: int, cart: str, wanted: list[tuple[str, int, float]]) -> list[Said]:
        order = self._name("W")
        lines = [self._line(n, sku, WEB, units, price) for n, (sku, units, price) in enumerate(wanted, 1)]
        if self._random.random() < CANCELLED:
            self._at(at_ms + HOUR_MS, lambda at: [self._order_event(at, "order.cancelled", order, lines)])
        else:
            self._at(at_ms + round(self._random.uniform(2, 30) * HOUR_MS), lambda at: self._pack(at, order, lines))
        return [
            self._said(at_ms, "carts", cart, "cart.checked_out", cart_id=cart),
            self._order_event(at_ms + 1_000, "order.placed", order, lines, channel="web", cart_id=cart),
        ]

    def _pack(self, at_ms: int, order: str, lines: list[dict[str, Any]]) -> list[Said]:
        """The parcel leaves when everything is there, else tomorrow."""
        if any(self.shelf[line["sku"], WEB] < line["quantity"] for line in lines):
            self._at(at_ms + DAY_MS, lambda at: self._pack(at, order, lines))
            return []
        for line in lines:
            self.shelf[line["sku"], WEB] -= line["quantity"]
        if self._random.random() < RETURNED:
            self._at(at_ms + 4 * DAY_MS, lambda at: self._take_back(at, order, lines))
        return [self._order_event(at_ms, "order.fulfilled", order, lines)]

    def _take_back(self, at_ms: int, order: str, lines: list[dict[str, Any]]) -> list[Said]:
        for line in lines:
            self.shelf[line["sku"], WEB] += line["quantity"]
        return [self._order_event(at_ms, "order.returned", order, lines)]

    # -- staff and suppliers --------------------------------------------------------------------------------------

    def _evening(self, at_ms: int) -> None:
        """A few products are counted each evening, something breaks, a shop helps out the other."""
        for _ in range(3):
            sku, location = self._random.choice(PRODUCTS)[0], self._random.choice(LOCATIONS)
            self._at(self._soon(at_ms), partial(self._recount, sku=sku, location=location))
        self._at(self._soon(at_ms), partial(self._break, sku=self._random.choice(PRODUCTS)[0]))
        self._at(self._soon(at_ms), partial(self._help_out, sku=self._random.choice(PRODUCTS)[0]))

    def _soon(self, at_ms: int) -> int:
        return at_ms + self._random.randrange(HOUR_MS)

    def _recount(self, at_ms: int, sku: str, location: str) -> list[Said]:
        """Most counts agree with the books; one in six finds units missing."""
        if self._random.random() < 1 / 6:
            self.shelf[sku, location] = floor(self.shelf[sku, location] * self._random.uniform(0.7, 0.97))
        return [self._count(at_ms, sku, location, self.shelf[sku, location])]

    def _break(self, at_ms: int, sku: str) -> list[Said]:
        if self.shelf[sku, "berlin"] < 1:
            return []
        self.shelf[sku, "berlin"] -= 1
        return [self._movement(at_ms, "stock.written_off", sku, "berlin", 1, reason="broken")]

    def _help_out(self, at_ms: int, sku: str) -> list[Said]:
        """A third of what Berlin has goes to Hamburg when Hamburg has next to nothing."""
        units = self.shelf[sku, "berlin"] // 3
        if units < 3 or self.shelf[sku, "hamburg"] > units // 3:
            return []
        transfer = self._name("M")
        self.shelf[sku, "berlin"] -= units
        self._at(at_ms + 14 * HOUR_MS, lambda at: self._arrive(at, transfer, sku, units))
        return [self._transfer(at_ms, "stock.transfer_shipped", transfer, sku, units)]

    def _arrive(self, at_ms: int, transfer: str, sku: str, units: int) -> list[Said]:
        self.shelf[sku, "hamburg"] += units
        return [self._transfer(at_ms, "stock.transfer_received", transfer, sku, units)]

    def _order(self, at_ms: int, replenishment_id: str, sku: str, location: str, units: int) -> list[Said]:
        ref = self._name("PO")
        lead_days = next(product[4] for product in PRODUCTS if product[0] == sku)
        about = {"order_ref": ref, "sku": sku, "location": location, "quantity": units}
        about |= {"supplier": f"supplier-{lead_days}", "replenishment_id": replenishment_id}
        due_ms = at_ms + round(lead_days * DAY_MS * self._random.uniform(0.8, 1.3))
        expected = text_from_ms(at_ms + lead_days * DAY_MS)
        self._at(
            at_ms + 2 * HOUR_MS,
            lambda at: [self._said(at, "supply", sku, "supply.confirmed", **about, expected_at=expected)],
        )
        if self._random.random() < UNDELIVERED:
            self._at(due_ms, lambda at: [self._said(at, "supply", sku, "supply.cancelled", **about)])
        else:
            self._at(due_ms, lambda at: self._deliver(at, ref, sku, location, units))
        return [self._said(at_ms, "supply", sku, "supply.ordered", **about)]

    def _deliver(self, at_ms: int, ref: str, sku: str, location: str, units: int) -> list[Said]:
        self.shelf[sku, location] += units
        return [self._movement(at_ms, "stock.received", sku, location, units, reference=ref)]

    # -- events ---------------------------------------------------------------------------------------------------

    def _at(self, at_ms: int, act: Callable[[int], Iterable[Said]]) -> None:
        self._numbers += 1
        heapq.heappush(self._due, _Due(at_ms, self._numbers, act))

    def _name(self, letter: str) -> str:
        self._numbers += 1
        return f"{letter}-{self._numbers}"

    def _said(self, at_ms: int, topic: str, key: str, type: str, **fields: Any) -> Said:
        event = {"event_id": self._name("e"), "type": type, "occurred_at": text_from_ms(at_ms), **fields}
        return Said(at_ms, topic, key, event)

    def _fact(self, kind: str, name: str, **fields: Any) -> Said:
        key = json.dumps([kind, name], separators=(",", ":"))
        return self._said(self._now_ms, "catalog", key, f"catalog.{kind}", **fields)

    def _order_event(self, at_ms: int, type: str, order: str, lines: list[dict[str, Any]], **more: Any) -> Said:
        return self._said(at_ms, "orders", order, type, order_id=order, lines=lines, **more)

    def _line(self, number: int, sku: str, location: str, units: int, price: float) -> dict[str, Any]:
        return {"line_id": str(number), "sku": sku, "location": location, "quantity": units, "unit_price": price}

    def _cart(self, at_ms: int, type: str, cart: str, sku: str, units: int) -> Said:
        return self._said(at_ms, "carts", cart, type, cart_id=cart, sku=sku, location=WEB, quantity=units)

    def _movement(self, at_ms: int, type: str, sku: str, location: str, units: int, **more: Any) -> Said:
        return self._said(at_ms, "stock-movements", sku, type, sku=sku, location=location, quantity=units, **more)

    def _count(self, at_ms: int, sku: str, location: str, units: int) -> Said:
        return self._movement(at_ms, "stock.counted", sku, location, units)

    def _transfer(self, at_ms: int, type: str, transfer: str, sku: str, units: int) -> Said:
        where = {"to_location": "hamburg", "transfer_id": transfer}
        return self._movement(at_ms, type, sku, "berlin", units, **where)

    def _poisson(self, mean: float) -> int:
        """Knuth's product of uniforms; means here are under one."""
        limit, product, count = exp(-mean), self._random.random(), 0
        while product > limit:
            product *= self._random.random()
            count += 1
        return count
