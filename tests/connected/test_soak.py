"""Long versions, run by `make soak PART=chaos|memory MINUTES=60`; the simulation's is beside it (PART=seeds)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from stream.local.child import free_port
from tests import servers
from tests.bench import stages
from tests.connected import test_chaos, traffic
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.soak]

MINUTES = float(os.environ.get("RESTOCK_SOAK_MINUTES", "60"))
SEED = int(os.environ.get("RESTOCK_SOAK_SEED", "1"))


def test_chaos_storms_until_the_time_is_up() -> None:
    """Storm after storm by growing seeds; the first that breaks a law says its seed."""
    assert test_chaos.soak(MINUTES, SEED) == 0


BEGIN_MS = -20 * 365 * traffic.DAY_MS  # lots are four days apart: soon they would be ahead of the clock, and refused
LOTS_LEAST = 6  # so that there is a first third, however slow the machine


def resident_bytes(pid: int) -> int:
    """Memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """Once a lot of days, when all of it is done."""

    past: float  # of the time
    held: int  # bytes
    stages: stages.Stages  # since the worker started


def test_memory_stays_flat(own_kafka: Broker, own_redis: servers.Server, tmp_path: Path) -> None:
    """Traffic for MINUTES, Redis away a tenth of it: what the worker holds after the first third does not grow.

    Latency is told by tenths of the time, hop by hop; what Redis was away for shows in its tenth and in no later one.
    """
    at = Installation(
        own_kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=4, source_partitions=4, journal_rows=20_000
    )
    port = free_port()
    worker = at.start(RESTOCK_WEB_PORT=str(port))
    begun, seed, samples = time.monotonic(), SEED, list[Sample]()
    away = False
    try:
        while (past := (time.monotonic() - begun) / (MINUTES * 60)) < 1.0 or len(samples) < LOTS_LEAST:
            source = traffic.records(seed, days=2, orders_an_hour=400, skus=400)
            moved = BEGIN_MS + (seed - SEED) * 4 * traffic.DAY_MS  # every lot of days follows on the one before
            for _ in traffic.publish(at.brokers, at.namespace, traffic.later(source, moved, seed), at.parts):
                pass
            if not away and past > 0.45:
                away = True
                own_redis.pause()
                time.sleep(min(25.0, MINUTES * 6))
                own_redis.resume()
            at.await_drained(600)
            held = resident_bytes(worker.pid)
            samples.append(Sample(past, held, stages.scrape(f"http://127.0.0.1:{port}/metrics")))
            seed += 1
            print(f"{past:6.1%}  {held / 2**20:7.1f} MiB", flush=True)
    finally:
        at.stop()
    print(_by_tenths(samples))
    third = max(one.held for one in samples[: len(samples) // 3])
    rest = max(one.held for one in samples[len(samples) // 3 :])
    print(f"most in the first third {third / 2**20:.1f} MiB, later {rest / 2**20:.1f} MiB; {seed - SEED} lots of days")
    assert rest < third * 1.15 + 16 * 2**20


def _by_tenths(samples: list[Sample]) -> str:
    """A line a tenth of the time: memory, and the 99th percentile of each hop in it, in milliseconds."""
    lines = [f"{'time':>5} {'MiB':>7} " + " ".join(f"{title:>17}" for title, *_ in stages.HOPS) + "  (p99 ms)"]
    before = stages.Stages({}, {})
    for tenth in range(10):
        its = [one for one in samples if tenth <= min(one.past, 0.99) * 10 < tenth + 1]
        if its:
            here, before = its[-1].stages - before, its[-1].stages
            hops = (here.of.get((name, agent), stages.Histogram()) for _, name, agent in stages.HOPS)
            figures = " ".join(f"{1000 * hop.quantile(0.99):17.1f}" for hop in hops)
            lines.append(f"{tenth / 10:5.0%} {max(one.held for one in its) / 2**20:7.1f} {figures}")
    return "\n".join(lines)
