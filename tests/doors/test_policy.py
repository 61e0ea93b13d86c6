"""`restock policy`: shown first, published when asked to."""

from __future__ import annotations

import asyncio
import json

import pytest

from agents import cli
from agents.commands import tail
from agents.installation import create_topics
from stream.events.topics import full_name
from tests.doors.conftest import Neighbours
from tests.doors.test_stock import keep


def test_policies_are_shown_and_published_only_when_asked_to(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row each, the summary apart; --apply puts a catalog record for each changed level under its key."""
    settings = neighbours.settings(shelves=1)
    neighbours.set_variables(monkeypatch, settings)
    create_topics(settings)
    asyncio.run(keep(settings, 0))
    catalog = full_name(settings.namespace, "catalog")
    assert cli.main(["policy", "--fill-rate", "0.9", "--json"]) == 0
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert rows[0].keys() >= {"sku", "location", "level_now", "level", "stock_now", "stock"}
    assert "fill rate" in shown.err
    assert list(tail.read_to_end(settings.brokers, catalog)) == []
    assert cli.main(["policy", "--fill-rate", "0.9", "--apply"]) == 0
    sent = [json.loads(message.value()) for message in tail.read_to_end(settings.brokers, catalog)]
    changed = {(r["sku"], r["location"]): r["level"] for r in rows if r["level"] != r["level_now"]}
    assert {(f["sku"], f["location"]): f["service_level"] for f in sent}.items() >= changed.items()
    assert changed


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--fill-rate", "97"], "write 0.97"), (["--budget", "nan"], "buys nothing"), (["--budget", "0"], "buys nothing")],
)
def test_a_goal_that_is_none_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    assert cli.main(["policy", *words]) == 2
    assert said in capsys.readouterr().err


def test_all_that_the_ledger_holds_is_weighed(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever RESTOCK_SHELVES says here, every shelf the ledger was begun with is read; one that is empty is named."""
    settings = neighbours.settings(shelves=2)
    neighbours.set_variables(monkeypatch, settings)
    first = asyncio.run(keep(settings, 0))
    assert cli.main(["policy", "--fill-rate", "0.9"]) == 2
    assert "shelf 1 of namespace" in capsys.readouterr().err
    second = asyncio.run(keep(settings, 1))
    monkeypatch.setenv("RESTOCK_SHELVES", "1")
    assert cli.main(["policy", "--fill-rate", "0.9", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == first.n + second.n
