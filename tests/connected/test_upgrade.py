"""A rolling upgrade on real servers: release 0.1.0 and a newer one share a namespace until it is finished."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.planner import versions
from stream.events.rows import switch_frame
from stream.local.child import Child
from tests import servers
from tests.connected import laws, newer, traffic
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

NEWER = ("tests.connected.newer", "worker")
JOIN_S = 180  # a join takes seconds on quiet cores
SETTINGS = {"clock": "event", "shelves": 2, "source_partitions": 2, "poll_max_records": 60}


@pytest.fixture
def _as_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process judges as the newer release does."""
    monkeypatch.setattr(versions, "VERSIONS", versions.VERSIONS)
    monkeypatch.setattr(versions, "NEWEST", versions.NEWEST)
    newer.register()


class Shop:
    """An installation under traffic that comes hour by hour, as the test lets it."""

    def __init__(self, at: Installation, old_tree: Path) -> None:
        self.at, self._old = at, {"PYTHONPATH": str(old_tree), "PYTHONSAFEPATH": "1"}
        self._hours = traffic.publish(at.brokers, at.namespace, traffic.records(5, 8, 6, skus=12), at.parts)

    def older(self) -> Child:
        """A worker of the old release."""
        return self.at.start("agents.cli", "worker", **self._old)

    def newer(self) -> Child:
        """A worker of the new release."""
        return self.at.start(*NEWER)

    def until(self, share: float) -> None:
        """Publish up to this share of the traffic."""
        for done in self._hours:
            if done >= share:
                return

    def holding(self, worker: Child) -> None:
        """Wait until a worker has taken a shelf."""
        self.at.until_holding(worker, JOIN_S)

    def await_(self, true: Callable[[], bool], what: str) -> None:
        """Wait for it."""
        self.at.until(true, what, JOIN_S)

    def upgrade(self, *words: str) -> tuple[int, str]:
        """`restock upgrade` of the newer release."""
        ran = subprocess.run(
            [sys.executable, "-m", NEWER[0], "upgrade", *words],
            env={**os.environ, **self.at.env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def shop(kafka: Broker, redis_server: servers.Server, old_tree: Path, tmp_path: Path) -> Iterator[Shop]:
    """Topics, no worker yet; a log that begins in version 1, as 0.1.0 began it."""
    at = Installation(kafka.bootstrap, redis_server.url, tmp_path, newest=False, **SETTINGS)
    yield Shop(at, old_tree)
    at.stop()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_as_newer")
def test_two_releases_share_a_namespace_until_the_upgrade_is_finished(shop: Shop) -> None:
    """Joins, kills and a way back, then the finish: nothing is lost or doubled, and a replay decides as was decided."""
    first = shop.older()
    shop.holding(first)
    shop.until(0.15)
    second = shop.newer()  # joins beside it
    shop.holding(second)
    shop.until(0.3)
    first.kill()  # the newer one takes over what the older one left in mid-work
    shop.until(0.4)
    third = shop.older()
    shop.holding(third)
    second.kill()  # and back: the older one reads what the newer one wrote
    shop.until(0.5)
    fourth = shop.newer()
    shop.holding(fourth)

    code, said = shop.upgrade("--finish", "--yes")
    assert code == 2, said
    assert "workers of an older release are still running" in said
    third.stop()
    shop.until(0.6)
    code, said = shop.upgrade("--finish", "--yes", "--json")
    assert code == 0, said
    assert [json.loads(line)["decides_by"] for line in said.splitlines()] == [newer.NEXT] * 2
    assert shop.upgrade()[0] == 0

    refused = shop.older()  # somebody rolls back too late
    shop.await_(lambda: not refused.alive(), "a worker of the old release went on")
    assert refused.stop() == 2
    assert "was written by newer code" in refused.tail()
    shop.until(0.8)
    fourth.kill()
    shop.newer()
    shop.until(1.1)
    shop.at.await_drained()
    counted = laws.state_holds(shop.at)
    assert counted["messages"] > 100
    assert counted["switches"] == 2


def test_an_older_worker_cannot_step_over_a_switch(old_tree: Path) -> None:
    """Were the ledger's refusal lost, an old worker would still end at the record, not set it aside and go on."""
    theirs = """
import sys
from agents.planner.agent import _decode
from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.keeping import load
from stream.transport.port import Batch
batch = Batch("sku-events", 0, 0, 1, 1, [0], [0], [None], [sys.stdin.buffer.read()], [[]])
fold(load(PlannerConfig(), {}, -1), _decode(batch)[0])
print("went on")
"""
    ran = subprocess.run(
        [sys.executable, "-c", theirs],
        input=switch_frame(newer.NEXT),
        env={**os.environ, "PYTHONPATH": str(old_tree)},
        cwd=old_tree,
        capture_output=True,
        timeout=60,
    )
    assert b"went on" not in ran.stdout
    assert re.search(rb"struct.error|newer code", ran.stderr), ran.stderr
