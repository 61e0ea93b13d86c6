"""What is planned and said ahead: promotions, prices, holidays, closures. All a function of the seed and the date."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from agents.shop.config import Config
from agents.shop.draws import Floats, For, Ints, generator
from agents.shop.items import CATEGORIES, Items
from agents.shop.places import Place, weekday

AHEAD_DAYS = 14  # promotions, prices and launches are told this long before
HOLIDAYS_AHEAD_DAYS = 60
DISCOUNTS = (0.1, 0.15, 0.2, 0.25, 0.3)
DISPLAY_LIFT = 1.25  # of a promotion, whatever its discount
CATEGORY_CHANCE = 0.15  # that a week has a promotion of a whole category
ONE_PLACE = 0.1  # of promotions
PRICE_CHANGE = 1 / 52  # a SKU and week
_EPOCH = date(1970, 1, 1)
_EASTER_DAYS = {-2: ("Good Friday", 0.0), 1: ("Easter Monday", 0.0)}
_FIXED = {
    (1, 1): ("New Year's Day", 0.0),
    (5, 1): ("May Day", 0.0),
    (12, 24): ("Christmas Eve", 0.7),
    (12, 25): ("Christmas Day", 0.0),
    (12, 26): ("Boxing Day", 0.5),
    (12, 31): ("New Year's Eve", 0.8),
}  # month, day -> name, factor on a till's custom (0: closed)
_WEB_ON_HOLIDAYS = 1.1
_EVE = 1.3  # the day before a closed one, at tills
_BLACK_FRIDAY = 1.7


def date_of(day: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=day)


def text_of(day: int) -> str:
    """A day number as YYYY-MM-DD.

    >>> text_of(20_454)
    '2026-01-01'
    """
    return date_of(day).isoformat()


@dataclass(frozen=True)
class Holiday:
    """A day that is not like others."""

    name: str
    till: float  # factor on custom; 0: closed
    web: float


@lru_cache(maxsize=4_096)
def holiday(day: int) -> Holiday | None:
    """The holiday of a date, if it is one.

    >>> holiday(20_454).name, holiday(20_454 + 92).name, holiday(20_455)
    ("New Year's Day", 'Good Friday', None)
    """
    on = date_of(day)
    if (on.month, on.day) in _FIXED:
        name, till = _FIXED[on.month, on.day]
        return Holiday(name, till, _WEB_ON_HOLIDAYS)
    easter = (on - _easter(on.year)).days
    if easter in _EASTER_DAYS:
        name, till = _EASTER_DAYS[easter]
        return Holiday(name, till, _WEB_ON_HOLIDAYS)
    thanksgiving = [d for d in calendar.Calendar().itermonthdates(on.year, 11) if d.month == 11 and d.weekday() == 3][3]
    if on == thanksgiving + timedelta(days=1):
        return Holiday("Black Friday", _BLACK_FRIDAY, _BLACK_FRIDAY)
    return None


def _easter(year: int) -> date:
    """Easter Sunday (Meeus, Jones & Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


@dataclass(frozen=True)
class Promotions:
    """Promotions of one week, Monday to Sunday."""

    first_day: int
    discount: Floats  # (skus,) 0: none
    location: Ints  # (skus,) -1: everywhere
    category: int  # -1: no category as a whole
    category_discount: float

    def discounts(self, items: Items, location: int) -> Floats:
        """What is taken off at a location, share of the price (skus,)."""
        own = np.where((self.location < 0) | (self.location == location), self.discount, 0.0)
        return np.maximum(own, np.where(items.category == self.category, self.category_discount, 0.0))


class Plan:
    """The plan of a world."""

    def __init__(self, config: Config, items: Items, places: tuple[Place, ...]) -> None:
        self._config, self._items, self._places = config, items, places
        self._prices: dict[int, Floats] = {}  # by week, the last few
        self._promotions: dict[int, Promotions] = {}  # the same

    def week_of(self, day: int) -> int:
        """Number of the week a day lies in; weeks begin on Mondays, the start lies in week 0."""
        begin = self._config.start_day - weekday(self._config.start_day)
        return (day - begin) // 7

    def first_day(self, week: int) -> int:
        """The Monday of a week."""
        return self._config.start_day - weekday(self._config.start_day) + 7 * week

    def promotions(self, week: int) -> Promotions:
        """The promotions of a week."""
        if week not in self._promotions:
            _forget(self._promotions)
            self._promotions[week] = self._draw_promotions(week)
        return self._promotions[week]

    def _draw_promotions(self, week: int) -> Promotions:
        rng, n = generator(self._config.seed, For.PROMOTIONS, week), self._config.skus
        on = rng.random(n) < self._config.promotion_share
        discount = np.where(on, rng.choice(DISCOUNTS, n), 0.0)
        somewhere = rng.integers(0, len(self._places), n)
        location = np.where(rng.random(n) < ONE_PLACE, somewhere, -1)
        whole = self._config.promotion_share > 0 and rng.random() < CATEGORY_CHANCE
        category = int(rng.integers(0, len(CATEGORIES))) if whole else -1
        return Promotions(self.first_day(week), discount, location, category, 0.1)

    def price_changes(self, week: int) -> Floats:
        """Factors on prices (skus,) from the week's Monday on; 1 where nothing changes. Week 0 changes nothing."""
        rng, n = generator(self._config.seed, For.PRICES, week), self._config.skus
        return np.where((rng.random(n) < PRICE_CHANGE) & (week > 0), rng.uniform(0.94, 1.12, n), 1.0)

    def prices(self, day: int) -> Floats:
        """List prices (skus,) of a day, before any discount."""
        week = max(self.week_of(day), 0)
        if week not in self._prices:
            last = max((known for known in self._prices if known < week), default=-1)
            price = self._prices[last] if last >= 0 else self._items.price
            for each in range(last + 1, week + 1):
                price = np.round(price * self.price_changes(each), 2)
            _forget(self._prices)
            self._prices[week] = price
        return self._prices[week]

    # -- what is said of it ---------------------------------------------------------------------------------------

    def told(self, day: int, first: bool) -> list[dict[str, Any]]:
        """Calendar entries that become known on a day, without id and time; on the first one, everything near."""
        told: list[dict[str, Any]] = []
        weeks = range(self.week_of(day + AHEAD_DAYS) + 1) if first else [self.week_of(day + AHEAD_DAYS)]
        if first or weekday(day + AHEAD_DAYS) == 0:
            for week in weeks:
                told += self._told_promotions(self.promotions(week)) + self._told_prices(week)
        far = range(day, day + HOLIDAYS_AHEAD_DAYS + 1) if first else [day + HOLIDAYS_AHEAD_DAYS]
        for ahead in far:
            told += self._told_holiday(ahead)
        return told

    def _told_promotions(self, week: Promotions) -> list[dict[str, Any]]:
        span = {"first_day": text_of(week.first_day), "last_day": text_of(week.first_day + 6)}
        entry = {"type": "calendar.promotion", "entry_id": f"week-{text_of(week.first_day)}", **span}
        told = []
        for sku in np.flatnonzero(week.discount > 0).tolist():
            one = {**entry, "sku": self._items.names[sku], "discount_share": float(week.discount[sku])}
            if week.location[sku] >= 0:
                one["location"] = self._places[week.location[sku]].name
            told.append(one)
        if week.category >= 0:
            told.append({**entry, "category": CATEGORIES[week.category], "discount_share": week.category_discount})
        return told

    def _told_prices(self, week: int) -> list[dict[str, Any]]:
        first = self.first_day(week)
        changed = np.flatnonzero(self.price_changes(week) != 1.0)
        price = self.prices(first) if len(changed) else self._items.price
        entry = {"type": "calendar.price", "entry_id": f"from-{text_of(first)}", "first_day": text_of(first)}
        entry["last_day"] = text_of(first + 3_650)
        return [{**entry, "sku": self._items.names[sku], "unit_price": float(price[sku])} for sku in changed.tolist()]

    def _told_holiday(self, day: int) -> list[dict[str, Any]]:
        its = holiday(day)
        if its is None:
            return []
        span = {"first_day": text_of(day), "last_day": text_of(day), "name": its.name}
        entry = f"{text_of(day)}"
        told: list[dict[str, Any]] = [{"type": "calendar.holiday", "entry_id": entry, **span}]
        for place in self._places:
            if not place.web and its.till == 0:
                told.append({"type": "calendar.closure", "entry_id": entry, "location": place.name, **span})
        return told


def _forget(by_week: dict[int, Any]) -> None:
    """Keep the latest seven weeks, so that one more can be noted."""
    for week in sorted(by_week)[:-7]:
        del by_week[week]


def on_holidays(day: int, web: bool) -> float:
    """The factor of holidays on a location's custom; 0: closed."""
    its = holiday(day)
    if its is not None:
        return its.web if web else its.till
    following = holiday(day + 1)
    return _EVE if following is not None and following.till == 0 and not web else 1.0
