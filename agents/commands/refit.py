"""`restock refit`: ask the slow lane for a run, see what came of the last one, or only look what it would say."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from agents.commands.asking import answered, said
from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.events.instants import text_from_ms
from stream.ledger.office import REFIT, Book, RedisOffice

COLUMNS = ("guest", "sku", "location", "model", "as_of", "horizons", "median", "q95")


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock refit now`, `status` and `try`."""
    actions = add_command(
        subparsers,
        "refit",
        "Have heavier models fitted beside the event path, or look at the last run.",
        "restock refit now",
        log_level=False,
        more="ARIMA and exponential smoothing of the rows with most money at stake, and with the extra `trees` "
        "LightGBM of all; each joins the forecast as a guest whose word is weighed and fades over 28 days.",
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    add_json(
        add_command(
            actions,
            "now",
            "Have the leading worker make a run, and wait for what comes of it; exit code 1 where it failed.",
            "restock refit now --json",
            more="By schedule it happens every RESTOCK_REFIT_MINUTES.",
        )
    )
    add_json(add_command(actions, "status", "Who leads, and what came of the last run.", "restock refit status --json"))
    add_json(
        add_command(
            actions, "try", "Fit here and show what would be told; nothing is told.", "restock refit try --json"
        )
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; returns the exit code."""
    if args.action == "try":
        return asyncio.run(_try(args, settings))
    return asyncio.run(_ask(args, settings))


async def _ask(args: argparse.Namespace, settings: Settings) -> int:
    office = RedisOffice(settings.redis_url, settings.namespace, REFIT, command_s=settings.redis_timeout_ms / 1000)
    try:
        book = await office.book()
        if args.action == "now":
            book = await answered(office, settings.refit_seconds, "restock refit now")
    finally:
        await office.close()
    return said(args, status(book))


def status(book: Book) -> dict[str, Any]:
    """What the book says."""
    outcome = json.loads(book.outcome) if book.outcome else {}
    rows = outcome.get("rows", {})
    return {
        "leader": book.leader if book.leads_ms > 0 else None,
        "waiting": book.wanted != book.answered,
        "status": outcome.get("status"),
        "why": outcome.get("why"),
        "detail": outcome.get("detail") or None,
        "at": text_from_ms(outcome["at_ms"]) if outcome else None,
        "rows_refitted": rows.get("refit"),
        "could_be_fitted": outcome.get("could_be_fitted"),
        "moved": outcome.get("moved"),
        "models": ", ".join(f"{name} {count}" for name, count in outcome.get("models", {}).items()) or None,
        "rows_of_trees": rows.get("trees"),
        "trees": outcome.get("trees"),
        "cpu_seconds": outcome.get("cpu_seconds"),
        "seconds": outcome.get("seconds"),
        "run": outcome.get("plan_id"),
    }


async def _try(args: argparse.Namespace, settings: Settings) -> int:
    import numpy as np
    import pyarrow as pa

    from agents.refit.record import read_answer
    from agents.refitting import refit_apart
    from stream.events.outlooks import SCHEMA

    answer = read_answer(await refit_apart(settings))
    rows = []
    for lot in answer.lots:
        for one in pa.ipc.read_record_batch(pa.py_buffer(lot.batch), SCHEMA).to_pylist():
            first = one["quantile"][: len(lot.levels)]
            rows.append(
                {
                    "guest": lot.guest,
                    **{name: one[name] for name in ("sku", "location", "model")},
                    "as_of": str(np.datetime64(one["as_of"], "D")),
                    "horizons": one["horizon"] if args.json else ", ".join(map(str, one["horizon"])),
                    "median": round(float(np.interp(0.5, lot.levels, first)), 3),
                    "q95": round(float(np.interp(0.95, lot.levels, first)), 3),
                }
            )
    show(rows, args.json, COLUMNS)
    if not args.json:
        what = answer.summary
        print(f"{what['status']}: {len(rows):,} rows in {what['cpu_seconds']} CPU seconds; trees: {what['trees']}")
    return 0
