"""`restock shop`: a simulated shop, at a pace, onto Kafka or into files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from agents.commands.output import print_json
from agents.commands.parsing import add_command
from agents.settings import Settings
from agents.stopping import end_like_ctrl_c
from stream.errors import SetupError

_WORLD = (
    ("--seed", int, "all its random numbers"),
    ("--rows", int, "SKU-locations, 1 to 10,000,000"),
    ("--locations", int, "places, the second of them a web shop"),
    ("--customers-day", float, "customers a row and day, in the mean over all rows"),
    ("--zipf", float, "exponent of the SKUs' popularity; 0: all alike"),
    ("--cart-lead-hours", float, "by how much carts lead their orders; 0: carts say nothing"),
    ("--conversion", float, "share of filled carts that become orders"),
    ("--promotion-share", float, "share of SKUs that have a promotion, a week"),
    ("--wholesale-share", float, "wholesale orders a customer; four in five are cancelled minutes later"),
    ("--shrinkage-share", float, "units stolen, a unit wanted; no event tells"),
    ("--count-days", int, "every row is counted once in these"),
    ("--new-share", float, "share of SKUs that are launched within half a year"),
    ("--ending-share", float, "share of SKUs that end within half a year"),
    ("--opening-days", float, "opening stock, in days of mean demand"),
    ("--restocking", ("answers", "own", "none"), "who buys: answers to proposals, a plain buyer of its own, nobody"),
)  # option, type or choices, meaning


def add_parser(subparsers: Any) -> None:
    """The parser of `restock shop`."""
    from agents.shop.config import Config

    parser = add_command(
        subparsers,
        "shop",
        "Run a simulated shop, whose truth is known, onto Kafka or into files.",
        "RESTOCK_CLOCK=event restock shop --rows 1000 --speed 60x --truth truth.parquet",
        more="""It publishes orders, carts, movements, supply, catalog and calendar events, and answers the
        replenishments it reads: its suppliers deliver late, in parts, short or not at all. Faster than real time it
        lives in the past and by the event clock. The same options and answers give the same events. docs/shop.md has
        the details.""",
    )
    default = Config()
    for option, kind, meaning in _WORLD:
        value = getattr(default, option[2:].replace("-", "_"))
        how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
        parser.add_argument(option, default=value, help=f"{meaning} (default %(default)s)", **how)
    parser.add_argument(
        "--start", metavar="DATE", help="local date of the first day, from midnight (default: as --speed needs)"
    )
    parser.add_argument("--speed", default="60x", metavar="1x|60x|max", help="event time over wall time (default 60x)")
    parser.add_argument("--days", type=_span, metavar="N", help="end after so many days of event time")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="end after so many seconds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write files there instead of publishing to Kafka")
    parser.add_argument(
        "--truth", type=Path, metavar="FILE", help="parquet: a line a row and local day; what really was"
    )
    parser.add_argument("--stock", type=Path, metavar="FILE", help="CSV: books and true stock of every row at the end")
    parser.add_argument("--namespace", help="overrides RESTOCK_NAMESPACE")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the shop until its days or seconds are over, or Ctrl-C."""
    from agents.shop.door import run as door

    end_like_ctrl_c()
    if args.namespace is not None:
        settings = settings.changed(namespace=args.namespace)
    tale = door.run(options_of(args), settings)
    if args.json:
        print_json(door.said_of(tale))
    else:
        print("\n".join(_summary(tale)))
    return 0


def options_of(args: argparse.Namespace) -> Any:
    """What the arguments ask for. Raises SetupError naming the one that is wrong."""
    from math import inf

    from agents.clock import now_ms
    from agents.shop.config import Config
    from agents.shop.door import pace
    from agents.shop.door.run import Options
    from stream.events.instants import parse_day

    try:
        speed = inf if args.out is not None and args.speed == "60x" else pace.speed_of(args.speed)
    except ValueError as wrong:
        raise SetupError(f"could not read --speed {args.speed}", str(wrong), "write 60x, 1x or max") from wrong
    days = 30.0 if args.out is not None and args.days is None and args.seconds is None else args.days
    live = speed <= 1 and args.out is None and args.start is None
    try:
        first = pace.start_day(now_ms(), speed, days) if args.start is None else parse_day(args.start)
        world = {option[2:].replace("-", "_"): getattr(args, option[2:].replace("-", "_")) for option, *_ in _WORLD}
        config = Config(**world, start_day=first)
    except ValueError as wrong:
        raise SetupError("this shop cannot be", str(wrong), "restock shop --help has the options") from wrong
    morning_ms = pace.morning_ms(first) if args.start is None and args.out is None else None
    return Options(config, speed, live, morning_ms, days, args.seconds, args.out, args.truth, args.stock)


def _span(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return value


def _seconds(text: str) -> float:
    return 0.0 if text == "0" else _span(text)  # as for the demo: no end


def _summary(tale: Any) -> list[str]:
    published = ", ".join(f"{count:,} {topic}" for topic, count in tale.published.items()) or "nothing"
    heard = ", ".join(f"{count:,} {what}" for what, count in tale.heard.most_common()) or "nothing"
    return [
        f"{tale.seconds:.0f} seconds, shop time now {tale.shop_time}",
        f"  told   {sum(tale.published.values()):,} events: {published}",
        f"  heard  {heard}",
        f"  truth  of whole days: {tale.wanted_units:,} units wanted, {tale.sold_units:,} sold, "
        f"{tale.lost_units:,} lost, {tale.stolen_units:,} stolen",
    ]
