"""What a bench of workers stands on: a real Kafka, a real Redis, an installation warmed up, and its shop."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis
from confluent_kafka import KafkaException, Producer

from agents import wiring
from agents.planner.packing import HOT
from stream.events.naming import row_key
from stream.events.partition import partition_of
from stream.events.topics import full_name
from stream.ledger.keys import Keys
from tests import kafka, servers
from tests.bench import processes
from tests.bench.event_time import MidnightTime, WallTime
from tests.bench.machine import command, machine
from tests.bench.orders import CYCLE_UNITS, Shop
from tests.bench.stages import Stages
from tests.bench.team import Team
from tests.connected.installation import Installation

DAY_MS = 86_400_000
SHELVES = 4
PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "pyarrow", "numpy")


class Bench:
    """An installation with its workers; `time` is that of its events. Prints what it stands on, unless in JSON."""

    def __init__(self, chosen: argparse.Namespace, event_time: WallTime | MidnightTime | None = None) -> None:
        self.chosen, self.time = chosen, event_time or WallTime()
        if not chosen.json:
            print(f"{command()}\n{machine(*PACKAGES, more=f'Kafka {kafka.VERSION}')}", flush=True)
        self.kafka, self.redis = kafka.broker(short_lived=False), servers.server()
        self.folder = Path(tempfile.mkdtemp(prefix="restock-bench-"))
        settings = {
            "shelves": SHELVES,
            "source_partitions": 4,
            "session_timeout_ms": 10_000,
            "mark_interval_ms": 1_000,
            "lateness_ms": 2_000,
            "positions_interval_ms": chosen.positions_ms,
            "default_cover_days": 60,  # one replenishment for what a row sells within a run
            "log_level": "warning",
            "clock": self.time.clock,
            "close_spread_seconds": wiring.CLOSE_SPREAD_S,  # as by the wall clock, whichever it is
        } | dict(pair.split("=", 1) for pair in chosen.set)
        self.at = Installation(self.kafka.bootstrap, self.redis.url, self.folder, **settings)
        self.producer = Producer(
            {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
        )
        self.shop = Shop(random.Random(7))
        self.worker = Team(self.at, chosen.workers, chosen.split)

    def send(self, topic: str, key: str, value: bytes, told: Any = None) -> None:
        """Send to the partition of the key, as a Java client does."""
        partition = partition_of(key.encode(), self.at.partitions(topic))
        name = full_name(self.at.namespace, topic)
        while True:
            try:
                self.producer.produce(name, value, key, partition, on_delivery=told)
                return
            except BufferError:
                self.producer.poll(0.05)

    def warm_up(self) -> None:
        """Six days of history and a closing of each, so that every row that sells has a reorder point."""
        say("history ...")
        now_ms = self.time.now_ms()
        first_ms = now_ms // DAY_MS * DAY_MS - 6 * DAY_MS
        for sku, place in self.shop.rows:
            self.send("stock-movements", sku, self.shop.movement("counted", (sku, place), 10_000, first_ms))
        each = 6 * DAY_MS // self.chosen.history
        for n in range(self.chosen.history):
            order_id, value, _ = self.shop.order(first_ms + n * each, self.shop.lines())
            self.send("orders", order_id, value)
            if n % 1_000 == 0:
                self.producer.poll(0)
        assert self.producer.flush(120) == 0
        self.time.start(self.at.settings)  # behind the history: what comes after a tick is late
        self.worker.start()
        self.await_drained()
        deadline = time.monotonic() + 300
        # days close once every partition's mark is past them, one after the other: wait until today is the open one
        while 1000 * min(self._packed("day_end_ms").values()) <= now_ms:
            assert time.monotonic() < deadline, "history was not closed"
            time.sleep(1.0)
        self.await_drained()

    def stock_up(self, over: Callable[[int], float]) -> None:
        """Count every row's stock: `over` units, given the row's rank, above its reorder point."""
        say("stock ...")
        points = self.reorder_points()
        now_ms = self.time.now_ms()
        for rank, row in enumerate(self.shop.rows):
            self.shop.point[row] = points[row]
            self.shop.stock[row] = units = math.ceil(points[row]) + math.ceil(over(rank))
            self.send("stock-movements", row[0], self.shop.movement("counted", row, units, now_ms))
        assert self.producer.flush(60) == 0
        self.await_drained()
        having = sum(point > 0 for point in points.values())
        say(f"{having:,} of {len(points):,} rows have a reorder point")
        assert having > 0, "history taught nothing"

    def reorder_points(self) -> dict[tuple[str, str], float]:
        """Reorder points in units, from the packed rows."""
        return self._packed("reorder_point")

    def stock_right(self) -> bool:
        """Whether every row holds what went in less what went out: nothing lost, nothing counted twice."""
        held = self._packed("on_hand")
        return all(held[row] == units for row, units in self.shop.stock.items())

    def _packed(self, name: str) -> dict[tuple[str, str], float]:
        keys, kept = Keys(self.at.namespace), dict[bytes, bytes]()
        with redis.Redis.from_url(self.redis.url) as client:
            for shelf in range(SHELVES):
                kept |= client.hgetall(keys.of(shelf, "hot"))  # type: ignore[arg-type]
        packed = {row: kept[row_key(*row).encode()] for row in self.shop.rows}
        return {row: int(np.frombuffer(raw, HOT, 1, 4)[name][0]) / 1000 for row, raw in packed.items()}

    def await_drained(self) -> None:
        """Wait until all that was acknowledged is published."""
        deadline = time.monotonic() + 900
        while (why := self._left()) and time.monotonic() < deadline:
            assert self.worker.alive(), self.worker.tail()
            time.sleep(0.5)
        assert why == "", why

    def _left(self) -> str:
        try:
            return self.at.drained()
        except KafkaException as error:  # a broker that is busy may not know its own partitions yet
            return str(error)

    def counted(self, name: str) -> int:
        """A planner counter, by prefix, as kept."""
        keys = Keys(self.at.namespace)
        with redis.Redis.from_url(self.redis.url) as client:
            metas = [json.loads(client.hget(keys.of(s, "meta"), "counters") or b"{}") for s in range(SHELVES)]  # type: ignore[arg-type]
        return sum(v for m in metas for k, v in m.items() if k.startswith(name))

    def stages(self) -> Stages:
        """What the worker says of itself."""
        return self.worker.stages()

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the worker and of its neighbours, where they are ours."""
        neighbours = {"kafka": getattr(self.kafka, "_child", None), "redis": getattr(self.redis, "_child", None)}
        found = {name: processes.cpu_s(child.pid) for name, child in neighbours.items() if child is not None}
        return {"worker": self.worker.cpu_s(), **found, "bench": time.process_time()}

    def close(self) -> None:
        """End everything."""
        self.time.stop()
        self.at.stop()
        self.kafka.close()
        self.redis.close()


