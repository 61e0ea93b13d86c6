"""Long versions, run by `make soak PART=chaos|memory MINUTES=60`; the simulation's is beside it (PART=seeds)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests import servers
from tests.connected import test_chaos, traffic
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.soak]

MINUTES = float(os.environ.get("RESTOCK_SOAK_MINUTES", "60"))
SEED = int(os.environ.get("RESTOCK_SOAK_SEED", "1"))


def test_chaos_storms_until_the_time_is_up() -> None:
    """Storm after storm by growing seeds; the first that breaks a law says its seed."""
    assert test_chaos.soak(MINUTES, SEED) == 0


def resident_bytes(pid: int) -> int:
    """Memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat(own_kafka: Broker, own_redis: servers.Server, tmp_path: Path) -> None:
    """Traffic for MINUTES, Redis away a tenth of it: what the worker holds after the first third does not grow."""
    at = Installation(
        own_kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=4, source_partitions=4, journal_rows=20_000
    )
    worker = at.start()
    begun, seed, samples = time.monotonic(), SEED, list[tuple[float, int]]()
    away = False
    try:
        while (past := (time.monotonic() - begun) / (MINUTES * 60)) < 1.0:
            source = traffic.records(seed, days=2, orders_an_hour=400, skus=400)
            moved = (seed - SEED) * 4 * traffic.DAY_MS  # every lot of days follows on the one before
            for _ in traffic.publish(at.brokers, at.namespace, traffic.later(source, moved, seed), at.parts):
                samples.append((past, resident_bytes(worker.pid)))
            if not away and past > 0.45:
                away = True
                own_redis.pause()
                time.sleep(min(25.0, MINUTES * 6))
                own_redis.resume()
            at.await_drained(600)
            seed += 1
            print(f"{past:6.1%}  {samples[-1][1] / 2**20:7.1f} MiB", flush=True)
    finally:
        at.stop()
    third = max(held for past, held in samples if past < 1 / 3)
    rest = max(held for past, held in samples if past >= 1 / 3)
    print(f"most in the first third {third / 2**20:.1f} MiB, later {rest / 2**20:.1f} MiB; {seed - SEED} lots of days")
    assert rest < third * 1.15 + 16 * 2**20
