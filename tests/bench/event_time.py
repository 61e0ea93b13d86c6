"""The benches' event time: the wall clock's, or one that passes a UTC midnight when it is told to."""

from __future__ import annotations

import threading
import time

from agents.replay.publish import Publisher
from agents.replay.timeline import DAY_MS, Tick
from agents.settings import Settings

TICK_S = 1.0


class WallTime:
    """Event time is the wall clock's."""

    clock = "wall"  # RESTOCK_CLOCK

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def start(self, settings: Settings) -> None:
        """Nothing: workers follow the wall clock too."""

    def stop(self) -> None:
        """Nothing."""


class MidnightTime:
    """Event time stands at noon, and from `strike` on runs so that midnight comes when it is wished.

    For workers with RESTOCK_CLOCK=event: a tick a second tells every source partition how far time is, less the
    lateness, as the wall clock would. It is the last midnight, so that no event lies in the future; Kafka's own
    timestamps stay the wall clock's, so that a record's wait in the log is what it was.
    """

    clock = "event"  # RESTOCK_CLOCK

    def __init__(self) -> None:
        self.midnight_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS
        self._midnight_s: float | None = None  # monotonic
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        if self._midnight_s is None:
            return self.midnight_ms - DAY_MS // 2
        return self.midnight_ms + round(1000 * (time.monotonic() - self._midnight_s))

    def strike(self, in_s: float) -> None:
        """It is midnight in so many seconds."""
        self._midnight_s = time.monotonic() + in_s

    def start(self, settings: Settings) -> None:
        """Tick until `stop`."""
        self._thread = threading.Thread(target=self._tick, args=(settings,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more ticks."""
        self._enough.set()
        if self._thread is not None:
            self._thread.join()

    def _tick(self, settings: Settings) -> None:
        publisher = Publisher(settings, idempotent=True)
        while not self._enough.wait(TICK_S):
            publisher.tick(Tick(self.now_ms() - settings.lateness_ms))
        publisher.flush()
