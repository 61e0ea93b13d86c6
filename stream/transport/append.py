"""A few records appended by a person's command, each acknowledged before it returns."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stream import kafka_address
from stream.errors import Away
from stream.events.topics import full_name

DELIVER_S = 30.0

log = logging.getLogger(__name__)


def append(brokers: str, namespace: str, topic: str, values: Mapping[int, bytes]) -> dict[int, int]:
    """Append one record to each of these partitions; returns the offset each one got. Raises Away.

    After Away some may be there: appending again must be harmless.
    """
    records = ((partition, None, value) for partition, value in values.items())
    return _produced(brokers, full_name(namespace, topic), records, len(values))


def delete_keys(brokers: str, namespace: str, topic: str, keys: Mapping[int, Sequence[bytes]]) -> None:
    """Delete these keys in these partitions of a compacted topic, by a record without a value each. Raises Away."""
    records = ((partition, key, None) for partition, its in keys.items() for key in its)
    _produced(brokers, full_name(namespace, topic), records, sum(map(len, keys.values())))


def _produced(
    brokers: str, name: str, records: Iterable[tuple[int, bytes | None, bytes | None]], count: int
) -> dict[int, int]:
    """Send records and wait until all are acknowledged; the last offset in each partition."""
    producer = Producer(
        {**kafka_address.client(brokers), "acks": "all", "message.timeout.ms": int(DELIVER_S * 1000)}, logger=log
    )
    offsets: dict[int, int] = {}
    failed: list[KafkaError] = []
    done = 0

    def heard(error: KafkaError | None, record: Any) -> None:
        nonlocal done
        if error is not None:
            failed.append(error)
        else:
            done += 1
            offsets[record.partition()] = record.offset()

    try:
        for partition, key, value in records:
            while True:
                try:
                    producer.produce(name, value, key, partition, on_delivery=heard)
                    break
                except BufferError:  # librdkafka holds 100,000: wait for some of them
                    producer.poll(0.1)
        producer.flush(DELIVER_S + 1.0)
    except KafkaException as error:
        failed.append(error.args[0])
    if failed or done < count:
        detail = str(failed[0]) if failed else f"not acknowledged within {DELIVER_S:.0f} s"
        raise Away(f"could not append to {name}", detail, "is the broker up? Run the command again: it goes on")
    return offsets
