"""`restock backtest`: what would Restock have forecast, held and ordered over this history?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.errors import SetupError

PERIODS = ("day", "week", "month")
GAPS = ("auto", "zero", "unknown")
POLICIES = ("min-max", "order-up-to")
PEERS = ("rules", "statistical", "lightgbm")
ORDER_FORMATS = ("orders", "uci-online-retail", "jd-actions", "rees46")


def add_parser(subparsers: Any) -> None:
    """The command and its arguments."""
    parser = add_command(
        subparsers,
        "backtest",
        "Run the planner over a file of history, simulate the shop around it, and score both.",
        "restock backtest --demand sales.parquet --columns date=day,sku=code,location=shop,units=qty,promo=on_offer "
        "--known-ahead promo --lead-days 7:2 --horizons 7,14 --service-level 0.95 --out backtest",
        more="""The same fold, forecasters and policies as in production, without Kafka or Redis. Writes
        forecasts.parquet, days.parquet, report.json and report.html. docs/backtest.md defines every score.""",
    )
    _add_file_options(parser)
    _add_shop_options(parser)
    parser.add_argument("--compare", action="store_true", help="run peers on the same data, policy and shop")
    parser.add_argument(
        "--peers",
        metavar="GROUP,...",
        help="which: rules, statistical (statsforecast on a sample of rows), lightgbm (default: all whose package is "
        "installed)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made if need be")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default 1); shows in no result")
    add_json(parser)


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--demand", type=Path, metavar="FILE", help="parquet or CSV: one record a row and period")
    source.add_argument("--orders", type=Path, metavar="FILE", help="order lines, as `restock replay` reads them")
    add("--columns", default="", metavar="FIELD=COLUMN,...", help="which column is date, sku, location, units, price, "
        "cost, available, viewed, added, removed, or a name of your own for --known-ahead")  # fmt: skip
    add("--period", choices=PERIODS, default="day", help="what one record of --demand covers (default %(default)s)")
    add("--known-ahead", default="", metavar="NAME,...", help="columns planned ahead, which forecasts may read: price, "
        "discount, promo, holiday, ...")  # fmt: skip
    add("--gaps", choices=GAPS, default="auto", help="what a missing record means: no demand, or not counted (default "
        "auto: not counted where the file writes zeros down)")  # fmt: skip
    add("--delimiter", default=",", help="of CSV columns (default: a comma)")
    add("--encoding", default="utf-8", help="of CSV text (default %(default)s)")
    add("--location", metavar="NAME", help="where the file names none (default main; UCI: UK)")
    add("--format", choices=ORDER_FORMATS, default="orders", help="of --orders (default %(default)s)")
    add("--timezone", metavar="ZONE", help="of the times in --orders (default: the format's, else UTC)")
    add("--rows", metavar="N[:SEED]", help="draw N SKU-locations")
    add("--from", dest="first", metavar="DATE", help="first evaluated period (default: after a third of the history)")
    add("--to", dest="last", metavar="DATE", help="last evaluated period (default: the last)")


def _add_shop_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--horizons", default="7,14", metavar="N,...", help="periods to forecast the sum of (default %(default)s)")
    add("--lead-days", default="7", metavar="MEAN[:SD]", help="of the supplier, in days (default %(default)s)")
    add("--review-days", type=_days, default=1.0, metavar="N", help="between two looks, in days (default 1)")
    add("--service-level", type=_share, default=0.95, metavar="P", help="asked of every row (default %(default)s)")
    add("--policy", choices=POLICIES, default="order-up-to", help="at a review, order up to the reorder "
        "point itself, or up to that and a cycle's demand (min-max) (default %(default)s)")  # fmt: skip
    add("--cover-days", type=_days, metavar="N", help="of demand an order brings beyond the reorder point")
    add("--order-cost", type=_days, default=0.0, metavar="MONEY", help="of one order (default 0: a week's cover)")
    add("--holding-rate", type=_days, default=0.25, metavar="SHARE", help="of a unit's cost a year (default 0.25)")
    add("--pack", type=_pack, default=0.0, metavar="UNITS", help="ordered in multiples of it (default: 1, or 0.001 "
        "where demand has fractions)")  # fmt: skip
    add("--seed", type=_seed, default=0, metavar="N", help="of lead times that vary (default 0)")
    unmet = parser.add_mutually_exclusive_group()
    unmet.add_argument("--lost-sales", action="store_true", help="who finds nothing goes away (the default)")
    unmet.add_argument("--backorders", action="store_true", help="who finds nothing waits")


def run(args: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - files and arguments, not settings
    """Read, fold, write; 0 when done."""
    from agents.backtest import work  # numpy and Arrow take a moment to import

    return work.run(args)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be zero or more")
    return number


def _pack(text: str) -> float:
    number = float(text)
    if not 0.001 <= number <= 1e6:
        raise argparse.ArgumentTypeError("must be from 0.001 to 1,000,000 units")
    return number


def _days(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e6:
        raise argparse.ArgumentTypeError("must be zero or more")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1, for instance 0.95")
    return number


def lead_of(text: str) -> tuple[float, float]:
    """Mean and standard deviation of --lead-days. Raises SetupError.

    >>> lead_of("7:2")
    (7.0, 2.0)
    """
    mean, _, sd = text.partition(":")
    try:
        found = float(mean), float(sd or "0")
    except ValueError:
        found = (-1.0, -1.0)
    if not (0 <= found[0] <= 365 and 0 <= found[1] <= 365):
        raise SetupError(f"could not read --lead-days {text}", hint="write 7, or 7:2 for a deviation of two days")
    return found


def peers_of(text: str | None) -> list[str] | None:
    """The groups of --peers; None: whatever there is. Raises SetupError.

    >>> peers_of("rules,lightgbm")
    ['rules', 'lightgbm']
    """
    if text is None:
        return None
    asked = [word for word in text.split(",") if word]
    if not asked or not set(asked) <= set(PEERS):
        raise SetupError(f"could not read --peers {text}", hint=f"name some of {', '.join(PEERS)}")
    return asked


def horizons_of(text: str, longest: int) -> tuple[int, ...]:
    """The periods of --horizons, ascending. Raises SetupError.

    >>> horizons_of("14,7", 64)
    (7, 14)
    """
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > longest:
        raise SetupError(
            f"could not read --horizons {text}", hint=f"write whole numbers of periods up to {longest}: 7,14"
        )
    return tuple(found)
