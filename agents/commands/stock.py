"""`restock stock`: the exact stock, read from the ledger's packed state as of one moment a shelf."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from agents.commands.output import show, word
from agents.commands.parsing import add_command, add_json
from agents.held import shelves_begun
from agents.settings import Settings
from stream.errors import SetupError
from stream.events.naming import row_key
from stream.events.partition import shelf_of
from stream.ledger.port import Peek
from stream.ledger.redis_ledger import RedisLedger

COLUMNS = ("sku", "location", "on_hand", "available", "on_order", "reorder_point", "order_up_to", "days_of_cover")
SECTIONS = (
    "meta",
    "shared",
    "facts",
    "hot",
    "model",
    "transfers",
)  # what a view is made of; journal and carts are large and not shown


def add_parser(subparsers: Any) -> None:
    """The parser of `restock stock`."""
    parser = add_command(
        subparsers,
        "stock",
        "Show the exact stock of a SKU, of a SKU at one location, or of all.",
        "restock stock A-1 berlin\nrestock stock A-1 berlin --explain\nrestock stock --all --json",
    )
    parser.add_argument("sku", nargs="?", help="the SKU")
    parser.add_argument("location", nargs="?", help="only at this location")
    parser.add_argument("--all", action="store_true", help="every SKU at every location")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="who carries the forecast, its quantiles, and why the reorder point is it",
    )
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the rows asked for; exit code 1 where there is none."""
    if (args.sku is None) != args.all:
        raise SetupError("nothing to show", "give either a SKU or --all", "restock stock --help")
    return asyncio.run(_run(args, settings))


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    ledger = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        shelves = await ledger.shelves() if args.sku is None else [await _shelf_of(args.sku, settings, ledger)]
        peeks = [(shelf, await ledger.peek(shelf, _wanted(args))) for shelf in shelves]
    finally:
        await ledger.close()
    rows = [
        row
        for shelf, peek in peeks
        for row in rows_of(settings, shelf, peek, args.explain)
        if args.sku in (None, row["sku"])
    ]
    rows.sort(key=lambda row: (row["sku"], row["location"]))
    if not rows:
        raise _none(args, settings)
    if args.explain and not args.json:
        for row in rows:
            _print_explained(row)
    elif args.location is not None and not args.json:
        for name, value in rows[0].items():
            print(f"{name:20} {word(value)}")
    else:
        show(rows, args.json, COLUMNS)
    return 0


async def _shelf_of(sku: str, settings: Settings, ledger: RedisLedger) -> int:
    """By the number of shelves the ledger was begun with, whatever RESTOCK_SHELVES says here."""
    meta = (await ledger.peek(0, {"meta": [b"fixed"]})).sections["meta"]
    return shelf_of(sku, shelves_begun(settings, meta))


def _print_explained(row: dict[str, Any]) -> None:
    forecast = row["forecast"]
    print(f"{row['sku']} at {row['location']}: {forecast['sentence']}")
    print(f"  {forecast['lead_time']['sentence']}")
    if forecast["segment"]:
        print(f"  segment {forecast['segment']} of its shelf")
    if began := forecast["began"]:
        print(
            f"  began as its {began['as'].replace('_', ' ')} {began['name'] or ''}: its own demand says more by the day"
        )
    print(f"  {'expert':20} {'share':>7} {'recent loss':>12}")
    for one in forecast["experts"]:
        why = f"  as of {one['as_of']}, {one['age_days']} days old" if "as_of" in one else ""
        why += f"  out: {one['out']}" if one["out"] else ""
        print(f"  {one['expert']:20} {one['share']:7.1%} {one['recent_loss']:12.3f}{why}")
    levels = list(forecast["horizons"][0]["quantiles"])
    print(f"  {'demand over':20} {'mean':>7} " + " ".join(f"{'q' + level:>8}" for level in levels))
    for horizon in forecast["horizons"]:
        at = " ".join(f"{horizon['quantiles'][level]:8.1f}" for level in levels)
        print(f"  {str(horizon['days']) + ' days':20} {horizon['mean']:7.1f} {at}")
    print(f"  its shelf: {_turned_out(forecast['shelf'])}")


def _turned_out(card: dict[str, Any]) -> str:
    """How forecasts and service of a shelf turned out, in a line."""
    if not card["days"] or card["wape"] is None:
        return "no day has closed yet to judge forecasts by"
    said = (
        f"over {card['days']:,} days forecasts were {card['bias']:+.1%} off on the whole and missed {card['wape']:.0%}"
    )
    if card["sums"]:
        low, high = card["coverage"]["0.95"]
        said += f"; of {card['sums']:,} sums {low:.1%} to {high:.1%} came within the 95 % quantile"
    if card["in_stock"] is not None:
        said += f"; in stock on {card['in_stock']:.1%} of days, {card['promised']:.1%} promised"
    return said


def _wanted(args: argparse.Namespace) -> dict[str, Sequence[bytes] | None]:
    """The fields to read of each section: one row's where the location is known, else all."""
    if args.location is None:
        return dict.fromkeys(SECTIONS)
    one = [row_key(args.sku, args.location).encode()]
    return {section: one if section in ("hot", "model", "transfers") else None for section in SECTIONS}


def rows_of(settings: Settings, shelf: int, peek: Peek, explain: bool = False) -> list[dict[str, Any]]:
    """Every row of a peek with all that is known of it; see agents/planner/view.py and explaining.py."""
    from agents.planner import explaining, keeping, view  # numpy and the models take a moment to import
    from agents.wiring import planner_config

    meta, hot = peek.sections["meta"], peek.sections["hot"]
    if len(meta) == 0:
        return []
    config = keeping.begun_with(planner_config(settings, shelf), meta)
    # rows are numbered without gaps, and a peek holds some of them: number those (the fourth byte is the version)
    numbered = {key: row.to_bytes(3, "little") + packed[3:] for row, (key, packed) in enumerate(hot.items())}
    held = keeping.load(config, {**peek.sections, "hot": numbered}, peek.place.offset)
    rows = [view.exact(held, row) for row in range(held.n)]
    if explain:
        for row, known in enumerate(rows):
            known["forecast"] = explaining.explained(held, row)
    return rows


def _none(args: argparse.Namespace, settings: Settings) -> SetupError:
    what = "any SKU" if args.all else " at ".join(filter(None, (args.sku, args.location)))
    return SetupError(
        f"the ledger does not know {what}",
        f"namespace {settings.namespace} at {settings.safe_redis_url}",
        "check RESTOCK_NAMESPACE and RESTOCK_REDIS_URL; a SKU is known from its first event on",
    )
