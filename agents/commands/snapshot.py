"""`restock snapshot`: a copy of every shelf with its offset, into a directory."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings
from stream.errors import Away, SetupError
from stream.events.instants import parse_ms

COLUMNS = ("taken_at", "shelf", "rows", "offset", "bytes", "release")
SHELF_S = 60.0  # a shelf is one answer of Redis: 250,000 rows are 500 MB
NOTE_S = 5.0
KEPT = 14  # two weeks of daily ones; the log itself lasts 30 days


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock snapshot take` and `list`."""
    actions = add_command(
        subparsers,
        "snapshot",
        "Copy every shelf into a directory, or list such copies.",
        "restock snapshot take --store /backup",
        log_level=False,
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    take = add_command(
        actions,
        "take",
        "Copy every shelf with its offset; older snapshots go.",
        "restock snapshot take --store /backup --keep 14",
        more="""Run it once a day. Workers go on meanwhile; a shelf is read as of one moment, for which Redis does
        nothing else (docs/snapshots.md has times): where that is too long, let RESTOCK_REDIS_URL name a replica.
        With the log it is what `restock ledger rebuild` needs.""",
    )
    listed = add_command(actions, "list", "List the snapshots, newest first.", "restock snapshot list --store /backup")
    take.add_argument(
        "--note-at",
        metavar="URL",
        help="the primary, where RESTOCK_REDIS_URL names a replica: workers tell the snapshot's age from there",
    )
    for parser in (take, listed):
        parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="where snapshots are kept")
        add_json(parser)
    take.add_argument("--keep", type=int, default=KEPT, metavar="N", help=f"keep the N newest (default {KEPT})")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Take or list; returns the exit code."""
    from agents.snapshots.store import Store

    store = Store(args.store, settings.namespace)
    if args.action == "list":
        rows = [_row(manifest, entry) for _, manifest in store.snapshots() for entry in manifest.shelves]
        show(rows, args.json, COLUMNS)
        if not rows:
            print(f"no snapshot of namespace {settings.namespace} in {args.store}", file=sys.stderr)
        return 0 if rows else 1
    return asyncio.run(_take(args, settings, store))


async def _take(args: argparse.Namespace, settings: Settings, store: Any) -> int:
    from agents.snapshots.take import take
    from stream.ledger.redis_ledger import RedisLedger

    if args.keep < 1:
        raise SetupError("--keep must be at least 1", f"it is {args.keep}", "leave it out for two weeks of daily ones")
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=SHELF_S, timeout_s=2 * SHELF_S)
    try:
        _, manifest = await take(settings, ledger, store, lambda line: print(line, file=sys.stderr))
    except OSError as error:
        raise SetupError(
            f"could not write a snapshot to {args.store}",
            str(error),
            "a directory we may write to, with room; older ones are as they were",
        ) from error
    finally:
        await ledger.close()
    for gone in store.prune(args.keep):
        print(f"removed {gone.name}", file=sys.stderr)
    await _note(args.note_at or settings.redis_url, settings.namespace, parse_ms(manifest.taken_at))
    show([_row(manifest, entry) for entry in manifest.shelves], args.json, COLUMNS)
    return 0


async def _note(url: str, namespace: str, taken_ms: int) -> None:
    """Let workers know when it was taken; where that fails the snapshot is whole all the same."""
    from stream.ledger.redis_ledger import RedisLedger

    ledger = RedisLedger(url, namespace, timeout_s=NOTE_S)
    try:
        await ledger.note_snapshot(taken_ms)
    except (Away, SetupError) as error:
        print(f"warning: the snapshot is taken, but its time could not be noted for workers\n{error}", file=sys.stderr)
        print("  hint: --note-at names the primary where RESTOCK_REDIS_URL names a replica", file=sys.stderr)
    finally:
        await ledger.close()


def _row(manifest: Any, entry: Any) -> dict[str, Any]:
    return {"taken_at": manifest.taken_at, "release": manifest.release, **asdict(entry)}
