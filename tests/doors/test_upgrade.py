"""`restock upgrade`: which version decides, what a finish does, and where a new log begins."""

from __future__ import annotations

import json

import pytest
import redis

from agents import cli
from agents.commands import tail
from agents.planner import versions
from agents.settings import Settings
from stream.events.rows import decode
from stream.events.topics import SKU_EVENTS, full_name
from stream.ledger.keys import Keys
from tests.connected import newer
from tests.doors.conftest import Neighbours


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release with one version more."""
    monkeypatch.setattr(versions, "VERSIONS", versions.VERSIONS)
    monkeypatch.setattr(versions, "NEWEST", versions.NEWEST)
    newer.register()


def log_of(settings: Settings, shelf: int) -> list[bytes]:
    """Values of a partition of `sku-events`."""
    read = tail.read_to_end(settings.brokers, full_name(settings.namespace, SKU_EVENTS.name))
    return [message.value() for message in read if message.partition() == shelf]


def rows(said: str) -> list[dict[str, object]]:
    """JSON lines."""
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.usefixtures("one_more")
def test_a_new_log_begins_in_the_newest_version(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    """`topics create` writes the switch first, once: a new installation has nothing to finish."""
    settings = neighbours.settings(shelves=2)
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["topics", "create"]) == 0
    assert cli.main(["topics", "create"]) == 0
    assert [[decode(value, 0).switch for value in log_of(settings, shelf)] for shelf in (0, 1)] == [[newer.NEXT]] * 2


@pytest.mark.usefixtures("one_more")
def test_a_finish_shuts_older_code_out_and_appends_the_switch(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shelf of an older release: shown, finished in the ledger and in the log; decided by whoever folds it."""
    settings = neighbours.settings(shelves=2)
    neighbours.set_variables(monkeypatch, settings)
    assert cli.main(["topics", "create"]) == 0
    meta = Keys(settings.namespace).of(0, "meta")
    monkeypatch.setattr("agents.commands.upgrade.client_ids", lambda *_: [])  # the embedded broker has no groups to ask
    with redis.Redis.from_url(settings.redis_url) as client:
        client.hset(meta, mapping={"version": versions.FIRST, "fixed": "{}"})
        capsys.readouterr()
        assert cli.main(["upgrade", "--finish"]) == 1
        said = capsys.readouterr().out
        assert "errors begin anew" in said
        assert "nothing was changed" in said
        assert client.hgetall(meta) == {b"version": b"1", b"fixed": b"{}"}
        assert cli.main(["upgrade", "--finish", "--yes", "--json"]) == 1, "nobody has folded it yet"
        assert [row["state"] for row in rows(capsys.readouterr().out)] == ["to be finished", "not begun"]
        assert client.hgetall(meta) == {b"version": b"%d" % newer.NEXT, b"fixed": b"{}", b"deciding": b"1"}
        assert not client.exists(Keys(settings.namespace).of(1, "meta")), "a shelf nobody began stays so"
    assert decode(log_of(settings, 0)[-1], 0).switch == newer.NEXT


@pytest.mark.usefixtures("one_more")
def test_a_finish_is_refused_while_an_older_worker_runs(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and its name; nothing is written."""
    settings = neighbours.settings(shelves=1)
    neighbours.set_variables(monkeypatch, settings)
    monkeypatch.setattr("agents.commands.upgrade.client_ids", lambda *_: ["faust-0.15.3", "restock-9-decides-99"])
    with redis.Redis.from_url(settings.redis_url) as client:
        client.hset(Keys(settings.namespace).of(0, "meta"), "version", 1)
        assert cli.main(["upgrade", "--finish", "--yes"]) == 2
        assert "1 of them: faust-0.15.3" in capsys.readouterr().err
        assert client.hget(Keys(settings.namespace).of(0, "meta"), "version") == b"1"
