"""What the pipeline published since the replay began: proposals to answer, alerts and refusals to count."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agents import clock
from agents.settings import Settings
from stream import kafka_address
from stream.errors import Away
from stream.events.topics import full_name

ANSWER_S = 30.0
ASK_AGAIN_S = 0.1
_SOON = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)
AFTER_END_S = 0.5  # some brokers report an end short of the last batch: after the end, wait this long for more


class Message(NamedTuple):
    """One message, and its CloudEvents type."""

    type: str
    data: Any


class Follower:
    """Reads partitions of one outgoing topic from given offsets on, each `ce_id` once, as far as it is asked to."""

    def __init__(self, settings: Settings, topic: str, begin: Mapping[int, int]) -> None:
        self._settings, self._topic = settings, topic
        self.at = dict(begin)
        self._seen: set[bytes] = set()
        self._consumer = Consumer(
            {
                **kafka_address.client(settings.brokers),
                **kafka_address.QUIET,
                "group.id": "restock-replay",  # librdkafka wants one; nothing is ever committed under it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )
        name = full_name(settings.namespace, topic)
        self._consumer.assign([TopicPartition(name, partition, offset) for partition, offset in self.at.items()])

    def until(self, ends: Mapping[int, int]) -> Iterator[Message]:
        """Messages up to these offsets. Raises Away where they do not come."""
        while any(self.at[partition] < end for partition, end in ends.items()):
            message = self._poll(ANSWER_S)
            if message is not None:
                yield message

    def to_end(self) -> Iterator[Message]:
        """Messages up to where the broker says the partitions end, and what comes a moment later."""
        left = set(self.at)
        while left:
            polled = self._consumer.poll(ANSWER_S)
            if polled is None:
                raise self._away("nothing came")
            if polled.error() is not None and polled.error().code() == KafkaError._PARTITION_EOF:
                left.discard(polled.partition())
            elif (message := self._read(polled)) is not None:
                yield message
        while (polled := self._consumer.poll(AFTER_END_S)) is not None:
            if (message := self._read(polled)) is not None:
                yield message

    def next(self) -> Message:
        """The next message. Raises Away where none comes."""
        while (message := self._poll(ANSWER_S)) is None:
            pass
        return message

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _poll(self, wait_s: float) -> Message | None:
        """One message; None for one seen before. The ends of partitions are passed over."""
        deadline_s = clock.steady_s() + wait_s
        while (left_s := deadline_s - clock.steady_s()) > 0:
            polled = self._consumer.poll(left_s)
            if polled is not None and (polled.error() is None or polled.error().code() != KafkaError._PARTITION_EOF):
                return self._read(polled)
        raise self._away(f"nothing came for {wait_s:.0f} s; read to {self.at}")

    def _read(self, polled: Any) -> Message | None:
        if polled.error() is not None:
            if polled.error().code() == KafkaError._PARTITION_EOF:
                return None
            raise self._away(str(polled.error().str()))
        self.at[polled.partition()] = polled.offset() + 1
        headers = dict(polled.headers() or [])
        if headers.get("ce_id", b"") in self._seen:
            return None
        self._seen.add(headers.get("ce_id", b""))
        return Message(headers.get("ce_type", b"").decode(), orjson.loads(polled.value()))

    def _away(self, detail: str) -> Away:
        name = full_name(self._settings.namespace, self._topic)
        return Away(f"could not read {name} from {self._settings.safe_brokers}", detail, "run `restock doctor`")


def end_of(settings: Settings, topic: str, partition: int) -> int:
    """Where the broker says a partition ends; the embedded one says where its last batch begins. Raises Away.

    A topic just created has no leader for a moment: asked again within the bound.
    """
    consumer = Consumer({**kafka_address.client(settings.brokers), **kafka_address.QUIET, "group.id": "restock-replay"})
    place = TopicPartition(full_name(settings.namespace, topic), partition)
    deadline_s = clock.steady_s() + ANSWER_S
    try:
        while True:
            try:
                end: int = consumer.get_watermark_offsets(place, timeout=ANSWER_S, cached=False)[1]
                return end
            except KafkaException as error:
                if error.args[0].code() not in _SOON or clock.steady_s() > deadline_s:
                    detail = str(error.args[0].str())
                    raise Away(
                        f"the broker at {settings.safe_brokers} does not answer", detail, "run `restock doctor`"
                    ) from error
            time.sleep(ASK_AGAIN_S)
    finally:
        consumer.close()
