"""The shop and the planner hold each other to account: what the planner folds is what the shop's books say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import orjson

from agents.intake.translate import IntakeConfig, Marks, translate
from agents.planner.config import PlannerConfig
from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.planner.versions import NEWEST
from agents.planner.wakes import sweep
from agents.shop.config import DAY_MS, STEP_MS, Config
from agents.shop.said import Said
from agents.shop.world import World
from stream.events import rows
from stream.events.instants import parse_ms, text_from_ms
from stream.events.kinds import Source
from stream.events.outgoing import Outgoing
from stream.transport.port import Batch

INTAKE = IntakeConfig(1, lateness_ms=1_000, clock="event")
CONFIG = Config(
    seed=21, rows=60, locations=4, customers_day=8, cart_lead_hours=6, wholesale_share=0.01, shrinkage_share=0.05,
    count_days=10, opening_days=8, promotion_share=0.1,
)  # fmt: skip


class Loop:
    """One shelf that folds what the shop says, and a shop that hears what the planner proposes."""

    def __init__(self, config: Config, planner: PlannerConfig | None = None) -> None:
        self.world = World(config)
        self.shelf = Shelf(planner or PlannerConfig())
        self.marks: dict[tuple[int, int], int | None] = {}
        self.next = {source.topic: 0 for source in Source}
        self.records = count()
        self.refused: list[Outgoing] = []
        self.proposed = 0

    def live(self, to_ms: int, steps: int = 8) -> None:
        """Two hours at a time, so that proposals are heard when they are made."""
        while self.world.now_ms < to_ms:
            self._fold(self.told(self.world.tell(self.world.now_ms + steps * STEP_MS)))

    def told(self, said: list[Said]) -> list[Said]:
        """What of all that the shop says the planner is told."""
        return said

    def _fold(self, said: list[Said]) -> None:
        batches = [self._batch(source.topic, said) for source in Source]
        out = translate(INTAKE, self._known(), batches)
        self.refused += out.refused
        self.marks = {(mark.source, mark.partition): mark.mark_ms for mark in out.marks}
        frame = rows.encode(out.shelves.get(0, rows.empty()), out.marks)
        messages = fold(self.shelf, [rows.decode(frame, next(self.records))]).messages
        while self.shelf.pending:
            messages += sweep(self.shelf, 10_000)
        for data in proposals(messages):
            self.proposed += 1
            units = max(1, round(data["quantity"]))
            self.world.replenish(data["replenishment_id"], data["sku"], data["location"], units)

    def _known(self) -> Marks:
        return self.marks

    def _batch(self, topic: str, said: list[Said]) -> Batch:
        mine = [one for one in said if one.topic == topic]
        tick = {"event_id": f"t{self.world.now_ms}", "type": "clock.tick"}
        tick["occurred_at"] = text_from_ms(self.world.now_ms - 1)
        keys: list[bytes | None] = [one.key.encode() for one in mine] + [b"clock.tick"]
        values: list[bytes | None] = [orjson.dumps(one.event) for one in mine] + [orjson.dumps(tick)]
        start, n = self.next[topic], len(values)
        self.next[topic] = start + n
        logged = [self.world.now_ms] * n
        return Batch(topic, 0, start, start + n, start + n, range(start, start + n), logged, keys, values, [()] * n)


def proposals(messages: list[Outgoing]) -> Iterator[dict[str, object]]:
    """Data of proposed replenishments."""
    for message in messages:
        if dict(message.headers)["ce_type"] == b"restock.replenishment.proposed":
            yield orjson.loads(message.value)


def test_positions_are_the_shops_books() -> None:
    """Three weeks with theft, counts, late and partial deliveries, transfers, cancellations and answered proposals.

    On hand is the books to the unit: what lies there, and what was stolen and nobody counted. So are allocated units,
    units on order and in transit. Nothing was refused.
    """
    loop = Loop(CONFIG)
    loop.live(loop.world.now_ms + 21 * DAY_MS)
    world, shelf = loop.world, loop.shelf
    assert loop.refused == []
    assert loop.proposed > 60
    rows_of = {name: row for row, name in enumerate(shelf.names)}
    assert len(rows_of) >= 0.8 * CONFIG.rows
    stolen = 0
    for row in range(CONFIG.rows):
        its = rows_of.get((world.sku_of(row), world.location_of(row)))
        if its is None:  # not launched yet
            assert world.book[row] == 0
            continue
        hot = shelf.hot[its]
        assert hot["on_hand"] == 1000 * world.book[row], (world.sku_of(row), world.location_of(row))
        assert hot["allocated"] == 1000 * world.allocated[row]
        assert hot["on_order"] == 1000 * world.on_order[row]
        assert hot["in_transit"] == 1000 * world.in_transit[row]
        stolen += int(world.book[row] - world.on_hand[row])
    assert stolen > 0
    assert np.sum([day.stolen_units.sum() for day in world.truth()]) > 100


class Misled(Loop):
    """The planner is told half of every supplier's lead time, and all of it is noted as it really is."""

    def __init__(self, config: Config, planner: PlannerConfig) -> None:
        super().__init__(config, planner)
        self.ordered_ms: dict[str, int] = {}
        self.waits: dict[str, list[float]] = {}  # by supplier

    def told(self, said: list[Said]) -> list[Said]:
        return [self._told(one) for one in said]

    def _told(self, one: Said) -> Said:
        event = one.event
        if event["type"] == "supply.ordered":
            self.ordered_ms[event["order_ref"]] = parse_ms(event["occurred_at"])
        if event["type"] == "stock.received" and event.get("reference") in self.ordered_ms:
            days = (parse_ms(event["occurred_at"]) - self.ordered_ms[event["reference"]]) / DAY_MS
            supplier = self.shelf.facts.supplier(event["sku"], event["location"])
            self.waits.setdefault(supplier, []).append(days)
        if event["type"] != "catalog.supplier":
            return one
        wrong = {"lead_days": event["lead_days"] / 2, "lead_days_sd": event["lead_days_sd"] / 2}
        return one._replace(event={**event, **wrong})


def test_a_lead_time_that_is_stated_wrong_is_put_right() -> None:
    """Stated at half, suppliers are learnt to be as slow as what they really sent, late, in parts and short, says."""
    config = Config(seed=21, rows=40, locations=2, customers_day=8, opening_days=8, new_share=0, ending_share=0)
    loop = Misled(config, PlannerConfig(version=NEWEST))
    loop.live(loop.world.now_ms + 30 * DAY_MS, steps=96)
    learnt = loop.shelf.lead_times
    seen = [learnt.learnt(pool) for pool in range(len(learnt.keys))]
    known = {its.key.supplier: its for its in seen if its.receipts >= 14}
    assert len(known) >= 3
    for supplier, its in known.items():
        waits = loop.waits[supplier]
        assert abs(its.lead_days / np.mean(waits) - 1) < 0.25, (supplier, its, np.mean(waits))
        assert its.lead_days > 1.3 * its.key.lead_days
        assert 0.5 < its.lead_days_sd / np.std(waits) < 1.6, (supplier, its, np.std(waits))
