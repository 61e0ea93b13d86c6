"""`restock ledger`: where each shelf stands against its log; accept that records are gone; begin shelves anew."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from agents import wiring
from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.planner.keeping import changes, load
from agents.settings import Settings
from stream.errors import Away, RecordsGone, SetupError
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, full_name, partitions
from stream.ledger.port import Held, Place, SourcePosition, Write
from stream.ledger.redis_ledger import RedisLedger

COLUMNS = ("topic", "partition", "begin", "ledger", "end", "state")
SLICE_FIELDS = 5_000  # deleted in one script: 10 ms of Redis
ASK_S = 10.0


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock ledger show`, `accept-loss` and `rebuild`."""
    actions = add_command(
        subparsers,
        "ledger",
        "Show where the ledger stands; accept lost records; begin shelves anew.",
        "restock ledger show",
        log_level=False,
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    add_json(
        add_command(
            actions,
            "show",
            "Where each partition stands against its log; exit code 1 where records are gone.",
            "restock ledger show --json",
        )
    )
    loss = add_command(
        actions,
        "accept-loss",
        "Go on behind records that were deleted before they were read.",
        "restock ledger accept-loss --yes",
        more="""For partitions whose records are gone the ledger moves to where the log begins now. What they said is
        lost: compare with a stock list afterwards (`restock reconcile`). Stop the workers first: whoever holds a shelf
        is shut out.""",
    )
    anew = add_command(
        actions,
        "rebuild",
        "Empty shelves, so that workers fold what sku-events holds from its beginning.",
        "restock ledger rebuild --shelf 3 --yes",
        more="""Refused where the log does not reach back to its first record, unless --partial. Start the workers with
        RESTOCK_PUBLISH_AFTER set to the time this command prints: nothing dated before it is published again.""",
    )
    anew.add_argument("--shelf", type=int, action="append", help="only this shelf; may be given several times")
    anew.add_argument("--partial", action="store_true", help="even where the log's beginning is gone")
    for parser in (loss, anew):
        parser.add_argument("--yes", action="store_true", help="do it; without, only say what would be done")
        add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; returns the exit code."""
    return asyncio.run(_run(args, settings))


async def _run(args: argparse.Namespace, settings: Settings) -> int:
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        found = [row async for row in _standing(settings, ledger)]
        if args.action == "show":
            show(found, args.json, COLUMNS)
            return 1 if any(row["gone"] for row in found) else 0
        if args.action == "accept-loss":
            return await _accept_loss(args, settings, ledger, [row for row in found if row["gone"]])
        return await _rebuild(args, settings, ledger, [row for row in found if row["topic"] == SKU_EVENTS.name])
    finally:
        await ledger.close()


async def _standing(settings: Settings, ledger: RedisLedger) -> Any:
    """One row a partition: where its log begins and ends, and where the ledger is."""
    counts = (settings.source_partitions, settings.fact_partitions, settings.shelves)
    sources = [(topic, p) for topic in SOURCES for p in range(partitions(BY_NAME[topic], *counts))]
    kept = await ledger.source_positions(sources)
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": f"{settings.namespace}.ledger"})
    try:
        for at in sources:
            position = kept.get(at)
            yield _row(settings, consumer, *at, None if position is None or position.offset < 0 else position.offset)
        for shelf in range(settings.shelves):
            place = (await ledger.peek(shelf, {})).place
            yield _row(settings, consumer, SKU_EVENTS.name, shelf, None if place.offset < 0 else place.offset)
    finally:
        consumer.close()


def _row(settings: Settings, consumer: Any, topic: str, partition: int, at: int | None) -> dict[str, Any]:
    where = TopicPartition(full_name(settings.namespace, topic), partition)
    try:
        begin, end = consumer.get_watermark_offsets(where, timeout=ASK_S)
    except KafkaException as error:
        raise Away(
            f"cannot ask where {where.topic} ends", str(error), "check RESTOCK_BROKERS; see `restock doctor`"
        ) from error
    gone = max(0, begin - at) if at is not None else 0
    state = f"{gone:,} records are gone" if gone else "not begun" if at is None else f"{max(end - at, 0):,} to read"
    return {
        "topic": topic,
        "partition": partition,
        "begin": begin,
        "ledger": at,
        "end": end,
        "gone": gone,
        "state": state,
    }


async def _accept_loss(
    args: argparse.Namespace, settings: Settings, ledger: RedisLedger, gone: list[dict[str, Any]]
) -> int:
    for row in gone if args.yes else ():
        at, begin = (row["topic"], row["partition"]), row["begin"]
        if row["topic"] == SKU_EVENTS.name:
            await _move(settings, ledger, row["partition"], begin, row["gone"])
        else:
            mark = (await ledger.source_positions([at]))[at].mark_ms
            await ledger.source_done({at: SourcePosition(begin, mark)})
        row["state"] = f"loss of {row['gone']:,} records accepted"
    show(gone, args.json, COLUMNS)
    if not gone and not args.json:
        print("nothing is gone")
    return _asked_for_yes(args) if gone else 0


async def _move(settings: Settings, ledger: RedisLedger, number: int, begin: int, lost: int) -> None:
    held = await ledger.acquire(number)
    shelf = load(wiring.planner_config(settings, number), held.sections, held.place.offset)
    shelf.offset = begin
    shelf.counters["lost:sku-events"] += lost
    await _keep(ledger, held, changes(shelf, held.place, [], 0))


async def _rebuild(
    args: argparse.Namespace, settings: Settings, ledger: RedisLedger, shelves: list[dict[str, Any]]
) -> int:
    chosen = [row for row in shelves if args.shelf is None or row["partition"] in args.shelf]
    if not chosen:
        raise SetupError("no such shelf", f"there are {settings.shelves}", "shelves count from 0")
    short = [row for row in chosen if row["begin"] > 0]
    if short and not args.partial:
        raise RecordsGone(
            "the log does not reach back to its first record",
            ", ".join(f"shelf {row['partition']} begins at {row['begin']:,}" for row in short),
            "restore a backup of Redis instead, or --partial and then `restock reconcile` against a stock list",
        )
    for row in chosen if args.yes else ():
        await _empty(ledger, row["partition"], row["begin"])
        row["state"] = f"emptied; {row['end'] - row['begin']:,} records to fold"
    show(chosen, args.json, COLUMNS)
    if args.yes and not args.json:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        print(f"now start the workers with RESTOCK_PUBLISH_AFTER={now}")
    return _asked_for_yes(args)


async def _empty(ledger: RedisLedger, number: int, begin: int) -> None:
    """Delete a shelf's state in slices, its meta last: dying in between leaves a shelf that refuses to load."""
    held = await ledger.acquire(number)
    for section in ("hot", "model", "facts", "journal", "carts"):
        for names in _slices(list(held.sections.get(section, {}))):
            views = {name.decode(): None for name in names} if section == "hot" else {}
            write = Write(held.place, held.place, {section: dict.fromkeys(names)}, (), views)
            await _keep(ledger, held, write)
    last = {"meta": dict.fromkeys(held.sections.get("meta", {}))}
    await _keep(ledger, held, Write(held.place, Place(begin), last))


def _slices(names: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(names), SLICE_FIELDS):
        yield names[at : at + SLICE_FIELDS]


async def _keep(ledger: RedisLedger, held: Held, write: Write) -> None:
    refused = (await ledger.keep([(held, write)]))[0]
    if refused is not None:
        raise refused


def _asked_for_yes(args: argparse.Namespace) -> int:
    if not args.yes and not args.json:
        print("nothing was changed; add --yes to do it")
    return 0 if args.yes else 1
