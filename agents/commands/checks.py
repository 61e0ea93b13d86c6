"""What `restock doctor` looks at: broker, topics, transactions, Redis, the ledger's shape, clocks."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import orjson
import redis
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from agents.abilities import has_transactions
from agents.clock import now_ms
from agents.commands.doctor import Finding, Level
from agents.commands.ledger import standing
from agents.installation import installation
from agents.planner.keeping import MOVING
from agents.replay.formats.reading import shown
from agents.settings import Settings
from stream import kafka_address
from stream.errors import Away
from stream.events.instants import text_from_ms
from stream.events.kinds import Source
from stream.events.topics import BY_NAME, SKU_EVENTS, TOPICS, full_name, partitions
from stream.ledger.client import Slots, address_of, primaries
from stream.ledger.office import REFIT, Book, RedisOffice
from stream.ledger.redis_ledger import RedisLedger
from stream.transport import topics_admin

ANSWER_S = 10.0
SKEW_WARN_MS = 1_000  # marks follow the wall clock to about a second
SKEW_FAIL_MS = 60_000  # half the default lateness: events of a well-timed till would be late
SNAPSHOT_OLD_MS = 26 * 3_600_000  # one a day, and two hours to take it
NAMESPACES_SHOWN = 10
LOST_HINT = 'Was the ledger lost? `restock ledger rebuild` before a worker starts: runbook, "Redis lost"'
STILL_S = 3.0  # a worker polls many times a second; a long poll takes a second or two
OLDEST_REDIS = (6, 2)

_silent = logging.getLogger("restock.doctor.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def broker(settings: Settings) -> Iterator[Finding]:
    """Does Kafka answer?"""
    try:
        cluster = AdminClient(_client(settings)).list_topics(timeout=ANSWER_S)
    except KafkaException as error:
        raise Away(
            "Kafka does not answer", f"{settings.safe_brokers}: {error.args[0].str()}", "check RESTOCK_BROKERS"
        ) from error
    yield Finding("ok", "broker", f"{settings.safe_brokers} answers, {len(cluster.brokers)} in the cluster")


def topics(settings: Settings) -> Iterator[Finding]:
    """Are all topics there, with the right partitions, retention and compaction?"""
    found = topics_admin.describe(installation(settings))
    missing = [topic.name for topic in found if topic.partitions is None]
    if missing:
        yield Finding("fail", "topics", f"missing: {', '.join(missing)}", _hint_of_missing(settings, len(missing)))
    wrong = 0
    for topic in found:
        if topic.partitions is None:
            continue
        for difference in topic.differences():
            wrong += 1
            yield _difference(difference)
    if not missing and wrong == 0:
        yield Finding("ok", "topics", f"all {len(found)} as they should be")


def _hint_of_missing(settings: Settings, missing: int) -> str:
    others = topics_admin.namespaces(settings.brokers) if missing == len(TOPICS) else []
    if len(others) == 0:
        return "restock topics create"
    there = shown(others, NAMESPACES_SHOWN)
    return f"if RESTOCK_NAMESPACE={settings.namespace} is meant, restock topics create; the broker has those of {there}"


def _difference(difference: str) -> Finding:
    if "partitions" in difference:
        hint = "set the settings to what the ledger was begun with; `restock repartition` moves to more partitions"
        return Finding("fail", "topics", difference, hint)
    return Finding("warn", "topics", difference, "alter the topic's configuration with your broker's tools")


def transactions(settings: Settings) -> Iterator[Finding]:
    """Can outgoing messages be sent exactly once?"""
    if settings.transactions == "off":
        yield Finding("warn", "transactions", "RESTOCK_TRANSACTIONS=off: delivery is at least once", "set it to auto")
        return
    if asyncio.run(has_transactions(settings.brokers)):
        yield Finding("ok", "transactions", "supported: each message is published once")
        return
    yield Finding(
        "fail" if settings.transactions == "on" else "warn",
        "transactions",
        "the broker has none: delivery is at least once, with the same ce_id",
        "for each message exactly once, use Apache Kafka; consumers may drop repeats by ce_id",
    )


def ledger_store(settings: Settings) -> Iterator[Finding]:
    """Does Redis (each node of a cluster) answer, keep what it is told, and tell the same time?"""
    urls = [settings.redis_url]
    with _store(settings, settings.redis_url) as client:
        if client.info("cluster").get("cluster_enabled") == 1:
            slots = client.execute_command("CLUSTER", "SLOTS")
            urls = sorted(set(primaries(settings.redis_url, slots).values()))
            yield _coverage(slots, urls)
    for url in urls:
        try:
            yield from _named(url, _server(settings, url)) if len(urls) > 1 else _server(settings, url)
        except Away as error:  # the other nodes are still looked at
            yield Finding("fail", "ledger store", f"{error.what}; {error.detail}", error.hint)


def _named(url: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    name = address_of(url)
    yield from (
        replace(found, what=found.what if name in found.what else f"{name}: {found.what}") for found in findings
    )


def _server(settings: Settings, url: str) -> Iterator[Finding]:
    with _store(settings, url) as client:
        before_ms = now_ms()
        seconds, microseconds = client.time()
        after_ms = now_ms()
        info = client.info()
    yield from _version(url, info)
    yield from _durability(info)
    yield _skew("Redis", seconds * 1000 + microseconds // 1000 - (before_ms + after_ms) // 2)


@contextmanager
def _store(settings: Settings, url: str) -> Iterator[Any]:
    """A client of one server. Raises Away with its address."""
    wait_s = settings.redis_timeout_ms / 1000
    try:
        with redis.Redis.from_url(url, socket_timeout=wait_s, socket_connect_timeout=wait_s) as client:
            yield client
    except redis.RedisError as error:
        hint = "check RESTOCK_REDIS_URL and that the server is up"
        raise Away("Redis does not answer", f"{address_of(url)}: {error}", hint) from error


def _coverage(slots: Slots, urls: list[str]) -> Finding:
    served = sum(last - first + 1 for first, last, *_ in slots)
    words = f"a Redis Cluster; its primaries: {', '.join(map(address_of, urls)) or 'none'}"
    if served == REDIS_CLUSTER_HASH_SLOTS:
        return Finding("ok", "cluster", words)
    lost = f"{words}; {REDIS_CLUSTER_HASH_SLOTS - served:,} slots have no node"
    return Finding("fail", "cluster", lost, "redis-cli --cluster fix, or CLUSTER ADDSLOTSRANGE; see CLUSTER INFO")


def _version(url: str, info: dict[str, Any]) -> Iterator[Finding]:
    version = str(info.get("redis_version", "0"))
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    shown = info.get("valkey_version", version)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        hint = "use Redis 6.2 or newer, or Valkey"
        yield Finding("fail", "ledger store", f"{address_of(url)}: {name} {shown} is too old", hint)
    else:
        yield Finding("ok", "ledger store", f"{address_of(url)} answers: {name} {shown}")


def _durability(info: dict[str, Any]) -> Iterator[Finding]:
    if info.get("aof_enabled") == 1:
        yield Finding("ok", "durability", "append-only file is on")
    else:
        yield Finding(
            "warn",
            "durability",
            "the append-only file is off: a restart of Redis loses state back to its last snapshot",
            "CONFIG SET appendonly yes (and in its configuration). What is lost is replayed while Kafka still has it",
        )
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        yield Finding(
            "fail",
            "eviction",
            f"maxmemory-policy is {policy}: Redis may throw state away",
            "CONFIG SET maxmemory-policy noeviction (and in its configuration)",
        )
    used, most = info.get("used_memory", 0), info.get("maxmemory", 0)
    if most and used > 0.8 * most:
        yield Finding("warn", "memory", f"{used / most:.0%} of maxmemory is used", "give Redis more memory")


def _skew(who: str, skew_ms: int) -> Finding:
    words = f"{who} is {abs(skew_ms):,} ms {'ahead of' if skew_ms > 0 else 'behind'} this host"
    hint = "synchronise the clocks (NTP): marks, time-outs and retention depend on them"
    if abs(skew_ms) > SKEW_FAIL_MS:
        return Finding("fail", "clocks", words, hint)
    if abs(skew_ms) > SKEW_WARN_MS:
        return Finding("warn", "clocks", words, hint)
    return Finding("ok", "clocks", words)


def ledger_shape(settings: Settings) -> Iterator[Finding]:
    """Does the ledger hold what these settings describe?"""
    begun, moves = asyncio.run(_begun(settings))
    if moves:
        what = f"a move to another number of partitions is under way: {', '.join(sorted(moves))}"
        yield Finding("fail", "ledger", what, "run `restock repartition` again: it goes on where it was interrupted")
        return
    if not begun:
        yield Finding("ok", "ledger", f"empty in namespace {settings.namespace}: the first worker begins it")
        return
    wrong = {difference for shape in begun.values() for difference in _unlike(shape, settings)}
    for difference in sorted(wrong):
        hint = "set it back to what the ledger was begun with; `restock repartition` moves to more partitions"
        yield Finding("fail", "ledger", difference, hint)
    if not wrong:
        yield Finding(
            "ok", "ledger", f"{len(begun)} of {settings.shelves} shelves are begun, partitions as the settings say"
        )


async def _begun(settings: Settings) -> tuple[dict[int, dict[str, Any]], set[str]]:
    """What each shelf was begun with, and moves that are not done."""
    ledger = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        wanted = {"meta": [b"fixed", MOVING]}
        metas = {shelf: (await ledger.peek(shelf, wanted)).sections["meta"] for shelf in await ledger.shelves()}
    finally:
        await ledger.close()
    begun = {shelf: orjson.loads(meta[b"fixed"]) for shelf, meta in metas.items() if b"fixed" in meta}
    return begun, {meta[MOVING].decode() for meta in metas.values() if MOVING in meta}


def _unlike(shape: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Numbers of partitions that differ from the settings, a sentence each."""
    if shape["shelves"] != settings.shelves:
        yield f"it was begun with {shape['shelves']} shelves, RESTOCK_SHELVES is {settings.shelves}"
    for source in Source:
        begun = shape["shape"].get(str(int(source)))
        now = partitions(BY_NAME[source.topic], settings.source_partitions, settings.fact_partitions, settings.shelves)
        if begun != now:
            yield f"it was begun with {begun} partitions of {source.topic}, the settings say {now}"


