"""A worker's own figures, hop by hop: its histograms of one stretch of time as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# From an order's acknowledgement to its alert, in this order. Waits are of a poll's oldest record.
HOPS = (
    ("order to intake", "restock_waited_seconds", "intake"),
    ("translate", "restock_translate_seconds", ""),
    ("send", "restock_send_seconds", ""),
    ("intake to planner", "restock_waited_seconds", "planner"),
    ("fold", "restock_fold_seconds", ""),
    ("keep", "restock_keep_seconds", ""),
    ("publish", "restock_publish_seconds", ""),
)
RECORDS = (("records a poll, intake", "restock_batch_records", "intake"),)
RECORDS += (("records a poll, planner", "restock_batch_records", "planner"),)


@dataclass
class Histogram:
    """Cumulative counts by upper bound, and the sum."""

    total: float = 0.0
    below: dict[float, float] = field(default_factory=dict)

    @property
    def count(self) -> float:
        """Observations."""
        return self.below.get(float("inf"), 0.0)

    def quantile(self, share: float) -> float:
        """By linear interpolation within a bucket, as Prometheus does."""
        wanted, low, seen = share * self.count, 0.0, 0.0
        for bound, count in sorted(self.below.items()):
            if count >= wanted:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (wanted - seen) / max(count - seen, 1e-9)
            low, seen = bound, count
        return low

    def __add__(self, other: Histogram) -> Histogram:
        bounds = self.below.keys() | other.below.keys()
        below = {bound: self.below.get(bound, 0.0) + other.below.get(bound, 0.0) for bound in bounds}
        return Histogram(self.total + other.total, below)

    def __sub__(self, before: Histogram) -> Histogram:
        below = {bound: count - before.below.get(bound, 0.0) for bound, count in self.below.items()}
        return Histogram(self.total - before.total, below)


@dataclass
class Stages:
    """All histograms of a worker by (name, agent), and what it has published by topic."""

    of: dict[tuple[str, str], Histogram]
    published: dict[str, int]

    def __add__(self, other: Stages) -> Stages:
        of = {key: self.of.get(key, Histogram()) + other.of.get(key, Histogram()) for key in self.of | other.of}
        names = self.published | other.published
        return Stages(of, {name: self.published.get(name, 0) + other.published.get(name, 0) for name in names})

    def __sub__(self, before: Stages) -> Stages:
        of = {key: its - before.of.get(key, Histogram()) for key, its in self.of.items()}
        return Stages(of, {name: count - before.published.get(name, 0) for name, count in self.published.items()})


def samples(url: str) -> list[Sample]:
    """What a worker's metrics page says."""
    with urlopen(url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [sample for family in families for sample in family.samples]


def scrape(url: str) -> Stages:
    """A worker's figures since it started."""
    of: dict[tuple[str, str], Histogram] = {}
    published: dict[str, int] = {}
    for sample in samples(url):
        key = sample.name.removesuffix("_bucket").removesuffix("_sum"), sample.labels.get("agent", "")
        if sample.name.endswith("_bucket"):
            of.setdefault(key, Histogram()).below[float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_sum"):
            of.setdefault(key, Histogram()).total = sample.value
        elif sample.name == "restock_published_total":
            published[sample.labels["topic"]] = int(sample.value)
    return Stages(of, published)


def table(stages: Stages, elapsed_s: float) -> str:
    """One line a hop: how often, mean, p50, p99, and its share of the elapsed time."""
    lines = [f"{'hop':24} {'times':>8} {'mean ms':>9} {'p50 ms':>9} {'p99 ms':>9} {'of time':>8}"]
    for title, name, agent in HOPS:
        its = stages.of.get((name, agent), Histogram())
        if its.count:
            figures = [1000 * its.total / its.count, 1000 * its.quantile(0.5), 1000 * its.quantile(0.99)]
            share = "" if "waited" in name else f"{its.total / elapsed_s:8.0%}"
            lines.append(f"{title:24} {its.count:8,.0f} " + " ".join(f"{f:9.1f}" for f in figures) + f" {share:>8}")
    for title, name, agent in RECORDS:
        its = stages.of.get((name, agent), Histogram())
        if its.count:
            mean = its.total / its.count
            lines.append(
                f"{title:24} {its.count:8,.0f} {mean:9,.0f} {its.quantile(0.5):9,.0f} {its.quantile(0.99):9,.0f}"
            )
    return "\n".join(lines)
