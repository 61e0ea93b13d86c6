"""The shop's events onto the topics, and ticks that say how far its time has come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import orjson
from confluent_kafka import KafkaException, Producer

from agents.settings import Settings
from agents.shop.said import Said
from stream import kafka_address
from stream.errors import Away
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.topics import BY_NAME, full_name, partitions

FLUSH_S = 30.0
TICK_KEY = b"clock.tick"  # compacted topics take no record without a key


class Publisher:
    """Sends events by key, as any shop would, and one tick to every partition of every source topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = {source.topic: full_name(settings.namespace, source.topic) for source in Source}
        self._producer = Producer(
            {
                **kafka_address.client(settings.brokers),
                **kafka_address.QUIET,
                "partitioner": "murmur2_random",  # as the Java client does
                "linger.ms": 5,
                "acks": "all",
                "max.in.flight.requests.per.connection": 1,  # a retry does not overtake: the embedded broker has no ids
                "queue.buffering.max.messages": 200_000,
            }
        )
        self._ticks = 0
        self._lost = ""
        self.published: Counter[str] = Counter()  # by topic; ticks apart

    def publish(self, said: Iterable[Said]) -> None:
        """Send these, in order. Raises Away where the broker refused one."""
        for one in said:
            self._produce(one.topic, orjson.dumps(one.event), key=one.key.encode())
            self.published[one.topic] += 1
        self._producer.poll(0)

    def tick(self, now_ms: int) -> None:
        """Tell every source partition that event time has come to `now_ms`."""
        s = self._settings
        self._ticks += 1
        event = {"event_id": f"tick-{now_ms}-{self._ticks}", "type": "clock.tick", "occurred_at": text_from_ms(now_ms)}
        value = orjson.dumps(event)
        for source in Source:
            topic = BY_NAME[source.topic]
            for partition in range(partitions(topic, s.source_partitions, s.fact_partitions, s.shelves)):
                self._produce(topic.name, value, key=TICK_KEY, partition=partition)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is acknowledged. Raises Away where it is not within a bound."""
        left = self._producer.flush(FLUSH_S)
        if left or self._lost:
            raise self._away(self._lost or f"{left} events were not acknowledged within {FLUSH_S:.0f} s")

    def close(self) -> None:
        """Let go of the connections; what was not flushed is dropped."""
        self._producer.purge()
        del self._producer  # librdkafka's threads end with the object

    def _produce(self, topic: str, value: bytes, **where: object) -> None:
        while not self._lost:
            try:
                self._producer.produce(self._names[topic], value, on_delivery=self._delivered, **where)
                return
            except BufferError:  # the broker is slow; let it catch up
                self._producer.poll(0.1)
            except KafkaException as error:
                self._lost = str(error.args[0].str())
        raise self._away(self._lost)

    def _delivered(self, error: object, message: object) -> None:
        if error is not None:
            self._lost = f"{message.topic()}: {error.str()}"  # type: ignore[attr-defined]

    def _away(self, detail: str) -> Away:
        return Away(
            f"the broker at {self._settings.safe_brokers} did not take the shop's events", detail, "restock doctor"
        )
