"""`restock policy`: the service level of every SKU-location from one asked total, with the least money in stock."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from agents import clock
from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.errors import SetupError

COLUMNS = ("sku", "location", "unit_cost", "level_now", "level", "stock_now", "stock")


def add_parser(subparsers: Any) -> None:
    """The parser of `restock policy`."""
    parser = add_command(
        subparsers,
        "policy",
        "Set service levels so that a total fill rate, or a budget, is met with the least money in stock.",
        "restock policy --fill-rate 0.97\nrestock policy --budget 250000 --worth margin --apply",
        more="""Equal service for every row holds dear things that earn little. One price of money for all rows gives
        each its own level: nothing is sent until --apply, which publishes a catalog.policy for every row whose level
        changes; they hold from their place in the log on, and what the policy said besides stays.""",
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--fill-rate", type=float, metavar="SHARE", help="of all demand to be served, as 0.97")
    asked.add_argument("--budget", type=float, metavar="MONEY", help="to be left in stock at most, on average")
    parser.add_argument(
        "--worth", choices=("units", "margin"), default="units", help="what serving a unit is worth (default: 1 each)"
    )
    parser.add_argument("--apply", action="store_true", help="publish the policies")
    parser.add_argument("--namespace", help="overrides RESTOCK_NAMESPACE")
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print every row's level as it is and as it would be."""
    from agents import held
    from agents.policy import portfolio
    from agents.replay.publish import publish_all

    if args.fill_rate is not None and not 0.0 < args.fill_rate < 1.0:
        raise SetupError(f"--fill-rate {args.fill_rate} is no share", "it lies above 0 and under 1", "write 0.97")
    if args.budget is not None and not args.budget > 0:
        raise SetupError(f"--budget {args.budget} buys nothing", hint="give an amount of money above 0")
    if args.namespace is not None:
        settings = settings.changed(namespace=args.namespace)
    shelves = asyncio.run(held.shelves(settings))
    found = portfolio.weighed(shelves, fill_rate=args.fill_rate, budget=args.budget, worth=args.worth)
    show([row._asdict() for row in found.rows], args.json, COLUMNS)
    _summary(found)
    if args.apply:
        sent = publish_all(settings, portfolio.facts(found, shelves, clock.now_ms()))
        print(f"published {sent:,} policies; they hold once a worker has folded them", file=sys.stderr)
    return 0


def _summary(found: Any) -> None:
    print(
        f"{len(found.rows):,} SKU-locations: money in stock {found.money_now:,.2f} now, {found.money:,.2f} then; "
        f"fill rate {found.fill_rate_now:.2%} now, {found.fill_rate:.2%} then",
        file=sys.stderr,
    )
    if found.without_cost:
        print(
            f"of {found.without_cost:,} the unit_cost is not known: the mean of the others stands in, 1 where none is",
            file=sys.stderr,
        )
