"""The slow lane on a real Kafka and Redis: its leader dies in the midst of telling, and each row hears it once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.events.instants import text_from_ms
from stream.events.partition import shelf_of
from tests import servers
from tests.connected import laws
from tests.connected.installation import AWAIT_S, Installation
from tests.connected.test_network import command, publish
from tests.connected.traffic import DAY_MS, HOUR_MS, START_MS, Source
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SKUS, DAYS = 3, 34
BUDGET_S = 60  # three fits and the imports of a pool's processes took over 15 on two busy cores
NOW = START_MS + DAYS * DAY_MS


def history() -> list[Source]:
    """Each SKU is in stock all the time and sells some three a day."""
    draw, out = random.Random(4), list[Source]()

    def add(topic: str, key: str, at_ms: int, **event: Any) -> None:
        event = {"event_id": f"e{len(out)}", "occurred_at": text_from_ms(at_ms), **event}
        out.append(Source(topic, key.encode(), orjson.dumps(event), at_ms))

    for n in range(SKUS):
        sku = f"S{n:02d}"
        terms = {"unit_cost": 4, "unit_price": 10 + n, "lead_days": 5}
        add("catalog", f'["item","{sku}"]', START_MS, type="catalog.item", sku=sku, **terms)
        movement = {"sku": sku, "location": "L", "quantity": 1_000}
        add("stock-movements", sku, START_MS, type="stock.counted", **movement)
        for day in range(DAYS):
            line = {"line_id": "1", "sku": sku, "location": "L", "quantity": draw.randint(1, 5)}
            order = {"type": "order.placed", "order_id": f"{sku}-{day}", "fulfilled": True, "lines": [line]}
            add("orders", order["order_id"], START_MS + day * DAY_MS + HOUR_MS, **order)
    return sorted(out, key=lambda source: source.at_ms)


@pytest.fixture
def at(kafka: Broker, redis_server: servers.Server, tmp_path: Path) -> Iterator[Installation]:
    limits = {"refit_cpu_seconds": BUDGET_S, "shelves": 2, "source_partitions": 1}
    made = Installation(kafka.bootstrap, redis_server.url, tmp_path, clock="event", **limits)
    yield made
    made.stop()


def test_a_leader_killed_in_the_midst_of_telling_is_gone_on_from(at: Installation) -> None:
    """Killed with one shelf told and that not noted: the next leader tells both, the request is answered, each row
    hears its guest once and its explanation says so; and the log still gives the state, without a model being fitted.
    """
    at.start("agents.cli", "worker")
    publish(at, history(), NOW)
    at.await_drained()
    at.workers[0].stop()
    assert {shelf_of(f"S{n:02d}", 2) for n in range(SKUS)} == {0, 1}, "the test wants two lots"

    ask = subprocess.Popen(
        [sys.executable, "-m", "agents.cli", "refit", "now", "--json"],
        env={**os.environ, **at.env}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    doomed = at.start("tests.connected.crashing", "25", "1")
    at.until_ended(doomed, "the leader dies before it notes what it told")
    at.start()
    out, _ = ask.communicate(timeout=AWAIT_S)
    assert ask.returncode == 0, out + at.logs()
    answer = json.loads(out)
    assert (answer["status"], answer["rows_refitted"]) == ("fitted", SKUS)
    assert 0 < answer["cpu_seconds"] < BUDGET_S + 5
    at.await_drained()

    counters = Counter[str]()
    for shelf in range(2):
        records = laws.log_of(at, shelf)
        laws.law_of_state(at, shelf, records, Counter())
        counters += laws.refolded(at, shelf, records).open().counters
    assert counters["guests_adopted:refit"] == SKUS
    assert 0 < counters["guests_refused:repeated"] < SKUS, "the first lot was sent, not noted, and sent again"
    explained = command(at, "stock", "--all", "--explain")
    assert len(explained) == SKUS
    for row in explained:
        guest = next(one for one in row["forecast"]["experts"] if one["expert"] == "refit")
        assert guest["share"] > 0
        assert guest["out"] is None
        assert guest["age_days"] == 0
