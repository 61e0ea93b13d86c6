"""`restock ledger step-over` leaves out the very next record of a partition, and no other."""

from __future__ import annotations

import json

import pytest
import redis
from confluent_kafka import Producer

from agents import cli
from stream.events.topics import full_name
from stream.ledger.keys import Keys
from tests.doors.conftest import Neighbours


def test_topics_that_are_not_there_are_no_broker_that_is_away(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong namespace is a setting: exit code 2, and it is named."""
    settings = neighbours.settings()
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["ledger", "show"]) == 2
    said = capsys.readouterr().err
    assert f"no partition 0 of topic {settings.namespace}.orders" in said
    assert "RESTOCK_NAMESPACE" in said


def test_only_the_next_record_is_left_out(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --yes nothing moves; another offset is refused; then shelf and source partition stand one further."""
    settings = neighbours.settings(shelves=1, source_partitions=1)
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["topics", "create"]) == 0
    producer = Producer({"bootstrap.servers": settings.brokers})
    for topic in ("sku-events", "orders"):
        for value in (b"a", b"b", b"c"):
            producer.produce(full_name(settings.namespace, topic), value, b"k", 0)
            assert producer.flush(10) == 0  # one batch each: the embedded broker's end is where its last batch begins
    keys = Keys(settings.namespace)
    with redis.Redis.from_url(settings.redis_url) as client:
        client.hset(keys.source("orders", 0), mapping={"offset": 1, "mark_ms": 5})
        for topic, at in (("sku-events", 0), ("orders", 1)):
            words = ["ledger", "step-over", "--topic", topic, "--partition", "0", "--offset"]
            assert cli.main([*words, "7", "--yes"]) == 2
            assert "is not the next record" in capsys.readouterr().err
            assert cli.main([*words, str(at)]) == 1
            capsys.readouterr()
            assert cli.main([*words, str(at), "--yes", "--json"]) == 0
            assert "left out" in json.loads(capsys.readouterr().out)["state"]
        assert client.hget(keys.of(0, "place"), "offset") == b"1"
        assert json.loads(client.hget(keys.of(0, "meta"), "counters") or b"{}") == {"lost:sku-events": 1}
        assert client.hgetall(keys.source("orders", 0)) == {b"offset": b"2", b"mark_ms": b"5"}