def snapshots(settings: Settings) -> Iterator[Finding]:
    """Is there a snapshot of a day ago or newer? Nothing is said of an empty ledger."""
    begun, taken_ms = asyncio.run(_snapshot(settings))
    once = "`restock snapshot take --store DIR`, once a day (docs/snapshots.md)"
    if begun and not taken_ms:
        yield Finding("warn", "snapshots", "none was taken: Redis lost whole is the ledger lost", once)
    elif begun and taken_ms:
        level: Level = "warn" if now_ms() - taken_ms > SNAPSHOT_OLD_MS else "ok"
        yield Finding(level, "snapshots", f"the newest is of {text_from_ms(taken_ms)}", "" if level == "ok" else once)


async def _snapshot(settings: Settings) -> tuple[bool, int | None]:
    """Whether a shelf was begun, and when the newest snapshot was taken."""
    ledger = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        places = [(await ledger.peek(shelf, {})).place for shelf in range(settings.shelves)]
        return any(place.offset >= 0 for place in places), await ledger.snapshot_ms()
    finally:
        await ledger.close()


def reading(settings: Settings) -> Iterator[Finding]:
    """Does somebody read what is published, in every partition? Nothing is said where `topics` says it all."""
    try:
        if any(topic.differences() for topic in topics_admin.describe(installation(settings))):
            return
    except Away:  # as `broker` says
        return
    before = asyncio.run(standing(settings))
    gone = [row for row in before if row["gone"] and row["ledger"] is not None]
    if gone:
        told = [f"{row['gone']:,} of {row['topic']} partition {row['partition']}" for row in gone]
        what = f"records were deleted before they were read: {', '.join(told)}"
        yield Finding("fail", "reading", what, "`restock ledger accept-loss` goes on behind them")
    if lost := [row for row in before if row["gone"] and row["ledger"] is None]:
        told = [f"shelf {row['partition']} is empty, and its log begins at {row['begin']:,}" for row in lost]
        yield Finding("fail", "reading", f"{', '.join(told)}: no worker starts without what was before", LOST_HINT)
        return
    if not any(_waits(row) for row in before):
        yield Finding("ok", "reading", "everything published was read")
        return
    time.sleep(STILL_S)
    after = asyncio.run(standing(settings))
    still = [now for then, now in zip(before, after, strict=True) if _waits(then) and now["ledger"] == then["ledger"]]
    if not still:
        yield Finding("ok", "reading", "what waits is being read")
    for topic, rows in groupby(still, lambda row: row["topic"]):
        told = [f"{_waits(row):,} in partition {row['partition']}" for row in rows]
        what = f"records of {topic} that nobody read within {STILL_S:g} s: {', '.join(told)}"
        hint = "is a worker running, with RESTOCK_WORK for this topic? See its log"
        yield Finding("warn", "reading", what, f"{hint}. {LOST_HINT}" if any(map(_forgotten, still)) else hint)


