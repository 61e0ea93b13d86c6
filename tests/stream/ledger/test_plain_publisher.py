"""The plain publisher on the embedded broker, which has no transactions and tells ends too small."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from stream.errors import SetupError
from stream.events.outgoing import Outgoing
from stream.ledger.kafka_publisher import KafkaPublisher
from stream.ledger.publisher import TOPICS
from stream.local.embedded import EmbeddedBroker


def message(name: str, topic: str) -> Outgoing:
    return Outgoing(topic, b"sku", b"value", (("ce_id", name.encode()),))


def test_what_was_sent_is_found_from_any_offset_on() -> None:
    """Batches of several records, then a start from the beginning, from the middle and from the end."""

    async def body(address: str) -> None:
        publisher = KafkaPublisher(address, "ns", transactions=False)
        assert list((await publisher.start(1, {})).found) == []
        names = [f"{n}" for n in range(3 * len(TOPICS))]
        ends = await publisher.publish(1, [message(name, TOPICS[n % len(TOPICS)]) for n, name in enumerate(names)])
        assert ends == dict.fromkeys(TOPICS, 3)
        tail = await publisher.start(1, {})
        assert sorted(found.id for found in tail.found) == sorted(names)
        assert tail.ends == ends
        tail = await publisher.start(1, dict.fromkeys(TOPICS, 1))
        assert sorted(found.id for found in tail.found) == sorted(names[len(TOPICS) :])
        assert list((await publisher.start(1, ends)).found) == []
        await publisher.close()

    try:
        broker = EmbeddedBroker()
        broker.start()
    except SetupError as missing:
        pytest.skip(str(missing))
    with broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        for future in admin.create_topics([NewTopic(f"ns.{topic}", 2) for topic in TOPICS]).values():
            future.result(30)
        asyncio.run(asyncio.wait_for(body(broker.address), 60))
