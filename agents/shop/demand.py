"""The law of demand, and customers drawn from it. Formulas and sources: README.md, "Demand"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.shop.config import MINUTE_MS, STEP_MS, Config
from agents.shop.draws import Floats, For, Ints, generator
from agents.shop.items import Items
from agents.shop.places import Place, weekday
from agents.shop.plan import DISPLAY_LIFT, Plan, on_holidays

Q_UNITS = np.array([1, 2, 3, 4, 6])
Q_CHANCE = np.array([0.72, 0.16, 0.06, 0.04, 0.02])
Q_MEAN, Q_SQUARE = float(Q_UNITS @ Q_CHANCE), float(Q_UNITS**2 @ Q_CHANCE)
SHARED_SHAPE = 150.0  # of W: sd 8 %
TOGETHER = 0.5  # chance that the next customer's line goes into the same basket
FIRST_MS = 100  # of a step are for the staff; customers come after it
RAMP_DAYS, FADE_DAYS, GONE_DAYS = 14.0, 21.0, 90
WHOLESALE_UNITS = (10, 40)
WHOLESALE_CANCELLED = 0.8
_WHOLESALE_MEAN = sum(WHOLESALE_UNITS) / 2
_WHOLESALE_SQUARE = float((np.arange(WHOLESALE_UNITS[0], WHOLESALE_UNITS[1] + 1) ** 2).mean())
BASKETS = 10_000_000  # of a location and day at most: names of orders are made of it


class Law(NamedTuple):
    """The law of one location's demand on one day; columns are (SKUs of the location,)."""

    customers: Floats  # m: mean number of customers
    shape: Floats  # k of G
    wholesale: Floats  # mean number of wholesale orders
    price: Floats  # what a unit costs that day
    discount: Floats  # share taken off
    holiday: bool
    closed: bool

    @property
    def mean_units(self) -> Floats:
        """Mean of the day's units.

        >>> law = Law(*(np.array([x]) for x in (4.0, 8.0, 0.0, 1.0, 0.0)), False, False)
        >>> law.mean_units.round(2), law.variance_units.round(2)
        (array([6.]), array([17.81]))
        """
        return self.customers * Q_MEAN + self.wholesale * (1 - WHOLESALE_CANCELLED) * _WHOLESALE_MEAN

    @property
    def variance_units(self) -> Floats:
        """Variance of the day's units."""
        spread = (1 + 1 / self.shape) * (1 + 1 / SHARED_SHAPE) - 1
        retail = self.customers * Q_SQUARE + (self.customers * Q_MEAN) ** 2 * spread
        return retail + self.wholesale * (1 - WHOLESALE_CANCELLED) * _WHOLESALE_SQUARE


class Customers(NamedTuple):
    """Who comes on one local day, in order of time, columns (n,); and the day's rates (SKUs of the location,)."""

    at_ms: Ints
    sku: Ints
    units: Ints
    basket: Ints  # -1: a thief
    line: Ints  # within the basket, from 1
    rate: Floats  # m G W: what carts of the day know


