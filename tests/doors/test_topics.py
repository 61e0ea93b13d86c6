"""`restock topics`: makes what is missing, says what is not as it should be."""

from __future__ import annotations

import json

import pytest

from agents import cli
from stream.events.topics import TOPICS
from tests.doors.conftest import Neighbours


def test_create_makes_every_topic_once(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time nothing is left to make; describe agrees."""
    settings = neighbours.settings()
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["topics", "describe", "--json"]) == 1
    assert "does not exist" in capsys.readouterr().out
    states = []
    for action in ("create", "create", "describe"):
        assert cli.main(["topics", action, "--json"]) == 0
        states.append({json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()})
    assert states == [{"created"}, {"as it should be"}, {"as it should be"}]
    assert {f"{settings.namespace}.{topic.name}" for topic in TOPICS} <= set(neighbours.topics())


def test_other_partitions_are_shown_and_fail(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and both numbers."""
    neighbours.set_variables(monkeypatch, neighbours.settings())
    assert cli.main(["topics", "create"]) == 0
    monkeypatch.setenv("RESTOCK_SOURCE_PARTITIONS", "6")
    capsys.readouterr()
    assert cli.main(["topics", "describe"]) == 1
    assert "has 4 partitions, not 6" in capsys.readouterr().out
