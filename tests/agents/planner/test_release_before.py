"""The code of release 0.1.0 and ours fold the same logs in version 1: the same state, the same messages.

During a rolling upgrade workers of both share a namespace, and one may fold again what the other told.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from agents.planner.config import DAY_MS
from stream.events.kinds import Kind
from stream.events.naming import split_row_key
from stream.events.rows import SkuRecord, decode, encode, numbers
from tests.agents.planner.worlds import HOUR_MS, START_MS, World, busy, config, crowded, run

THEIRS = """
import pickle, sys
from agents.planner.config import PlannerConfig, Policy
from agents.planner.fold import fold
from agents.planner.keeping import changes, load, place
from agents.planner.shelf import Shelf
from agents.planner.wakes import sweep
from stream.events.rows import decode
shape, frames = pickle.load(sys.stdin.buffer)
config = PlannerConfig(shape=shape, policy=Policy(lead_days=2.0, unit_cost=3.0), slice_rows=4)
shelf = load(config, {}, -1)
messages = fold(shelf, [decode(frame, i) for i, frame in enumerate(frames)]).messages
while shelf.pending:
    messages += sweep(shelf, 3)
kept = changes(shelf, place(Shelf(config)), messages, 10**9).changes
pickle.dump((kept, [(m.topic, m.key, m.id, m.value, m.headers) for m in messages]), sys.stdout.buffer)
"""
NEW_KINDS = (Kind.TRANSFER_PROPOSED, Kind.TRANSFER_APPROVED, Kind.TRANSFER_CANCELLED)
DAYS = 8

Message = tuple[str, bytes, str, bytes, tuple[tuple[str, bytes], ...]]  # topic, key, id, value, headers


def slow() -> World:
    """Rows that sell one to nine a day and are proposed for as their days close, which nobody answers."""
    w, skus = World(), range(1, 10)
    for n in skus:
        w.row(Kind.STOCK_COUNTED, START_MS - HOUR_MS, sku=f"S{n}", units=8 * n, raw=b"{}")
    w.record(START_MS)
    for day in range(DAYS):
        noon_ms = START_MS + day * DAY_MS + 12 * HOUR_MS
        for n in skus:
            w.order(noon_ms, day * 10 + n, sku=f"S{n}", units=n)
        w.record(noon_ms)
        w.record(noon_ms + 12 * HOUR_MS)
    return w


def known_to_both(records: Sequence[SkuRecord]) -> list[bytes]:
    """The frames of a log without facts, and without transfers of a plan: 0.1.0 could not read those."""
    frames = []
    for record in records:
        c = numbers(record.rows)
        keep = [i for i, kind in enumerate(c["kind"].tolist()) if kind not in NEW_KINDS and kind < Kind.FACT]
        frames.append(encode(record.rows.take(pa.array(keep, pa.int64())), record.marks))
    return frames


def topic_and_sku(message: Message) -> tuple[str, str]:
    """Within which messages are in order."""
    return message[0], split_row_key(dict(message[-1])["ce_subject"].decode())[0]


WORLDS = {
    "busy": partial(busy, 1, DAYS),
    "busy as well": partial(busy, 2, DAYS),
    "crowded": partial(crowded, 3),
    "slow": slow,
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_both_releases_keep_and_say_the_same(world: Callable[[], World], old_tree: Path) -> None:
    """Byte for byte: an alert that only grows older as its day closes is told with the closing, as it was by 0.1.0."""
    frames = known_to_both(world().records)
    asked = config(version=1)
    ran = subprocess.run(
        [sys.executable, "-c", THEIRS],
        input=pickle.dumps(({int(k): v for k, v in asked.shape.items()}, frames)),
        env={**os.environ, "PYTHONPATH": str(old_tree)},
        cwd=old_tree,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    kept, said = pickle.loads(ran.stdout)
    ours = run(asked, [decode(frame, i) for i, frame in enumerate(frames)])
    told = [(m.topic, m.key, m.id, m.value, m.headers) for m in ours.messages]
    assert sorted(told, key=topic_and_sku) == sorted(said, key=topic_and_sku)
    for section in ("hot", "model", "journal", "alerts", "orders"):
        assert ours.sections.get(section, {}) == kept.get(section, {}), section
