"""`restock repartition` on real servers: killed at every step, and then everything is where it was and goes on."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import wiring
from agents.intake.translate import translate
from agents.planner.keeping import load
from agents.planner.shelf import Shelf
from agents.repartition.move import Mover, standing
from agents.snapshots.store import Store
from stream.events.kinds import Source
from stream.events.naming import split_row_key
from stream.events.partition import shelf_of
from stream.events.topics import OUTGOING, POSITIONS
from stream.ledger.redis_ledger import RedisLedger
from tests import servers
from tests.agents.planner.test_rehome import by_row, counted
from tests.connected import laws, traffic
from tests.connected.installation import Installation
from tests.connected.test_ledger_command import restock, rows
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

BEFORE, AFTER = 2, 4
LAST_WORDS = (  # of lives of the command, one after the other
    "shelf 1: ",
    "snapshot ",
    "every log of a shelf begins anew",
    "shelf 2: ",
)


class Killed(Exception):
    """The process died here."""


def shelves(at: Installation) -> list[Shelf]:
    """Every shelf as the ledger has it."""
    found = []
    for number in range(at.settings.shelves):
        dump = at.dump(number)
        found.append(load(at.planner_config(number), dump, int(dump["place"][b"offset"])))
    return found


def published(at: Installation, partitions: int) -> dict[tuple[str, str], list[str]]:
    """`ce_id`s by topic and SKU-location over all partitions; deletions are none of them."""
    out: dict[tuple[str, str], list[str]] = {}
    for topic in OUTGOING:
        for partition in range(partitions):
            for record in at.read(topic.name, partition):
                if record.value is not None:
                    headers = dict(record.headers)
                    row = (topic.name, headers["ce_subject"].decode())
                    out.setdefault(row, []).append(headers["ce_id"].decode())
    return out


async def killed_after(at: Installation, store: Path, words: str) -> None:
    """Run the move until it says this, then die."""
    ledger = RedisLedger(at.settings.redis_url, at.namespace)

    def say(line: str) -> None:
        if words in line:
            raise Killed

    try:
        move = replace(await standing(ledger, at.settings), shelves=AFTER, source_partitions=3)
        with pytest.raises(Killed):
            await Mover(at.settings, move, ledger, Store(store, at.namespace), say).run()
    finally:
        await ledger.close()


def more(at: Installation, settings: dict[str, Any]) -> Installation:
    """The same installation under the new numbers."""
    at.env |= {f"RESTOCK_{name.upper()}": str(value) for name, value in settings.items()}
    at.settings = at.settings.model_copy(update=settings)
    at.parts = (at.settings.source_partitions, at.settings.fact_partitions, at.settings.shelves)
    return at


@pytest.mark.timeout(600)  # 40 s on quiet cores
def test_twice_the_shelves_and_more_source_partitions(kafka: Broker, own_redis: servers.Server, tmp_path: Path) -> None:
    """Refused until at rest; killed after each step; then the same rows, no message twice, and traffic goes on."""
    at = Installation(kafka.bootstrap, own_redis.url, tmp_path, clock="event", shelves=BEFORE, source_partitions=2)
    store = tmp_path / "store"
    go = ("repartition", "--shelves", str(AFTER), "--source-partitions", "3", "--store", str(store), "--yes")
    try:
        worker = at.start()
        source = list(traffic.records(9, 3, 6, skus=12))
        half = len(source) // 2
        _publish(at, source[:half])
        at.await_drained()
        code, said = restock(at, *go)
        assert code == 2
        assert "workers are still running" in said
        worker.stop()
        _publish(at, source[half : half + 5])
        code, said = restock(at, *go)
        assert code == 2
        assert "not at rest" in said
        worker = at.start()
        at.await_drained()
        worker.stop()

        code, said = restock(at, "repartition", "--shelves", str(AFTER), "--json")
        assert code == 1
        before, sent = shelves(at), published(at, BEFORE)
        assert sum(row["rows"] for row in rows(said)) == sum(shelf.n for shelf in before) > 24
        for words in LAST_WORDS:
            asyncio.run(killed_after(at, store, words))
        _is_refused(at)
        code, said = restock(at, *go)
        assert code == 0, said
        code, said = restock(more(at, {"shelves": AFTER, "source_partitions": 3}), *go)
        assert code == 0
        assert "nothing to do" in said

        after = shelves(at)
        assert by_row(after) == by_row(before)
        assert counted(after) == counted(before)
        assert published(at, AFTER) == sent, "nothing is published by a move"
        code, said = restock(at, "doctor", "--json")
        assert code == 0, said
        assert [row for row in rows(restock(at, "ledger", "show", "--json")[1]) if row["gone"]] == []

        at.start()
        _publish(at, source[half + 5 :])
        at.await_drained()
        at.stop()
        _holds(at)
    finally:
        at.stop()


def _publish(at: Installation, records: list[traffic.Source]) -> None:
    """Send them; no day closes but by what they say themselves."""
    for _ in traffic.publish(at.brokers, at.namespace, records, at.parts, closing_ms=records[-1].at_ms):
        pass


def _is_refused(at: Installation) -> None:
    worker = at.start(RESTOCK_SHELVES=str(AFTER), RESTOCK_SOURCE_PARTITIONS="3")
    at.until_ended(worker, "it is refused", 60)
    assert worker.stop() == 2
    assert "is being moved to another number of partitions" in worker.tail()


def _holds(at: Installation) -> None:
    """All was read once, each message was published once, and each row's table entry is where it is now."""
    told = counted(shelves(at))
    undisturbed = translate(wiring.intake_config(at.settings), {}, laws.source_batches(at))
    sources = [source for batch in undisturbed.shelves.values() for source in batch.column("source").to_pylist()]
    assert told["accepted:orders"] + told["repeated:orders"] == sources.count(Source.ORDERS)
    for row, ids in published(at, AFTER).items():
        assert len(set(ids)) == len(ids), f"{row} has messages twice"
    for partition in range(AFTER):
        table: dict[bytes, bytes | None] = {r.key or b"": r.value for r in at.read(POSITIONS.name, partition)}
        for key, value in table.items():
            home = shelf_of(split_row_key(key.decode())[0], AFTER)
            assert (value is not None) == (home == partition), key
    on_hand = {name: row["on_hand"] for name, row in by_row(shelves(at)).items()}
    latest = {}
    for partition in range(AFTER):
        for record in at.read(POSITIONS.name, partition):
            if record.value is not None:
                data = json.loads(record.value)
                latest[data["sku"], data["location"]] = data["on_hand"]
    assert latest == on_hand
