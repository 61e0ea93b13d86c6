"""One worker end to end on a real Kafka and a real Redis: orders a second, and latency of alerts at a given rate.

    python -m tests.bench.end_to_end throughput --orders 200000
    python -m tests.bench.end_to_end latency --rate 1000 --seconds 60

Both first tell the worker six days of history, so that every row has a reorder point, and then count the stock of each
so that about one order line in 45 crosses it; receipts, part of the log, lift it again. Latency is from the producer's
acknowledgement of an order to a separate read_committed consumer holding the alert it caused.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import redis
from confluent_kafka import Consumer, KafkaException, Producer

from agents.planner.shelf import HOT
from stream.events.instants import text_from_ms
from stream.events.naming import row_key
from stream.events.partition import partition_of
from stream.events.topics import full_name
from stream.ledger.keys import Keys
from tests import kafka, servers
from tests.bench import processes
from tests.bench.orders import CYCLE_UNITS, LINES_A_CROSSING, Shop, crossings
from tests.bench.stages import Stages, table
from tests.bench.team import Team
from tests.connected.installation import Installation

DAY_MS = 86_400_000


class Bench:
    """An installation with one worker, warmed up."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.kafka, self.redis = kafka.broker(), servers.server()
        self.folder = Path(tempfile.mkdtemp(prefix="restock-bench-"))
        self.at = Installation(
            self.kafka.bootstrap,
            self.redis.url,
            self.folder,
            shelves=4,
            source_partitions=4,
            session_timeout_ms=10_000,
            mark_interval_ms=1_000,
            lateness_ms=2_000,
            positions_interval_ms=chosen.positions_ms,
            default_cover_days=60,  # one replenishment for what a row sells within a run
            log_level="warning",
            **dict(pair.split("=", 1) for pair in chosen.set),
        )
        self.producer = Producer(
            {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 1, "queue.buffering.max.messages": 1_000_000}
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
        now_ms = time.time_ns() // 1_000_000
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
        now_ms = time.time_ns() // 1_000_000
        for rank, row in enumerate(self.shop.rows):
            self.shop.point[row] = points[row]
            self.shop.stock[row] = units = math.ceil(points[row]) + math.ceil(over(rank))
            self.send("stock-movements", row[0], self.shop.movement("counted", row, units, now_ms))
        assert self.producer.flush(60) == 0
        self.await_drained()
        say(f"{sum(p > 0 for p in points.values()):,} of {len(points):,} rows have a reorder point")

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
            for shelf in range(4):
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
            metas = [json.loads(client.hget(keys.of(s, "meta"), "counters") or b"{}") for s in range(4)]  # type: ignore[arg-type]
        return sum(v for m in metas for k, v in m.items() if k.startswith(name))

    def stages(self) -> Stages:
        """What the worker says of itself."""
        return self.worker.stages()

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the worker and of its neighbours, where they are ours."""
        neighbours = {"kafka": getattr(self.kafka, "_child", None), "redis": getattr(self.redis, "_child", None)}
        found = {name: processes.cpu_s(child.pid) for name, child in neighbours.items() if child is not None}
        return {"worker": self.worker.cpu_s(), **found}

    def close(self) -> None:
        """End everything."""
        self.at.stop()
        self.kafka.close()
        self.redis.close()


def throughput(bench: Bench) -> None:
    """Fill the log, then let the worker run it down; each row crosses its reorder point at most once, at any time."""
    bench.warm_up()
    bench.stock_up(crossings(bench.chosen.orders, len(bench.shop.rows), bench.shop.weights[-1]))
    bench.worker.stop()
    before, raised = bench.counted("accepted:orders"), bench.counted("alerts_raised")
    total = fill(bench)
    bench.worker.start()
    looks: list[tuple[float, int, dict[str, float]]] = []
    spied: subprocess.Popen[bytes] | None = None
    while not looks or looks[-1][1] < total:
        time.sleep(0.1)
        assert bench.worker.alive(), bench.worker.tail()
        done = bench.counted("accepted:orders") - before
        if done > 0:
            looks.append((time.monotonic(), done, bench.cpu_s()))
            if len(looks) == 1 and bench.chosen.spy:
                spied = spy(bench)
    if spied is not None:
        spied.send_signal(signal.SIGINT)
        spied.wait()
    bench.await_drained()
    first, last = looks[0], looks[-1]
    middle = next(look for look in looks if look[1] >= total / 2)
    a_line = bench.chosen.orders / total
    stages = bench.stages()
    for name, seconds in last[2].items():
        say(f"{name}: {(seconds - first[2][name]) / (last[0] - first[0]):.2f} cores")
    print(table(stages, last[0] - first[0]))
    report(
        bench.chosen.json,
        orders=bench.chosen.orders,
        lines=total,
        lines_per_s=round((last[1] - first[1]) / (last[0] - first[0])),
        orders_per_s=round((last[1] - first[1]) / (last[0] - first[0]) * a_line),
        warm_orders_per_s=round((last[1] - middle[1]) / max(last[0] - middle[0], 1e-9) * a_line),
        cpu_s_per_million_orders=round(
            (last[2]["worker"] - first[2]["worker"]) / (last[1] - first[1]) / a_line * 1e6, 1
        ),
        lines_per_alert=round(total / max(bench.counted("alerts_raised") - raised, 1), 1),
        published={name: count for name, count in stages.published.items() if count},
        worker_peak_mb=round(bench.worker.peak_mb()),
        stock_right=bench.stock_right(),
    )


def spy(bench: Bench) -> subprocess.Popen[bytes]:
    """Sample the (last) worker's stacks with py-spy (not a dependency: `pip install py-spy`)."""
    command = ["py-spy", "record", "--nonblocking", "-r", "100", "-d", "120", "-f", "raw", "-o", bench.chosen.spy]
    command += ["-p", str(bench.worker.pids[-1]), *bench.chosen.spy_options.split()]
    return subprocess.Popen([Path(sys.executable).parent / command[0], *command[1:]], stdout=subprocess.DEVNULL)


def fill(bench: Bench) -> int:
    """Orders into the log, all within a minute of event time, and a receipt every 45 lines; returns the lines.

    A receipt brings one unit: what crosses its reorder point does not depend on how far movements are read ahead.
    """
    now_ms, total = time.time_ns() // 1_000_000, 0
    say(f"filling the log with {bench.chosen.orders:,} orders ...")
    for n in range(bench.chosen.orders):
        at_ms = now_ms + n // 50  # 50,000 a second
        order_id, value, body = bench.shop.order(at_ms, bench.shop.lines())
        bench.send("orders", order_id, value)
        for line in body:
            bench.shop.stock[line["sku"], line["location"]] -= line["quantity"]
        received = (total + len(body)) // LINES_A_CROSSING - total // LINES_A_CROSSING
        total += len(body)
        for _ in range(received):
            row = bench.shop.rng.choice(bench.shop.rows)
            bench.shop.stock[row] += 1
            bench.send("stock-movements", row[0], bench.shop.movement("received", row, 1, at_ms))
        if n % 1_000 == 0:
            bench.producer.poll(0)
    assert bench.producer.flush(120) == 0
    return total


def latency(bench: Bench) -> None:
    """Orders at a steady rate; an alert names its row and the instant of the order that caused it."""
    bench.warm_up()
    bench.stock_up(lambda _: bench.shop.rng.randint(1, CYCLE_UNITS))
    acknowledged: dict[tuple[str, str, str], float] = {}
    held: list[tuple[tuple[str, str, str], float]] = []
    enough = threading.Event()
    watcher = threading.Thread(target=watch, args=(bench, held, enough))
    watcher.start()
    time.sleep(3.0)
    before, cpu = bench.stages(), bench.cpu_s()
    begun = time.monotonic()
    spied = spy(bench) if bench.chosen.spy else None
    for n in range(bench.chosen.rate * bench.chosen.seconds):
        due = begun + n / bench.chosen.rate
        while (wait := due - time.monotonic()) > 0:
            bench.producer.poll(min(wait, 0.001))
        at_ms = time.time_ns() // 1_000_000
        order_id, value, body = bench.shop.order(at_ms, bench.shop.lines())
        stamp = text_from_ms(at_ms)
        keys = [(line["sku"], line["location"], stamp) for line in body]

        def told(error: Any, _: Any, keys: list[tuple[str, str, str]] = keys) -> None:
            assert error is None, error
            now = time.monotonic()
            for key in keys:
                acknowledged.setdefault(key, now)

        bench.send("orders", order_id, value, told)
        for sku, received in bench.shop.receipts(body, at_ms + 1):
            bench.send("stock-movements", sku, received)
        bench.producer.poll(0)
    late = time.monotonic() - begun - bench.chosen.seconds
    bench.producer.flush(30)
    if spied is not None:
        spied.send_signal(signal.SIGINT)
        spied.wait()
    used = {name: (seconds - cpu[name]) / (time.monotonic() - begun) for name, seconds in bench.cpu_s().items()}
    time.sleep(5.0)
    enough.set()
    watcher.join()
    took = sorted((at - acknowledged[key]) * 1000 for key, at in held if key in acknowledged)
    assert took, "no alert came"
    print(table(bench.stages() - before, bench.chosen.seconds))
    report(
        bench.chosen.json,
        rate=bench.chosen.rate,
        seconds=bench.chosen.seconds,
        producer_behind_s=round(late, 2),
        cores={name: round(cores, 2) for name, cores in used.items()},
        alerts=len(took),
        p50_ms=round(took[len(took) // 2], 1),
        p90_ms=round(took[int(len(took) * 0.9)], 1),
        p99_ms=round(took[int(len(took) * 0.99)], 1),
        max_ms=round(took[-1], 1),
        milliseconds=[round(ms, 2) for ms in took],
    )


def watch(bench: Bench, held: list[tuple[tuple[str, str, str], float]], enough: threading.Event) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bench.kafka.bootstrap,
            "group.id": "bench-watch",
            "auto.offset.reset": "latest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([full_name(bench.at.namespace, "stock-alerts")])
    while not enough.is_set():
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        at = time.monotonic()
        if dict(message.headers() or [])["ce_type"] == b"restock.alert.raised":
            data = orjson.loads(message.value() or b"{}")
            held.append(((data["sku"], data["location"], data["raised_at"]), at))
    consumer.close()


def report(as_json: bool, **figures: Any) -> None:
    """Machine, versions and figures, one a line; or all figures as one line of JSON."""
    if as_json:
        print(json.dumps(figures))
        return
    figures.pop("milliseconds", None)
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    names = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "pyarrow", "numpy")
    print("versions: " + ", ".join(f"{n} {version(n)}" for n in names) + f", Kafka {kafka.VERSION}")
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")
    for name, value in figures.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")


def say(text: str) -> None:
    """Progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark of a worker may be told."""
    parser.add_argument("--history", type=int, default=60_000, help="orders of the six days before")
    parser.add_argument("--positions-ms", type=int, default=1_000, help="positions at most once in this time a row")
    parser.add_argument("--workers", type=int, default=1, help="how many workers share the partitions")
    parser.add_argument("--split", action="store_true", help="each worker as two processes: an intake and a planner")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON, the last")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("throughput", "latency"))
    parser.add_argument("--orders", type=int, default=200_000, help="orders in the log (throughput)")
    parser.add_argument("--rate", type=int, default=1_000, help="orders a second (latency)")
    parser.add_argument("--seconds", type=int, default=60, help="how long (latency)")
    add_options(parser)
    parser.add_argument("--spy", metavar="FILE", help="sample the worker's stacks with py-spy")
    parser.add_argument("--spy-options", default="--gil", help="further options of py-spy")
    bench = Bench(parser.parse_args())
    try:
        {"throughput": throughput, "latency": latency}[bench.chosen.what](bench)
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
