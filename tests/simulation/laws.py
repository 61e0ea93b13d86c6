"""A seed from its world to its verdict: the storm, the undisturbed run, and what must be equal."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any
from unittest import mock

from faust.types import TP

from agents.planner import agent as planner_agent
from agents.planner.agent import QUIET_S, Planner
from agents.planner.keeping import load
from agents.planner.shelf import FIELDS, Shelf
from stream.events.topics import SKU_EVENTS
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.ledger.port import SECTIONS
from tests.agents.planner.worlds import Levels, closings
from tests.simulation import checks, clockwork
from tests.simulation.process import batch_of
from tests.simulation.simulator import Simulation
from tests.simulation.world import World, world_of


@dataclass
class Report:
    """What a seed went through."""

    seed: int
    kind: str
    records: int
    messages: int
    happened: Counter[str]
    digest: str


class Failed(AssertionError):
    """Something that must hold does not; says how to see it again."""


def check_seed(seed: int, kind: str = "", trace: bool = False) -> Report:
    """Run a seed and hold it to everything. Raises Failed."""
    logging.disable(logging.ERROR)  # being refused is what happens here all day
    world = world_of(seed, kind)
    storm = Simulation(world, random.Random(f"weather {seed}"))
    try:
        return _check(world, storm)
    except Exception as error:
        told = "\n  ".join(storm.trace) if trace else "(--trace prints the way there)"
        kind_ = f" --kind {kind}" if kind else ""
        raise Failed(
            f"seed {seed}, a {world.kind} world: {type(error).__name__}: {error}\n"
            f"  replay: python -m tests.simulation --seed {seed}{kind_}\n  {told}"
        ) from error


def _check(world: World, storm: Simulation) -> Report:
    clockwork.run(storm.play)
    with closings() as storms:
        clockwork.run(lambda: same_state(storm))
    calm = Simulation(world, None)
    with closings() as calms:
        clockwork.run(calm.play)
    checks.same_rows(checks.admitted(storm.log, world.shelves), checks.admitted(calm.log, world.shelves))
    ours, theirs = clockwork.run(lambda: shelves_of(storm)), clockwork.run(lambda: shelves_of(calm))
    checks.counts_add_up(world, storm.log, [shelf.counters for shelf in ours])
    if world.kind != "wild":
        for a, b in zip(ours, theirs, strict=True):
            same_end(world.kind, a, b)
        same_levels(storms, calms)
    messages = sum(map(len, storm.published().values()))
    return Report(world.seed, world.kind, sum(len(a.records) for a in world.acts), messages, storm.happened,
                  storm.digest.hexdigest())  # fmt: skip


async def shelves_of(sim: Simulation) -> list[Shelf]:
    """The shelves as the ledger holds them."""
    found = []
    for shelf in range(sim.world.shelves):
        peek = await sim.ledger.peek(shelf, dict.fromkeys(SECTIONS))
        found.append(load(sim.world.of_shelf(shelf), peek.sections, peek.place.offset))
    return found


# -- law 1 ------------------------------------------------------------------------------------------------------------


async def same_state(storm: Simulation) -> None:
    """The log, folded in one go by one planner whom nothing disturbs: same bytes, same messages."""
    with mock.patch.object(planner_agent, "time", clockwork.VirtualTime(asyncio.get_running_loop().time)):
        await _same_state(storm)


async def _same_state(storm: Simulation) -> None:
    ledger, topics, shelves = MemoryLedger(), MemoryTopics(), range(storm.world.shelves)
    planner = Planner(ledger, MemoryPublisher(topics), storm.world.of_shelf)
    await planner.positions(list(shelves))
    await planner.poll([batch_of(storm, TP(SKU_EVENTS.name, shelf), 0, None) for shelf in shelves])
    for _ in range(2):  # what is pending at once, readable hashes at a quiet moment
        while await planner.idle():
            pass
        await asyncio.sleep(2 * QUIET_S)
    for shelf in shelves:
        await planner.owned[shelf].relay.drained()
    await planner.release(list(shelves))
    for shelf in shelves:
        checks.same_dump(shelf, await storm.ledger.dump(shelf), await ledger.dump(shelf))
    checks.same_messages(storm.published(), checks.published(topics, storm.world.shelves))


# -- law 3 ------------------------------------------------------------------------------------------------------------

# Offsets of sku-events depend on how intake cut its polls.
WHERE = {"as_of_offset", "sent_offset", "zone"}
# With rows free to interleave, what a row went through on its way may differ; where it stands may not.
ON_THE_WAY = WHERE | {"proposed", "alerting", "price", "timer_ms", "sent_ms", "converted", "abandoned", "count_off_day"}


def same_end(kind: str, ours: Shelf, calm: Shelf) -> None:
    """Law 3: positions, closed-day demand, forecasts; open alerts and replenishments as sets; counts."""
    a, b = (
        {n: story(ours, i, kind) for i, n in enumerate(ours.names)},
        {n: story(calm, i, kind) for i, n in enumerate(calm.names)},
    )
    assert a.keys() == b.keys(), f"law 3: rows {a.keys() ^ b.keys()} are in one run only"
    for name in a:
        different = {k: apart(a[name][k], b[name][k]) for k in a[name] if a[name][k] != b[name][k]}
        assert not different, f"law 3: {name}: disturbed and undisturbed differ: {different}"
    assert settled(kind, ours.counters) == settled(kind, calm.counters), (
        f"law 3: counts: {settled(kind, ours.counters) ^ settled(kind, calm.counters)}"
    )
    assert ours.facts.facts == calm.facts.facts, "law 3: facts"
    assert ours.watermark_ms == calm.watermark_ms, "law 3: watermark"


def same_levels(ours: Levels, calm: Levels) -> None:
    """Every day a row closed in both runs ended at the same level: leading days before a row's first event may lack."""
    different = {at: (ours[at], calm[at]) for at in ours.keys() & calm.keys() if ours[at] != calm[at]}
    assert not different, f"law 3: levels at the end of days, disturbed and undisturbed: {different}"


