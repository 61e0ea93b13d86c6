"""`restock shop` on a real Kafka with a real worker: what the planner holds is what the shop's books say."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.commands import tail
from agents.planner import keeping
from agents.planner.shelf import Shelf
from agents.reconcile.compare import held_as_of
from agents.shop.places import places
from stream.events.instants import parse_day
from stream.events.topics import DEAD_LETTERS, full_name
from tests import servers
from tests.connected.installation import Installation
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

Day = dict[str, Any]  # a line of the truth

# what moves the books, and which way: `stolen` is not among them
FLOWS = {"received": 1, "returned": 1, "moved_in": 1, "adjusted": 1, "corrected": 1,
         "shipped": -1, "written_off": -1, "moved_out": -1}  # fmt: skip

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
        worker = at.start()
        at.until_holding(worker)
        tale = shop(at, "--speed", "17280x", "--days", "5", "--stock", str(stock), "--truth", str(truth))
        at.await_drained()
        shelves = [keeping.load(at.planner_config(shelf), at.dump(shelf), 0) for shelf in range(at.settings.shelves)]
        assert refused(at) == []
    finally:
        at.stop()
    heard = tale["heard"]
    assert isinstance(heard, dict)
    assert heard["replenishment proposed"] > 20
    assert heard.get("replenishment part_received", 0) + heard.get("replenishment received", 0) > 5
    held = {
        name: (its.hot[row]["on_hand"], its.hot[row]["allocated"])
        for its in shelves
        for row, name in enumerate(its.names)
    }
    with stock.open() as file:
        listed = list(csv.DictReader(file))
    books = {(row["sku"], row["location"]): (1000 * int(row["units"]), 1000 * int(row["allocated"])) for row in listed}
    assert {name: its for name, its in held.items() if books[name] != its} == {}
    assert len(held) > 100
    assert sum(int(row["units"]) - int(row["on_hand"]) for row in listed) > 10
    told = pq.read_table(truth)
    assert sum(told["stolen_units"].to_pylist()) == tale["stolen_units"]
    accounts_balance(truth_by_row(told.to_pylist()), shelves)


def truth_by_row(lines: list[Day]) -> dict[tuple[str, str], list[Day]]:
    """The truth's days of each SKU-location, oldest first."""
    found: dict[tuple[str, str], list[Day]] = {}
    for line in sorted(lines, key=lambda line: str(line["day"])):
        found.setdefault((line["sku"], line["location"]), []).append(line)
    return found


def accounts_balance(truth: dict[tuple[str, str], list[Day]], shelves: list[Shelf]) -> None:
    """From the first to the last whole day of every row, Restock's positions moved as the truth says they had to.

    By what left, came and was counted, never by what was stolen. What it holds beyond what lies there (phantom stock)
    grew by what was stolen and shrank by what counts found.
    """
    held: dict[tuple[str, str], dict[tuple[str, str], int]] = {}  # by location and day, at its end
    for place in places(4):
        for day in {str(line["day"]) for days in truth.values() for line in days if line["location"] == place.name}:
            at_ms = place.midnight_ms(parse_day(day) + 1) - 1
            as_of = [held_as_of(shelf, at_ms) for shelf in shelves]
            held[place.name, day] = {name: its.milli for one in as_of for name, its in one.items()}
    stolen = found = sold = 0
    for name, (first, *days) in truth.items():
        began, ended = (held[name[1], str(day["day"])].get(name, 0) / 1000 for day in (first, days[-1]))
        moved = sum(sign * day[f"{flow}_units"] for day in days for flow, sign in FLOWS.items())
        assert ended - began == moved, name
        phantom = [began - first["on_hand_units"], ended - days[-1]["on_hand_units"]]
        assert phantom[1] - phantom[0] == sum(day["stolen_units"] + day["corrected_units"] for day in days), name
        assert phantom[1] >= 0
        stolen += sum(day["stolen_units"] for day in days)
        found -= sum(day["corrected_units"] for day in days)
        sold += sum(day["sold_units"] for day in days)
    assert min(stolen, found, sold) > 20
