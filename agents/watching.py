"""What a worker does, as metrics: the watchers of intake, planner and transport. Nothing here decides anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import prometheus_client
from prometheus_client import Gauge

from agents import metrics
from agents.clock import now_ms, steady_s
from agents.intake.translate import Translated, translate
from agents.planner import guests, scorecard
from agents.planner.agent import alerts_open, watermark_age_s
from agents.planner.alerts import KINDS
from agents.planner.shelf import Shelf
from agents.planner.transfers import OPEN as TRANSFER_OPEN
from models.demand.online import FAMILY
from stream.errors import RestockError
from stream.events.naming import split_row_key
from stream.events.outgoing import Outgoing
from stream.events.refusals import Reason
from stream.events.topics import SKU_EVENTS, SOURCES, STOCK_ALERTS
from stream.ledger.publisher import TOPICS, Publisher, about
from stream.ledger.redis_ledger import Health
from stream.ledger.relay import Relay
from stream.transport.app import App
from stream.transport.port import Send
from stream.transport.sender import KafkaSender

log = logging.getLogger(__name__)

OF_A_SHELF = (
    metrics.SKU_LOCATIONS,
    metrics.WATERMARK_AGE_SECONDS,
    metrics.OUTBOX_MESSAGES,
    metrics.OUTBOX_STUCK_SECONDS,
    metrics.OUTBOX_AGE_SECONDS,
)

REFIT_STATUSES = ("fitted", "nothing to fit", "failed")
NETWORK_STATUSES = ("optimal", "within gap", "not proven", "infeasible", "nothing to decide", "failed")

LOOK_S = 1.0  # how often gauges are set: a shelf's alerts are counted one by one
REFUSED_LOGGED = 10  # of a poll: a sender gone wrong must not fill the disk; the topic and the metric have them all
HEALTH_S = 5.0  # how often Redis is asked how it is: the answer takes it about 0.1 ms
SNAPSHOT_S = 60.0  # how often it is asked when the newest snapshot was taken: there is one a day
HEALTH_WITHIN_S = 4.0  # an answer that takes longer is none


def begin(version: str) -> None:
    """Show every counter at 0 from the start: one that appears at 1 has not increased, and no rule sees it."""
    metrics.BUILD_INFO.labels(version).set(1)
    metrics.REDIS_UP.set(0)
    for topic in SOURCES:
        metrics.LATE_EVENTS.labels(topic)
        for outcome in ("accepted", "refused", "tick"):
            metrics.EVENTS.labels(topic, outcome)
        for reason in Reason:
            metrics.DEAD_LETTERS.labels(topic, str(reason))
    for outcome in ("folded", "repeated"):
        metrics.ROWS.labels(outcome)
    for cause in ("fenced", "stale"):
        metrics.FENCE_REFUSALS.labels(cause)
    for status in NETWORK_STATUSES:
        metrics.NETWORK_SOLVES.labels(status)
    for status in REFIT_STATUSES:
        metrics.REFIT_RUNS.labels(status)
    for guest in FAMILY.guests:
        metrics.REFIT_ROWS.labels(guest)
    for topic in TOPICS:
        metrics.PUBLISHED.labels(topic)


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

    for letter in done.refused[:REFUSED_LOGGED]:
        topic, partition, offset = letter.key.decode().rsplit("/", 2)
        said = {"event": "record_refused", "topic": topic, "partition": int(partition), "offset": int(offset)}
        where = f"{topic} partition {partition} offset {offset}"
        log.warning("refused %s: `restock dead-letters list --topic %s` says why", where, topic, extra=said)


def polled(agent: str, records: int, oldest_ms: int) -> None:
    """Note the size of a poll as it is begun, and how long its oldest record has been in the log."""
    metrics.BATCH_RECORDS.labels(agent).observe(records)
    metrics.WAITED_SECONDS.labels(agent).observe(max(0, now_ms() - oldest_ms) / 1000)


class MeasuredSender:
    """A sender whose sends are timed until they are acknowledged."""

    def __init__(self, sender: KafkaSender) -> None:
        self._sender = sender
        self.close = sender.close

    async def send(self, records: Sequence[Send]) -> None:
        """Send, as the sender does."""
        begun = steady_s()
        await self._sender.send(records)
        metrics.SEND_SECONDS.observe(steady_s() - begun)


class Score(NamedTuple):
    """A counter of a shelf, the metric that shows it, and how many of it make one there."""

    counter: str
    metric: prometheus_client.Counter
    unit: int
    labels: tuple[str, ...] = ()


_UNITS = {"expected": scorecard.EXPECTED, "came": scorecard.CAME, "missed": scorecard.MISSED}
_SIDES = {"under": scorecard.under, "within": scorecard.within}
SCORES = (
    Score(scorecard.DAYS, metrics.FORECAST_DAYS, 1),
    Score(scorecard.SUMS, metrics.FORECAST_SUMS, 1),
    *(Score(counter, metrics.FORECAST_UNITS, 1000, (what,)) for what, counter in _UNITS.items()),
    *(
        Score(counter(level), metrics.FORECAST_COVERED, 1, (f"{level:g}", side))
        for side, counter in _SIDES.items()
        for level in scorecard.LEVELS
    ),
    Score(scorecard.HELD, metrics.SERVICE_DAYS, 1, ("all",)),
    Score(scorecard.IN_STOCK, metrics.SERVICE_DAYS, 1, ("in_stock",)),
    Score(scorecard.PROMISED, metrics.SERVICE_DAYS, 1000, ("promised",)),
    *(Score(f"guests_adopted:{guest}", metrics.GUESTS_ADOPTED, 1, (guest,)) for guest in FAMILY.guests),
    *(Score(f"guests_refused:{why}", metrics.GUESTS_REFUSED, 1, (why,)) for why in guests.REFUSED),
)


class PlannerWatcher:
    """Counts for the planner's `Watcher`; gauges of a shelf once a second, also while nothing comes."""

    def __init__(self) -> None:
        self._states: dict[int, Shelf] = {}
        self._looked_s: dict[int, float] = {}
        self._scored: dict[int, dict[str, int]] = {}  # counters of the scorecard, as last looked at
        self._progress: dict[int, tuple[object, float]] = {}  # shelf -> how far its relay was, and since when
        self._queues: dict[int, tuple[Relay, Queue]] = {}

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
        self._score(shelf, state.counters)
        moving = Counter(t.status for its in state.transfers.values() for t in its if not t.outbound)
        for status in TRANSFER_OPEN:
            metrics.TRANSFERS_OPEN.labels(shelf, status).set(moving[status])

    def _score(self, shelf: int, counters: Counter[str]) -> None:
        """What these counters grew by since the last look; nothing for what was there when the shelf came to us."""
        now = {score.counter: counters[score.counter] for score in SCORES}
        before = self._scored.get(shelf, now)
        self._scored[shelf] = now
        for counter, metric, unit, labels in SCORES:
            metric.labels(shelf, *labels).inc(max(0, now[counter] - before[counter]) / unit)

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
        metrics.OUTBOX_AGE_SECONDS.labels(shelf).set(self._queue(shelf, relay).age_s(relay, steady_s()))
        if shelf in self._states:
            self._look(shelf)

    def _queue(self, shelf: int, relay: Relay) -> Queue:
        """What we know of a relay's queue; nothing where it is a new one."""
        known = self._queues.get(shelf)
        if known is None or known[0] is not relay:
            known = self._queues[shelf] = relay, Queue()
        return known[1]