def apart(ours: Any, calm: Any) -> Any:
    """Two values that differ; of two lists the places where they do."""
    if isinstance(ours, list) and isinstance(calm, list) and len(ours) == len(calm):
        return {i: (x, y) for i, (x, y) in enumerate(zip(ours, calm, strict=True)) if x != y}
    return ours, calm


def story(shelf: Shelf, row: int, kind: str) -> dict[str, Any]:
    """What of a row must be the same in every run of a world of this kind."""
    hot = dict(zip(FIELDS, shelf.hot[row].tolist(), strict=True))
    out: dict[str, Any] = {k: repr(v) for k, v in hot.items() if k not in (WHERE if kind == "steps" else ON_THE_WAY)}
    out["time zone"] = shelf.zones[hot["zone"]]
    out["closed days"] = shelf.history[row].tolist()
    out["forecast"] = [repr(x) for x in shelf.model[row].tolist()]
    out["ahead"] = {day: (a.units, a.after, a.flow) for day, a in shelf.ahead.get(row, {}).items()}
    orders, alerts = shelf.orders.get(row, []), shelf.alerts.get(row, {})
    if kind == "steps":
        out["alerts"] = {(k, a.severity, a.raised_ms) for k, a in alerts.items()}
        out["replenishments"] = [
            (o.status, o.quantity, o.remaining, o.proposed_ms, o.ref, o.expected_ms, o.expires_ms) for o in orders
        ]
    else:
        out["alerts"] = set(alerts)
        out["replenishments"] = {"proposed" for o in orders if o.status == "proposed"}
        out["on their way"] = sorted((o.ref, o.status, o.quantity, o.remaining, o.expected_ms) for o in orders if o.ref)
    return out


def settled(kind: str, counters: Counter[str]) -> set[tuple[str, int]]:
    """Counts that must be the same: of what was read; where rows step together, of all that was decided too."""
    often = ("accepted:", "repeated:", "late", "unmatched:", "unlawful:", "cancelled_day_unknown", "superseded:")
    return {
        (k, v) for k, v in counters.items() if k != "repeated:coordinates" and (kind == "steps" or k.startswith(often))
    }
