"""`restock doctor` on sound and on broken installations: every finding says what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import orjson
import pytest
import redis
from confluent_kafka import Producer

from agents import abilities, cli
from agents.clock import now_ms
from agents.commands import checks
from agents.commands.doctor import Finding, examine
from agents.installation import installation
from agents.settings import Settings
from stream.errors import Away, SetupError
from stream.ledger.port import Place, Write
from stream.ledger.redis_ledger import RedisLedger
from stream.local.child import free_port
from stream.local.embedded import EmbeddedRedis
from stream.transport import topics_admin
from tests import servers
from tests.doors.conftest import Neighbours


@pytest.fixture
def settings(neighbours: Neighbours) -> Settings:
    """Settings of an installation of the test's own, its topics not made yet."""
    return neighbours.settings()


@pytest.fixture(scope="module")
def lone_redis() -> Iterator[str]:
    """A Redis whose configuration the test may spoil."""
    with EmbeddedRedis() as server:
        yield server.address


def levels(findings: Iterator[Finding]) -> dict[str, str]:
    """The worst level of each thing looked at."""
    worst: dict[str, str] = {}
    for finding in findings:
        if finding.level != "ok":
            assert finding.hint, finding
        rank = ("ok", "warn", "fail")
        worst[finding.about] = max(worst.get(finding.about, "ok"), finding.level, key=rank.index)
    return worst


def test_a_new_installation_lacks_only_its_topics(settings: Settings) -> None:
    """After `topics create` all is well, but that the embedded broker has no transactions."""
    assert levels(checks.topics(settings)) == {"topics": "fail"}
    topics_admin.create(installation(settings))
    assert levels(examine(settings, list(checks.ALL))) == {
        "broker": "ok",
        "topics": "ok",
        "transactions": "warn",
        "ledger store": "ok",
        "durability": "ok",
        "clocks": "ok",
        "ledger": "ok",
        "reading": "ok",
        "slow lane": "ok",
    }


def test_a_wrong_namespace_is_told_from_a_new_installation(settings: Settings, neighbours: Neighbours) -> None:
    """Where the broker has topics of others, they are named before somebody makes a second set."""
    topics_admin.create(installation(neighbours.settings()))
    [found] = checks.topics(settings)
    assert found.hint.startswith(f"if RESTOCK_NAMESPACE={settings.namespace} is meant, restock topics create")
    assert all(
        name in topics_admin.namespaces(settings.brokers) for name in found.hint.split("those of ")[1].split(", ")[:3]
    )


