"""`restock shop` on a real Kafka with a real worker: what the planner holds is what the shop's books say."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agents.commands import tail
from agents.planner import keeping
from stream.events.topics import DEAD_LETTERS, full_name
from tests import servers
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

WORLD = ["--rows", "120", "--seed", "9", "--opening-days", "5", "--shrinkage-share", "0.05", "--count-days", "6",
         "--wholesale-share", "0.01", "--cart-lead-hours", "3"]  # fmt: skip


def shop(at: Installation, *more: str) -> dict[str, object]:
    """One run of `restock shop` to its end; its summary."""
    words = [sys.executable, "-m", "agents.cli", "shop", *WORLD, *more, "--json"]
    done = subprocess.run(words, env={**os.environ, **at.env}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def refused(at: Installation) -> list[bytes]:
    """Dead letters."""
    return [m.value() for m in tail.read_to_end(at.brokers, full_name(at.namespace, DEAD_LETTERS.name))]


def test_the_books_of_shop_and_planner_agree(kafka: Broker, redis_server: servers.Server, tmp_path: Path) -> None:
    """Five days in half a minute: proposals are answered and delivered, nothing is refused, every row agrees.

    Books are truth and what was stolen since the last count; truth is in the file, a line a row and day.
    """
    at = Installation(kafka.bootstrap, redis_server.url, tmp_path, clock="event", shelves=2, source_partitions=2)
    stock, truth = tmp_path / "stock.csv", tmp_path / "truth.parquet"
    try:
        at.start()
        tale = shop(at, "--speed", "17280x", "--days", "5", "--stock", str(stock), "--truth", str(truth))
        at.await_drained()
        held = {}
        for shelf in range(at.settings.shelves):
            its = keeping.load(at.planner_config(shelf), at.dump(shelf), 0)
            held |= {name: (its.hot[row]["on_hand"], its.hot[row]["allocated"]) for row, name in enumerate(its.names)}
        assert refused(at) == []
    finally:
        at.stop()
    heard = tale["heard"]
    assert isinstance(heard, dict)
    assert heard["replenishment proposed"] > 20
    assert heard["replenishment part_received"] + heard["replenishment received"] > 5
    with stock.open() as file:
        listed = list(csv.DictReader(file))
    books = {(row["sku"], row["location"]): (1000 * int(row["units"]), 1000 * int(row["allocated"])) for row in listed}
    assert {name: its for name, its in held.items() if books[name] != its} == {}
    assert len(held) > 100
    assert sum(int(row["units"]) - int(row["on_hand"]) for row in listed) > 10
    told = pq.read_table(truth)
    assert sum(told["stolen_units"].to_pylist()) == tale["stolen_units"]
