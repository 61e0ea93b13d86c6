"""Local days: which instants a location's day begins and ends at.

A day is numbered by its local date, in days since 1970-01-01.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH = date(1970, 1, 1)
HOUR_MS = 3_600_000


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=65_536)
def midnight_ms(zone: str, day: int) -> int:
    """The instant local day number `day` begins.

    >>> midnight_ms("UTC", 1)
    86400000
    >>> midnight_ms("Europe/London", 18_779) - midnight_ms("UTC", 18_779)  # summer time
    -3600000
    """
    local = datetime.combine(_EPOCH + timedelta(days=day), time(), _zone(zone))
    return round(local.astimezone(UTC).timestamp() * 1000)


def day_of(zone: str, instant_ms: int) -> int:
    """The local day number an instant belongs to.

    >>> day_of("UTC", 86_400_000)
    1
    """
    if zone == "UTC":
        return instant_ms // 86_400_000
    guess = instant_ms // 86_400_000
    for day in (guess + 1, guess, guess - 1):
        if midnight_ms(zone, day) <= instant_ms:
            return day
    return guess - 2


def day_after(zone: str, end_ms: int, day: int) -> tuple[int, int]:
    """The (number, end) of the day that begins at `end_ms`, where day number `day` ended.

    In the same zone that is the next date. After a change of zone it ends at the new zone's midnight that lies 12 to
    36 hours on, so that no day is a sliver.

    >>> day_after("UTC", 86_400_000, 0)
    (1, 172800000)
    """
    if midnight_ms(zone, day + 1) == end_ms:
        return day + 1, midnight_ms(zone, day + 2)
    first = day_of(zone, end_ms + 12 * HOUR_MS) + 1
    return max(day + 1, first - 1), midnight_ms(zone, first)
