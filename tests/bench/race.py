"""The same log for everybody: how fast each contender runs it down, and how soon its alerts come."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from stream.events.instants import text_from_ms
from stream.local.child import Child
from tests.bench import processes
from tests.bench.bench import say
from tests.bench.contenders import Peer
from tests.bench.orders import Shop
from tests.bench.peers.job import ORDER_QUANTITY, PARTITIONS, rule
from tests.bench.steady import Key, Stamps, Watcher, paced

START_S = 180.0  # Kafka Streams took up to 30 s to its first record on a busy machine
STALLED_S = 120.0
WARM_ORDERS = 100_000  # before latency is taken: a JVM compiles


@dataclass
class Log:
    """Orders laid down beforehand: their topic, how many orders and lines, and the alerts each key must raise."""

    topic: str
    orders: int
    lines: int
    alerts: Counter[str]


@dataclass
class Run:
    """One contender, once."""

    orders_s: float
    warm_orders_s: float
    lines_s: float
    cpu_s_million: float
    peak_mb: float
    lines_alert: float
    right: bool


class Field:
    """A broker and a Redis on which all run, one after the other."""

    def __init__(self, bootstrap: str, redis_url: str) -> None:
        self.bootstrap, self.redis_url = bootstrap, redis_url
        self.admin = AdminClient({"bootstrap.servers": bootstrap})  # must outlive its futures
        self.folder = Path(tempfile.mkdtemp(prefix="restock-bench-"))
        self._logs: dict[int, Log] = {}
        self._number = 0

    def close(self) -> None:
        """Remove what contenders wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def name(self, peer: Peer) -> str:
        """A name no run had before."""
        self._number += 1
        return f"b{os.getpid()}-{peer.name}-{self._number}"

    def create(self, *topics: str) -> None:
        """Make topics of 4 partitions."""
        made = self.admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
        for future in made.values():
            future.result(30)

    def delete(self, *topics: str) -> None:
        """Remove topics, so that a long run does not fill the disk."""
        for future in self.admin.delete_topics(list(topics)).values():
            future.result(30)

    def log(self, orders: int) -> Log:
        """The first `orders` orders of the one seed, laid down once."""
        if orders not in self._logs:
            self._logs[orders] = self._fill(orders)
        return self._logs[orders]

    def _fill(self, orders: int) -> Log:
        say(f"laying down {orders:,} orders ...")
        topic = f"b{os.getpid()}-orders-{orders}"
        self.create(topic)
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000,
             "partitioner": "murmur2_random"}
        )  # fmt: skip
        shop, sold, lines = Shop(Random(7)), Counter[str](), 0
        now_ms = time.time_ns() // 1_000_000
        for n in range(orders):
            order_id, value, body = shop.order(now_ms + n // 50, shop.lines())
            for line in body:
                sold[f"{line['sku']}@{line['location']}"] += line["quantity"]
            lines += len(body)
            _put(producer, topic, order_id, value)
            if n % 1_000 == 0:
                producer.poll(0)
        assert producer.flush(120) == 0
        return Log(topic, orders, lines, must_raise(sold))

    @contextmanager
    def running(self, peer: Peer, name: str, orders: str, command: Callable[[Path], list[str]]) -> Iterator[Child]:
        """The peer as a process, with topics and state of its own."""
        state = self.folder / name
        state.mkdir()
        topics = [f"{name}-{topic}" for topic in peer.topics]
        if topics:
            self.create(*topics)
        env = {
            **os.environ,
            "PEER_BROKERS": self.bootstrap,
            "PEER_NAME": name,
            "PEER_ORDERS": orders,
            "PEER_STATE_DIR": str(state),
            "PEER_REDIS_URL": self.redis_url,
        }
        child = Child(command(state), self.folder / f"{name}.log", env)
        try:
            yield child
        finally:
            child.stop()
            if topics:
                self.delete(*topics)
            shutil.rmtree(state, ignore_errors=True)

    def throughput(self, peer: Peer, orders: int) -> Run:
        """How fast the peer runs the log down."""
        log = self.log(max(1_000, int(orders * peer.share)))
        total = log.orders if peer.orders_counted else log.lines
        name = self.name(peer)
        with self.running(peer, name, log.topic, peer.command) as child:
            cpu_before, first = 0.0, None
            deadline = time.monotonic() + START_S
            while True:
                time.sleep(0.1)
                seen = progress(child)
                _still(child, deadline)
                if not seen:
                    continue
                if first is None:
                    first, cpu_before = seen[0], processes.cpu_s(child.pid)
                if seen[-1][1] >= total:
                    break
                if seen[-1] != first:
                    deadline = time.monotonic() + STALLED_S
            cpu, peak = processes.cpu_s(child.pid) - cpu_before, processes.peak_mb(child.pid)
            alerts = self.raised(f"{name}-alerts", log.alerts.total()) if peer.topics else Counter[str]()
        last = next(s for s in seen if s[1] >= total)
        middle = next(s for s in seen if s[1] >= total / 2)
        each = total / log.orders
        rate = (last[1] - seen[0][1]) / max(last[0] - seen[0][0], 1e-9)
        warm = (last[1] - middle[1]) / max(last[0] - middle[0], 1e-9)
        done = max(1, last[1] - seen[0][1]) / each  # orders while CPU was counted
        return Run(
            rate / each, warm / each, rate if not peer.orders_counted else rate * log.lines / log.orders,
            cpu / done * 1e6, peak, log.lines / max(alerts.total(), 1), not peer.topics or alerts == log.alerts,
        )  # fmt: skip

    def raised(self, topic: str, expected: int) -> Counter[str]:
        """Alerts a key in a topic, read when no more come."""
        found = Counter[str]()
        with _reader(self.bootstrap, topic) as consumer:
            quiet_since = time.monotonic()
            while time.monotonic() - quiet_since < (10.0 if found.total() < expected else 1.0):
                for message in consumer.consume(1_000, 0.2):
                    if message.error() is None:
                        found[json.loads(message.value())["key"]] += 1
                        quiet_since = time.monotonic()
        return found

    def latency(self, peer: Peer, rate: int, seconds: int) -> list[float]:
        """Milliseconds from an order's acknowledgement to a read_committed consumer holding its alert, sorted."""
        name = self.name(peer)
        topic = f"{name}-in"
        self.create(topic)
        with self.running(peer, name, topic, peer.latency or peer.command) as child:
            shop = Shop(Random(7))
            producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "partitioner": "murmur2_random",
                                 "queue.buffering.max.messages": 1_000_000})  # fmt: skip
            warm = max(1_000, int(WARM_ORDERS * peer.share))
            lines = 0
            for n in range(warm):
                order_id, value, body = shop.order(time.time_ns() // 1_000_000, shop.lines())
                _put(producer, topic, order_id, value)
                lines += len(body)
                if n % 1_000 == 0:
                    producer.poll(0)
            producer.flush(60)
            deadline = time.monotonic() + START_S
            while not (seen := progress(child)) or seen[-1][1] < lines:
                _still(child, deadline)
                time.sleep(0.2)
            return steady(self.bootstrap, producer, topic, f"{name}-alerts", shop, rate, seconds)


def steady(
    bootstrap: str, producer: Producer, orders: str, alerts: str, shop: Shop, rate: int, seconds: int
) -> list[float]:
    """Orders at a steady rate; milliseconds to their alerts, sorted."""
    stamps = Stamps()
    with Watcher(bootstrap, alerts, stamps, _alert_key):
        for _ in paced(rate, seconds, producer.poll):
            at_ms = time.time_ns() // 1_000_000
            order_id, value, body = shop.order(at_ms, shop.lines())
            keys = [(f"{line['sku']}@{line['location']}", text_from_ms(at_ms)) for line in body]
            _put(producer, orders, order_id, value, stamps.on_delivery(keys))
        producer.flush(30)
    return stamps.took_ms()


def _alert_key(message: Message) -> Key:
    said = json.loads(message.value() or b"")
    return said["key"], said["occurred_at"]


def must_raise(sold: Counter[str]) -> Counter[str]:
    """Alerts a key, from its total units alone: their order does not matter."""
    out = Counter[str]()
    for key, units in sold.items():
        initial, point = rule(key)
        short = point - (initial - units)
        if short > 0:
            out[key] = -(-short // ORDER_QUANTITY)
    return out


def progress(child: Child) -> list[tuple[float, int]]:
    """(epoch seconds, count) of the lines a peer has printed, from its first above zero; of all its processes."""
    seen, counts = [], dict[str, int]()
    for line in child.log.read_text(errors="replace").splitlines():
        parts = line.split()
        if 3 <= len(parts) <= 4 and parts[0] == "N" and parts[2].isdigit() and int(parts[2]) > 0:
            counts[parts[3] if len(parts) == 4 else ""] = int(parts[2])
            seen.append((float(parts[1]), sum(counts.values())))
    return seen


@contextmanager
def _reader(bootstrap: str, topic: str) -> Iterator[Consumer]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"{topic}-read", "auto.offset.reset": "earliest",
         "isolation.level": "read_committed", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
    )  # fmt: skip
    consumer.subscribe([topic])
    try:
        yield consumer
    finally:
        consumer.close()


def _still(child: Child, deadline: float) -> None:
    assert child.alive(), f"ended: {child.tail()}"
    assert time.monotonic() < deadline, f"stalled: {child.tail()}"


def _put(producer: Producer, topic: str, key: str, value: bytes, told: Any = None) -> None:
    while True:
        try:
            producer.produce(topic, value, key, on_delivery=told)
            return
        except BufferError:
            producer.poll(0.05)
