"""`restock repartition`: more partitions for an installation that is stopped."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.errors import SetupError

if TYPE_CHECKING:
    from agents.repartition.move import Move
    from agents.repartition.rest import Unrest
    from stream.ledger.redis_ledger import RedisLedger

PLANNED = ("shelf", "rows", "from_others", "state")
DONE = ("shelf", "rows", "offset", "state")
SHELF_S = 60.0  # a shelf's keys are one answer of Redis


def add_parser(subparsers: Any) -> None:
    """The parser of `restock repartition`."""
    parser = add_command(
        subparsers,
        "repartition",
        "Move a stopped installation to more partitions.",
        "restock repartition --shelves 8\nrestock repartition --shelves 8 --store /backup --yes",
        more="""Every SKU-location goes to the shelf its SKU has among the new number, with all that is known of it;
        logs go on where they are, nothing is read or published again. Stop the workers first, when nothing is left to
        be read. Without --yes it only says what it would do, or what is not at rest. Interrupted? Run it again:
        until it is done, every worker refuses to start. Afterwards set RESTOCK_SHELVES (and RESTOCK_SOURCE_PARTITIONS)
        everywhere. The snapshot it makes in --store is what the new shelves are made from. Partitions cannot be taken
        away again.""",
        log_level=False,
    )
    parser.add_argument("--shelves", type=int, metavar="N", help="partitions of sku-events and of outgoing topics")
    parser.add_argument("--source-partitions", type=int, metavar="N", help="partitions of orders, carts and movements")
    parser.add_argument("--store", type=Path, metavar="DIR", help="where the snapshot goes; needed with --yes")
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what would be done")
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Move, or say what would be done; returns the exit code."""
    return asyncio.run(_run(args, settings))


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    from agents.repartition.move import Mover, refuse, standing
    from agents.snapshots.store import Store
    from stream.ledger.redis_ledger import RedisLedger
    from stream.transport.members import require_stopped

    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=SHELF_S, timeout_s=2 * SHELF_S)
    try:
        found = await standing(ledger, settings)
        move = _asked(args, settings, found)
        if move == found and not _is_begun(move):
            print(f"there are {_words(move)} already: nothing to do", file=sys.stderr)
            return 0
        if not args.yes:
            return await _say(args, settings, ledger, move)
        if args.store is None:
            raise SetupError("--store is missing", "the move is made from a snapshot", "name a directory on safe disk")
        await asyncio.to_thread(require_stopped, settings.brokers, settings.namespace)
        if not move.snapshot:
            refuse(await _unrest(settings, ledger, move))
        store = Store(args.store, settings.namespace)
        mover = Mover(settings, move, ledger, store, lambda line: print(line, file=sys.stderr))
        show(await mover.run(), args.json, DONE)
        numbers = f"RESTOCK_SHELVES={move.shelves} and RESTOCK_SOURCE_PARTITIONS={move.source_partitions}"
        print(f"all is done: set {numbers} everywhere, then start the workers", file=sys.stderr)
        return 0
    finally:
        await ledger.close()


def _is_begun(move: Move) -> bool:
    return (move.shelves_before, move.source_partitions_before) != (move.shelves, move.source_partitions)


def _words(move: Move) -> str:
    return f"{move.shelves} shelves and {move.source_partitions} source partitions"


def _asked(args: argparse.Namespace, settings: Settings, found: Move) -> Move:
    """The move that is asked for. Raises SetupError where another one is under way, there would be fewer, or more than
    settings can say: there is no way back."""
    asked = {"shelves": args.shelves, "source_partitions": args.source_partitions}
    move = replace(found, **{name: number for name, number in asked.items() if number is not None})
    settings.changed(shelves=move.shelves, source_partitions=move.source_partitions)
    if _is_begun(found) and move != found:
        raise SetupError(
            f"a move to {_words(found)} is under way",
            f"asked for are {_words(move)}",
            "finish it first: `restock repartition` without numbers goes on with it",
        )
    if move.shelves < move.shelves_before or move.source_partitions < move.source_partitions_before:
        raise SetupError(
            "partitions cannot be taken away",
            f"there are {_words(found)}, asked for are {_words(move)}",
            "for fewer, start a new namespace and replay into it",
        )
    return move


async def _unrest(settings: Settings, ledger: RedisLedger, move: Move) -> list[Unrest]:
    from agents.repartition.rest import unrest
    from stream.ledger.office import RedisOffice
    from stream.transport.reading import Reader

    office = RedisOffice(settings.redis_url, settings.namespace)
    reader = Reader(settings.brokers, settings.namespace)
    try:
        return await unrest(move.before(settings), move.after(settings), ledger, office, reader)
    finally:
        reader.close()
        await office.close()


async def _say(args: argparse.Namespace, settings: Settings, ledger: RedisLedger, move: Move) -> int:
    """What would be done, and what is not at rest."""
    from agents.repartition.move import planned
    from stream.transport.members import client_ids

    if move.snapshot:
        print(f"a move from snapshot {move.snapshot} is under way; add --store and --yes to go on with it")
        return 1
    rows = {shelf: await ledger.row_keys(shelf) for shelf in range(move.shelves_before)}
    show(planned(move.before(settings), move.after(settings), rows), args.json, PLANNED)
    if not args.json:
        for name in await asyncio.to_thread(client_ids, settings.brokers, settings.namespace):
            print(f"to be stopped first: worker {name}")
        for found in await _unrest(settings, ledger, move):
            print(f"not at rest: {found.what}\n  hint: {found.hint}")
        print("nothing was changed; add --store DIR and --yes to do it")
    return 1