def _forgotten(row: dict[str, Any]) -> bool:
    """Whether a shelf has a log and nothing in the ledger: no worker has begun it, or the ledger was lost."""
    return row["topic"] == SKU_EVENTS.name and row["ledger"] is None and _waits(row) > 0


def _waits(row: dict[str, Any]) -> int:
    """Records of a partition that are there to be read."""
    if row["ledger"] is not None:
        return max(int(row["end"]) - max(int(row["ledger"]), int(row["begin"])), 0)
    ours = 1 if row["topic"] == SKU_EVENTS.name else 0  # `topics create` begins a log with its version
    return max(int(row["end"] - row["begin"]) - ours, 0)


def slow_lane(settings: Settings) -> Iterator[Finding]:
    """Are heavier models fitted, and what came of it last?"""
    book = asyncio.run(_refits(settings))
    outcome = orjson.loads(book.outcome) if book.outcome else {}
    trees = "" if importlib.util.find_spec("lightgbm") else "; without LightGBM (the extra `trees`) no trees"
    last = f"last run {text_from_ms(outcome['at_ms'])}: {outcome['status']}" if outcome else "no run yet"
    if settings.refit_minutes == 0:
        yield Finding("ok", "slow lane", f"off: it runs when `restock refit now` asks; {last}{trees}")
        return
    every = f"every {settings.refit_minutes:,} minutes"
    if outcome.get("status") == "failed":
        yield Finding("warn", "slow lane", f"{every}; {last}: {outcome['why']}", 'runbook, "Refits fail"')
    else:
        yield Finding("ok", "slow lane", f"{every}; {last}{trees}")


