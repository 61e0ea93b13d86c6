"""Restock beside its peers in one run, and by itself: tables, each figure with its spread where it was run again.

python -m tests.bench                       # all: about two hours on 2 cores (make bench)
python -m tests.bench throughput --runs 1 --orders 200000 --only kstreams-eos,faust
python -m tests.bench latency --rate 1000 --seconds 30
python -m tests.bench network               # the solver beside its peers, then a year with it and without
python -m tests.bench burst --rate 500      # one of Restock's own; its options: python -m tests.bench burst --help

parts beside peers, about 60 minutes with three runs:
  throughput   the log run down
  latency      from an order's acknowledgement to its alert
  network      the solver of transfers
parts of Restock's own, about 4 minutes each:
  close        latency while a day of all 20,000 rows closes
  take-over    the gap in alerts when a worker leaves, joins or dies
  burst        ten times the rated load for a minute
  scaling      one worker, one split in two and three processes, two, four
  solving      latency while the network agent solves
  rows         1,000 to 1,000,000 rows: cost of an event, day close, restart, memory (up to 30 minutes)

Restock's worker runs as one process (restock), as an intake and a planner (restock-split), and as an intake and two
planners (restock-split-2). Peers that can use two cores run so as well (kstreams-...-2, bytewax-2).

One Apache Kafka and one Redis serve all, one contender at a time, on this machine. What the job is and how fair each
peer is: tests/bench/peers/README.md. Figures are medians of the runs, with the least and the most behind them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests import kafka, servers
from tests.bench.bench import PACKAGES, say
from tests.bench.contenders import PEERS, NotHere, Peer
from tests.bench.figures import median, quantile, spread
from tests.bench.machine import command, machine
from tests.bench.race import Field, Run

US = {
    "restock": (),
    "restock-split": ("--split",),
    "restock-split-2": ("--split", "2"),
}
BESIDE = ("throughput", "latency", "network")
OWN = {  # part -> module of tests.bench, and what it is told
    "close": ("end_to_end", "latency", "--close"),
    "take-over": ("take_over",),
    "burst": ("burst",),
    "scaling": ("scaling",),
    "solving": ("solving",),
    "rows": ("rows",),
}
Figures = dict[str, list[Run]]


def main() -> int:
    """Run the parts asked for and print their tables."""
    if len(sys.argv) > 1 and sys.argv[1] in OWN:
        return alone(sys.argv[1], sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part",
        nargs="?",
        choices=("all", *BESIDE, *OWN),
        default="all",
        metavar="PART",
        help="all, or one of the above",
    )
    parser.add_argument("--orders", type=int, default=200_000, help="orders in the log; slow peers read fewer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1_000, help="orders a second, for latency")
    parser.add_argument("--seconds", type=int, default=30, help="how long, for latency")
    parser.add_argument("--only", default="", help="names, with commas: restock and peers")
    chosen = parser.parse_args()
    done = 0 if chosen.part == "network" else race(chosen)
    if chosen.part in ("network", "all"):
        done = max(done, *(run(module) for module in ("tests.bench.network", "tests.bench.rebalancing")))
    if chosen.part == "all":
        done = max(done, *(alone(part, []) for part in OWN))
    return done


def alone(part: str, options: Sequence[str]) -> int:
    """A part of Restock's own; its exit code."""
    module, *fixed = OWN[part]
    return run(f"tests.bench.{module}", *fixed, *options)


def run(module: str, *options: str) -> int:
    """A module in a process of its own; its exit code."""
    print(f"\n--- {module} {' '.join(options)}", flush=True)
    return subprocess.run([sys.executable, "-m", module, *options], check=False).returncode


def race(chosen: argparse.Namespace) -> int:
    """Throughput and latency beside the peers, on one Kafka and one Redis."""
    broker, store = kafka.broker(short_lived=False), servers.server()
    # what Restock's own benchmark starts is these
    os.environ["RESTOCK_TEST_KAFKA"], os.environ["RESTOCK_TEST_REDIS"] = broker.bootstrap, store.url
    field = Field(broker.bootstrap, store.url)
    try:
        print(f"{command()}\n{machine(*PACKAGES, more=f'Kafka {kafka.VERSION}')}", flush=True)
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


def ours(chosen: argparse.Namespace) -> list[str]:
    """The ways Restock itself is asked for."""
    return [name for name in US if not chosen.only or name in chosen.only.split(",")]


def throughputs(field: Field, chosen: argparse.Namespace) -> Figures:
    """Every contender once, then all again: drift of the machine meets all alike."""
    runs: Figures = {}
    for number in range(chosen.runs):
        for name in ours(chosen):
            _try(runs, name, number, lambda name=name: restock_throughput(name, chosen.orders))  # type: ignore[misc]
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


def restock_throughput(name: str, orders: int) -> Run:
    """Restock over the same orders, receipts in its log as well."""
    f = restock("throughput", "--orders", str(orders), *US[name])
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
        for name in ours(chosen):
            figures = restock("latency", "--rate", str(chosen.rate), "--seconds", str(chosen.seconds), *US[name])
            out.setdefault(name, []).append(figures["milliseconds"])
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
    rates = {name: median([r.warm_orders_s for r in done]) for name, done in runs.items()}
    guarantee = dict.fromkeys(US, "exactly once") | {peer.name: peer.guarantee for peer in PEERS}
    columns = ("", "output", "orders/s", "second half", *(f"{name} is" for name in US), "lines/s")
    columns += ("CPU s a million orders", "peak MB", "lines an alert", "right")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name, done in sorted(runs.items(), key=lambda item: -rates[item[0]]):
        ratios = (f"{rates[us] / rates[name]:.2f} x" if us in rates and us != name else "" for us in US)
        cells = [
            name,
            guarantee[name],
            spread([r.orders_s for r in done]),
            spread([r.warm_orders_s for r in done]),
            *ratios,
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


if __name__ == "__main__":
    sys.exit(main())
