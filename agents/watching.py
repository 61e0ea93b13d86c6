"""What a worker does, as metrics: the watchers of intake, planner and transport. Nothing here decides anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from agents import metrics
from agents.clock import now_ms, steady_s
from agents.intake.translate import Translated, translate
from agents.planner.agent import alerts_open, watermark_age_s
from agents.planner.alerts import KINDS
from agents.planner.shelf import Shelf
from stream.events.instants import parse_ms
from stream.events.outgoing import Outgoing
from stream.events.topics import SKU_EVENTS, STOCK_ALERTS
from stream.ledger.publisher import Publisher
from stream.ledger.relay import Relay
from stream.transport.app import App

OF_A_SHELF = (
    metrics.SKU_LOCATIONS,
    metrics.WATERMARK_AGE_SECONDS,
    metrics.OUTBOX_MESSAGES,
    metrics.OUTBOX_STUCK_SECONDS,
)

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
    for topic, count in done.counts.ticks.items():
        metrics.EVENTS.labels(topic, "tick").inc(count)
    for (topic, reason), count in done.counts.refused.items():
        metrics.EVENTS.labels(topic, "refused").inc(count)
        metrics.DEAD_LETTERS.labels(topic, str(reason)).inc(count)


def polled(agent: str, records: int) -> None:
    """Note the size of a poll."""
    metrics.BATCH_RECORDS.labels(agent).observe(records)


class PlannerWatcher:
    """Counts for the planner's `Watcher`; gauges of a shelf once a second, also while nothing comes."""

    def __init__(self) -> None:
        self._states: dict[int, Shelf] = {}
        self._looked_s: dict[int, float] = {}
        self._progress: dict[int, tuple[object, float]] = {}  # shelf -> how far its relay was, and since when

    def polled(self, shelf: int, rows: int, repeated: int, shelf_state: Shelf) -> None:
        """A shelf folded its part of a poll."""
        metrics.ROWS.labels("folded").inc(rows)
        metrics.ROWS.labels("repeated").inc(repeated)
        self._states[shelf] = shelf_state
        if steady_s() - self._looked_s.get(shelf, 0.0) >= LOOK_S:
            self._look(shelf)

    def _look(self, shelf: int) -> None:
        self._looked_s[shelf] = steady_s()
        state = self._states[shelf]
        metrics.SKU_LOCATIONS.labels(shelf).set(state.n)
        metrics.WATERMARK_AGE_SECONDS.labels(shelf).set(watermark_age_s(state, now_ms()))
        open_now = alerts_open(state)
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
        """How a relay stands; about once a second at a quiet moment."""
        waiting, done = len(relay.waiting), (relay, relay.counters.published + relay.counters.skipped)
        if waiting == 0 or self._progress.get(shelf, (None, 0.0))[0] != done:
            self._progress[shelf] = done, steady_s()
        metrics.OUTBOX_MESSAGES.labels(shelf).set(waiting)
        metrics.OUTBOX_STUCK_SECONDS.labels(shelf).set(steady_s() - self._progress[shelf][1] if waiting else 0.0)
        if shelf in self._states:
            self._look(shelf)


class MeasuredPublisher:
    """A publisher whose transactions are timed and whose messages are counted."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.start, self.stop, self.close = publisher.start, publisher.stop, publisher.close

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        """Send in order, as the publisher does."""
        begun = steady_s()
        ends = await self._publisher.publish(shelf, messages)
        metrics.PUBLISH_SECONDS.observe(steady_s() - begun)
        for topic, count in Counter(message.topic for message in messages).items():
            metrics.PUBLISHED.labels(topic).inc(count)
        for message in messages:
            if message.topic == STOCK_ALERTS.name:
                metrics.ALERT_LATENCY_SECONDS.observe(max(0.0, (now_ms() - occurred_ms(message)) / 1000))
        return ends


def occurred_ms(message: Outgoing) -> int:
    """Event time of what caused a message, from its `ce_time`."""
    return parse_ms(next(value for name, value in message.headers if name == "ce_time").decode())


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
            _forget(*at)
        for (topic, partition), (records, seconds) in lags.items():
            metrics.LAG_RECORDS.labels(topic, partition).set(records)
            metrics.LAG_SECONDS.labels(topic, partition).set(seconds)
        shown = set(lags)


def _forget(topic: str, partition: int) -> None:
    """Take away the gauges of a partition we gave up: its new owner has them, and sums must not count it twice."""
    metrics.LAG_RECORDS.remove(topic, partition)
    metrics.LAG_SECONDS.remove(topic, partition)
    if topic != SKU_EVENTS.name:
        return
    for gauge in OF_A_SHELF:
        gauge.remove(partition)
    for kind in KINDS:
        metrics.ALERTS_OPEN.remove(partition, kind)
