"""Reading topics from a door: no consumer group, nothing committed, nobody disturbed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from agents.clock import steady_s
from stream import kafka_address
from stream.errors import Away, SetupError

TIMEOUT_S = 10.0
_silent = logging.getLogger("restock.tail.librdkafka")  # what it says of a broker that is away, we say once
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
AFTER_END_S = 0.5  # some brokers report an end one record short: after the end, wait this long for one more


def read_to_end(brokers: str, topic: str) -> Iterator[Any]:
    """Every committed message of a topic from its beginning to its end, partition by partition as they come.

    Raises Away where the broker does not answer and SetupError where there is no such topic.
    """
    consumer = follow(brokers, [topic])
    left = {part.partition for part in consumer.assignment()}
    try:
        while True:
            message = consumer.poll(TIMEOUT_S if left else AFTER_END_S)
            if message is None:
                if left:
                    raise _away(brokers, f"nothing came from {topic} for {TIMEOUT_S:.0f} s")
                return
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise _away(brokers, message.error().str())
    finally:
        consumer.close()


def follow(brokers: str, topics: list[str], from_end: bool = False) -> Consumer:
    """A consumer of all partitions of these topics, outside any group; poll() and close() it.

    From their beginning; or from where they end now: what is published after this call is read.
    """
    consumer = Consumer(
        {
            **kafka_address.client(brokers),
            "group.id": "restock-reader",  # librdkafka wants one; nothing is ever committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        },
        logger=_silent,
    )
    try:
        parts = [part for topic in topics for part in _partitions(consumer, brokers, topic)]
        if from_end:
            parts = [_at_end(consumer, brokers, part) for part in parts]
        consumer.assign(parts)
    except BaseException:
        consumer.close()
        raise
    return consumer


def _partitions(consumer: Consumer, brokers: str, topic: str) -> list[TopicPartition]:
    try:
        found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise _away(brokers, str(error.args[0].str())) from error
    if found.error is not None or len(found.partitions) == 0:
        where = kafka_address.safe(brokers)
        raise SetupError(f"no topic {topic}", f"the broker at {where} does not have it", "restock topics create")
    return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions]


def _at_end(consumer: Consumer, brokers: str, part: TopicPartition) -> TopicPartition:
    deadline_s = steady_s() + TIMEOUT_S
    while True:  # a topic just created has no leader for a moment
        try:
            _, end = consumer.get_watermark_offsets(part, timeout=TIMEOUT_S, cached=False)
            return TopicPartition(part.topic, part.partition, end)
        except KafkaException as error:
            if steady_s() > deadline_s:
                raise _away(brokers, str(error.args[0].str())) from error
            time.sleep(0.1)


def _away(brokers: str, detail: str) -> Away:
    where = kafka_address.safe(brokers)
    return Away(f"the broker at {where} does not answer", detail, "check RESTOCK_BROKERS, or run restock doctor")
