"""The network agent on a real Kafka and a real Redis: leaders are killed in the midst of a plan, and trucks leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.events.instants import text_from_ms
from tests import servers
from tests.connected import laws, traffic
from tests.connected.installation import AWAIT_S, Installation
from tests.connected.traffic import DAY_MS, HOUR_MS, START_MS, Source
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SKUS, DAYS = 24, 12
NOW = START_MS + DAYS * DAY_MS


def history() -> list[Source]:
    """W has plenty of every SKU and sells nothing; L sells three a day and has two left. A lane leads from W to L."""
    out: list[Source] = []

    def add(topic: str, key: str, at_ms: int, **event: Any) -> None:
        event = {"event_id": f"e{len(out)}", "occurred_at": text_from_ms(at_ms), **event}
        out.append(Source(topic, key.encode(), orjson.dumps(event), at_ms))

    lane = {"from_location": "W", "to_location": "L", "lead_days": 1, "unit_cost": 0.1}
    add("catalog", '["lane","W","L"]', START_MS, type="catalog.lane", **lane)
    for n in range(SKUS):
        sku = f"S{n:02d}"
        terms = {"unit_cost": 4, "unit_price": 10, "lead_days": 5, "status": "phase_out"}
        add("catalog", f'["item","{sku}"]', START_MS, type="catalog.item", sku=sku, **terms)
        for location, units in (("W", 200), ("L", 3 * DAYS + 2)):
            movement = {"sku": sku, "location": location, "quantity": units}
            add("stock-movements", sku, START_MS, type="stock.counted", **movement)
        for day in range(DAYS):
            line = {"line_id": "1", "sku": sku, "location": "L", "quantity": 3}
            order = {"type": "order.placed", "order_id": f"{sku}-{day}", "fulfilled": True, "lines": [line]}
            add("orders", order["order_id"], START_MS + day * DAY_MS + HOUR_MS, **order)
    return sorted(out, key=lambda source: source.at_ms)


@pytest.fixture
def at(kafka: Broker, redis_server: servers.Server, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(kafka.bootstrap, redis_server.url, tmp_path, clock="event", shelves=2, source_partitions=1)
    yield made
    made.stop()


def command(at: Installation, *words: str, code: int = 0, **env: str) -> list[dict[str, Any]]:
    """What a restock command prints as JSON."""
    ran = subprocess.run(
        [sys.executable, "-m", "agents.cli", *words, "--json"],
        env={**os.environ, **at.env, **env},
        capture_output=True,
        text=True,
        timeout=AWAIT_S,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr + at.logs()
    return [json.loads(line) for line in ran.stdout.splitlines()]


def told(at: Installation) -> list[tuple[str, str]]:
    """(ce_type's last word, transfer_id) of every message in `transfers`."""
    messages = [record for shelf in range(2) for record in at.read("transfers", shelf)]
    types = [dict(record.headers)["ce_type"].decode().rsplit(".", 1)[1] for record in messages]
    return [(t, orjson.loads(r.value or b"")["transfer_id"]) for t, r in zip(types, messages, strict=True)]


def publish(at: Installation, source: list[Source], closing_ms: int) -> None:
    for _ in traffic.publish(at.brokers, at.namespace, source, at.parts, DAY_MS, closing_ms):
        pass


def shipping(transfers: list[dict[str, Any]]) -> list[Source]:
    """Each is approved, shipped and received, an hour apart."""
    out = []
    for n, t in enumerate(transfers):
        for hour, type in enumerate(("transfer.approved", "stock.transfer_shipped", "stock.transfer_received"), 1):
            event = {
                "event_id": f"ship-{n}-{hour}",
                "occurred_at": text_from_ms(NOW + hour * HOUR_MS),
                "type": type,
                "location": t["from_location"],
                **{name: t[name] for name in ("transfer_id", "sku", "to_location", "quantity")},
            }
            out.append(Source("stock-movements", t["sku"].encode(), orjson.dumps(event), NOW + hour * HOUR_MS))
    return sorted(out, key=lambda source: source.at_ms)


def test_leaders_killed_in_the_midst_of_a_plan_tell_it_once_and_whole(at: Installation) -> None:
    """Killed before and after a lot was noted as told: in the end every transfer is proposed once, the request is
    answered, trucks carry it, and the log still gives the state. Then a solve without time leaves that plan standing.
    """
    at.start("agents.cli", "worker")
    publish(at, history(), NOW)
    at.await_drained()
    at.workers[0].stop()

    ask = subprocess.Popen(
        [sys.executable, "-m", "agents.cli", "rebalance", "now", "--json"],
        env={**os.environ, **at.env}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for step, n in ((25, 2), (26, 3)):
        doomed = at.start("tests.connected.crashing", str(step), str(n))
        at.until_ended(doomed, f"the leader dies at step {step}")
    halfway = command(at, "rebalance", "status")[0]
    assert 0 < halfway["told"] < halfway["proposed"] == SKUS
    at.start()
    out, _ = ask.communicate(timeout=AWAIT_S)
    assert ask.returncode == 0, out + at.logs()
    answer = json.loads(out)
    assert (answer["status"], answer["proposed"], answer["told"]) == ("optimal", SKUS, SKUS)
    at.await_drained()

    listed = command(at, "transfers")
    assert len(listed) == SKUS
    assert sorted(told(at)) == sorted(("proposed", t["transfer_id"]) for t in listed)
    assert all((t["from_location"], t["to_location"], t["status"]) == ("W", "L", "proposed") for t in listed)
    assert command(at, "rebalance", "try") == [], "what is open is not proposed again"

    publish(at, shipping(listed), NOW + 4 * HOUR_MS)
    at.await_drained()
    assert command(at, "transfers") == []
    assert {status for status, _ in told(at)} == {"proposed", "approved", "shipped", "received"}
    there = {
        row["sku"]: (row["on_hand"], row["in_transit"])
        for row in command(at, "stock", "--all")
        if row["location"] == "L"
    }
    assert there == {t["sku"]: (2 + t["quantity"], 0) for t in listed}
    for shelf in range(2):
        laws.law_of_state(at, shelf, laws.log_of(at, shelf), laws.Counter())

    at.workers[-1].stop()
    at.start(RESTOCK_REBALANCE_SECONDS="1")
    (answer,) = command(at, "rebalance", "now", code=1)
    assert (answer["status"], answer["why"]) == ("failed", "the solve took too long")
    assert answer["standing_plan"] == listed[0]["plan_id"]
