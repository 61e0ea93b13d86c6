"""`restock replay FILE`: what would Restock do with my file?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.commands.parsing import add_command
from agents.settings import Settings
from agents.stopping import end_like_ctrl_c
from stream.errors import SetupError

FORMATS = ("orders", "carts", "uci-online-retail", "jd-actions", "rees46")  # a test holds it to formats.catalogue
LOCAL_NAMESPACE = "replay"
LOCAL_MARK_INTERVAL_MS = 50  # nobody shares the embedded broker: marks may come as often as they like
UNANSWERED_HOURS = 8_760


def add_parser(subparsers: Any) -> None:
    """The parser of `restock replay`."""
    parser = add_command(
        subparsers,
        "replay",
        "Publish a file of orders or cart events, and report what became of every row.",
        "restock replay sales.csv --local --columns order_id=Invoice,sku=Code,quantity=Qty,occurred_at=Date "
        "--timezone Europe/London --initial-stock days:21 --with-supplier --report report.json",
        more="""The file is checked first, sorted by event time and published by key; the command waits until a worker
        has folded everything. docs/replay.md has the rules of each format and every field of the report.""",
    )
    parser.add_argument("file", type=Path, help="CSV (also .gz, .tsv) or parquet")
    _add_file_options(parser)
    _add_run_options(parser)


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="orders", help="what the file is (default: %(default)s)")
    parser.add_argument("--columns", default="", metavar="FIELD=COLUMN,...", help="which column is which field")
    parser.add_argument(
        "--actions", default="", metavar="WORD=ACTION,...", help="carts: view, add, remove, checkout, order"
    )
    parser.add_argument("--timezone", metavar="ZONE", help="of times without a zone (default: the format's, else UTC)")
    parser.add_argument("--time-format", metavar="FORMAT", help="of times, as strptime has it, e.g. %%d/%%m/%%Y")
    parser.add_argument("--location", metavar="NAME", help="where the file names none (default: main; UCI: UK)")
    parser.add_argument("--delimiter", default=",", help="of CSV columns (default: a comma)")
    parser.add_argument("--encoding", default="utf-8", help="of CSV text (default: %(default)s)")
    parser.add_argument(
        "--open-orders", action="store_true", help="orders wait for a fulfilment instead of leaving stock"
    )
    parser.add_argument(
        "--cancel-window-hours", type=int, default=24, metavar="N", help="UCI: older sales are returned (default: 24)"
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local", action="store_true", help="start an embedded broker, Redis and worker for it")
    parser.add_argument("--namespace", help="overrides RESTOCK_NAMESPACE (with --local: replay)")
    parser.add_argument("--clock", choices=("event", "wall"), help="overrides RESTOCK_CLOCK (with --local: event)")
    parser.add_argument("--speed", default="max", metavar="max|60x", help="event time over wall time (default: max)")
    parser.add_argument("--initial-stock", metavar="N|days:N", help="received of every SKU just before the first day")
    parser.add_argument(
        "--with-supplier",
        action="store_true",
        help="answer replenishments, and deliver after a lead time (without: with --local proposals stay open)",
    )
    parser.add_argument(
        "--supplier-lead-days",
        metavar="MEAN[,SD]",
        help="of that supplier (default: RESTOCK_DEFAULT_LEAD_DAYS and _SD)",
    )
    parser.add_argument("--warm-until", metavar="TIME", help="publish nothing dated before this time (RFC 3339)")
    parser.add_argument("--tick-minutes", type=int, default=60, metavar="N", help="of event time (default: 60)")
    parser.add_argument("--anyway", action="store_true", help="publish rows that lie in the future too")
    parser.add_argument("--check", action="store_true", help="read the file and say what is in it; publish nothing")
    parser.add_argument("--report", metavar="FILE", help="write the report as JSON (-: to standard output)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Replay the file; exit code 1 where a row sent was neither accepted nor repeated nor refused."""
    from agents.replay import run as replay  # numpy, Arrow and the clients take a moment to import

    end_like_ctrl_c()
    here = _settings(args, settings)
    order = _order(args, here)
    _require_writable(args.report)
    loaded = replay.load(order, here, any_age=args.check)
    for sentence in loaded.dates.sentences():
        print(sentence, file=sys.stderr)
    if args.check:
        return _say_check(loaded)
    report = _replay(args, order, loaded, here)
    if args.report is not None:
        _write(args.report, report)
    if args.report != "-":
        _summary(report)
    return 1 if report["unaccounted"] else 0


def _replay(args: argparse.Namespace, order: Any, loaded: Any, here: Settings) -> dict[str, Any]:
    from agents.installation import installation
    from agents.replay import local
    from agents.replay import run as replay
    from stream.transport import topics_admin

    if not args.local:
        topics_admin.require(installation(here))
        return replay.replay(order, loaded, here, lambda: None)
    with local.stack(here) as (theirs, worker):
        return replay.replay(order, loaded, theirs, lambda: local.check(worker))


