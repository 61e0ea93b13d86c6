"""When a day's close began and ended, as the ledger shows it: what a shelf says of the closing it has begun."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import redis

from stream.ledger.keys import Keys
from tests.bench.bench import SHELVES, Bench

LOOK_S = 0.02
STILL_S = 1.0  # shelves begin within a tick of each other


class Closing:
    """A context that looks for the closing of the midnight at `midnight_ms`; instants are monotonic seconds."""

    def __init__(self, bench: Bench, midnight_ms: int) -> None:
        self._bench, self._midnight = bench, b"%d" % midnight_ms
        self.began: float | None = None
        self.ended = 0.0  # when it was last seen
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Closing:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._enough.set()
        self._thread.join()

    def going_on(self) -> bool:
        """Whether it has not begun, or was there a moment ago."""
        return self.began is None or time.monotonic() < self.ended + STILL_S

    def _look(self) -> None:
        keys = Keys(self._bench.at.namespace)
        with redis.Redis.from_url(self._bench.redis.url) as client:
            while not self._enough.wait(LOOK_S):
                asked = client.pipeline(transaction=False)
                for shelf in range(SHELVES):
                    asked.hget(keys.of(shelf, "place"), "sweep")  # where all rows close at once
                    asked.hget(keys.of(shelf, "meta"), "closing")
                if any((said or b"").rpartition(b":")[2] == self._midnight for said in asked.execute()):
                    self.ended = time.monotonic()
                    self.began = self.began or self.ended - LOOK_S
