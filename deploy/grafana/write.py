"""Write the Grafana dashboards from the tables below: a panel is a line, its place follows from its order.

python deploy/grafana/write.py             # write dashboards/*.json
python deploy/grafana/write.py --check     # exit 1 where one is stale
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "restock-prometheus"}
WIDE, TALL, ACROSS = 8, 8, 24  # of a panel, in Grafana's grid of 24 columns
STAT_WIDE, STAT_TALL = 4, 4


class Panel(NamedTuple):
    """One graph: its queries by legend, and what a reader should know to judge it."""

    title: str
    about: str
    unit: str
    queries: dict[str, str]  # legend -> PromQL
    kind: str = "timeseries"
    red_from: float | None = None  # a stat turns red here


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """Median and 99 % of a histogram, in all workers together."""
    group, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    rate = f"sum by ({group}) (rate({metric}_bucket[$__rate_interval]))"
    return {f"p50{legend}": f"histogram_quantile(0.5, {rate})", f"p99{legend}": f"histogram_quantile(0.99, {rate})"}


def per_second(metric: str, by: str, where: str = "") -> dict[str, str]:
    """Rate of a counter by one label."""
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"}


NOW = [
    Panel("Workers", "Workers that answer.", "none", {"": 'sum(up{job="restock"})'}, "stat"),
    Panel("Lag", "Oldest unhandled record, all topics.", "s", {"": "max(restock_lag_seconds)"}, "stat", 60),
    Panel(
        "Partitions without a worker",
        "What nobody holds waits.",
        "none",
        {"": "sum(max by (agent) (restock_partitions_expected)) - sum(restock_partitions_owned)"},
        "stat",
        1,
    ),
    Panel(
        "Oldest unpublished message",
        "Kept in the ledger, not yet known to be in Kafka.",
        "s",
        {"": "max(restock_outbox_age_seconds)"},
        "stat",
        60,
    ),
    Panel(
        "Redis memory",
        "Share of maxmemory; nothing where there is none.",
        "percentunit",
        {"": "max(restock_redis_memory_bytes) / max(restock_redis_memory_limit_bytes > 0)"},
        "stat",
        0.8,
    ),
    Panel(
        "Newest snapshot",
        "How old it is; half a century where none was taken.",
        "s",
        {"": "time() - max(restock_snapshot_taken_timestamp_seconds)"},
        "stat",
        93_600,
    ),
    Panel("Alerts open", "Stock alerts open now.", "none", {"": "sum(restock_alerts_open)"}, "stat"),
]

FLOW = [
    Panel(
        "Events a second",
        "Source records accepted, by topic.",
        "cps",
        per_second("restock_events_total", "topic", '{outcome="accepted"}'),
    ),
    Panel(
        "Rows a second",
        "Rows folded; repeated ones were sent again and changed nothing.",
        "cps",
        per_second("restock_rows_total", "outcome"),
    ),
    Panel(
        "Messages published a second",
        "Acknowledged by Kafka, by topic.",
        "cps",
        per_second("restock_published_total", "topic"),
    ),
    Panel(
        "Lag in seconds",
        "Age of the last handled record while more are waiting.",
        "s",
        {"{{topic}}": "max by (topic) (restock_lag_seconds)"},
    ),
    Panel(
        "Lag in records",
        "One topic or one partition that stands out: one key carries most of the traffic.",
        "none",
        {"{{topic}} {{partition}}": "max by (topic, partition) (restock_lag_records)"},
    ),
    Panel(
        "Partitions held",
        "Dips at a take-over; must come back to the dashed line.",
        "none",
        {
            "{{agent}}": "sum by (agent) (restock_partitions_owned)",
            "{{agent}} expected": "max by (agent) (restock_partitions_expected)",
        },
    ),
    Panel(
        "Refused records",
        "Sent to dead-letters, by reason.",
        "none",
        {"{{topic}} {{reason}}": "sum by (topic, reason) (increase(restock_dead_letters_total[$__rate_interval]))"},
    ),
    Panel(
        "Late events a second",
        "They move stock and teach nothing.",
        "cps",
        per_second("restock_late_events_total", "topic"),
    ),
    Panel(
        "Watermark age",
        "Above the allowed lateness (two minutes) a source partition is behind: days close late.",
        "s",
        {"shelf {{shelf}}": "max by (shelf) (restock_watermark_age_seconds)"},
    ),
]

TIMES = [
    Panel(
        "Alert latency",
        "From an alert's cause to Kafka's acknowledgement. Alerts of a day's close wait for the lateness.",
        "s",
        quantiles("restock_alert_latency_seconds"),
    ),
    Panel(
        "Waited in the log",
        "How long the oldest record of a poll had been there: source records before intake, rows before the planner.",
        "s",
        quantiles("restock_waited_seconds", "agent"),
    ),
    Panel("Translate", "Source records of a poll to rows.", "s", quantiles("restock_translate_seconds")),
    Panel("Send", "Rows of a poll to Kafka and acknowledged.", "s", quantiles("restock_send_seconds")),
    Panel("Fold", "Rows of a poll into state.", "s", quantiles("restock_fold_seconds")),
    Panel(
        "Keep",
        "One round trip to Redis; its append-only file's disk shows here.",
        "s",
        quantiles("restock_keep_seconds"),
    ),
    Panel("Publish", "One Kafka transaction.", "s", quantiles("restock_publish_seconds")),
    Panel(
        "Records in a poll",
        "Few: idle. Near the maximum: catching up.",
        "none",
        quantiles("restock_batch_records", "agent"),
    ),
]

LEDGER = [
    Panel(
        "Outbox",
        "Messages kept and not yet known to be published.",
        "none",
        {"shelf {{shelf}}": "max by (shelf) (restock_outbox_messages)"},
    ),
    Panel(
        "Outbox age and standstill",
        "Age of the oldest message; time without progress.",
        "s",
        {
            "age {{shelf}}": "max by (shelf) (restock_outbox_age_seconds)",
            "stuck {{shelf}}": "max by (shelf) (restock_outbox_stuck_seconds)",
        },
    ),
    Panel(
        "Fence refusals",
        "A few at a rebalance are how it should be; many mean two owners.",
        "none",
        {"{{cause}}": "sum by (cause) (increase(restock_fence_refusals_total[$__rate_interval]))"},
    ),
    Panel(
        "Redis memory",
        "Its policy must be noeviction: when full, workers wait.",
        "bytes",
        {"used": "max(restock_redis_memory_bytes)", "limit": "max(restock_redis_memory_limit_bytes)"},
    ),
    Panel(
        "Redis answers, and keeps its file",
        "1: well.",
        "none",
        {"reached": "min(restock_redis_up)", "durable": "min(restock_redis_durable)"},
    ),
    Panel(
        "Worker memory",
        "Flat, or grows with the number of SKU-locations.",
        "bytes",
        {"{{instance}}": 'process_resident_memory_bytes{job="restock"}'},
    ),
    Panel(
        "Worker CPU",
        "1: a worker is at its limit (one core).",
        "none",
        {"{{instance}}": 'rate(process_cpu_seconds_total{job="restock"}[$__rate_interval])'},
    ),
    Panel(
        "Version",
        "Two lines while an upgrade rolls.",
        "none",
        {"{{version}}": "count by (version) (restock_build_info)"},
    ),
]

STOCK = [
    Panel(
        "Alerts open by kind",
        "Raised and not yet resolved.",
        "none",
        {"{{kind}}": "sum by (kind) (restock_alerts_open)"},
    ),
    Panel(
        "SKU-locations",
        "Rows of all shelves.",
        "none",
        {"shelf {{shelf}}": "max by (shelf) (restock_sku_locations)"},
    ),
    Panel(
        "Replenishments and alerts a minute",
        "Messages about replenishments and about alerts, raised, updated and resolved.",
        "cpm",
        {"{{topic}}": '60 * sum by (topic) (rate(restock_published_total{topic!="positions"}[$__rate_interval]))'},
    ),
]

FORECASTS = [
    Panel(
        "Coverage of the 95 % quantile",
        "Share of sums over lead time plus review that came under it, and within it; 95 % should lie between the two.",
        "percentunit",
        {
            side: f'sum(increase(restock_forecast_covered_total{{level="0.95", side="{side}"}}[7d]))'
            " / sum(increase(restock_forecast_sums_total[7d]))"
            for side in ("under", "within")
        },
    ),
    Panel(
        "Error and bias",
        "Absolute error as a share of demand, and expected over what came, over a week.",
        "percentunit",
        {
            "error": 'sum(increase(restock_forecast_units_total{what="missed"}[7d]))'
            ' / sum(increase(restock_forecast_units_total{what="came"}[7d]))',
            "expected / came": 'sum(increase(restock_forecast_units_total{what="expected"}[7d]))'
            ' / sum(increase(restock_forecast_units_total{what="came"}[7d]))',
        },
    ),
    Panel(
        "Service, realised and promised",
        "Days of SKU-locations with demand that began and ended in stock, and service levels promised, over a week.",
        "percentunit",
        {
            what: f'sum(increase(restock_service_days_total{{what="{what}"}}[7d]))'
            ' / sum(increase(restock_service_days_total{what="all"}[7d]))'
            for what in ("in_stock", "promised")
        },
    ),
]

NETWORK = [
    Panel(
        "Transfers open",
        "Proposed, approved, and shipped but not received.",
        "none",
        {"{{status}}": "sum by (status) (restock_transfers_open)"},
    ),
    Panel(
        "Transfer plans",
        "Solves of the last day by outcome; failed ones leave the last plan standing.",
        "none",
        {"{{status}}": "sum by (status) (increase(restock_network_solves_total[1d]))"},
    ),
    Panel(
        "Plan age and schedule",
        "The age comes down with each plan; it should not pass the schedule by much.",
        "s",
        {"age": "max(restock_network_plan_age_seconds)", "schedule": "max(restock_network_schedule_seconds)"},
    ),
    Panel(
        "Solve time",
        "Of the last solve, in a process of its own.",
        "s",
        {"{{instance}}": "max by (instance) (restock_network_solve_seconds)"},
    ),
    Panel(
        "Gap of the plan",
        "How far the last plan may be from the best one.",
        "percentunit",
        {"{{instance}}": "max by (instance) (restock_network_gap_ratio)"},
    ),
    Panel(
        "Leader of the network agent",
        "Exactly one worker, but for the seconds of a change.",
        "none",
        {"{{instance}}": "max by (instance) (restock_network_leader)"},
    ),
]

REFITS = [
    Panel(
        "Rows refitted",
        "SKU-locations the slow lane spoke of in the last day, by guest.",
        "none",
        {"{{guest}}": "sum by (guest) (increase(restock_refit_rows_total[1d]))"},
    ),
    Panel(
        "Words taken over and refused",
        "Of the last day, as shelves folded them; repeats are a new leader telling again.",
        "none",
        {
            "taken over by {{guest}}": "sum by (guest) (increase(restock_guests_adopted_total[1d]))",
            "refused, {{reason}}": "sum by (reason) (increase(restock_guests_refused_total[1d]))",
        },
    ),
    Panel(
        "Refit age and schedule",
        "The age comes down with each run; it should not pass the schedule by much.",
        "s",
        {"age": "max(restock_refit_age_seconds)", "schedule": "max(restock_refit_schedule_seconds)"},
    ),
    Panel(
        "CPU time of refits",
        "Of the last day, all processes.",
        "s",
        {"spent": "sum(increase(restock_refit_cpu_seconds_total[1d]))"},
    ),
    Panel(
        "Refits by outcome",
        "Runs of the last day; failed ones leave the last words to fade.",
        "none",
        {"{{status}}": "sum by (status) (increase(restock_refit_runs_total[1d]))"},
    ),
    Panel(
        "Leader of the slow lane",
        "Exactly one worker, but for the seconds of a change.",
        "none",
        {"{{instance}}": "max by (instance) (restock_refit_leader)"},
    ),
]

DASHBOARDS: dict[str, tuple[str, dict[str, list[Panel]]]] = {
    "restock": (
        "Restock",
        {
            "Now": NOW,
            "Flow": FLOW,
            "How long it takes": TIMES,
            "Ledger and worker": LEDGER,
            "Stock": STOCK,
            "Forecasts": FORECASTS,
            "Transfers": NETWORK,
            "Slow lane": REFITS,
        },
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """A dashboard as Grafana provisions it."""
    title, rows = DASHBOARDS[uid]
    return {
        "uid": uid,
        "title": title,
        "tags": ["restock"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": _placed(rows),
    }


def _placed(rows: dict[str, list[Panel]]) -> list[dict[str, Any]]:
    """Every panel with its id and place: rows from the top, each filled from the left."""
    placed: list[dict[str, Any]] = []
    y = 0
    for title, panels in rows.items():
        placed.append(
            {"id": len(placed) + 1, "type": "row", "title": title, "gridPos": _at(0, y, ACROSS, 1), "panels": []}
        )
        x, y, tall = 0, y + 1, 0
        for panel in panels:
            wide, tall = (STAT_WIDE, STAT_TALL) if panel.kind == "stat" else (WIDE, TALL)
            if x + wide > ACROSS:
                x, y = 0, y + tall
            placed.append(_panel(panel, len(placed) + 1, _at(x, y, wide, tall)))
            x += wide
        y += tall
    return placed


def _at(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(panel.queries.items())
        ],
    }


def documents() -> dict[Path, str]:
    """Every dashboard file and its text."""
    return {
        HERE / "dashboards" / f"{uid}.json": json.dumps(dashboard(uid), indent=2, ensure_ascii=False) + "\n"
        for uid in DASHBOARDS
    }


def stale() -> list[str]:
    """Names of the files that are not what the tables say."""
    return [path.name for path, text in documents().items() if not path.is_file() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write or check; the exit code."""
    if arguments == ["--check"]:
        for name in stale():
            print(f"{name} is stale: run python deploy/grafana/write.py", file=sys.stderr)
        return 1 if stale() else 0
    for path, text in documents().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
