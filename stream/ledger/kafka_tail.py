"""Reading the end of an outgoing partition: what was committed from an offset on. Blocking; run in a thread.

"The end" is the log's own end, open transactions included: a read_committed reader sees nothing behind the first open
transaction, and on a shared partition that may be a neighbour's. So we read until we are past the end as it was when we
began: the neighbour's transaction ends within `transaction.timeout.ms`, however dead it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream.errors import Away, SetupError
from stream.ledger.publisher import Found, Tail, about, found_id, partition_of

READ_RECORDS, GATHER_S = 1_000, 0.05  # handed to Python at once, or what came within 50 ms
ASK_S = 10.0
SETTLE_S, PAUSE_S = 3.0, 0.1  # a new topic has its leader within a second
STUCK_S = 60.0  # without a record or an end: longer than any transaction of ours may stay open


class TailReader:
    """Reads tails in one namespace; may be used from several threads."""

    def __init__(self, settings: Mapping[str, Any], namespace: str, topics: Sequence[str]) -> None:
        self._settings, self._namespace, self._topics = settings, namespace, topics
        self._admin = AdminClient(dict(settings))

    def read(self, shelf: int, published: Mapping[str, int]) -> Tail:
        """The shelf's messages in each topic's partition, from `published` (default: the beginning) to the end.

        Raises Away, and SetupError for a topic or partition that is not there.
        """
        at = {topic: TopicPartition(f"{self._namespace}.{topic}", partition_of(topic, shelf)) for topic in self._topics}
        ends = _ends(self._admin, at)
        consumer = Consumer({**self._settings, "group.id": f"{self._namespace}.tail", **_READING})
        try:
            consumer.assign([TopicPartition(p.topic, p.partition, published.get(topic, 0)) for topic, p in at.items()])
            return _read(consumer, shelf, {part.topic: topic for topic, part in at.items()}, ends)
        finally:
            consumer.close()


_READING = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",  # retention went past what we noted, or the topic was made anew
    "fetch.wait.max.ms": 20,  # an end is told after one empty fetch
}


def _ends(admin: AdminClient, at: Mapping[str, TopicPartition]) -> dict[str, int]:
    """Where each partition ends, open transactions included. A topic made just now is waited for a little."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        try:
            return _ask(admin, at)
        except KafkaException as error:
            if time.monotonic() > deadline_s:
                _raise_for_missing(admin, at)
                raise wrong("look up outgoing topics", error) from error
        time.sleep(PAUSE_S)


def _raise_for_missing(admin: AdminClient, at: Mapping[str, TopicPartition]) -> None:
    """The client says "no leaders found" both of a topic that is not there and of one whose broker is away."""
    try:
        known = admin.list_topics(timeout=ASK_S).topics
    except KafkaException as error:
        raise wrong("look up outgoing topics", error) from error
    for part in at.values():
        if part.topic not in known or part.partition not in known[part.topic].partitions:
            raise SetupError(
                f"could not find partition {part.partition} of the outgoing topic {part.topic}",
                f"the broker has {len(known)} topics; it is not there",
                "run `restock topics create`; every outgoing topic has as many partitions as sku-events",
            )


def _ask(admin: AdminClient, at: Mapping[str, TopicPartition]) -> dict[str, int]:
    asked = dict.fromkeys(at.values(), OffsetSpec.latest())
    answers = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ASK_S)
    found = {(part.topic, part.partition): answer for part, answer in answers.items()}
    return {topic: found[part.topic, part.partition].result(ASK_S).offset for topic, part in at.items()}


def _read(consumer: Any, shelf: int, topics: Mapping[str, str], ends: Mapping[str, int]) -> Tail:
    """Read until every partition has told an end at or behind the one we asked for; `topics` by full name.

    The embedded broker tells ends too small, so the end that reading meets counts where it is the greater.
    """
    found: list[Found] = []
    met: dict[str, int] = {}
    deadline_s = time.monotonic() + STUCK_S
    while len(met) < len(topics):
        for record in consumer.consume(READ_RECORDS, timeout=GATHER_S):
            error, topic = record.error(), topics[record.topic()]
            if error is None:
                deadline_s = time.monotonic() + STUCK_S
                id_ = found_id(topic, shelf, record.headers() or ())
                if id_ is not None:
                    row = about(record.key() or b"", record.headers() or ())
                    found.append(Found(topic, record.offset(), row, id_))
            elif error.code() != KafkaError._PARTITION_EOF:
                raise wrong(f"read outgoing topic {record.topic()}", KafkaException(error))
            elif record.offset() >= ends[topic]:
                met[topic] = record.offset()
        if time.monotonic() > deadline_s:
            left = ", ".join(sorted(set(ends) - set(met)))
            detail = f"no end of {left} within {STUCK_S:g} s"
            raise Away("could not read what is published already", detail, "is the broker up? See its log")
    return Tail(found, met)


def wrong(doing: str, error: KafkaException) -> Away | SetupError:
    """The error in our words: SetupError for what waiting cannot mend."""
    cause = error.args[0]
    if cause.code() in _MISSING:
        return SetupError(
            f"could not {doing}: a topic or partition is not there", str(cause), "run `restock topics create`"
        )
    if cause.code() in _REFUSED:
        hint = "check the user and its rights on the topics, and on transactional ids that begin with the namespace"
        return SetupError(f"could not {doing}: the broker refuses us", str(cause), hint)
    if cause.code() in _TOO_BIG:
        return SetupError(
            f"could not {doing}: a message is too big", str(cause), "raise max.message.bytes of the topic"
        )
    return Away(f"could not {doing}", str(cause), "is the broker up? Check RESTOCK_BROKERS")


_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_TOO_BIG = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}
