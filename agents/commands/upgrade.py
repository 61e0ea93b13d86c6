"""`restock upgrade`: which version each shelf decides by, and the end of a rolling upgrade.

Order of a finish; each step may be repeated, so it is run again where it was interrupted:
  1  no worker of an older release is in the group;
  2  each shelf in the ledger refuses code that lacks the newest version;
  3  a switch record is appended to each partition of `sku-events`;
  4  the workers fold it, each shelf at its own place in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any, NamedTuple

from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.held import require_all_shelves
from agents.planner import versions
from agents.settings import Settings
from agents.version import installed_version
from agents.worker_name import lacks
from stream.errors import SetupError
from stream.events.rows import switch_frame
from stream.events.topics import SKU_EVENTS
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.append import append
from stream.transport.members import client_ids

COLUMNS = ("shelf", "decides_by", "readable_from", "state")
WAIT_S = 60.0  # for workers to fold the switch; it is among the last records of the log
LOOK_S = 0.2


class Standing(NamedTuple):
    """A shelf in the ledger; 0 where nothing was kept of it."""

    shelf: int
    decides_by: int
    readable_from: int


def add_parser(subparsers: Any) -> None:
    """The parser of `restock upgrade`."""
    parser = add_command(
        subparsers,
        "upgrade",
        "Show by which version each shelf decides, or finish a rolling upgrade.",
        "restock upgrade\nrestock upgrade --finish --yes",
        more="""After an upgrade of the program, workers decide and write as the older release did, so that both may run
        side by side and a way back is open. When every worker is of the new release, --finish appends a record to
        sku-events that takes each shelf to the newest version; older releases are then refused. Exit code 1 while
        there is something to finish.""",
        log_level=False,
    )
    parser.add_argument("--finish", action="store_true", help="take every shelf to the newest version")
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what would be done")
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Show or finish; returns the exit code."""
    return asyncio.run(_run(args, settings))


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        found = await _standing(settings, ledger)
        if args.finish and args.yes:
            await _finish(settings, ledger, found)
            found = await _await_switched(settings, ledger)
        show([_row(one) for one in found], args.json, COLUMNS)
        left = [one for one in found if one.decides_by < versions.NEWEST]
        if not args.json:
            _say(args, settings, left)
        return 1 if left else 0
    finally:
        await ledger.close()


async def _standing(settings: Settings, ledger: RedisLedger) -> list[Standing]:
    found = []
    for shelf in range(settings.shelves):
        meta = (await ledger.peek(shelf, {"meta": [b"version", b"deciding", b"fixed"]})).sections["meta"]
        require_all_shelves(settings, meta)
        readers = int(meta.get(b"version", b"0"))
        found.append(Standing(shelf, int(meta.get(b"deciding", readers)), readers))
    return found


async def _finish(settings: Settings, ledger: RedisLedger, found: list[Standing]) -> None:
    running = await asyncio.to_thread(client_ids, settings.brokers, settings.namespace)
    older = [name for name in running if lacks(name, versions.NEWEST)]
    if older:  # 1
        raise SetupError(
            "workers of an older release are still running",
            f"{len(older)} of them: {', '.join(sorted(set(older)))}",
            "replace them by this release first; they would be refused the moment the upgrade is finished",
        )
    behind = [one for one in found if one.decides_by < versions.NEWEST]
    await ledger.shut_out_older([one.shelf for one in behind], versions.NEWEST)  # 2
    frame = switch_frame(versions.NEWEST)
    switches = {one.shelf: frame for one in behind}
    await asyncio.to_thread(append, settings.brokers, settings.namespace, SKU_EVENTS.name, switches)  # 3


async def _await_switched(settings: Settings, ledger: RedisLedger) -> list[Standing]:
    deadline = time.monotonic() + WAIT_S
    while True:  # 4
        found = await _standing(settings, ledger)
        if all(one.decides_by >= versions.NEWEST for one in found) or time.monotonic() > deadline:
            return found
        if not await asyncio.to_thread(client_ids, settings.brokers, settings.namespace):
            return found  # whoever is started next folds it
        await asyncio.sleep(LOOK_S)


def _row(one: Standing) -> dict[str, Any]:
    state = "not begun" if one.decides_by == 0 else "newest" if one.decides_by >= versions.NEWEST else "to be finished"
    return {**one._asdict(), "newest": versions.NEWEST, "state": state}


def _say(args: argparse.Namespace, settings: Settings, left: list[Standing]) -> None:
    if not left:
        print(f"every shelf decides by version {versions.NEWEST}, the newest of release {installed_version()}")
        return
    if args.finish and args.yes:
        print("the switch is in the log; shelves that are not there yet make it when a worker comes to it")
        return
    for version in versions.VERSIONS[min(one.decides_by for one in left) :]:
        print(f"version {version.number} (since {version.release}): {version.says}")
    for name in client_ids(settings.brokers, settings.namespace):
        print(f"worker {name}{': must be replaced first' if lacks(name, versions.NEWEST) else ''}")
    print("nothing was changed; restock upgrade --finish --yes takes every shelf to the newest version")
