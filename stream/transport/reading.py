"""A partition read from an offset to another, once, by a person's command. Blocking."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream import kafka_address
from stream.errors import Away
from stream.events.topics import full_name

ASK_S = 10.0
STUCK_S = 30.0  # without a record
PAUSE_S = 0.1
NO_LEADER = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
READ_RECORDS, GATHER_S = 500, 0.05  # handed to Python at once, or what came within 50 ms

log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A record of a partition."""

    offset: int
    timestamp: int  # Kafka's, ms
    key: bytes | None
    value: bytes | None


class Reader:
    """Reads partitions of a namespace."""

    def __init__(self, brokers: str, namespace: str) -> None:
        self._namespace = namespace
        self._consumer = Consumer(
            {
                **kafka_address.client(brokers),
                "group.id": f"{namespace}.reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            },
            logger=log,
        )

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Offset of the first record there is, and of the next one there will be. Raises Away."""
        where = TopicPartition(full_name(self._namespace, topic), partition)
        deadline_s = time.monotonic() + ASK_S
        while True:
            try:
                begin, end = self._consumer.get_watermark_offsets(where, timeout=ASK_S)
            except KafkaException as error:  # a partition made just now has its leader within a second
                if error.args[0].code() not in NO_LEADER or time.monotonic() > deadline_s:
                    raise _away(where.topic, str(error)) from error
                time.sleep(PAUSE_S)
            else:
                return begin, end

    def records(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Records from `start` up to `end`, not included. Raises Away where they do not come."""
        if start >= end:
            return
        name = full_name(self._namespace, topic)
        self._consumer.assign([TopicPartition(name, partition, start)])
        deadline_s = time.monotonic() + STUCK_S
        while True:
            if time.monotonic() > deadline_s:
                raise _away(name, f"nothing within {STUCK_S:.0f} s at partition {partition}")
            for message in self._consumer.consume(READ_RECORDS, timeout=GATHER_S):
                deadline_s = time.monotonic() + STUCK_S
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise _away(name, str(error))
                if error is not None or message.offset() >= end:
                    return
                yield Record(message.offset(), message.timestamp()[1], message.key(), message.value())
                if message.offset() + 1 >= end:
                    return

    def first_ms(self, topic: str, partition: int) -> int | None:
        """Time of the first record, where earlier ones were dropped; None where all are there."""
        begin, end = self.bounds(topic, partition)
        if begin == 0:
            return None
        return next((r.timestamp for r in self.records(topic, partition, begin, end)), 2**62)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def _away(topic: str, detail: str) -> Away:
    return Away(f"cannot read {topic}", detail, "check RESTOCK_BROKERS; see `restock doctor`")
