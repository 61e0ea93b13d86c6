"""Topics and what goes out."""

from __future__ import annotations

import json

import pytest

from stream.events import topics
from stream.events.cloudevents import KEPT_VALUE_BYTES, dead_letter, outgoing_event
from stream.events.kinds import Source
from stream.events.public import INCOMING, OUTGOING, DeadLetter
from stream.events.refusals import Reason
from stream.events.topics import DEFAULT_PARTITIONS, TOPICS, Role, full_name, partitions
from stream.ledger import publisher


def test_every_source_is_a_topic_with_its_number() -> None:
    """The number is part of a row's coordinates."""
    assert {name: source.topic for name, source in topics.SOURCES.items()} == {s.topic: s.topic for s in Source}
    assert set(topics.SOURCES) == set(INCOMING)
    assert {t.name for t in TOPICS} == {*INCOMING, *OUTGOING, "sku-events"}


def test_outgoing_topics_have_as_many_partitions_as_sku_events() -> None:
    """So a SKU has one partition number everywhere."""
    counts = {topic.name: partitions(topic, sources=3, facts=2, shelves=5) for topic in TOPICS}
    assert {counts[topic.name] for topic in (*topics.OUTGOING, topics.SKU_EVENTS)} == {5}
    assert {counts[name] for name in ("orders", "carts", "stock-movements", "supply")} == {3}
    assert {counts[name] for name in ("catalog", "calendar")} == {2}
    assert counts["dead-letters"] == 1


def test_a_relay_reads_the_tail_of_every_topic_it_sends_to() -> None:
    """What it does not find there it sends again: a topic left out would be published twice after a crash."""
    assert set(publisher.TOPICS) == {topic.name for topic in topics.OUTGOING} | {topics.DEAD_LETTERS.name}
    assert set(DEFAULT_PARTITIONS) == set(Role)


def test_what_can_be_deleted_is_compacted() -> None:
    """Facts, positions and forecasts are kept for ever, the last of each key; the rest by age."""
    compacted = {topic.name for topic in TOPICS if topic.settings()["cleanup.policy"] == "compact"}
    assert compacted == {"catalog", "calendar", "positions", "forecasts"}
    for topic in TOPICS:
        assert ("retention.ms" in topic.settings()) == (topic.name not in compacted)


def test_a_topics_full_name_has_the_namespace() -> None:
    """Two installations can share a broker."""
    assert full_name("shop", "orders") == "shop.orders"
    assert full_name("", "orders") == "orders"


def test_an_outgoing_record_is_a_cloud_event() -> None:
    """Every required attribute of CloudEvents 1.0 is a header, as UTF-8; the value is the data alone."""
    sent = outgoing_event(
        "stock-alerts", "Käse", "restock.alert.raised", "i", "/restock", 5, "Käse@b", {"z": 1, "a": None}
    )
    headers = dict(sent.headers)
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"i",
        "ce_source": b"/restock",
        "ce_type": b"restock.alert.raised",
        "ce_time": b"1970-01-01T00:00:00.005Z",
        "ce_subject": "Käse@b".encode(),
        "content-type": b"application/json",
    }
    assert (sent.key, sent.value, sent.id) == ("Käse".encode(), b'{"a":null,"z":1}', "i")


def test_a_subject_has_no_control_characters() -> None:
    """CloudEvents forbids them in attributes."""
    sent = outgoing_event("positions", "k", "t", "i", "s", 0, "a\nb\x7f\x85é", {})
    assert dict(sent.headers)["ce_subject"] == "a%0Ab%7F%85é".encode()


@pytest.mark.parametrize("value", [None, b"", b"\x00\xff", b"x" * KEPT_VALUE_BYTES, b"x" * (KEPT_VALUE_BYTES + 1)])
def test_a_dead_letter_fits_its_model_and_its_topic(value: bytes | None) -> None:
    """Whatever was refused, the letter is valid and small enough; only what is cut off says truncated."""
    sent = dead_letter("orders", 1, 2, 3, value, value, Reason.NOT_JSON, "why")
    letter = DeadLetter.model_validate(json.loads(sent.value))
    assert letter.truncated == (value is not None and len(value) > 16_384)
    assert len(sent.value) < topics.MOST_DEAD_LETTER_BYTES
