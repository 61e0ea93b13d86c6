"""Every number a worker shows, declared once: this list is /metrics, and docs/metrics.md is written from it.

Names carry their unit last and follow Prometheus: `restock_keep_seconds`. Count per poll or per batch, never per
event: a labelled increment costs about a microsecond. A label that names partitions is a number, so the number of
series is bounded by the partitions a worker can own.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # memory, CPU and open files of this worker


@dataclass(frozen=True)
class Declared:
    """One metric as the reference shows it."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def exposed(self) -> str:
        """The name as it is served; counters end in _total."""
        return f"restock_{self.name}" + ("_total" if self.kind == "counter" else "")


DECLARED: list[Declared] = []

# 0.5 ms to 30 s: a keep takes milliseconds, a neighbour that is away takes its whole time-out
SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
# an alert may wait for the end of a local day, so its latency reaches to hours
LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3_600.0, 86_400.0)
RECORDS = (1, 10, 50, 100, 500, 1_000, 2_000, 4_000, 8_000, 16_000)


def _declare(name: str, kind: str, meaning: str, labels: tuple[str, ...]) -> str:
    DECLARED.append(Declared(name, kind, meaning, labels))
    return f"restock_{name}"


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(_declare(name, "counter", meaning, labels), meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(_declare(name, "gauge", meaning, labels), meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    kind = _declare(name, "histogram", meaning, labels)
    return Histogram(kind, meaning, labels, buckets=buckets, registry=REGISTRY)


EVENTS = _counter(
    "events",
    "Source records by outcome: `accepted`, `refused` (in `dead-letters`) or `tick`. They add up to what was "
    "read; what is `repeated` is found later, see rows.",
    "topic",
    "outcome",
)
LATE_EVENTS = _counter(
    "late_events", "Rows older than their partition's mark: they move stock and teach nothing.", "topic"
)
DEAD_LETTERS = _counter("dead_letters", "Records sent to `dead-letters`, by topic they came from.", "topic", "reason")
ROWS = _counter(
    "rows",
    "Rows of `sku-events` by outcome: `folded` into state, or `repeated` (an intake or a producer sent them again).",
    "outcome",
)

LAG_RECORDS = _gauge("lag_records", "Records in the log behind what this worker has handled.", "topic", "partition")
LAG_SECONDS = _gauge(
    "lag_seconds", "Age of the last handled record while more are waiting; 0 at the end.", "topic", "partition"
)
PARTITIONS_OWNED = _gauge("partitions_owned", "Partitions this worker holds, by agent.", "agent")
PARTITIONS_EXPECTED = _gauge(
    "partitions_expected", "Partitions there are to be held by all workers together, by agent.", "agent"
)
WATERMARK_AGE_SECONDS = _gauge(
    "watermark_age_seconds", "How far a shelf's watermark lies behind the wall clock.", "shelf"
)
SKU_LOCATIONS = _gauge("sku_locations", "SKU-locations on a shelf.", "shelf")

BATCH_RECORDS = _histogram("batch_records", "Records in one poll, by agent.", RECORDS, "agent")
WAITED_SECONDS = _histogram(
    "waited_seconds",
    "How long the oldest record of a poll had been in the log when the agent began: source records before intake, "
    "rows before the planner.",
    SECONDS,
    "agent",
)
TRANSLATE_SECONDS = _histogram("translate_seconds", "Source records of one poll to rows.", SECONDS)
SEND_SECONDS = _histogram("send_seconds", "Rows of one poll sent to Kafka and acknowledged.", SECONDS)
FOLD_SECONDS = _histogram("fold_seconds", "Rows of one poll folded into state, all shelves.", SECONDS)
KEEP_SECONDS = _histogram("keep_seconds", "The fenced writes of one poll, one round trip to Redis.", SECONDS)
PUBLISH_SECONDS = _histogram("publish_seconds", "One transaction of a relay: sent to acknowledged.", SECONDS)

FORECAST_DAYS = _counter("forecast_days", "Days of SKU-locations that closed with a forecast, fully in stock.", "shelf")
FORECAST_UNITS = _counter(
    "forecast_units",
    "Of those days: units `expected` by the forecast of the day before, units that `came`, and the sum of what it "
    "`missed` (absolute).",
    "shelf",
    "what",
)
FORECAST_SUMS = _counter(
    "forecast_sums", "Sums over lead time plus review that were forecast and came to their end.", "shelf"
)
FORECAST_COVERED = _counter(
    "forecast_covered",
    "Of those sums: how many were `under` the quantile told at a level, and `within` it (under, or just there): "
    "coverage lies between the two, as demand is counted in whole units.",
    "shelf",
    "level",
    "side",
)
SERVICE_DAYS = _counter(
    "service_days",
    "Days of SKU-locations with demand and known stock: `all`, those that began and ended `in_stock`, and the sum of "
    "what was `promised` (the service level).",
    "shelf",
    "what",
)

PUBLISHED = _counter("published", "Outgoing messages acknowledged by Kafka.", "topic")
OUTBOX_MESSAGES = _gauge("outbox_messages", "Messages kept and not yet known to be published.", "shelf")
OUTBOX_STUCK_SECONDS = _gauge(
    "outbox_stuck_seconds", "How long the relay has made no progress while messages wait; 0 when none does.", "shelf"
)
OUTBOX_AGE_SECONDS = _gauge(
    "outbox_age_seconds",
    "How long the oldest message of the outbox has been waiting, as far as this worker saw it; 0 when none does.",
    "shelf",
)
FENCE_REFUSALS = _counter(
    "fence_refusals", "Writes the ledger refused: `fenced` (a newer owner) or `stale` (Redis rolled back).", "cause"
)

REDIS_UP = _gauge("redis_up", "1 while Redis, every primary of a cluster, answers this worker, else 0.")
REDIS_MEMORY_BYTES = _gauge("redis_memory_bytes", "Memory Redis uses; of a cluster, the primary nearest to its limit.")
REDIS_MEMORY_LIMIT_BYTES = _gauge(
    "redis_memory_limit_bytes", "Redis' `maxmemory`; 0 where it has none. Of a cluster, that of the same primary."
)
REDIS_DURABLE = _gauge(
    "redis_durable",
    "1 where Redis, every primary of a cluster, has an append-only file and last wrote to it well, else 0.",
)

SNAPSHOT_TAKEN_TIMESTAMP_SECONDS = _gauge(
    "snapshot_taken_timestamp_seconds", "When the newest snapshot was taken, Unix time; 0 where none was noted."
)

NETWORK_LEADER = _gauge("network_leader", "1 on the worker that leads the network agent, else 0.")
NETWORK_SOLVES = _counter(
    "network_solves",
    "Solves by outcome: `optimal`, `within gap`, `not proven`, `infeasible` (minimums cannot all be met; the nearest "
    "plan is proposed), `nothing to decide`, or `failed` (the last plan stands).",
    "status",
)
NETWORK_SOLVE_SECONDS = _gauge("network_solve_seconds", "How long the last solve that answered took, on this worker.")
NETWORK_GAP_RATIO = _gauge(
    "network_gap_ratio", "How far the last plan of this worker may be from the best one, as a share of the bound."
)
NETWORK_PLAN_AGE_SECONDS = _gauge(
    "network_plan_age_seconds", "Age of the standing plan, on the worker that leads; 0 where there is none."
)
NETWORK_SCHEDULE_SECONDS = _gauge(
    "network_schedule_seconds", "Time between two plans by schedule; 0 where there is none: plans on demand only."
)
TRANSFERS_OPEN = _gauge("transfers_open", "Transfers that are proposed, approved or shipped.", "shelf", "status")

REFIT_LEADER = _gauge("refit_leader", "1 on the worker that leads the slow lane, else 0.")
REFIT_RUNS = _counter(
    "refit_runs",
    "Runs of the slow lane by outcome: `fitted`, `nothing to fit`, or `failed` (its guests' last words fade).",
    "status",
)
REFIT_ROWS = _counter(
    "refit_rows", "SKU-locations the slow lane spoke of on this worker, by guest: `refit` or `trees`.", "guest"
)
REFIT_CPU_SECONDS = _counter("refit_cpu_seconds", "CPU time that runs led by this worker spent, all processes.")
REFIT_AGE_SECONDS = _gauge(
    "refit_age_seconds", "Age of the newest run that was told, on the worker that leads; 0 where there is none."
)
REFIT_SCHEDULE_SECONDS = _gauge(
    "refit_schedule_seconds", "Time between two runs by schedule; 0 where there is none: runs on demand only."
)
GUESTS_ADOPTED = _counter(
    "guests_adopted", "SKU-locations that took over a guest's word from the log.", "shelf", "guest"
)
GUESTS_REFUSED = _counter(
    "guests_refused",
    "Words of guests from the log that were not taken over, by reason: of a whole record `repeated`, `version`, "
    "`family`, `levels`; of a row `unknown_row`, `twice`, `shape`, `ahead`, `old`, `superseded`, `quantiles`.",
    "shelf",
    "reason",
)

BUILD_INFO = _gauge("build_info", "1; the label says which version this worker is.", "version")

ALERTS_OPEN = _gauge("alerts_open", "Alerts open now.", "shelf", "kind")
ALERT_LATENCY_SECONDS = _histogram(
    "alert_latency_seconds",
    "From the occurrence (event time) that caused an alert to its acknowledgement by Kafka.",
    LATENCY,
)


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