def report(as_json: bool, **figures: Any) -> None:
    """Figures, one a line; or all as one line of JSON."""
    if as_json:
        print(json.dumps(figures))
        return
    figures.pop("milliseconds", None)
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")
    for name, value in figures.items():
        plain = isinstance(value, int) and not isinstance(value, bool)
        print(f"{name}: {value:,}" if plain else f"{name}: {value}")


def run(chosen: argparse.Namespace, measure: Callable[[Bench], bool]) -> int:
    """Warm the workers up, give each row some stock, measure; exit code 1 where something was lost."""
    bench = Bench(chosen)
    try:
        bench.warm_up()
        bench.stock_up(lambda _: bench.shop.rng.randint(1, CYCLE_UNITS))
        return 0 if measure(bench) else 1
    finally:
        bench.close()


def right(bench: Bench) -> bool:
    """Once all is drained: whether stock is right, and loudly so where it is not."""
    bench.await_drained()
    if not (found := bench.stock_right()):
        say("WRONG: rows do not hold what went in less what went out; nothing else here may be believed")
    return found


def say(text: str) -> None:
    """Progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark of a worker may be told."""
    parser.add_argument("--history", type=int, default=60_000, help="orders of the six days before")
    parser.add_argument("--positions-ms", type=int, default=1_000, help="positions at most once in this time a row")
    parser.add_argument("--workers", type=int, default=1, help="how many workers share the partitions")
    parser.add_argument(
        "--split",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="N",
        help="each worker split: an intake and N planners (1)",
    )
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON, the last")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
