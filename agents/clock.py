"""The one wall clock. Everything that decides takes time from events; only doors and neighbours may ask here."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Wall-clock time, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def steady_s() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()