def _settings(args: argparse.Namespace, settings: Settings) -> Settings:
    """The settings of this replay; those of an embedded worker suit the file unless they are set."""
    changes: dict[str, Any] = {}
    if args.local:
        suits = {"namespace": LOCAL_NAMESPACE, "clock": "event", "mark_interval_ms": LOCAL_MARK_INTERVAL_MS}
        if not args.with_supplier:  # see Without a supplier in docs/replay.md
            suits["proposal_expiry_hours"] = UNANSWERED_HOURS
        changes |= {name: value for name, value in suits.items() if name not in settings.model_fields_set}
    changes |= {name: getattr(args, name) for name in ("namespace", "clock") if getattr(args, name) is not None}
    warm = _instant(args.warm_until)
    if warm is not None and args.local:
        changes["publish_after"] = warm
    elif warm is not None and settings.publish_after != warm:
        raise SetupError(
            "the workers do not know of --warm-until",
            f"RESTOCK_PUBLISH_AFTER is {settings.publish_after}, --warm-until {args.warm_until}",
            f"set RESTOCK_PUBLISH_AFTER={args.warm_until} for the workers of a new namespace and for this command",
        )
    return settings.changed(**changes)


def _order(args: argparse.Namespace, here: Settings) -> Any:
    from agents.replay.formats import catalogue
    from agents.replay.formats.options import Options, pairs
    from agents.replay.opening import parse_opening
    from agents.replay.run import Order
    from agents.replay.supplier import Supplier, parse_lead

    options = Options(
        columns=pairs(args.columns, catalogue.FORMATS[args.format].fields),
        actions=pairs(args.actions),
        timezone=args.timezone,
        location=args.location,
        time_format=args.time_format,
        delimiter=args.delimiter,
        encoding=args.encoding,
        cancel_window_hours=_positive(args.cancel_window_hours, "--cancel-window-hours"),
        sold_at_once=not args.open_orders,
    )
    supplier = None
    if args.supplier_lead_days is not None and not args.with_supplier:
        raise SetupError("--supplier-lead-days says nothing without a supplier", hint="add --with-supplier")
    if args.with_supplier:
        supplier = Supplier(here.default_lead_days, here.default_lead_days_sd)
        supplier = supplier if args.supplier_lead_days is None else parse_lead(args.supplier_lead_days)
        if here.clock == "wall":
            raise SetupError(
                "--with-supplier needs the event clock", "its receipts come in event time", "--clock event"
            )
    order = Order(args.file, args.format, options, _speed(args.speed), supplier=supplier, anyway=args.anyway)
    opening = None if args.initial_stock is None else parse_opening(args.initial_stock)
    return replace(order, opening=opening, tick_ms=_positive(args.tick_minutes, "--tick-minutes") * 60_000)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e9:
        raise SetupError(f"could not read --speed {text}", hint="write max, 1x or 60x")
    return speed


def _positive(number: int, option: str) -> int:
    if number <= 0:
        raise SetupError(f"{option} must be above zero", f"it is {number}")
    return number


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise SetupError(f"could not read --warm-until {text}", str(wrong), "write 2011-09-01T00:00:00Z") from wrong
    if instant.tzinfo is None:
        raise SetupError(f"--warm-until {text} names no zone", hint="write 2011-09-01T00:00:00Z")
    return instant


def _say_check(loaded: Any) -> int:
    refused, repeated = loaded.lines.counted_here()
    print(f"rows {loaded.rows:,}: to be published {int(loaded.lines.published.sum()):,}, repeated {repeated:,}")
    for reason, rows in sorted(refused.items()):
        print(f"refused {reason}: {rows:,}")
    return 0


def _require_writable(where: str | None) -> None:
    """A report that cannot be written is worth knowing of before a replay of minutes."""
    if where is None or where == "-":
        return
    path = Path(where)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SetupError(f"could not write the report to {where}", hint="name a file in a directory that is there")


def _write(where: str, report: dict[str, Any]) -> None:
    text = json.dumps(report, indent=1, ensure_ascii=False)
    if where == "-":
        print(text)
        return
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SetupError(f"could not write the report to {where}", str(error)) from error


def _summary(report: dict[str, Any]) -> None:
    refused = sum(report["refused"].values())
    print(
        f"rows read {report['read']:,} = accepted {report['accepted']:,} + repeated {report['repeated']:,} "
        f"+ refused {refused:,}"
    )
    for reason, rows in report["refused"].items():
        print(f"  refused {reason}: {rows:,}")
    if report["unaccounted"]:
        print(f"  unaccounted: {report['unaccounted']:,}; does somebody else publish into this namespace?")
    for what in ("alerts", "replenishments"):
        kinds = report[what]
        print(f"{what}: raised {kinds['raised']:,}, resolved {kinds['resolved']:,}, open {kinds['open']:,}")
        for kind, counts in kinds["by_kind"].items():
            said = counts if isinstance(counts, int) else ", ".join(f"{verb} {n:,}" for verb, n in counts.items())
            print(f"  {kind}: {said}")
    stocked = sum(row["on_hand"] > 0 for row in report["positions"])
    print(f"positions: {len(report['positions']):,} SKU-locations, {stocked:,} with stock")
    print(f"took {report['seconds']:.1f} s, of which sending {report['sent_seconds']:.1f} s")
