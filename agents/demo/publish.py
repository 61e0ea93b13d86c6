"""The shop's events onto the topics, and ticks that say how far its time has come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from confluent_kafka import Producer

from agents.demo.shop import Said
from agents.settings import Settings
from stream.errors import Away
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.topics import BY_NAME, full_name, partitions

FLUSH_S = 15.0


class Publisher:
    """Sends events by key, as any shop would, and one tick to every partition of every source topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(
            {
                "bootstrap.servers": settings.brokers,
                "partitioner": "murmur2_random",  # as the Java client does
                "linger.ms": 5,
                "acks": "all",
            }
        )
        self._ticks = 0
        self.published: Counter[str] = Counter()  # by topic; ticks apart

    def publish(self, said: Iterable[Said]) -> None:
        """Send these, in order."""
        for one in said:
            name = full_name(self._settings.namespace, one.topic)
            self._produce(name, json.dumps(one.event).encode(), key=one.key.encode())
            self.published[one.topic] += 1

    def tick(self, now_ms: int) -> None:
        """Tell every source partition that event time has come to `now_ms`."""
        s = self._settings
        for source in Source:
            topic = BY_NAME[source.topic]
            for partition in range(partitions(topic, s.source_partitions, s.fact_partitions, s.shelves)):
                self._ticks += 1
                event = {"event_id": f"tick-{self._ticks}", "type": "clock.tick", "occurred_at": text_from_ms(now_ms)}
                self._produce(full_name(s.namespace, topic.name), json.dumps(event).encode(), partition=partition)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is acknowledged. Raises Away where it is not within a bound."""
        left = self._producer.flush(FLUSH_S)
        if left:
            raise Away(f"the broker did not acknowledge {left} events", self._settings.brokers, "restock doctor")

    def _produce(self, topic: str, value: bytes, **where: object) -> None:
        try:
            self._producer.produce(topic, value, **where)
        except BufferError:  # 100,000 unsent: the broker is slow; let it catch up
            self.flush()
            self._producer.produce(topic, value, **where)