def test_records_that_nobody_reads_are_seen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker runs, or none of the right RESTOCK_WORK: by topic and partition, with how many there are."""
    topics_admin.create(installation(settings))
    monkeypatch.setattr(checks, "STILL_S", 0.1)
    producer = Producer({"bootstrap.servers": settings.brokers})
    for _ in range(3):
        producer.produce(f"{settings.namespace}.orders", b"{}", partition=2)
    assert producer.flush(10) == 0
    [found] = checks.reading(settings)
    assert (found.level, found.about) == ("warn", "reading")
    assert "orders" in found.what
    assert "in partition 2" in found.what


@pytest.mark.parametrize(
    ("begin", "ledger", "level", "lost"),
    [(0, None, "warn", True), (700, None, "fail", True), (700, 800, "warn", False)],
)
def test_a_ledger_that_was_lost_is_told_from_one_that_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, begin: int, ledger: int | None, level: str, lost: bool
) -> None:
    """A shelf that knows nothing beside a log of thousands; worse where the log does not go back to its beginning."""
    topics_admin.create(installation(settings))
    gone = begin if ledger is None else 0
    row = {"topic": "sku-events", "partition": 3, "begin": begin, "ledger": ledger, "end": 9_000, "gone": gone}

    async def standing(_settings: Settings) -> list[dict[str, object]]:
        return [row]

    monkeypatch.setattr(checks, "standing", standing)
    monkeypatch.setattr(checks, "STILL_S", 0.0)
    [found] = checks.reading(settings)
    assert (found.level, "restock ledger rebuild" in found.hint) == (level, lost)


def test_the_exit_code_and_json_say_whether_something_fails(
    settings: Settings, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 while topics are missing, 0 when they are there; one finding a line."""
    neighbours.set_variables(monkeypatch, settings)
    monkeypatch.setenv("RESTOCK_SHELF", "1")
    assert cli.main(["doctor", "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"level": "warn", "about": "settings"}.items() <= found[0].items()
    assert "RESTOCK_SHELVES" in found[0]["what"]
    topics_admin.create(installation(settings))
    assert cli.main(["doctor", "--json"]) == 0


def test_other_partitions_than_the_settings_say_fail(settings: Settings) -> None:
    """It is what a worker would refuse to start on."""
    topics_admin.create(installation(settings))
    changed = settings.model_copy(update={"shelves": settings.shelves + 1})
    assert levels(checks.topics(changed)) == {"topics": "fail"}


def test_a_ledger_begun_with_other_partitions_fails(settings: Settings) -> None:
    """The ledger knows with how many it was begun; each difference is a finding of its own."""

    async def begin() -> None:
        ledger = RedisLedger(settings.redis_url, settings.namespace)
        held = await ledger.acquire(0)
        shape = {str(source): 4 for source in range(1, 5)} | {"5": 1, "6": 1}
        fixed = orjson.dumps({"shape": shape, "shelves": 4})
        assert await ledger.keep([(held, Write(held.place, Place(1), {"meta": {b"fixed": fixed}}))]) == [None]
        await ledger.close()

    asyncio.run(begin())
    assert levels(checks.ledger_shape(settings)) == {"ledger": "ok"}
    changed = settings.model_copy(update={"shelves": 8, "fact_partitions": 2})
    what = [finding.what for finding in checks.ledger_shape(changed)]
    assert len(what) == 3
    assert any("begun with 4 shelves, RESTOCK_SHELVES is 8" in said for said in what)
    assert any("begun with 1 partitions of catalog, the settings say 2" in said for said in what)


def test_a_ledger_without_a_snapshot_of_today_is_found(settings: Settings) -> None:
    """None at all, an old one, one of this hour; an empty ledger needs none."""

    async def at(ms: int | None) -> None:
        ledger = RedisLedger(settings.redis_url, settings.namespace)
        if ms is None:
            held = await ledger.acquire(0)
            assert await ledger.keep([(held, Write(held.place, Place(1), {}))]) == [None]
        else:
            await ledger.note_snapshot(ms)
        await ledger.close()

    assert levels(checks.snapshots(settings)) == {}
    for ms, level in ((None, "warn"), (now_ms() - 27 * 3_600_000, "warn"), (now_ms(), "ok"), (0, "warn")):
        asyncio.run(at(ms))
        assert levels(checks.snapshots(settings)) == {"snapshots": level}


def test_a_redis_that_forgets_or_evicts_is_found(settings: Settings, lone_redis: str) -> None:
    """No append-only file is a warning, eviction a failure."""
    client = redis.Redis.from_url(lone_redis)
    client.config_set("appendonly", "no")
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.close()
    spoilt = settings.model_copy(update={"redis_url": lone_redis})
    assert levels(checks.ledger_store(spoilt)) == {
        "ledger store": "ok",
        "durability": "warn",
        "eviction": "fail",
        "clocks": "ok",
    }


def test_neighbours_that_do_not_answer_are_findings_and_the_others_are_still_looked_at(settings: Settings) -> None:
    """No broker, no Redis: every check fails by itself and says which address it tried."""
    nowhere = f"127.0.0.1:{free_port()}"
    alone = settings.model_copy(
        update={"brokers": nowhere, "redis_url": f"redis://{nowhere}/0", "redis_timeout_ms": 200}
    )
    # the broker's own time-out is 10 s: one look at it is enough
    found = list(examine(alone, [checks.transactions, checks.ledger_store, checks.ledger_shape]))
    assert [finding.level for finding in found] == ["fail"] * 3
    assert all(nowhere in finding.what for finding in found)


@pytest.mark.parametrize(
    ("skew_ms", "level"), [(0, "ok"), (-900, "ok"), (5_000, "warn"), (-5_000, "warn"), (120_000, "fail")]
)
def test_clocks_that_differ_are_found_in_both_directions(skew_ms: int, level: str) -> None:
    """A second is nothing, a minute closes days wrongly."""
    finding = checks._skew("Redis", skew_ms)
    assert finding.level == level
    assert ("ahead of" in finding.what) == (skew_ms > 0)


def test_the_brokers_clock_can_be_asked(settings: Settings, neighbours: Neighbours) -> None:
    """By a record in a topic that is gone afterwards."""
    assert levels(checks.broker_clock(settings)) == {"clocks": "ok"}
    assert [name for name in neighbours.topics() if "doctor" in name] == []


@pytest.mark.parametrize(("asked", "answer"), [("off", False), ("auto", False)])
def test_transactions_follow_the_setting_and_the_broker(settings: Settings, asked: str, answer: bool) -> None:
    """The embedded broker has none: auto finds out, on refuses to start."""
    assert asyncio.run(abilities.transactions(settings.model_copy(update={"transactions": asked}))) is answer


def test_transactions_that_are_demanded_and_not_there_are_refused(settings: Settings) -> None:
    """RESTOCK_TRANSACTIONS=on is a promise; without them a worker must not start."""
    with pytest.raises(SetupError, match="no transactions"):
        asyncio.run(abilities.transactions(settings.model_copy(update={"transactions": "on"})))


def test_a_broker_that_is_away_is_away(settings: Settings) -> None:
    """Not knowing is not the same as no."""
    nowhere = settings.model_copy(update={"brokers": f"127.0.0.1:{free_port()}"})
    with pytest.raises(Away, match="does not answer"):
        asyncio.run(abilities.transactions(nowhere))


def test_every_node_of_a_cluster_is_looked_at(settings: Settings, request: pytest.FixtureRequest) -> None:
    """Each is named; one that is gone is a failure, and the others are still looked at."""
    try:
        cluster = servers.LocalCluster()
    except servers.NotPossible as why:
        pytest.skip(str(why))
    request.addfinalizer(cluster.close)
    cluster.start()
    ours = settings.model_copy(update={"redis_url": cluster.url})
    found = list(checks.ledger_store(ours))
    assert {finding.level for finding in found} == {"ok"}
    for node in cluster.nodes:
        about = [finding.about for finding in found if f":{node.port}" in finding.what]
        assert about == ["cluster", "ledger store", "durability", "clocks"]
    assert [finding.level for finding in checks.ledger_shape(ours)] == ["ok"]
    cluster.nodes[1].kill()
    failed = [finding for finding in checks.ledger_store(ours) if finding.level == "fail"]
    assert [f":{cluster.nodes[1].port}" in finding.what for finding in failed] == [True]


def test_a_cluster_without_all_its_slots_is_found() -> None:
    """Some shelf would have no node."""
    half = [[0, 8191, [b"10.0.0.7", 7000, b"id"]]]
    found = checks._coverage(half, ["redis://:secret@10.0.0.7:7000/0"])
    assert (found.level, found.about) == ("fail", "cluster")
    assert "8,192 slots" in found.what
    assert "secret" not in found.what
