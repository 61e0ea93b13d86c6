"""Visits to the web shop: carts looked into, filled, emptied, ordered or left. README.md, "Carts"."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agents.shop.config import HOUR_MS, MINUTE_MS, Config
from agents.shop.demand import BASKETS, Q_CHANCE, Q_UNITS, Customers, Demand
from agents.shop.draws import Floats, For, Ints, generator

VIEWED, ADDED, REMOVED = 0, 1, 2
TYPES = ("cart.item_viewed", "cart.item_added", "cart.item_removed")
ONLY_LOOKED = 0.5  # visits that only look, an add
REMOVED_SHARE = 0.1  # of adds of carts that are left
_SHORTEST_LEAD_MS = MINUTE_MS
LEFT_FROM = BASKETS // 2  # carts that are left are numbered from here


class Visits(NamedTuple):
    """Cart events of the custom of one local day, columns (n,)."""

    type: Ints
    at_ms: Ints
    cart: Ints  # number within the location and day; of an order: its basket
    sku: Ints
    units: Ints


def days_ahead(config: Config) -> int:
    """How many days before a local day its carts may begin."""
    return 0 if config.cart_lead_hours == 0 else int(-(-(1.5 * config.cart_lead_hours + 2) // 24))


def visits(demand: Demand, location: int, day: int, customers: Customers) -> Visits:
    """The visits that belong to the orders of a day, and as many more as are left or only look."""
    config = demand.config
    rng = generator(config.seed, For.CARTS, location, day)
    pays = customers.basket >= 0
    at_ms, sku, units, basket = (column[pays] for column in (customers.at_ms, customers.sku, customers.units,
                                                              customers.basket))  # fmt: skip
    carts = int(basket[-1]) + 1 if len(basket) else 0
    added_ms = at_ms - _lead_ms(config, rng.random(carts))[basket] + 1_000 * customers.line[pays]
    here = demand.base[location]
    there_is = demand.life(day)[: len(here)] > 0
    rate = customers.rate if config.cart_lead_hours > 0 else here * there_is
    left = _left(demand, location, day, rate * (1 / config.conversion - 1), rng)
    looked = _left(demand, location, day, rate * ONLY_LOOKED / config.conversion, rng)
    removed = rng.random(len(left.at_ms)) < REMOVED_SHARE
    n = len(left.at_ms)
    left_cart = LEFT_FROM + np.arange(n)
    looked_cart = LEFT_FROM + n + np.arange(len(looked.at_ms))
    parts = (
        Visits(_all(VIEWED, sku), added_ms - 20_000, basket, sku, _all(1, sku)),
        Visits(_all(ADDED, sku), added_ms, basket, sku, units),
        Visits(_all(VIEWED, left.sku), left.at_ms - 20_000, left_cart, left.sku, _all(1, left.sku)),
        Visits(_all(ADDED, left.sku), left.at_ms, left_cart, left.sku, left.units),
        Visits(_all(REMOVED, left.sku[removed]), left.at_ms[removed] + MINUTE_MS, left_cart[removed], left.sku[removed],
               left.units[removed]),
        Visits(_all(VIEWED, looked.sku), looked.at_ms, looked_cart, looked.sku, _all(1, looked.sku)),
    )  # fmt: skip
    return Visits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class _Left(NamedTuple):
    at_ms: Ints
    sku: Ints
    units: Ints


def _left(demand: Demand, location: int, day: int, rate: Floats, rng: np.random.Generator) -> _Left:
    """Visits at a rate (SKUs,) over the day's hours, as early as the carts of orders."""
    number = rng.poisson(rate)
    sku = np.repeat(np.arange(len(number)), number)
    units = rng.choice(Q_UNITS, len(sku), p=Q_CHANCE)
    at_ms = demand.places[location].instants_ms(day, rng.random(len(sku))).astype(np.int64)
    return _Left(at_ms - _lead_ms(demand.config, rng.random(len(sku))), sku, units)


def _lead_ms(config: Config, chances: Floats) -> Ints:
    """How long before the order a cart is filled (n,): 0.5 to 1.5 of the mean; a minute where carts say nothing."""
    lead = config.cart_lead_hours * HOUR_MS * (0.5 + chances)
    return np.maximum(lead, _SHORTEST_LEAD_MS).astype(np.int64)


def _all(value: int, like: Ints) -> Ints:
    return np.full(len(like), value, np.int64)
