"""The test broker itself: what it keeps over a kill, and that nothing of it is left behind."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka import Broker

pytestmark = pytest.mark.kafka


def test_a_killed_broker_comes_back_with_its_data_and_address(own_kafka: Broker) -> None:
    """What was acknowledged before `kill -9` is read after a restart at the same address."""
    topic = uuid.uuid4().hex
    admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "acks": "all"})
    producer.produce(topic, b"kept")
    assert producer.flush(30) == 0

    own_kafka.kill()
    own_kafka.start()

    consumer = Consumer({"bootstrap.servers": own_kafka.bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"kept"
