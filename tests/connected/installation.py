"""A whole installation for tests: topics, real workers as processes, and the questions the laws ask of it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition

from agents import wiring
from agents.installation import create_topics, installation
from agents.settings import Settings
from stream import kafka_address
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, full_name, partitions
from stream.ledger.keys import Keys
from stream.ledger.redis_ledger import RedisLedger
from stream.local.child import Child
from stream.transport import topics_admin

AWAIT_S = 120.0


class Read(NamedTuple):
    """One record read from a topic."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Installation:
    """A namespace of its own on given servers; `newest` False begins its log in version 1, as release 0.1.0 did."""

    def __init__(self, brokers: str, redis_url: str, folder: Path, newest: bool = True, **settings: Any) -> None:
        self.folder = folder
        self.env = {
            "RESTOCK_BROKERS": brokers,
            "RESTOCK_REDIS_URL": redis_url,
            "RESTOCK_NAMESPACE": f"t{uuid.uuid4().hex[:8]}",
            "RESTOCK_WEB_PORT": "0",
            "RESTOCK_SESSION_TIMEOUT_MS": "2000",
            "RESTOCK_MARK_INTERVAL_MS": "200",
            "RESTOCK_LOG_LEVEL": "info",
        } | {f"RESTOCK_{name.upper()}": str(value) for name, value in settings.items()}
        self.settings = Settings.model_validate(
            {k.removeprefix("RESTOCK_").lower(): v for k, v in self.env.items()}, strict=False
        )
        self.namespace, self.brokers = self.settings.namespace, brokers
        self.parts = (self.settings.source_partitions, self.settings.fact_partitions, self.settings.shelves)
        if newest:
            create_topics(self.settings)
        else:
            topics_admin.create(installation(self.settings))
        self.workers: list[Child] = []

    def start(self, *command: str, **more: str) -> Child:
        """A worker process; `command` replaces `restock worker` by a module and its arguments."""
        args = [sys.executable, "-m", *(command or ("agents.cli", "worker"))]
        log = self.folder / f"worker-{len(self.workers)}.log"
        child = Child(args, log, {**os.environ, **self.env, **more})
        self.workers.append(child)
        return child

    def stop(self) -> None:
        """End every worker."""
        for child in self.workers:
            child.stop()

    def logs(self) -> str:
        """The ends of the workers' logs, for a failure."""
        return "\n".join(f"--- {c.log.name}\n{c.tail()}" for c in self.workers)

    # -- topics ---------------------------------------------------------------------------------------------------

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return partitions(BY_NAME[topic], *self.parts)

    def read(self, topic: str, partition: int, committed: bool = True) -> list[Read]:
        """A partition from its beginning to its end."""
        level = "read_committed" if committed else "read_uncommitted"
        consumer = Consumer(
            {
                **kafka_address.client(self.brokers),
                "group.id": "reads",
                "enable.auto.commit": False,
                "isolation.level": level,
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(full_name(self.namespace, topic), partition, 0)])
        out: list[Read] = []
        deadline = time.monotonic() + AWAIT_S
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error() is not None:
                break  # end of partition
            out.append(
                Read(message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or [])
            )
        consumer.close()
        return out

    def end(self, topic: str, partition: int) -> int:
        """The partition's end."""
        consumer = Consumer({**kafka_address.client(self.brokers), "group.id": "ends"})
        try:
            return int(
                consumer.get_watermark_offsets(TopicPartition(full_name(self.namespace, topic), partition), timeout=10)[
                    1
                ]
            )
        finally:
            consumer.close()

    # -- the ledger -----------------------------------------------------------------------------------------------

    def drained(self) -> str:
        """Empty when everything is read, folded, kept, published and at rest; else what is not."""
        keys = Keys(self.namespace)
        with redis.Redis.from_url(self.settings.redis_url, socket_timeout=5) as client:
            for topic in SOURCES:
                for p in range(self.partitions(topic)):
                    at, end = client.hget(keys.source(topic, p), "offset"), self.end(topic, p)
                    if end and int(at or 0) < end:  # type: ignore[arg-type]
                        return f"{topic}/{p} is at {at!r} of {end}"
            for shelf in range(self.settings.shelves):
                place = client.hgetall(keys.of(shelf, "place"))
                end = self.end(SKU_EVENTS.name, shelf)
                if int(place.get(b"offset", -1)) < end or place.get(b"sweep"):  # type: ignore[union-attr]
                    return f"shelf {shelf} is at {place} of {end}"
                if client.llen(keys.of(shelf, "out")):
                    return f"shelf {shelf} has messages in its outbox"
        return ""

    def await_drained(self, seconds: float = AWAIT_S, each: Callable[[], None] = lambda: None) -> None:
        """Wait until `drained` twice with a pause between, so that views are refreshed too."""
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 3:
            each()
            try:
                why = self.drained()
            except (redis.RedisError, KafkaException) as error:
                why = str(error)
            quiet = quiet + 1 if why == "" else 0
            assert time.monotonic() < deadline, f"not drained within {seconds:.0f} s: {why}\n{self.logs()}"
            time.sleep(0.5)

    def until(self, true: Callable[[], bool], what: str, seconds: float = AWAIT_S) -> None:
        """Return when it is true; fail, with the workers' logs, where it is not within `seconds`."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.logs()}"
            time.sleep(0.1)

    def until_holding(self, worker: Child, seconds: float = AWAIT_S) -> None:
        """Return when a worker has taken a shelf."""
        self.until(lambda: "holding shelf" in worker.log.read_text(errors="replace"), "it took no shelf", seconds)

    def until_ended(self, worker: Child, what: str, seconds: float = AWAIT_S) -> None:
        """Return when a worker has ended by itself."""
        self.until(lambda: not worker.alive(), what, seconds)

    def dump(self, shelf: int) -> dict[str, dict[bytes, bytes]]:
        """Every state key of a shelf."""

        async def read() -> dict[str, dict[bytes, bytes]]:
            ledger = RedisLedger(self.settings.redis_url, self.namespace)
            try:
                return await ledger.dump(shelf)
            finally:
                await ledger.close()

        return asyncio.run(read())

    def planner_config(self, shelf: int) -> Any:
        """What a fold of a shelf depends on besides the log."""
        return wiring.planner_config(self.settings, shelf)
