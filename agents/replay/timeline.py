"""Everything a replay sends, in order of event time: the file, what is added to it, and ticks.

A tick of time T goes out when everything before T has been sent and nothing at or after T has: so it may move every
partition's mark to T. Ticks come at whole intervals; through a long silence once a day, because days must close there
too, but nobody waits by the hour.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo

from agents.replay.formats.records import Record

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SILENCE_MS = 14 * DAY_MS  # longer ones are ticked by the day: ten years are then 3,650 ticks, not 87,600


class Tick(NamedTuple):
    """Event time has come this far, everywhere."""

    at_ms: int


class Timeline:
    """Merges the file's records with records added on the way (receipts of a supplier) and ticks between them."""

    def __init__(self, file: Iterator[Record], interval_ms: int | None, begin_ms: int, until_ms: int) -> None:
        """The first tick is at `begin_ms`, which no record of the file is before, the last at `until_ms`.

        `interval_ms` None: no ticks. Additions after `until_ms` are never sent.
        """
        self._file = file
        self._interval_ms, self._begin_ms, self._until_ms = interval_ms, begin_ms, until_ms
        self._added: list[tuple[int, int, Record]] = []
        self._number = count()
        self._ticked_ms: int | None = None

    def add(self, record: Record) -> None:
        """Send this too, at its time; of equal times before the file's records. Never before the last tick."""
        assert self._ticked_ms is None or record.at_ms >= self._ticked_ms, (
            "an addition before the last tick would be late"
        )
        heapq.heappush(self._added, (record.at_ms, next(self._number), record))

    def __iter__(self) -> Iterator[Record | Tick]:
        following = next(self._file, None)
        while following is not None:
            yield from self._before(following.at_ms)
            yield following
            following = next(self._file, None)
        yield from self._before(self._until_ms)
        if self._interval_ms is not None and self._ticked_ms != self._until_ms:
            yield self._tick(self._until_ms)

    def _before(self, at_ms: int) -> Iterator[Record | Tick]:
        """What goes out before a record of `at_ms`. A reader may add records while a tick is in its hands."""
        while True:
            due_ms = min(at_ms, self._added[0][0]) if self._added else at_ms
            tick_ms = self._next_tick(due_ms)
            if tick_ms is not None:
                yield self._tick(tick_ms)
            elif self._added and self._added[0][0] <= at_ms:
                yield heapq.heappop(self._added)[2]
            else:
                return

    def _next_tick(self, due_ms: int) -> int | None:
        if self._interval_ms is None:
            return None
        bound_ms = min(due_ms, self._until_ms)
        if self._ticked_ms is None:
            return self._begin_ms if self._begin_ms <= bound_ms else None
        step_ms = self._interval_ms
        if bound_ms - self._ticked_ms > SILENCE_MS:
            step_ms = max(DAY_MS, self._interval_ms)
        next_ms = self._ticked_ms - self._ticked_ms % step_ms + step_ms
        return next_ms if next_ms <= bound_ms else None

    def _tick(self, at_ms: int) -> Tick:
        self._ticked_ms = at_ms
        return Tick(at_ms)


def day_start_ms(at_ms: int, timezone: str) -> int:
    """The local midnight at or before an instant.

    >>> day_start_ms(1_309_518_000_000, "Europe/London")  # noon of 2011-07-01 there; its midnight is 23:00 UTC
    1309474800000
    """
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    return round(datetime(local.year, local.month, local.day, tzinfo=zone).timestamp() * 1000)


def day_end_ms(at_ms: int, timezone: str) -> int:
    """The local midnight after an instant.

    >>> day_end_ms(1_309_518_000_000, "Europe/London") - day_start_ms(1_309_518_000_000, "Europe/London")
    86400000
    """
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    after = datetime(local.year, local.month, local.day) + timedelta(days=1)
    return round(after.replace(tzinfo=zone).timestamp() * 1000)
