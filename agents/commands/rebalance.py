"""`restock rebalance`: ask the network agent for a plan, see what it does, or only look what it would do."""

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
from stream.ledger.office import Book, RedisOffice

WORDS = 3  # sentences of a kind that are shown
COLUMNS = ("sku", "from_location", "to_location", "quantity", "gain", "reason")


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock rebalance now`, `status` and `try`."""
    actions = add_command(
        subparsers,
        "rebalance",
        "Ask for a plan of transfers between locations, or look at the last one.",
        "restock rebalance now",
        log_level=False,
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    add_json(
        add_command(
            actions,
            "now",
            "Have the leading worker make a plan, and wait for what comes of it; exit code 1 where it failed.",
            "restock rebalance now --json",
            more="By schedule it happens every RESTOCK_REBALANCE_MINUTES.",
        )
    )
    add_json(
        add_command(actions, "status", "Who leads, and what came of the last plan.", "restock rebalance status --json")
    )
    add_json(
        add_command(
            actions,
            "try",
            "Solve here and show what would be proposed; nothing is proposed.",
            "restock rebalance try --json",
        )
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; returns the exit code."""
    if args.action == "try":
        return asyncio.run(_try(args, settings))
    return asyncio.run(_ask(args, settings))


async def _ask(args: argparse.Namespace, settings: Settings) -> int:
    office = RedisOffice(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        book = await office.book()
        if args.action == "now":
            book = await answered(office, settings.rebalance_seconds, "restock rebalance now")
        standing = await office.plan()
    finally:
        await office.close()
    return said(args, status(book, None if standing is None else (standing.id, standing.rows, standing.sent)))


def status(book: Book, standing: tuple[str, int, int] | None) -> dict[str, Any]:
    """What the book and the standing plan say; what one more of a limit would be worth and who got less, in words."""
    outcome = json.loads(book.outcome) if book.outcome else {}
    return {
        "leader": book.leader if book.leads_ms > 0 else None,
        "term": book.term,
        "waiting": book.wanted != book.answered,
        "status": outcome.get("status"),
        "why": outcome.get("why"),
        "detail": outcome.get("detail") or None,
        "at": text_from_ms(outcome["at_ms"]) if outcome else None,
        "seconds": outcome.get("seconds"),
        "gap": outcome.get("gap"),
        "objective": outcome.get("objective"),
        "standing_plan": standing[0] if standing else None,
        "proposed": standing[1] if standing else None,
        "told": standing[2] if standing else None,
        "planned_later": outcome.get("planned_later"),
        "worth": [row["words"] for row in outcome.get("duals", [])[:WORDS]],
        "cut_short": outcome.get("cut_short", {}).get("words", [])[:WORDS],
    }


async def _try(args: argparse.Namespace, settings: Settings) -> int:
    from agents.network.balance import read_answer
    from agents.solving import solve_apart

    answer = read_answer(await solve_apart(settings))
    rows = [
        {
            "sku": m.sku,
            "from_location": m.sender,
            "to_location": m.receiver,
            "quantity": m.milli / 1000,
            "lead_days": m.lead_days,
            "cost": m.cost,
            "gain": m.gain,
            "reason": m.reason,
        }
        for m in answer.moves
    ]
    show(rows, args.json, COLUMNS)
    if not args.json:
        print(f"{answer.summary['status']}: {len(rows):,} transfers, as of {text_from_ms(answer.as_of_ms)}")
        if answer.later:
            print(f"  {len(answer.later):,} more in later periods, a plan to share")
        words = [row["words"] for row in answer.summary.get("duals", [])[:WORDS]]
        for line in words + answer.summary.get("cut_short", {}).get("words", [])[:WORDS]:
            print(f"  {line}")
    return 0
