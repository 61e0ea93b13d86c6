"""How fast the demo's time goes: weeks in seconds first, so that there is history, then an hour a second."""

from __future__ import annotations

from agents.shop.config import DAY_MS, HOUR_MS

HISTORY_DAYS = 28
HISTORY_S = 10.0  # 2.8 days a second: about 5,000 events/s, a fifth of what a worker does
SPEED = HOUR_MS  # ms of shop time a second, after that
AHEAD_MS = 48 * HOUR_MS  # the shop waits for a worker that is further behind: its buyer would act on old news
HEADROOM_DAYS = 56  # how long it can go on like this (22 minutes) before it meets the wall clock


def start_day(wall_ms: int) -> int:
    """The local date on which the shop's story begins, seen from now; days since 1970-01-01."""
    return wall_ms // DAY_MS - HISTORY_DAYS - HEADROOM_DAYS


def shop_ms(start_ms: int, elapsed_s: float, wall_ms: int, worker_ms: int) -> int:
    """Event time after so many seconds; never ahead of the wall clock, nor far ahead of the worker's watermark.

    >>> (shop_ms(0, 5.0, 10**13, 10**13) - shop_ms(0, 0.0, 10**13, 10**13)) / DAY_MS
    14.0
    >>> (shop_ms(0, 12.0, 10**13, 10**13) - shop_ms(0, 11.0, 10**13, 10**13)) / HOUR_MS
    1.0
    >>> shop_ms(0, 5.0, 10**13, 2 * DAY_MS) / DAY_MS
    4.0
    """
    history = min(elapsed_s, HISTORY_S) / HISTORY_S * HISTORY_DAYS * DAY_MS
    wanted = start_ms + round(history + max(0.0, elapsed_s - HISTORY_S) * SPEED)
    return min(wall_ms, wanted, worker_ms + AHEAD_MS)
