"""What a worker does, as metrics: the watchers of intake, planner and transport. Nothing here decides anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from agents import metrics
from agents.clock import now_ms, steady_s
from agents.intake.translate import Translated, translate
from agents.planner.agent import alerts_open, watermark_age_s
from agents.planner.alerts import KINDS
from agents.planner.shelf import Shelf
from stream.ledger.relay import Counters, Relay
from stream.transport.app import App

LOOK_S = 1.0  # how often gauges are set: a shelf's alerts are counted one by one


def timed_translate(*args: Any) -> Translated:
    """`translate`, its time noted."""
    begun = steady_s()
    done = translate(*args)
    metrics.TRANSLATE_SECONDS.observe(steady_s() - begun)
    return done


def intake_polled(done: Translated) -> None:
    """Count what a poll became."""
    for topic, count in done.counts.accepted.items():
        metrics.EVENTS.labels(topic, "accepted").inc(count)
    for topic, count in done.counts.late.items():
        metrics.LATE_EVENTS.labels(topic).inc(count)
    for (topic, reason), count in done.counts.refused.items():
        metrics.EVENTS.labels(topic, "refused").inc(count)
        metrics.DEAD_LETTERS.labels(topic, str(reason)).inc(count)


def polled(agent: str, records: int) -> None:
    """Note the size of a poll."""
    metrics.BATCH_RECORDS.labels(agent).observe(records)


class PlannerWatcher:
    """Counts for the planner's `Watcher`; gauges of a shelf once a second."""

    def __init__(self) -> None:
        self._looked_s: dict[int, float] = {}
        self._relayed: dict[int, tuple[Relay, Counters]] = {}

    def polled(self, shelf: int, rows: int, repeated: int, shelf_state: Shelf) -> None:  # noqa: ARG002 - the port's
        """A shelf folded its part of a poll."""
        metrics.ROWS.inc(rows)
        if steady_s() - self._looked_s.get(shelf, 0.0) < LOOK_S:
            return
        self._looked_s[shelf] = steady_s()
        metrics.SKU_LOCATIONS.labels(shelf).set(shelf_state.n)
        metrics.WATERMARK_AGE_SECONDS.labels(shelf).set(watermark_age_s(shelf_state, now_ms()))
        open_now = alerts_open(shelf_state)
        for kind in KINDS:
            metrics.ALERTS_OPEN.labels(shelf, kind).set(open_now.get(kind, 0))

    def took(self, fold_seconds: float, keep_seconds: float, records: int) -> None:  # noqa: ARG002 - the port's
        """A poll is kept."""
        metrics.FOLD_SECONDS.observe(fold_seconds)
        metrics.KEEP_SECONDS.observe(keep_seconds)

    def refused(self, cause: str) -> None:
        """The ledger refused a write."""
        metrics.FENCE_REFUSALS.labels(cause).inc()

    def relayed(self, shelf: int, relay: Relay) -> None:
        """How a relay stands."""
        metrics.OUTBOX_MESSAGES.labels(shelf).set(len(relay.waiting))
        was_of, was = self._relayed.get(shelf, (relay, Counters()))
        if was_of is not relay:
            was = Counters()
        now = replace(relay.counters)
        self._relayed[shelf] = relay, now
        if now.transactions > was.transactions:
            seconds = (now.publish_s - was.publish_s) / (now.transactions - was.transactions)
            metrics.PUBLISH_SECONDS.observe(seconds)  # their mean over the second


async def watch_partitions(app: App) -> None:
    """Set the gauges of partitions once a second, for as long as the worker runs."""
    shown: set[tuple[str, int]] = set()
    while True:
        await asyncio.sleep(LOOK_S)
        for desk in app.desks:
            metrics.PARTITIONS_OWNED.labels(desk.name).set(len(desk.kept))
        if app.waiting_for() != "":
            continue
        lags = await app.consumer.lags()
        for at in shown - lags.keys():  # somebody else's now
            metrics.LAG_RECORDS.remove(*at)
            metrics.LAG_SECONDS.remove(*at)
        for (topic, partition), (records, seconds) in lags.items():
            metrics.LAG_RECORDS.labels(topic, partition).set(records)
            metrics.LAG_SECONDS.labels(topic, partition).set(seconds)
        shown = set(lags)
