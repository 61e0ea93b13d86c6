"""A few records appended by a person's command, each acknowledged before it returns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
    producer = Producer(
        {**kafka_address.client(brokers), "acks": "all", "message.timeout.ms": int(DELIVER_S * 1000)}, logger=log
    )
    offsets: dict[int, int] = {}
    failed: list[KafkaError] = []

    def heard(error: KafkaError | None, record: Any) -> None:
        if error is not None:
            failed.append(error)
        else:
            offsets[record.partition()] = record.offset()

    name = full_name(namespace, topic)
    try:
        for partition, value in values.items():
            producer.produce(name, value, partition=partition, on_delivery=heard)
        producer.flush(DELIVER_S + 1.0)
    except KafkaException as error:
        failed.append(error.args[0])
    if failed or len(offsets) < len(values):
        detail = str(failed[0]) if failed else f"not acknowledged within {DELIVER_S:.0f} s"
        raise Away(f"could not append to {name}", detail, "is the broker up? Run the command again: it goes on")
    return offsets
