"""How fast the shop's time goes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from agents.shop.config import DAY_MS, HOUR_MS

_ENDLESS_DAYS = 60  # where no end is named: this far in the past a shop begins that goes faster than the clock


@dataclass(frozen=True)
class Pace:
    """Event time over wall time: 1 is real time, `inf` as fast as it goes; never ahead of the wall clock."""

    start_ms: int
    speed: float

    def at(self, elapsed_s: float, wall_ms: int) -> int:
        """Event time after so many seconds.

        >>> Pace(0, 60.0).at(2.0, 10**13), Pace(0, 60.0).at(2.0, 5_000), Pace(0, inf).at(0.0, 5_000)
        (120000, 5000, 5000)
        """
        if self.speed == inf:
            return wall_ms
        return min(self.start_ms + round(elapsed_s * 1000 * self.speed), wall_ms)


def morning_ms(first_day: int) -> int:
    """Ten in the morning (UTC) after a first day: who watches at 60x need not sit through a night first."""
    return (first_day + 1) * DAY_MS + 10 * HOUR_MS


def speed_of(text: str) -> float:
    """`60x`, `1x`, `max`. Raises ValueError.

    >>> speed_of("60x"), speed_of("max")
    (60.0, inf)
    """
    if text == "max":
        return inf
    number = float(text.removesuffix("x"))
    if not 0.01 <= number <= 1e6:
        raise ValueError("not between 0.01x and 1000000x")
    return number


def start_day(wall_ms: int, speed: float, days: float | None) -> int:
    """The local date on which a shop begins that nobody told a date, days since 1970-01-01.

    In real time yesterday, as its first hours are left out; faster, so far back that the wall clock is not met.
    """
    back = 1 if speed <= 1 else 2 + int(-(-(days or _ENDLESS_DAYS) // 1))
    return wall_ms // DAY_MS - back