class Queue:
    """How long the oldest message of a relay has waited, by looking at it now and then."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, float]] = deque()  # messages numbered below this were there at that time

    def age_s(self, relay: Relay, now_s: float) -> float:
        """Age of the oldest message, as of the first look that saw it."""
        head = relay.waiting.head(1, 1)
        if not head:
            self._looks.clear()
            return 0.0
        oldest, end = head[0][0], head[0][0] + len(relay.waiting)
        while self._looks and self._looks[0][0] <= oldest:
            self._looks.popleft()
        if not self._looks or self._looks[-1][0] < end:  # bounded: a full relay takes no more
            self._looks.append((end, now_s))
        return now_s - self._looks[0][1]


class LeaderWatcher:
    """Whether we lead a periodic agent, and how old what stands is; `every_minutes` is its schedule."""

    def __init__(self, every_minutes: int, leader: Gauge, age_s: Gauge, schedule_s: Gauge) -> None:
        self._leader, self._age_s = leader, age_s
        schedule_s.set(every_minutes * 60)

    def led(self, leads: bool) -> None:
        """Whether we lead."""
        self._leader.set(int(leads))
        if not leads:
            self._age_s.set(0)

    def stands(self, age_s: float | None) -> None:
        """The age of the standing plan, or of the newest run."""
        self._age_s.set(age_s or 0.0)


class NetworkWatcher(LeaderWatcher):
    """Counts for the network agent."""

    def __init__(self, every_minutes: int) -> None:
        age_s, schedule_s = metrics.NETWORK_PLAN_AGE_SECONDS, metrics.NETWORK_SCHEDULE_SECONDS
        super().__init__(every_minutes, metrics.NETWORK_LEADER, age_s, schedule_s)

    def came(self, outcome: dict[str, Any]) -> None:
        """A solve came to something."""
        metrics.NETWORK_SOLVES.labels(outcome["status"]).inc()
        if "seconds" in outcome:
            metrics.NETWORK_SOLVE_SECONDS.set(outcome["seconds"])
        metrics.NETWORK_GAP_RATIO.set(outcome.get("gap") or 0.0)


class RefitWatcher(LeaderWatcher):
    """Counts for the slow lane."""

    def __init__(self, every_minutes: int) -> None:
        super().__init__(every_minutes, metrics.REFIT_LEADER, metrics.REFIT_AGE_SECONDS, metrics.REFIT_SCHEDULE_SECONDS)

    def came(self, outcome: dict[str, Any]) -> None:
        """A run came to something."""
        metrics.REFIT_RUNS.labels(outcome["status"]).inc()
        metrics.REFIT_CPU_SECONDS.inc(outcome.get("cpu_seconds", 0.0))
        for guest, rows in outcome.get("rows", {}).items():
            metrics.REFIT_ROWS.labels(guest).inc(rows)


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
        if log.isEnabledFor(logging.DEBUG):
            for message in messages:
                log.debug("published %s", message.id, extra=_said_of(message, shelf))
        for topic, count in Counter(message.topic for message in messages).items():
            metrics.PUBLISHED.labels(topic).inc(count)
        at_ms = now_ms()
        for message in messages:
            if message.topic == STOCK_ALERTS.name:
                metrics.ALERT_LATENCY_SECONDS.observe(max(0.0, (at_ms - occurred_ms(message)) / 1000))
        return ends


def _said_of(message: Outgoing, shelf: int) -> dict[str, object]:
    """What a line about a message says beside its text."""
    headers = dict(message.headers)
    sku, location = split_row_key(about(message.key, message.headers).decode())
    event = headers.get("ce_type", b"").decode()
    return {"event": event, "sku": sku, "location": location, "topic": message.topic, "partition": shelf}


def occurred_ms(message: Outgoing) -> int:
    """Event time of what caused a message, from its `ce_time`."""
    text = next(value for name, value in message.headers if name == "ce_time").decode()
    return round(datetime.fromisoformat(text).timestamp() * 1000)  # ours, so it needs no checks: those take 3 us


async def watch_redis(health: Callable[[], Awaitable[Health]]) -> None:
    """Set the gauges of Redis every few seconds, for as long as the worker runs."""
    while True:
        try:
            found = await asyncio.wait_for(health(), HEALTH_WITHIN_S)
        except (RestockError, TimeoutError):
            metrics.REDIS_UP.set(0)
        else:
            metrics.REDIS_UP.set(1)
            metrics.REDIS_MEMORY_BYTES.set(found.memory_bytes)
            metrics.REDIS_MEMORY_LIMIT_BYTES.set(found.memory_limit_bytes)
            metrics.REDIS_DURABLE.set(int(found.durable))
        await asyncio.sleep(HEALTH_S)


async def watch_snapshot(newest: Callable[[], Awaitable[int | None]]) -> None:
    """Say when the newest snapshot was taken (ms), for as long as the worker runs; what was said last stays."""
    while True:
        with contextlib.suppress(RestockError):  # `watch_redis` tells of a Redis that is away
            metrics.SNAPSHOT_TAKEN_TIMESTAMP_SECONDS.set((await newest() or 0) / 1000)
        await asyncio.sleep(SNAPSHOT_S)


async def watch_partitions(app: App) -> None:
    """Set the gauges of partitions once a second, for as long as the worker runs."""
    for agent, there in app.expected.items():  # where nobody does one of the two works, somebody must say so
        metrics.PARTITIONS_EXPECTED.labels(agent).set(there)
        metrics.PARTITIONS_OWNED.labels(agent).set(0)
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
    for status in TRANSFER_OPEN:
        metrics.TRANSFERS_OPEN.remove(partition, status)
