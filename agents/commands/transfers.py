"""`restock transfers`: the standing plan as it stands now, transfer by transfer, read from the ledger."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.events.instants import text_from_ms
from stream.ledger.office import RedisOffice
from stream.ledger.redis_ledger import RedisLedger

PLANNED = "planned"
PLANNED_COLUMNS = ("leaves_at", "sku", "from_location", "to_location", "quantity", "plan_id")
COLUMNS = ("transfer_id", "status", "sku", "from_location", "to_location", "quantity", "expires_at", "reason")


def add_parser(subparsers: Any) -> None:
    """The parser of `restock transfers`."""
    parser = add_command(
        subparsers,
        "transfers",
        "Show transfers that are proposed, approved or shipped and not received.",
        "restock transfers --status proposed\nrestock transfers --to berlin --json",
        more="""What nobody ships before it expires is taken back, and proposed again if it is still worth it. Approve,
        ship, receive or cancel with events in stock-movements that carry the transfer_id. With
        RESTOCK_REBALANCE_PERIODS over 1 `--status planned` shows what the standing plan sends in later periods: to
        prepare for, made again before it is proposed.""",
    )
    parser.add_argument("--status", choices=("proposed", "approved", "shipped", PLANNED), help="only these")
    parser.add_argument("--sku", help="only of this SKU")
    parser.add_argument("--from", dest="sender", metavar="LOCATION", help="only from here")
    parser.add_argument("--to", dest="receiver", metavar="LOCATION", help="only to here")
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the open transfers; none is no error."""
    planned = args.status == PLANNED
    rows = asyncio.run(_planned(settings) if planned else _read(settings))
    wanted = {"status": args.status, "sku": args.sku, "from_location": args.sender, "to_location": args.receiver}
    kept = [row for row in rows if all(value in (None, row[name]) for name, value in wanted.items())]
    if show(kept, args.json, PLANNED_COLUMNS if planned else COLUMNS) == 0 and not args.json:
        print("nothing planned for later" if planned else "no open transfers")
    return 0


async def _read(settings: Settings) -> list[dict[str, Any]]:
    from agents.planner.view import open_transfers  # numpy and the models take a moment to import

    ledger = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        peeks = [await ledger.peek(shelf, {"transfers": None}) for shelf in await ledger.shelves()]
    finally:
        await ledger.close()
    rows = [row for peek in peeks for row in open_transfers(peek.sections["transfers"])]
    return sorted(rows, key=lambda row: (row["sku"], row["to_location"], row["from_location"], row["transfer_id"]))


async def _planned(settings: Settings) -> list[dict[str, Any]]:
    from agents.network.balance import read_plan

    office = RedisOffice(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        standing = await office.plan()
    finally:
        await office.close()
    if standing is None:
        return []
    return [
        {
            "status": PLANNED,
            "leaves_at": text_from_ms(later.leaves_ms),
            "sku": later.sku,
            "from_location": later.sender,
            "to_location": later.receiver,
            "quantity": later.milli / 1000,
            "plan_id": standing.id,
        }
        for later in read_plan(standing.body).later
    ]
