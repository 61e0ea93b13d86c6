"""`restock reconcile FILE`: does the warehouse's list agree with what Restock holds?"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from agents import clock
from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.errors import SetupError

COLUMNS = ("sku", "location", "kind", "counted", "on_hand", "delta_units", "delta_money")


def add_parser(subparsers: Any) -> None:
    """The parser of `restock reconcile`."""
    parser = add_command(
        subparsers,
        "reconcile",
        "Compare a warehouse's full stock list with the positions as of the same time.",
        "restock reconcile stock-list.csv --as-of 2026-01-05T06:00:00Z --columns sku=Code,units=Qty --location berlin",
        more="""The list is complete for the locations it names: what is not on it is not there. Exit code 0: they
        agree, or --apply has sent what differs as counts; 1: they differ. docs/replay.md has the details.""",
    )
    parser.add_argument("file", type=Path, help="CSV (also .gz, .tsv) or parquet with sku, location, units")
    parser.add_argument("--as-of", required=True, metavar="TIME", help="when the list was true (RFC 3339, or now)")
    parser.add_argument(
        "--columns", default="", metavar="FIELD=COLUMN,...", help="which column is sku, location, units"
    )
    parser.add_argument("--location", metavar="NAME", help="of every row, where the list has no such column")
    parser.add_argument("--delimiter", default=",", help="of CSV columns (default: a comma)")
    parser.add_argument("--encoding", default="utf-8", help="of CSV text (default: %(default)s)")
    parser.add_argument("--tolerance", default="0", metavar="UNITS", help="differences up to this are not reported")
    parser.add_argument("--apply", action="store_true", help="publish a stock.counted for each difference")
    parser.add_argument("--namespace", help="overrides RESTOCK_NAMESPACE")
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the differences; exit code 1 where there are some and they were not applied."""
    from agents import held
    from agents.reconcile import compare
    from agents.reconcile.stocklist import FIELDS, read_stock_list
    from agents.replay.formats.options import pairs
    from agents.replay.publish import publish_all
    from stream.events.units import milli_from_text

    if args.namespace is not None:
        settings = settings.changed(namespace=args.namespace)
    instant_ms = _instant_ms(args.as_of)
    try:
        tolerance_milli = milli_from_text(args.tolerance)
        if tolerance_milli < 0:
            raise ValueError("below zero, where rows that agree would differ")
    except ValueError as wrong:
        raise SetupError(f"could not read --tolerance {args.tolerance}", str(wrong)) from wrong
    listed = read_stock_list(args.file, pairs(args.columns, FIELDS), args.location, args.delimiter, args.encoding)
    shelves = asyncio.run(held.shelves(settings, "journal"))
    as_of = {name: row for shelf in shelves for name, row in compare.held_as_of(shelf, instant_ms).items()}
    found = compare.differences(listed, as_of, tolerance_milli)
    show([row._asdict() for row in found], args.json, COLUMNS)
    _summary(listed, found, args.as_of)
    if found and args.apply:
        sent = publish_all(settings, compare.counts(found, listed.name, instant_ms))
        print(f"published {sent:,} counts; they hold once a worker has folded them", file=sys.stderr)
        return 0
    return 1 if found else 0


def _summary(listed: Any, found: list[Any], as_of: str) -> None:
    kinds = ", ".join(
        f"{sum(row.kind == kind for row in found):,} {words}"
        for kind, words in (
            ("differs", "differ"),
            ("not_listed", "are not listed"),
            ("unknown", "are unknown to Restock"),
        )
    )
    units, money = sum(row.delta_units for row in found), sum(row.delta_money or 0 for row in found)
    print(
        f"as of {as_of}: {listed.rows:,} rows listed at {len(listed.locations)} locations; {kinds}; "
        f"counted less on hand: {units:,} units, {money:,.2f} money",
        file=sys.stderr,
    )


def _instant_ms(text: str) -> int:
    if text == "now":
        return clock.now_ms()
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise SetupError(f"could not read --as-of {text}", str(wrong), "write 2026-01-05T06:00:00Z") from wrong
    if instant.tzinfo is None:
        raise SetupError(f"--as-of {text} names no zone", hint="write 2026-01-05T06:00:00Z, or +01:00 at its end")
    return round(instant.timestamp() * 1000)