class Wholesale(NamedTuple):
    """Wholesale orders of one local day, columns (n,)."""

    at_ms: Ints
    sku: Ints
    units: Ints
    stands: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Demand:
    """The demand of a world: a function of the seed, the location and the day."""

    config: Config
    places: tuple[Place, ...]
    items: Items
    plan: Plan
    base: tuple[Floats, ...]  # by location: mean customers a day and SKU before everything else
    shape: tuple[Floats, ...]

    @classmethod
    def of(cls, config: Config, places: tuple[Place, ...], items: Items, plan: Plan) -> Demand:
        """Base rates from popularity, the locations' shares and the rows' own luck."""
        raw = []
        for location, place in enumerate(places):
            count = max(0, min(config.skus, config.rows - location * config.skus))
            luck = generator(config.seed, For.PLACES, 2, location).normal(0, 0.3, count)
            raw.append(items.popularity[:count] * place.share * np.exp(luck))
        total = sum(float(r.sum()) for r in raw)
        base = tuple(r * (config.customers_day * config.rows / total) for r in raw)
        shape = []
        for location, b in enumerate(base):
            luck = generator(config.seed, For.PLACES, 3, location).normal(0, 0.3, len(b))
            shape.append(np.clip(8 * np.minimum(1, b) ** 0.7 * np.exp(luck), 0.4, 20))
        return cls(config, places, items, plan, base, tuple(shape))

    def law(self, location: int, day: int) -> Law:
        """The law of a location's day; days to come are as well known as days gone."""
        place, count = self.places[location], len(self.base[location])
        list_price = self.plan.prices(day)[:count]
        discount = self.plan.promotions(self.plan.week_of(day)).discounts(self.items, location)[:count]
        price = np.round(list_price * (1 - discount), 2)
        factor = place.week[weekday(day)] * on_holidays(day, place.web)
        plan = (price / self.items.price[:count]) ** -self.items.elasticity[:count]
        plan = plan * np.where(discount > 0, DISPLAY_LIFT, 1.0)
        customers = self.base[location] * factor * self._weekend(day)[:count] * plan
        customers = customers * self.season(place, day)[:count] * self.life(day)[:count]
        wholesale = customers * self.config.wholesale_share
        return Law(customers, self.shape[location], wholesale, price, discount, factor != place.week[weekday(day)],
                   factor == 0)  # fmt: skip

    def season(self, place: Place, day: int) -> Floats:
        """Year and trend (skus,)."""
        peak = self.items.peak_day + (182.6 if place.south else 0)
        year = 1 + self.items.amplitude * np.cos(2 * np.pi * (day - peak) / 365.2425)
        return np.asarray(year * np.exp(self.items.growth_year * (day - self.config.start_day) / 365.2425))

    def life(self, day: int) -> Floats:
        """New and ending items (skus,): 1 for all others."""
        age, over = day - self.items.launch_day, day - self.items.ending_day
        new = np.where(age < 0, 0.0, 1 - np.exp(-(np.minimum(age, 10_000) + 1) / RAMP_DAYS))
        ending = np.where(over < 0, 1.0, np.where(over > GONE_DAYS, 0.0, np.exp(-np.clip(over, 0, 999) / FADE_DAYS)))
        return np.asarray(new * ending)

    def _weekend(self, day: int) -> Floats:
        weekend = self.items.weekend
        return weekend if weekday(day) >= 5 else (7 - 2 * weekend) / 5

    def customers(self, location: int, day: int) -> Customers:
        """Who comes to a location on a day, thieves among them."""
        law, place = self.law(location, day), self.places[location]
        rng = generator(self.config.seed, For.DEMAND, location, day)
        shared = rng.gamma(SHARED_SHAPE, 1 / SHARED_SHAPE)
        rate = law.customers * shared * rng.gamma(law.shape, 1 / law.shape)
        visitors = rng.poisson(rate)
        sku = np.repeat(np.arange(len(visitors)), visitors)
        units = Q_UNITS[np.searchsorted(np.cumsum(Q_CHANCE)[:-1], rng.random(len(sku)), side="right")]
        at_ms = place.instants_ms(day, rng.random(len(sku))).astype(np.int64)
        at_ms, order = _in_order(at_ms)
        at_ms, basket, line = _baskets(at_ms, rng.random(len(at_ms)) < TOGETHER)
        thefts = rng.poisson(law.customers * Q_MEAN * self.config.shrinkage_share)
        thief_sku = np.repeat(np.arange(len(thefts)), thefts)
        thief_ms = place.instants_ms(day, rng.random(len(thief_sku))).astype(np.int64)
        ones = np.ones(len(thief_sku), np.int64)
        columns = [
            np.concatenate(pair)
            for pair in (
                (at_ms, _after_staff(thief_ms)),
                (sku[order], thief_sku),
                (units[order], ones),
                (basket, -ones),
                (line, ones),
            )
        ]
        in_time = np.argsort(columns[0], kind="stable")
        when, whose, wanted, where, number = (column[in_time] for column in columns)
        return Customers(when, whose, wanted, where, number, rate)

    def wholesale(self, location: int, day: int) -> Wholesale:
        """Wholesale orders of a location's day, standing or to be cancelled."""
        law, rng = self.law(location, day), generator(self.config.seed, For.DEMAND, location, day, 1)
        number = rng.poisson(law.wholesale)
        sku = np.repeat(np.arange(len(number)), number)
        units = rng.integers(WHOLESALE_UNITS[0], WHOLESALE_UNITS[1] + 1, len(sku))
        at_ms = self.places[location].instants_ms(day, rng.random(len(sku))).astype(np.int64)
        at_ms, order = _in_order(_after_staff(at_ms))
        return Wholesale(at_ms, sku[order], units[order], rng.random(len(sku)) >= WHOLESALE_CANCELLED)


def _in_order(at_ms: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(at_ms, kind="stable")
    return at_ms[order], order


def _after_staff(at_ms: Ints) -> Ints:
    """Times moved out of the first moment of their step, which is the staff's."""
    begin = at_ms - at_ms % STEP_MS
    return np.asarray(np.maximum(at_ms, begin + FIRST_MS))


def _baskets(at_ms: Ints, joins: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """Time, basket and line of customers in order of time; who joins is in the basket of the one before.

    A basket lies within one step; all its lines have the time of its last one.

    >>> _baskets(np.array([200, 300, 400, STEP_MS + 500]), np.array([False, True, False, True]))
    (array([   300,    300,    400, 900500]), array([0, 0, 1, 2]), array([1, 2, 1, 1]))
    """
    if len(at_ms) == 0:
        return at_ms, at_ms, at_ms
    new = ~joins
    new[0] = True
    new[1:] |= np.diff(at_ms // STEP_MS) > 0
    basket = np.cumsum(new) - 1
    begins = np.flatnonzero(new)
    line = np.arange(len(at_ms)) - begins[basket] + 1
    last = np.append(begins[1:], len(at_ms)) - 1
    return _after_staff(at_ms[last][basket]), basket, line


LONGEST_VISIT_MS = 10 * MINUTE_MS  # from the first look to the order, where carts lead by nothing
