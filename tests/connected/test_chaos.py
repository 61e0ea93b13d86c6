"""Real workers, a real Kafka and a real Redis, and everything that can die dies: the three laws hold all the same.

`make test` runs one storm; `make soak PART=chaos MINUTES=60` runs them by seed until the time is up:
    python -m tests.connected.test_chaos --minutes 60 [--seed 7]
"""

from __future__ import annotations

import argparse
import functools
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.local.child import Child
from tests import kafka as kafka_
from tests import servers
from tests.connected import laws, traffic
from tests.connected.crashing import STEPS as ALL_STEPS
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SETTINGS = {"clock": "event", "shelves": 3, "source_partitions": 2, "buffer_bytes": 1_048_576, "poll_max_records": 60}

# of an event; those of a plan of the network agent have a storm of their own (test_network.py)
STEPS = [step for step in sorted(ALL_STEPS) if step < 20]


class Storm:
    """Two workers under traffic that does not stop for what is done to them."""

    def __init__(self, kafka: Broker, redis: servers.Server, folder: Path, seed: int, days: int, orders: int) -> None:
        self.kafka, self.redis, self.random = kafka, redis, random.Random(seed)
        self.at = Installation(kafka.bootstrap, redis.url, folder, **SETTINGS)
        self.source = traffic.records(seed, days, orders)
        self.share = 0.0
        self.failure: BaseException | None = None
        self.killed = 0
        self._go = threading.Semaphore(0)
        self._free = threading.Event()
        self._publishing = threading.Thread(target=self._publish, daemon=True)
        self.now: list[Child] = [self.at.start(), self.at.start()]
        self._publishing.start()

    def _publish(self) -> None:
        try:
            for share in traffic.publish(self.kafka.bootstrap, self.at.namespace, self.source, self.at.parts):
                self.share = share
                if not self._free.is_set():
                    self._go.acquire(timeout=2.0)
        except BaseException as error:
            self.failure = error

    def flow(self, hours: int = 1) -> None:
        """Let some more hours of the shop be published."""
        for _ in range(hours):
            self._go.release()

    def breathe(self, most_s: float = 1.0) -> None:
        """Wait a random moment: that is when things die."""
        time.sleep(self.random.uniform(0.05, most_s))

    def kill_one(self) -> None:
        """`kill -9` of a worker at a random moment, and its successor."""
        self.flow(2)
        self.breathe()
        victim = self.random.randrange(2)
        self.now[victim].kill()
        self.killed += 1
        self.now[victim] = self.at.start()

    def crash_after(self, step: int) -> None:
        """A worker that dies by itself right after a step; it is the only one, so that it does the step."""
        for worker in self.now:
            worker.stop()
        doomed = self.at.start("tests.connected.crashing", str(step), str(self.random.randint(1, 4)))
        self._until(lambda: not doomed.alive(), f"step {step} was never done")
        assert doomed.stop() == -signal.SIGKILL, f"it ended otherwise\n{doomed.tail()}"
        self.killed += 1
        self.now = [self.at.start(), self.at.start()]

    def freeze_past_session(self) -> None:
        """A worker frozen between fold and keep, past its session; a second owner goes on; then it must be refused."""
        before = self.refusals()
        for worker in self.now:
            worker.stop()
        sleeper = self.at.start("tests.connected.crashing", "5", str(self.random.randint(1, 3)), "STOP")
        self._until(lambda: _frozen(sleeper), "the sleeper never folded anything")
        second = self.at.start()
        self._until(lambda: "holding shelf" in second.log.read_text(errors="replace"), "there is no second owner")
        self.flow(3)
        time.sleep(1.0)
        sleeper.signal(signal.SIGCONT)
        self._until(lambda: self.refusals() > before, "the zombie's write was not seen to be refused")
        self.now = [sleeper, second]

    def _until(self, true: Callable[[], bool], what: str) -> None:
        begun, flowed = time.monotonic(), 0
        while not true():
            waited_s = time.monotonic() - begun
            assert waited_s < 60, f"{what}; {self.share:.0%} of the traffic is out\n{self.at.logs()}"
            if waited_s >= flowed:  # an hour a second: on a busy machine a worker takes many to start, and traffic ends
                self.flow()
                flowed += 1
            time.sleep(0.2)

    def redis_dies(self) -> None:
        """`kill -9` of Redis under load, and its restart from its own file."""
        self.flow(3)
        self.breathe()
        self.redis.kill()
        time.sleep(1.0)
        self.redis.start()

    def redis_goes_back(self) -> None:
        """Redis is put back to a copy that is some seconds old, while workers live."""
        copy = self.redis.copy()
        self.flow(6)
        time.sleep(3.0)
        self.redis.put_back(copy)

    def broker_away(self, seconds: float) -> None:
        """The broker is gone for a while, and comes back with its data."""
        self.flow(3)
        self.breathe(0.5)
        self.kafka.kill()
        time.sleep(seconds)
        self.kafka.start()

    def keep_alive(self) -> None:
        """The supervisor: a worker that ended is started again."""
        for i, worker in enumerate(self.now):
            if not worker.alive():
                self.now[i] = self.at.start()

    def refusals(self) -> int:
        """Writes the ledger was seen to refuse."""
        logs = [child.log.read_text(errors="replace") for child in self.at.workers]
        return sum(text.count("fenced, joining the group anew") for text in logs)

    def settle(self) -> dict[str, int]:
        """Faults end, everything finishes, and the laws are asked."""
        self._free.set()
        self.flow(10_000)
        deadline = time.monotonic() + 180
        while self._publishing.is_alive():
            self.keep_alive()
            assert time.monotonic() < deadline, "the traffic did not finish"
            time.sleep(0.2)
        if self.failure is not None:
            raise self.failure
        self.at.await_drained(180, self.keep_alive)
        return laws.hold(self.at)

    def close(self) -> None:
        """End every worker."""
        self._free.set()
        self.flow(10_000)
        self.at.stop()


