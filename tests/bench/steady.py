"""Orders at a steady rate, and how long after their acknowledgement somebody else holds the alerts they cause.

An alert names its row and the instant of the order that caused it; by that it is found among the orders.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, Message

Key = tuple[str, ...]  # what an alert and its order have in common

READY_S = 30.0
LAST_ALERTS_S = 5.0  # waited for after the last order


def paced(rate: int, seconds: float, poll: Callable[[float], object]) -> Iterator[int]:
    """Numbers, each within the millisecond in which it is due. Never skips: one that is late comes at once.

    `poll` is called before each, and while waiting: what a producer hears there is stamped as it is heard. Who sleeps
    for less than a millisecond takes a third of a core at 6,000 a second, from what is measured.
    """
    begun = time.monotonic()
    for n in range(round(rate * seconds)):
        poll(0.0)
        while time.monotonic() < begun + n / rate:
            time.sleep(0.001)  # not in `poll`: librdkafka counts whole milliseconds, and would spin
            poll(0.0)
        yield n


@dataclass
class Stamps:
    """When orders were acknowledged, and when their alerts were held; monotonic seconds."""

    acknowledged: dict[Key, float] = field(default_factory=dict)
    held: list[tuple[Key, float]] = field(default_factory=list)

    def on_delivery(self, keys: Sequence[Key]) -> Callable[[Any, Any], None]:
        """A producer's callback for an order that may cause alerts of these keys."""

        def told(error: Any, _: Any) -> None:
            assert error is None, error
            now = time.monotonic()
            for key in keys:
                self.acknowledged.setdefault(key, now)

        return told

    def alerts(self, since: float = 0.0, until: float = float("inf")) -> list[tuple[float, float]]:
        """(when it was held, milliseconds since the acknowledgement) of orders acknowledged within, as held."""
        found = [(at, at - self.acknowledged[key]) for key, at in list(self.held) if key in self.acknowledged]
        return [(at, 1000 * took) for at, took in found if since <= at - took < until]

    def took_ms(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """The same, milliseconds alone, sorted."""
        return sorted(ms for _, ms in self.alerts(since, until))


class Watcher:
    """Another consumer, read_committed, from the end of a topic on; a context in which it reads."""

    def __init__(self, bootstrap: str, topic: str, stamps: Stamps, key_of: Callable[[Message], Key | None]) -> None:
        """`key_of` a message is what is stamped; None where it is nothing to wait for."""
        self._bootstrap, self._topic, self._stamps, self._key_of = bootstrap, topic, stamps, key_of
        self._ready, self._enough = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Watcher:
        self._thread.start()
        assert self._ready.wait(READY_S), f"{self._topic} was not assigned to the watcher"
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            time.sleep(LAST_ALERTS_S)
        self._enough.set()
        self._thread.join()

    def _read(self) -> None:
        options = {"bootstrap.servers": self._bootstrap, "group.id": f"{self._topic}-watch"}
        options |= {"auto.offset.reset": "latest", "isolation.level": "read_committed"}
        consumer = Consumer(options | {"enable.auto.commit": False, "fetch.wait.max.ms": 100})
        consumer.subscribe([self._topic])
        deadline = time.monotonic() + READY_S
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.1)
        consumer.poll(0.5)  # the end is found
        self._ready.set()
        while not self._enough.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None and (key := self._key_of(message)) is not None:
                self._stamps.held.append((key, time.monotonic()))
        consumer.close()
