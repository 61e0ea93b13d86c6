"""One backtest from file to report: the order of things."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from agents import clock
from agents.backtest.command import horizons_of, lead_of, peers_of
from agents.backtest.history import DAYS, History, Ints, evaluated, sample
from agents.backtest.methods import Method, Sums
from agents.backtest.orders import read_orders
from agents.backtest.page import page
from agents.backtest.peers import catalogue
from agents.backtest.plan import LONGEST_HORIZON, POLICIES, Plan, first_day_of, in_periods
from agents.backtest.progress import Progress
from agents.backtest.report import OURS, report
from agents.backtest.run import Run
from agents.backtest.shelves import run_all
from agents.backtest.shop import lead_periods
from agents.backtest.table import OWN_MEANING, read_demand
from agents.backtest.write import days_file, forecasts_file
from agents.commands.output import make_directory, print_json
from agents.replay.formats.catalogue import FORMATS
from agents.replay.formats.options import Options, pairs
from models.stock.simulation import Shop
from stream.errors import SetupError

COVER_DAYS = 7.0  # order quantity where no order cost is given, as in the planner


def run(args: argparse.Namespace) -> int:
    """1 read, 2 plan, 3 fold, 4 write, 5 report."""
    begin_s = clock.steady_s()
    history = sample(read(args), args.rows)  # 1
    _say_doubts(history)
    plan = planned(args, history)  # 2
    left_out: list[str] = []
    groups = catalogue.present(peers_of(args.peers), left_out.append) if args.compare else []
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    make_directory(args.out)
    progress = Progress()
    done = run_all(history, plan, args.jobs, lambda n, of: progress.say("folding", n, of))  # 3
    progress.close()
    forecasts_file(args.out / "forecasts.parquet", history, plan, done.told)  # 4
    days_file(args.out / "days.parquet", history, plan, done.story)
    methods = [ours(history, plan, done)]
    if groups and history.known:
        methods.append(without_plan(args, history, plan, progress))
    methods += catalogue.methods(history, plan, groups, progress.say)
    found = report(history, plan, done, shop_of(history, plan, done.opening), methods, progress.say)  # 5
    found["left_out"] = left_out
    progress.close()
    (args.out / "report.json").write_text(
        json.dumps(_plain(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    (args.out / "report.html").write_text(page(found), encoding="utf-8")
    seconds = clock.steady_s() - begin_s
    _tell(args, history, plan, found, seconds)
    return 0


def read(args: argparse.Namespace) -> History:
    """The file as history. Raises SetupError."""
    known = [word for word in args.known_ahead.split(",") if word]
    if args.demand is not None:
        columns = pairs(args.columns)
        if unused := [field for field in columns if field not in (*OWN_MEANING, *known)]:
            print(f"--columns {', '.join(unused)}: no field, and not in --known-ahead: not used", file=sys.stderr)
        return read_demand(
            args.demand,
            columns,
            args.period,
            known,
            args.location or "main",
            args.gaps,
            args.delimiter,
            args.encoding,
        )
    if known or args.period != "day":
        raise SetupError("--orders has days of demand and nothing known ahead", hint="use --demand FILE for others")
    columns = pairs(args.columns, FORMATS[args.format].fields)
    options = Options(
        columns=columns,
        timezone=args.timezone,
        location=args.location,
        delimiter=args.delimiter,
        encoding=args.encoding,
    )
    return read_orders(args.orders, args.format, options)


def planned(args: argparse.Namespace, history: History) -> Plan:
    """What is to be done, in periods. Raises SetupError."""
    lead, lead_sd = (in_periods(d, history.period) for d in lead_of(args.lead_days))
    first, last = evaluated(history, args.first, args.last)
    horizons = horizons_of(args.horizons, LONGEST_HORIZON)
    if last - first < horizons[-1]:
        raise SetupError(
            f"no forecast over {horizons[-1]} {history.period}s can be scored",
            f"{last - first + 1} are evaluated, from {history.dates[first]} to {history.dates[last]}",
            "ask for shorter --horizons, or for an earlier --from",
        )
    pack = round(args.pack * 1000) if args.pack else (1000 if history.whole else 1)
    return Plan(
        horizons=horizons,
        first=first,
        last=last,
        lead=lead,
        lead_sd=lead_sd,
        review=max(1, round(in_periods(args.review_days, history.period))),
        cover=POLICIES[args.policy] if args.cover_days is None else in_periods(args.cover_days, history.period),
        set_cover=max(1.0, in_periods(COVER_DAYS, history.period)),
        service_level=args.service_level,
        backorders=args.backorders,
        pack_milli=pack,
        order_cost=args.order_cost,
        holding_cost_rate=args.holding_rate * DAYS[history.period] / 365.0,
        seed=args.seed,
    )


def ours(history: History, plan: Plan, run: Run) -> Method:
    """The fold's own forecasts, as the peers' are held."""
    sums = {told.horizon: Sums(told.mean, told.quantiles) for told in run.told}
    sums[plan.wait] = Sums(run.story.mean, run.story.quantiles)
    return Method(OURS, sums, np.arange(history.rows), bool(history.known))


def without_plan(args: argparse.Namespace, history: History, plan: Plan, progress: Progress) -> Method:
    """Ours where nothing is known ahead, beside peers that cannot look ahead either."""
    blind = replace(history, known={})
    done = run_all(blind, plan, args.jobs, lambda n, of: progress.say("folding without the plan", n, of))
    progress.close()
    return replace(ours(blind, plan, done), name=f"{OURS}, without the plan")


def shop_of(history: History, plan: Plan, opening: Ints) -> Shop:
    """The shop around every policy, as the fold had it."""
    periods = range(plan.first, plan.last + 1)
    lead = np.stack([lead_periods(history.rows, t, plan.lead, plan.lead_sd, plan.seed) for t in periods])
    demand = np.rint(history.demand[:, plan.first : plan.last + 1].T * 1000).astype(np.int64)
    return Shop(
        demand=demand,
        lead=lead,
        opening=opening,
        pack=plan.pack_milli,
        review=plan.review,
        first_review=first_day_of(history) + plan.first + 1,
        backorders=plan.backorders,
    )


def _tell(args: argparse.Namespace, history: History, plan: Plan, found: dict[str, Any], seconds: float) -> None:
    pace = history.rows * (plan.last + 1) / max(seconds, 1e-9) * 60
    print(
        f"{history.rows:,} rows x {plan.last + 1:,} periods in {seconds:.1f} s: {pace:,.0f} row-periods a minute",
        file=sys.stderr,
    )
    shop = found["shop"]
    summary: dict[str, Any] = {
        "rows": history.rows,
        "periods": plan.last + 1,
        "from": str(history.dates[plan.first]),
        "to": str(history.dates[plan.last]),
        "promised": plan.service_level,
        "cycle_service": round(shop["cycle_service"], 4),
        "fill_rate": round(shop["fill_rate"], 4),
        "mean_stock_units": round(shop["mean_stock_units"], 1),
        "pinball": {h: _rounded(m["restock"].get("scaled_pinball")) for h, m in found["forecasts"].items()},
        "out": str(args.out),
    }
    if args.json:
        print_json(summary)
    else:
        print(_sentence(summary))
        for name, method in found["frontier"]["methods"].items():
            if name != OURS:
                ratios = ", ".join(
                    f"{_word(v['units'])} at {float(f):.0%}" for f, v in method["restock_over_it"].items()
                )
                print(f"  stock over that of {name}, at equal fill rate: {ratios}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


DOUBTS = {  # what was found in the file, as a person should hear it before trusting the rest
    "unreadable_records_left_out": "could not be cut into columns and are left out",
    "records_added_to_another": "name a SKU, location and period that another names too; their units are added up",
    "negative_units_set_to_zero": "have units below zero, taken as no demand",
}


NEARLY_EMPTY = 10  # periods a period with sales: one date in another century is simulated all the way there


def _say_doubts(history: History) -> None:
    for name, words in DOUBTS.items():
        if history.found.get(name):
            print(f"{history.found[name]:,} records {words}", file=sys.stderr)
    sold = int((np.nan_to_num(history.units) > 0).any(axis=0).sum())
    if sold * NEARLY_EMPTY < history.periods:
        span = f"{history.periods:,} {history.period}s from {history.dates[0]} to {history.dates[-1]}"
        print(f"something was sold on {sold:,} of {span}: is a date wrong?", file=sys.stderr)


def _plain(value: Any) -> Any:
    """JSON knows no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sentence(summary: dict[str, Any]) -> str:
    pinball = ", ".join(
        f"{'not scored' if value is None else f'{value:.4f}'} over {horizon}"
        for horizon, value in summary["pinball"].items()
    )
    return (
        f"{summary['from']} to {summary['to']}: {summary['cycle_service']:.1%} of cycles without a stock-out "
        f"({summary['promised']:.1%} promised), {summary['fill_rate']:.1%} of demand served, "
        f"{summary['mean_stock_units']:,.0f} units in stock on average; pinball {pinball}. "
        f"Read {summary['out']}/report.html"
    )


def _word(ratio: float | None) -> str:
    return "beyond reach" if ratio is None else f"{ratio:.3f}"
