"""`restock plan`: what to send where, from files, by the solver the network agent uses."""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet

from agents.commands.output import make_directory, print_json
from agents.commands.parsing import add_command, add_json
from agents.plan import answer as answers
from agents.plan.page import page
from agents.plan.solve import solve
from agents.plan.tables import ITEM_EXTRAS, LANE_LIMITS, read_problem
from models.network.priced import GAP

INFEASIBLE = 1  # a check found something
CUTS_SHOWN = 3  # of what is in plan.json
MOST_PERIODS = 366  # a day each; more are no plan
FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}


def add_parser(subparsers: Any) -> None:
    """The command and its arguments."""
    parser = add_command(
        subparsers,
        "plan",
        "Plan transfers between locations from files, without Kafka.",
        "restock plan --stock stock.csv --demand demand.csv --lanes lanes.csv --items items.csv --out plan",
        "Files are CSV with a header line, or parquet. Writes transfers.parquet, plan.json and plan.html. Exit code 1 "
        "where minimums or fixed send-outs are impossible; the constraints in conflict are named.",
    )
    add = parser.add_argument
    add("--stock", required=True, help="location, sku, on_hand, in_transit?, minimum?, frozen?", **FILE)
    add("--demand", required=True, help="location, sku, horizon_days, mean, q50..q99", **FILE)
    add("--lanes", required=True, help=f"from, to, unit_cost, lead_days, {'?, '.join(LANE_LIMITS)}?", **FILE)
    add("--items", required=True, help=f"sku, unit_cost, unit_price, {'?, '.join(ITEM_EXTRAS)}?", **FILE)
    add("--fixed", help="send-outs already promised: from, to, sku, units, period? (from 0)", **FILE)
    add(
        "--periods",
        type=_positive,
        default=1,
        metavar="N",
        help="cut the horizon into N periods, at most 366 (default 1)",
    )
    add("--budget", type=_money, default=math.inf, metavar="MONEY", help="most to spend on lanes, all periods together")
    add(
        "--gap",
        type=_money,
        default=GAP,
        metavar="SHARE",
        help="how near the bound is near enough (default %(default)s)",
    )
    add(
        "--best-effort", action="store_true", help="where minimums cannot all be met, write the plan that comes nearest"
    )
    add("--out", type=Path, required=True, metavar="DIR", help="where to write; made if need be")
    add_json(parser)


def run(args: argparse.Namespace, settings: object) -> int:  # noqa: ARG001 - the plan reads files, not settings
    """Read, solve, write; 1 where what is required is impossible."""
    begun = time.perf_counter()
    make_directory(args.out)
    problem = read_problem(args.stock, args.demand, args.lanes, args.items, args.fixed, args.budget)
    answer = solve(problem, args.periods, args.gap)
    possible = answer.status != "infeasible"
    write(answer, args.out, time.perf_counter() - begun, possible or args.best_effort)
    if args.json:
        bound = answer.bound if possible else None
        print_json({"status": answer.status, "objective": answer.objective, "bound": bound, "out": str(args.out)})
    else:
        print(_told(answer, args.out))
    return 0 if possible else INFEASIBLE


def write(answer: answers.Answer, out: Path, seconds: float, with_transfers: bool) -> None:
    """transfers.parquet (without rows where the plan is not to be carried out), plan.json and plan.html."""
    rows = answers.transfers(answer)
    pyarrow.parquet.write_table(
        rows if with_transfers else rows.slice(0, 0), out / "transfers.parquet", compression="zstd"
    )
    summary = answers.as_json(answer, seconds, _memory_mb())
    (out / "plan.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "plan.html").write_text(page(answer, summary), encoding="utf-8")


def _told(answer: answers.Answer, out: Path) -> str:
    proof = f", bound {answer.bound:,.2f}, gap {answer.gap:.4%}" if answer.status != "infeasible" else ""
    lines = [
        f"{answer.status}: {len(answer.units):,} transfers, objective {answer.objective:,.2f}{proof} ({answer.method})"
    ]
    if answer.status == "infeasible":
        short = answer.missing_units.sum()  # of minimums; a fixed send-out that cannot leave is short of none
        lines.append(f"short by {short:,.10g}; in conflict:" if short > 0 else "in conflict:")
        lines += [f"  {line}" for line in answer.conflict[: answers.SENTENCES_MOST]]
    lines += [f"  {row['words']}" for row in sorted(answer.limits, key=lambda r: -r["price"])[:3] if row["price"] > 0]
    lines += [f"  {words}" for words in answer.cuts[:CUTS_SHOWN]]
    if answer.cut_count > CUTS_SHOWN:
        lines.append(f"  {answer.cut_count - CUTS_SHOWN:,} more requests are cut short: plan.json, cut_short")
    return "\n".join([*lines, f"written to {out}"])


def _memory_mb() -> float:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= MOST_PERIODS:
        raise argparse.ArgumentTypeError(f"{text} is not a number of periods from 1 to {MOST_PERIODS}")
    return value


def _money(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not zero or more")
    return value
