"""Topics on a real Kafka: made once, described as they are, refused where they differ."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from stream.errors import Away, PartitionsChanged, SetupError
from stream.events.topics import CATALOG, ORDERS, POSITIONS, SKU_EVENTS, TOPICS
from stream.local.child import free_port
from stream.transport import topics_admin
from stream.transport.topics_admin import Installation
from tests.connected.running import until
from tests.kafka import Broker


@pytest.fixture
def here(kafka: Broker) -> Installation:
    return Installation(kafka.bootstrap, f"t{uuid.uuid4().hex[:8]}", 3, 1, 2)


@pytest.mark.kafka
def test_topics_are_made_once_with_their_partitions_retention_and_compaction(here: Installation) -> None:
    """A second creation makes nothing, and nothing differs from what the contract says."""
    assert topics_admin.create(here) == [here.name(topic) for topic in TOPICS]
    assert topics_admin.create(here) == []
    found = {state.topic.name: state for state in topics_admin.describe(here)}
    assert [state.partitions for state in found.values()] == [here.partitions(topic) for topic in TOPICS]
    assert found[ORDERS.name].settings["retention.ms"] == str(ORDERS.retention_ms)
    assert found[CATALOG.name].settings["cleanup.policy"] == "compact"
    assert [difference for state in found.values() for difference in state.differences()] == []
    topics_admin.require(here)


@pytest.mark.kafka
def test_missing_topics_are_named_with_the_command_that_makes_them(here: Installation) -> None:
    """A worker does not start on half an installation."""
    with pytest.raises(SetupError, match="topics are missing") as error:
        topics_admin.require(here)
    assert here.name(SKU_EVENTS) in error.value.detail
    assert "restock topics create" in error.value.hint


@pytest.mark.kafka
def test_another_number_of_partitions_is_refused_and_other_settings_are_only_told(here: Installation) -> None:
    """Partition numbers are part of the ledger; retention is the operator's business."""
    admin = AdminClient({"bootstrap.servers": here.brokers})
    admin.create_topics([NewTopic(here.name(SKU_EVENTS), 5)])[here.name(SKU_EVENTS)].result(30)
    topics_admin.create(here)
    kept = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, here.name(POSITIONS), incremental_configs=[kept])
    admin.incremental_alter_configs([resource])[resource].result(30)

    def differences() -> dict[str, list[str]]:
        return {state.topic.name: state.differences() for state in topics_admin.describe(here)}

    asyncio.run(until(lambda: differences()[POSITIONS.name] != [], "the changed setting shows"))
    found = differences()
    assert f"{here.name(SKU_EVENTS)} has 5 partitions, not 2" in found[SKU_EVENTS.name]
    assert found[POSITIONS.name] == [f"{here.name(POSITIONS)} has cleanup.policy=delete, not compact"]
    with pytest.raises(PartitionsChanged) as error:
        topics_admin.require(here)
    assert error.value.detail == f"{here.name(SKU_EVENTS)} has 5 partitions, not 2"


def test_a_broker_that_is_not_there_is_said_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback: what happened, where, and what to check."""
    monkeypatch.setattr(topics_admin, "ANSWER_S", 0.5)
    nowhere = Installation(f"127.0.0.1:{free_port()}", "t", 1, 1, 1)
    with pytest.raises(Away, match="Kafka does not answer") as error:
        topics_admin.describe(nowhere)
    assert nowhere.brokers in error.value.detail
