"""Records onto the topics by key, and ticks into every partition of every source topic; what was acknowledged where."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from agents import abilities
from agents.replay.formats.records import Record
from agents.replay.timeline import Tick
from agents.settings import Settings
from stream import kafka_address
from stream.errors import Away
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.partition import partition_of
from stream.events.topics import BY_NAME, full_name, partitions

FLUSH_S = 60.0
TICK_KEY = b"clock.tick"  # compacted topics take no record without a key

Place = tuple[str, int]  # topic (short name), partition


class Publisher:
    """Sends in order per partition. Not for several threads."""

    def __init__(self, settings: Settings, idempotent: bool) -> None:
        self._settings = settings
        self._names = {source.topic: full_name(settings.namespace, source.topic) for source in Source}
        self.partitions = {
            source.topic: partitions(
                BY_NAME[source.topic], settings.source_partitions, settings.fact_partitions, settings.shelves
            )
            for source in Source
        }
        self._producer = Producer(_options(settings.brokers, idempotent))
        self._error: KafkaError | None = None
        self._ticks = 0
        self.rows: Counter[str] = Counter()  # file rows sent, by topic
        self.added: Counter[str] = Counter()  # records sent that are not the file's, by topic; ticks apart
        self._short = {name: topic for topic, name in self._names.items()}
        self.begin: dict[Place, int] = {}  # first offset acknowledged
        self.end: dict[Place, int] = {}  # offset after the last acknowledged
        self.not_rows: set[tuple[str, int, int]] = set()  # (topic, partition, offset) of what is not the file's

    def send(self, record: Record) -> None:
        """Send one record to its key's partition; one without key goes to partition 0."""
        key = None if record.key is None else record.key.encode()
        partition = 0 if key is None else _partition(key, self.partitions[record.topic])
        if record.rows > 0:
            self.rows[record.topic] += record.rows
            self._produce(record.topic, partition, key, record.value, self._delivered)
        else:
            self.added[record.topic] += 1
            self._produce(record.topic, partition, key, record.value, self._delivered_added)

    def tick(self, tick: Tick) -> None:
        """Say in every source partition that event time has come this far."""
        self._ticks += 1
        said = {
            "event_id": f"tick-{tick.at_ms}-{self._ticks}",
            "type": "clock.tick",
            "occurred_at": text_from_ms(tick.at_ms),
        }
        value = orjson.dumps(said)
        for topic, count in self.partitions.items():
            for partition in range(count):
                self._produce(topic, partition, TICK_KEY, value, self._delivered)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is acknowledged. Raises Away where it is not within a bound."""
        left = self._producer.flush(FLUSH_S)
        self._raise()
        if left > 0:
            raise _away(self._settings, f"{left} records were not acknowledged within {FLUSH_S:.0f} s")

    def poll(self, wait_s: float) -> None:
        """Let acknowledgements in while waiting."""
        self._producer.poll(wait_s)
        self._raise()

    def _produce(self, topic: str, partition: int, key: bytes | None, value: bytes, delivered: Any) -> None:
        while True:
            self._raise()
            try:
                self._producer.produce(self._names[topic], value, key, partition, on_delivery=delivered)
                return
            except BufferError:  # the queue is full: wait for acknowledgements
                self._producer.poll(0.1)
            except KafkaException as error:
                raise _away(self._settings, str(error.args[0].str())) from error

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._error = self._error or error
            return
        place = (self._short[message.topic()], message.partition())
        offset = message.offset()
        self.begin.setdefault(place, offset)
        self.end[place] = offset + 1

    def _delivered_added(self, error: KafkaError | None, message: Any) -> None:
        self._delivered(error, message)
        if error is None:
            self.not_rows.add((self._short[message.topic()], message.partition(), message.offset()))

    def _raise(self) -> None:
        if self._error is not None:
            raise _away(self._settings, str(self._error.str()))


def publish_all(settings: Settings, records: Iterable[Record]) -> int:
    """Send records that a command made and wait until all are acknowledged; how many. Raises Away."""
    publisher, count = Publisher(settings, asyncio.run(abilities.has_transactions(settings.brokers))), 0
    for count, record in enumerate(records, 1):  # noqa: B007 it is the answer
        publisher.send(record)
    publisher.flush()
    return count


@lru_cache(maxsize=1 << 16)
def _partition(key: bytes, count: int) -> int:
    return partition_of(key, count)


def _options(brokers: str, idempotent: bool) -> dict[str, Any]:
    return {
        **kafka_address.client(brokers),
        **kafka_address.QUIET,
        "acks": "all",
        "enable.idempotence": idempotent,
        # without idempotence a retry of the first of two requests in flight would come after the second
        "max.in.flight.requests.per.connection": 5 if idempotent else 1,
        "linger.ms": 20,  # whole batches: nobody waits for one record of a replay
        "batch.size": 524_288,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 65_536,
        "delivery.timeout.ms": round(FLUSH_S * 1000),
        "topic.metadata.propagation.max.ms": 5_000,
    }


def _away(settings: Settings, detail: str) -> Away:
    return Away(
        f"the broker at {settings.safe_brokers} did not take what the replay sent",
        detail,
        "the replay stopped in the middle; start it again into a new --namespace, or look with `restock doctor`",
    )