def _frozen(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.timeout(900)  # 3 to 4 minutes on two quiet cores; others' load doubled it
def test_a_storm_changes_nothing(own_kafka: Broker, own_redis: servers.Server, tmp_path: Path) -> None:
    """15 random kills, one after each step, Redis killed and rolled back, the broker away, zombies: the laws hold."""
    storm = Storm(own_kafka, own_redis, tmp_path, seed=11, days=16, orders=10)
    try:
        for step in STEPS:
            storm.crash_after(step)
        for _ in range(15):
            storm.kill_one()
        for _ in range(3):
            storm.keep_alive()
            storm.freeze_past_session()
        storm.redis_dies()
        storm.keep_alive()
        storm.redis_goes_back()
        storm.keep_alive()
        storm.broker_away(30)
        counted = storm.settle()
        assert storm.killed >= 15 + len(STEPS)
        assert storm.refusals() >= 3
        assert counted["sent_again"] > 0, "no intake ever sent anything twice: the storm was too mild"
        print(counted, "refusals", storm.refusals())
    finally:
        storm.close()


def faults_of(storm: Storm) -> list[Callable[[], None]]:
    """What a long storm does, in the storm's own random order."""
    faults: list[Callable[[], None]] = [
        *[storm.kill_one] * 20,
        *[functools.partial(storm.crash_after, step) for step in STEPS],
        *[storm.freeze_past_session] * 3,
        *[storm.redis_dies] * 2,
        *[storm.redis_goes_back] * 2,
        functools.partial(storm.broker_away, 10),
    ]
    storm.random.shuffle(faults)
    return faults


def soak(minutes: float, seed: int) -> int:
    """Storms by growing seeds until the time is up; each says what it did."""
    end = time.monotonic() + minutes * 60
    runs = kills = 0
    while time.monotonic() < end:
        broker, redis = kafka_.broker(), servers.server()
        folder = Path(tempfile.mkdtemp(prefix="restock-storm-"))
        storm = Storm(broker, redis, folder, seed, days=40, orders=15)
        try:
            for fault in faults_of(storm):
                storm.keep_alive()
                fault()
            counted = storm.settle()
        except BaseException:
            print(f"seed {seed} failed; logs in {folder}\n{storm.at.logs()}", flush=True)
            raise
        finally:
            storm.close()
            broker.close()
            redis.close()
        runs, kills = runs + 1, kills + storm.killed
        print(f"seed {seed}: {storm.killed} kills, {storm.refusals()} refusals, {counted}", flush=True)
        seed += 1
    print(f"{runs} storms, {kills} kills: the laws held")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Storms on real servers until the time is up.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sys.exit(soak(chosen.minutes, chosen.seed))
