"""A shelf that is loaded is the shelf that was kept: what follows for a row from facts, names and others, too."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from agents.planner import records
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.planner.versions import NEWEST
from stream.events.kinds import Kind
from tests.agents.planner.worlds import START_MS, Store, busy, config

ITEM = {"type": "catalog.item", "event_id": "f", "occurred_at": "2026-01-01T00:00:00Z"}
SAID = (
    {**ITEM, "sku": "S1", "like_sku": "S2", "category": "fruit"},
    {**ITEM, "sku": "S2", "successor": "S4", "supplier": "acme", "lead_days": 3},
    {**ITEM, "sku": "S3", "launch_on": "2026-03-01", "category": "bread"},
    {"type": "catalog.supplier", "supplier": "acme", "review_days": 2, "lead_days": 5},
    {"type": "catalog.policy", "sku": "S0", "location": "M", "lead_days": 9, "status": "new", "service_level": 0.9},
)


@pytest.mark.parametrize("seed", range(3))
def test_a_loaded_shelf_is_the_one_that_was_kept(seed: int) -> None:
    """All arrays, and who may begin as another is, are those of the shelf that lived through the log."""
    world = busy(seed)
    for fact in SAID:
        world.row(Kind.FACT, START_MS, sku="", location="", fact=orjson.dumps(fact).decode())
    world.record(None)
    store = Store(config(version=NEWEST))
    lived = store.open()
    store.keep(lived, fold(lived, world.records).messages)
    loaded = store.open()
    assert _seen(loaded) == _seen(lived), f"seed {seed}"
    assert loaded.young, "nobody may begin as another: that proves nothing"
    assert len({str(record) for record in loaded.policy[: loaded.n]}) > 3, "all have one policy: that proves nothing"


def _seen(shelf: Shelf) -> dict[str, object]:
    n = shelf.n
    arrays = ("hot", "model", "history", "policy", "phase", "sku_number", "inbound")
    seen: dict[str, object] = {name: getattr(shelf, name)[:n].tobytes() for name in arrays}
    seen |= {"names": shelf.names, "index": shelf.index, "groups": shelf.groups, "keys": shelf.keys}
    seen["zones"] = [shelf.zones[zone] for zone in shelf.fact_zone[:n].tolist()]
    seen["categories"] = [shelf.facts.categories[number] for number in shelf.category[:n].tolist()]
    seen["places"] = [shelf.places[number] for number in shelf.place[:n].tolist()]
    seen["pools"] = [shelf.lead_times.keys[pool] for pool in shelf.lead_pool[:n].tolist()]
    seen["due"] = shelf.dues.at[:n].tolist()
    seen["guards"] = [shelf.guard[name][:n].tolist() for name in ("lo", "hi")]
    return {**seen, "young": shelf.young, "launches": shelf.launches}


def test_whole_records_are_what_numpy_copies_field_by_field() -> None:
    """Gathered, put and joined records equal numpy's own, whatever their fields."""
    rng = np.random.default_rng(1)
    table = np.zeros(50, [("a", "i2"), ("b", "f8", (3,)), ("c", [("d", "u1"), ("e", "f4")])])
    table["a"], table["b"] = rng.integers(0, 99, 50), rng.random((50, 3))
    rows = rng.integers(0, 50, 20)
    assert records.gathered(table, rows).tobytes() == table[rows].tobytes()
    other, expected = np.zeros_like(table), np.zeros_like(table)
    records.put(other, rows, records.gathered(table, rows))
    expected[rows] = table[rows]
    assert other.tobytes() == expected.tobytes()
    backwards = np.arange(len(table) + len(other))[::-1]
    assert records.in_order([table, other], backwards).tobytes() == np.concatenate([table, other])[backwards].tobytes()