async def _refits(settings: Settings) -> Book:
    office = RedisOffice(settings.redis_url, settings.namespace, REFIT, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        return await office.book()
    finally:
        await office.close()


def broker_clock(settings: Settings) -> Iterator[Finding]:
    """What time does the broker think it is? Kafka tells only by stamping a record."""
    admin, name = AdminClient(_client(settings)), full_name(settings.namespace, f"doctor-{uuid.uuid4().hex[:8]}")
    stamped: list[int] = []
    try:
        new = NewTopic(name, 1, settings.replication_factor, config={"message.timestamp.type": "LogAppendTime"})
        admin.create_topics([new])[name].result(ANSWER_S)
        producer = Producer({**_client(settings), "message.timeout.ms": int(ANSWER_S * 1000)})
        before_ms = now_ms()
        producer.produce(name, b"", on_delivery=lambda _, message: stamped.append(message.timestamp()[1]))
        producer.flush(ANSWER_S)
        after_ms = now_ms()
        admin.delete_topics([name])[name].result(ANSWER_S)
    except KafkaException as error:
        yield Finding(
            "warn", "clocks", f"the broker would not tell: {error.args[0].str()}", "it needs the right to create topics"
        )
        return
    if not stamped or stamped[0] <= 0:
        yield Finding("warn", "clocks", "the broker did not stamp the record", "try again")
    elif before_ms <= stamped[0] <= after_ms:
        yield Finding("ok", "clocks", "the broker agrees with this host")
    else:
        yield _skew("the broker", stamped[0] - (after_ms if stamped[0] > after_ms else before_ms))


def _client(settings: Settings) -> dict[str, Any]:
    return {**kafka_address.client(settings.brokers), "logger": _silent, "socket.timeout.ms": int(ANSWER_S * 1000)}


ALL = [broker, topics, transactions, ledger_store, ledger_shape, snapshots, reading, slow_lane]
