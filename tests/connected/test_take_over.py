"""Workers come, go and die: their partitions move in seconds, and every offset is kept exactly once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream.events.topics import SKU_EVENTS, full_name
from stream.ledger.redis_ledger import RedisLedger
from stream.local.child import Child
from stream.transport.app import Config
from tests import servers
from tests.connected.running import config
from tests.connected.tally import ranges
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SHELVES = 8
RATE = 2_000  # records a second
AWAIT_S = 60.0


class Workers:
    """Tally workers of one installation, and a producer that does not stop for them."""

    def __init__(self, at: Config, redis_url: str, folder: Path) -> None:
        self.at, self._url, self._folder = at, redis_url, folder
        self._all: list[Child] = []
        self.sent = [0] * SHELVES
        self._enough = threading.Event()
        self._producing = threading.Thread(target=self._produce)
        self._producing.start()

    def start(self) -> Child:
        args = [sys.executable, "-m", "tests.connected.tally", json.dumps(asdict(self.at)), self._url, "0.01"]
        child = Child(args, self._folder / f"worker-{len(self._all)}.log")
        self._all.append(child)
        return child

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self.at.brokers, "linger.ms": 2, "enable.idempotence": True})
        topic = full_name(self.at.namespace, SKU_EVENTS.name)
        while not self._enough.wait(0.02):
            for _ in range(RATE // 50):
                shelf = sum(self.sent) % SHELVES
                producer.produce(topic, b"%d" % self.sent[shelf], partition=shelf)
                self.sent[shelf] += 1
            producer.poll(0)
        assert producer.flush(30) == 0

    def stop_producing(self) -> None:
        self._enough.set()
        self._producing.join()

    def kept(self) -> list[list[tuple[int, int, int, int]]]:
        """Every poll kept, by shelf."""

        async def read() -> list[list[tuple[int, int, int, int]]]:
            ledger = RedisLedger(self._url, self.at.namespace)
            found = [ranges((await ledger.dump(shelf)).get("journal", {})) for shelf in range(SHELVES)]
            await ledger.close()
            return found

        return asyncio.run(read())

    def through(self) -> list[int]:
        """How far each shelf is kept."""
        return [polls[-1][1] if polls else 0 for polls in self.kept()]

    def await_all_move(self, what: str) -> None:
        """Every shelf is kept further than now: somebody works on each."""
        before = self.through()
        self.until(lambda: all(now > then for now, then in zip(self.through(), before, strict=True)), what)

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + AWAIT_S
        while not true():
            assert time.monotonic() < deadline, f"{what}\n" + "\n".join(child.tail(1_500) for child in self._all)
            time.sleep(0.1)

    def check(self) -> None:
        """Each offset of each shelf was kept once, and with the value that was sent."""
        self.stop_producing()
        self.until(lambda: self.through() == self.sent, "everything kept")
        for shelf, polls in enumerate(self.kept()):
            assert polls[0][0] == 0
            assert all(one[1] == other[0] for one, other in pairwise(polls)), f"shelf {shelf}: {polls}"
            for start, end, count, total in polls:
                assert count == end - start
                assert total == sum(range(start, end))

    def close(self) -> None:
        self.stop_producing()
        for child in self._all:
            child.kill()


@pytest.fixture
def workers(kafka: Broker, redis_server: servers.Server, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(config(kafka.bootstrap, session_timeout_ms=1_500), redis_server.url, tmp_path)
    yield made
    made.close()


def test_joining_leaving_and_dying_lose_and_skip_nothing(workers: Workers) -> None:
    """A second worker joins, the first is told to leave, the second is killed, a third takes over."""
    first = workers.start()
    workers.await_all_move("the first worker has every shelf")
    second = workers.start()
    workers.until(lambda: "took" in second.tail(), "the second worker has shelves")
    workers.await_all_move("two workers share the shelves")

    assert first.stop() == 0  # SIGTERM finishes the work in hand and leaves
    assert first.tail().rstrip().splitlines()[-1].startswith("let go")
    workers.await_all_move("the second worker has every shelf")

    third = workers.start()
    workers.until(lambda: "took" in third.tail(), "the third worker has shelves")
    second.signal(signal.SIGKILL)
    workers.await_all_move("the third worker has every shelf")
    workers.check()
    assert "\nfenced [" not in second.tail() + third.tail()


def test_a_worker_stopped_past_its_session_is_fenced_and_gives_way(workers: Workers) -> None:
    """A zombie's write is refused while its successor works; it joins again, and nothing is lost or kept twice."""
    first, second = workers.start(), workers.start()
    workers.until(lambda: "took" in first.tail() and "took" in second.tail(), "both have shelves")
    workers.await_all_move("two workers share the shelves")

    first.signal(signal.SIGUSR1)  # it stops itself between folding and writing
    workers.until(lambda: "stopping before" in first.tail(), "the first worker is stopped")
    workers.await_all_move("the second worker has every shelf")
    taken = first.tail().count("took")
    first.signal(signal.SIGCONT)
    workers.until(lambda: first.tail().count("took") > taken, "the first worker joined again")
    workers.await_all_move("both work again")
    workers.check()
    assert first.tail().count("\nfenced [") == 1, "its write was not seen to be refused"
    assert first.alive()
    assert second.alive()
