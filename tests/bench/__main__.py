"""Restock beside its peers, in one run: tables of ratios, each figure with its spread.

python -m tests.bench                       # throughput, latency, then the network's solver (make bench)
python -m tests.bench throughput --runs 1 --orders 200000 --only kstreams-eos,faust
python -m tests.bench latency --rate 1000 --seconds 30
python -m tests.bench network               # the solver beside its peers, then a year with it and without

One Apache Kafka and one Redis serve all, one contender at a time, on this machine. What the job is and how fair each
peer is: tests/bench/peers/README.md. Figures are medians of the runs, with the least and the most behind them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests import kafka, servers
from tests.bench.contenders import PEERS, NotHere, Peer
from tests.bench.end_to_end import say
from tests.bench.machine import machine
from tests.bench.race import Field, Run, quantile

US = "restock"
Figures = dict[str, list[Run]]


def main() -> int:
    """Run the parts asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("throughput", "latency", "network", "all"), default="all")
    parser.add_argument("--orders", type=int, default=400_000, help="orders in the log; slow peers read fewer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1_000, help="orders a second, for latency")
    parser.add_argument("--seconds", type=int, default=30, help="how long, for latency")
    parser.add_argument("--only", default="", help="names, with commas: restock and peers")
    chosen = parser.parse_args()
    done = 0 if chosen.part == "network" else race(chosen)
    return done if chosen.part in ("throughput", "latency") else max(done, network())


def network() -> int:
    """What needs no Kafka, each in a process of its own; the worst exit code."""
    modules = ("tests.bench.network", "tests.bench.rebalancing")
    return max(subprocess.run([sys.executable, "-m", module], check=False).returncode for module in modules)


def race(chosen: argparse.Namespace) -> int:
    """Throughput and latency beside the peers, on one Kafka and one Redis."""
    broker, store = kafka.broker(), servers.server()
    # what Restock's own benchmark starts is these
    os.environ["RESTOCK_TEST_KAFKA"], os.environ["RESTOCK_TEST_REDIS"] = broker.bootstrap, store.url
    field = Field(broker.bootstrap, store.url)
    try:
        names = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "pyarrow", "numpy")
        print(machine(*names, more=f"Kafka {kafka.VERSION}"), flush=True)
        print(f"command: python -m tests.bench {' '.join(sys.argv[1:])}")
        if chosen.part in ("throughput", "all"):
            print_throughput(throughputs(field, chosen))
        if chosen.part in ("latency", "all"):
            print_latency(latencies(field, chosen), chosen)
    finally:
        field.close()
        broker.close()
        store.close()
    return 0


def peers(chosen: argparse.Namespace) -> list[Peer]:
    """The peers asked for."""
    return [peer for peer in PEERS if not chosen.only or peer.name in chosen.only.split(",")]


def restock_runs(chosen: argparse.Namespace) -> bool:
    """Whether Restock itself is asked for."""
    return not chosen.only or US in chosen.only.split(",")


def throughputs(field: Field, chosen: argparse.Namespace) -> Figures:
    """Every contender once, then all again: drift of the machine meets all alike."""
    runs: Figures = {}
    for number in range(chosen.runs):
        if restock_runs(chosen):
            _try(runs, US, number, lambda: restock_throughput(chosen.orders))
        for peer in peers(chosen):
            _try(runs, peer.name, number, lambda peer=peer: field.throughput(peer, chosen.orders))  # type: ignore[misc]
    return runs


def _try(runs: Figures, name: str, number: int, run: Callable[[], Run]) -> None:
    say(f"run {number + 1}: {name} ...")
    try:
        done = run()
    except (NotHere, AssertionError, subprocess.SubprocessError) as error:
        print(f"{name} did not run: {error}", flush=True)
        return
    say(f"  {done.warm_orders_s:,.0f} orders/s in the second half")
    runs.setdefault(name, []).append(done)


def restock(*args: str) -> dict[str, Any]:
    """Restock's own benchmark in a process of its own; its figures."""
    command = [sys.executable, "-m", "tests.bench.end_to_end", *args, "--json"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return figures


def restock_throughput(orders: int) -> Run:
    """Restock over the same orders, receipts in its log as well."""
    f = restock("throughput", "--orders", str(orders))
    return Run(
        f["orders_per_s"], f["warm_orders_per_s"], f["lines_per_s"], f["cpu_s_per_million_orders"],
        f["worker_peak_mb"], f["lines_per_alert"], f["stock_right"],
    )  # fmt: skip


def latencies(field: Field, chosen: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Sorted milliseconds of every run."""
    out: dict[str, list[list[float]]] = {}
    slow = {"faust", "consume"}  # the first falls behind at 1,000 a second, the second raises nothing
    for number in range(chosen.runs):
        say(f"latency, run {number + 1} ...")
        if restock_runs(chosen):
            figures = restock("latency", "--rate", str(chosen.rate), "--seconds", str(chosen.seconds))
            out.setdefault(US, []).append(figures["milliseconds"])
        for peer in peers(chosen):
            if peer.name in slow:
                continue
            try:
                out.setdefault(peer.name, []).append(field.latency(peer, chosen.rate, chosen.seconds))
            except (NotHere, AssertionError) as error:
                print(f"{peer.name} did not run: {error}", flush=True)
    return out


def print_throughput(runs: Figures) -> None:
    """A table, fastest first, with ratios to Restock."""
    ours = median([r.warm_orders_s for r in runs.get(US, [])])
    guarantee = {US: "exactly once"} | {peer.name: peer.guarantee for peer in PEERS}
    columns = ("", "output", "orders/s", "second half", "Restock is", "lines/s")
    columns += ("CPU s a million orders", "peak MB", "lines an alert", "right")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name, done in sorted(runs.items(), key=lambda item: -median([r.warm_orders_s for r in item[1]])):
        warm = [r.warm_orders_s for r in done]
        cells = [
            name,
            guarantee[name],
            spread([r.orders_s for r in done]),
            spread(warm),
            "" if name == US else f"{ours / median(warm):.2f} x",
            f"{median([r.lines_s for r in done]):,.0f}",
            f"{median([r.cpu_s_million for r in done]):.1f}",
            f"{median([r.peak_mb for r in done]):.0f}",
            f"{median([r.lines_alert for r in done]):.1f}" if name != "consume" else "",
            "yes" if all(r.right for r in done) else "NO",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def print_latency(runs: dict[str, list[list[float]]], chosen: argparse.Namespace) -> None:
    """A table of milliseconds from acknowledgement to alert."""
    print(f"\n{chosen.rate:,} orders a second for {chosen.seconds} s, milliseconds from acknowledgement to alert")
    print("\n| | p50 | p90 | p99 | alerts |\n| --- | --- | --- | --- | --- |")
    for name, done in sorted(runs.items(), key=lambda item: median([quantile(r, 0.99) for r in item[1]])):
        levels = [spread([quantile(r, level) for r in done], 1) for level in (0.5, 0.9, 0.99)]
        print(f"| {name} | {' | '.join(levels)} | {sum(len(r) for r in done):,} |", flush=True)


def median(values: Sequence[float]) -> float:
    """The median; not a number where nothing ran."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median with least and most behind it."""
    if len(values) < 2:
        return f"{median(values):,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
