"""Locations: their zones, hours and weeks. The second one is the web shop; beyond the named ones, numbered stores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.planner.days import midnight_ms
from agents.shop.config import HOUR_MS
from agents.shop.draws import Floats

_NAMED = (
    ("berlin", "Europe/Berlin", 1.0, (7,)),
    ("web", "Europe/Berlin", 1.3, ()),
    ("new-york", "America/New_York", 0.9, ()),
    ("tokyo", "Asia/Tokyo", 0.8, ()),
    ("hamburg", "Europe/Berlin", 0.6, (7,)),
    ("london", "Europe/London", 0.9, ()),
    ("sydney", "Australia/Sydney", 0.5, ()),
    ("lisbon", "Europe/Lisbon", 0.4, ()),
    ("kolkata", "Asia/Kolkata", 0.7, ()),
    ("sao-paulo", "America/Sao_Paulo", 0.6, (7,)),
)  # name, zone, share of custom before normalising, weekdays closed (1 Monday)
_SOUTH = ("Australia/Sydney", "America/Sao_Paulo")

_TILL_HOURS = (0,) * 8 + (2, 4, 5, 6, 8, 7, 5, 5, 7, 9, 8, 5) + (0,) * 4  # 8:00 to 20:00
_WEB_HOURS = (2, 1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 5, 5, 5, 5, 6, 7, 9, 10, 9, 6, 4)
_TILL_WEEK = (0.9, 0.85, 0.95, 1.0, 1.2, 1.5, 0.6)  # Monday first
_WEB_WEEK = (1.15, 1.05, 1.0, 0.95, 0.85, 0.85, 1.15)


@dataclass(frozen=True)
class Place:
    """A location."""

    name: str
    zone: str
    web: bool
    south: bool
    share: float
    closed_weekdays: tuple[int, ...]  # 1 Monday to 7 Sunday
    hours: Floats  # (24,) share of a day's custom by local hour
    week: Floats  # (7,) mean 1, Monday first

    def midnight_ms(self, day: int) -> int:
        """The instant its local day begins."""
        return midnight_ms(self.zone, day)

    def instants_ms(self, day: int, chances: Floats) -> Floats:
        """Uniform numbers (n,) to times of the local day, by its hours; days of 23 or 25 hours are stretched."""
        begin, end = self.midnight_ms(day), self.midnight_ms(day + 1)
        edges = np.concatenate(([0.0], np.cumsum(self.hours)))
        hour = np.interp(chances * edges[-1], edges, np.arange(25.0))
        return np.asarray(begin + hour / 24 * (end - begin))


def weekday(day: int) -> int:
    """0 Monday to 6 Sunday of a day number.

    >>> weekday(0)  # 1970-01-01 was a Thursday
    3
    """
    return (day + 3) % 7


def places(count: int) -> tuple[Place, ...]:
    """The first `count` locations."""
    return tuple(_place(number) for number in range(count))


def _place(number: int) -> Place:
    name, zone, share, closed = _NAMED[number % len(_NAMED)]
    web = number == 1
    if number >= len(_NAMED):
        name, share = f"store-{number:03d}", 0.3 + 0.6 * share / (1 + number // len(_NAMED))
    week = np.array(_WEB_WEEK if web else _TILL_WEEK)
    week[[day - 1 for day in closed]] = 0
    hours = np.array(_WEB_HOURS if web else _TILL_HOURS, np.float64)
    return Place(name, zone, web, zone in _SOUTH, share, closed, hours / hours.sum(), week / week.mean())


def hour_ms(hours: float) -> int:
    """Hours as milliseconds."""
    return round(hours * HOUR_MS)
