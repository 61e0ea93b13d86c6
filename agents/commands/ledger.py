"""`restock ledger`: where each shelf stands against its log; accept that records are gone; make shelves anew."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agents import wiring
from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.planner.keeping import changes, load, require_not_moving
from agents.settings import Settings
from agents.snapshots import rebuild
from agents.snapshots.store import ShelfEntry, Store, read
from stream import kafka_address
from stream.errors import Away, RecordsGone, SetupError
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, full_name, partitions
from stream.ledger.kafka_tail import TailReader
from stream.ledger.port import Held, SourcePosition, Write
from stream.ledger.publisher import TOPICS, partition_of
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.members import require_stopped
from stream.transport.reading import Reader

COLUMNS = ("topic", "partition", "begin", "ledger", "end", "state")
PROGRESS_RECORDS = 10_000
ASK_S = 10.0
NO_SUCH = (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock ledger show`, `accept-loss` and `rebuild`."""
    actions = add_command(
        subparsers,
        "ledger",
        "Show where the ledger stands; accept lost records; make shelves anew.",
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
        "Make shelves anew from the newest snapshot and the log.",
        "restock ledger rebuild --store /backup --yes\nrestock ledger rebuild --shelf 3 --yes",
        more="""The log is folded from the newest snapshot in --store that it still covers, or from its beginning, up to
        its end; then the shelf in Redis is replaced. Nothing is published meanwhile; what was decided and never
        published goes out when a worker takes the shelf. Stop the workers first. Refused where neither a snapshot nor
        the log's first record is there, unless --partial.""",
    )
    anew.add_argument("--store", type=Path, metavar="DIR", help="where `restock snapshot take` keeps snapshots")
    anew.add_argument("--shelf", type=int, action="append", help="only this shelf; may be given several times")
    anew.add_argument("--partial", action="store_true", help="even where nothing covers the log's beginning")
    over = add_command(
        actions,
        "step-over",
        "Leave out one record that a worker ends at again and again.",
        "restock ledger step-over --topic sku-events --partition 3 --offset 1042 --yes",
        more="""The record must be the very next one of its partition, as `restock ledger show` says: what lies before
        it is done, nothing else is skipped. What it said is missing from then on: keep a copy for the report. Stop the
        workers first; whoever holds the shelf is shut out.""",
    )
    over.add_argument("--topic", required=True, choices=[*SOURCES, SKU_EVENTS.name], help="short name of the topic")
    over.add_argument("--partition", type=int, required=True, help="partition the record is in")
    over.add_argument("--offset", type=int, required=True, help="offset of the record")
    for parser in (loss, anew, over):
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
        if args.action == "step-over":
            return await _step_over(args, settings, ledger, found)
        return await _rebuild(args, settings, ledger, [row for row in found if row["topic"] == SKU_EVENTS.name])
    finally:
        await ledger.close()


async def standing(settings: Settings) -> list[dict[str, Any]]:
    """One row a partition, as `restock ledger show` has it. Raises Away."""
    ledger = RedisLedger(settings.redis_url, settings.namespace, timeout_s=settings.redis_timeout_ms / 1000)
    try:
        return [row async for row in _standing(settings, ledger)]
    finally:
        await ledger.close()


async def _standing(settings: Settings, ledger: RedisLedger) -> Any:
    """One row a partition: where its log begins and ends, and where the ledger is."""
    counts = (settings.source_partitions, settings.fact_partitions, settings.shelves)
    sources = [(topic, p) for topic in SOURCES for p in range(partitions(BY_NAME[topic], *counts))]
    kept = await ledger.source_positions(sources)
    consumer = Consumer(
        {**kafka_address.client(settings.brokers), **kafka_address.QUIET, "group.id": f"{settings.namespace}.ledger"}
    )
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
        if error.args[0].code() in NO_SUCH:
            raise SetupError(
                f"no partition {partition} of topic {where.topic}",
                f"the broker at {settings.safe_brokers} does not have it",
                "check RESTOCK_NAMESPACE, RESTOCK_BROKERS and numbers of partitions: `restock doctor` compares them",
            ) from error
        raise Away(
            f"cannot ask where {where.topic} ends", str(error), "check RESTOCK_BROKERS; see `restock doctor`"
        ) from error
    # the sources' logs were there before us; ours we read from its first record, so that a shelf without a place lacks
    # what is gone of it
    read = 0 if at is None and topic == SKU_EVENTS.name else at
    gone = 0 if read is None else max(0, begin - read)
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


async def _step_over(
    args: argparse.Namespace, settings: Settings, ledger: RedisLedger, found: list[dict[str, Any]]
) -> int:
    at = (args.topic, args.partition)
    row = next((row for row in found if (row["topic"], row["partition"]) == at), None)
    here = None if row is None else row["begin"] if row["ledger"] is None else row["ledger"]
    if row is None or here != args.offset or args.offset >= row["end"]:
        raise SetupError(
            f"offset {args.offset:,} of {args.topic} partition {args.partition} is not the next record to be read",
            "there is no such partition"
            if row is None
            else f"the next one is {here:,}, the log ends at {row['end']:,}",
            "`restock ledger show` says where each partition stands",
        )
    if args.yes and args.topic == SKU_EVENTS.name:
        await _move(settings, ledger, args.partition, args.offset + 1, 1)
    elif args.yes:
        mark = (await ledger.source_positions([at])).get(at, SourcePosition(0, None)).mark_ms
        await ledger.source_done({at: SourcePosition(args.offset + 1, mark)})
    row["state"] = f"record {args.offset:,} {'left out' if args.yes else 'would be left out'}"
    show([row], args.json, COLUMNS)
    return _asked_for_yes(args)


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
    store = None if args.store is None else Store(args.store, settings.namespace)
    starts = {row["partition"]: _covering(store, row, args.partial) for row in chosen}
    for row in chosen:
        start = starts[row["partition"]]
        row["from"] = row["begin"] if start is None else start[1].offset
        row["state"] = f"{row['end'] - row['from']:,} records to fold"
    if args.yes:
        await asyncio.to_thread(require_stopped, settings.brokers, settings.namespace)
        if store is not None:
            await _put_sources_back(ledger, store)
        for row in chosen:
            row["state"] = await _rebuild_one(settings, ledger, row, starts[row["partition"]], args.partial)
    show(chosen, args.json, ("partition", "begin", "from", "end", "state"))
    return _asked_for_yes(args)


def _covering(store: Store | None, row: dict[str, Any], partial: bool) -> tuple[Path, ShelfEntry] | None:
    """The newest snapshot the log goes on from; None to begin at the log's beginning."""
    shelf = row["partition"]
    for folder, manifest in store.snapshots() if store is not None else ():
        entry = manifest.entry(shelf)
        if entry is not None and row["begin"] <= entry.offset <= row["end"]:
            return folder, entry
    if row["begin"] > 0 and not partial:
        raise RecordsGone(
            f"nothing covers the beginning of shelf {shelf}",
            f"its log begins at {row['begin']:,}; "
            + ("no --store was given" if store is None else f"no snapshot in {store.folder} stands there or later"),
            "restore a backup of Redis instead, or --partial and then `restock reconcile` against a stock list",
        )
    return None


async def _put_sources_back(ledger: RedisLedger, store: Store) -> None:
    """Intake's positions as of the newest snapshot, where Redis knows none or earlier ones."""
    for _, manifest in store.snapshots():
        await ledger.source_done({(t, p): SourcePosition(offset, mark) for t, p, offset, mark in manifest.sources})
        return


async def _rebuild_one(
    settings: Settings,
    ledger: RedisLedger,
    row: dict[str, Any],
    start: tuple[Path, ShelfEntry] | None,
    partial: bool,
) -> str:
    shelf = row["partition"]
    copy = None if start is None else read(*start)
    meta = (await ledger.peek(shelf, {"meta": None})).sections["meta"]
    require_not_moving(shelf, meta)
    config = rebuild.as_begun(wiring.planner_config(settings, shelf), meta)
    reader, tails = (
        Reader(settings.brokers, settings.namespace),
        TailReader(_client(settings), settings.namespace, TOPICS),
    )
    try:
        tail = await asyncio.to_thread(tails.read, shelf, copy.published if copy is not None else {})
        first = {topic: reader.first_ms(topic, partition_of(topic, shelf)) for topic in TOPICS}
        owed = rebuild.Owed(tail, {topic: at for topic, at in first.items() if at is not None})
        records = reader.records(SKU_EVENTS.name, shelf, row["from"], row["end"])
        say = _progress(shelf, row["end"] - row["from"])
        rebuilt = rebuild.refold(config, copy, records, owed, say, partial=partial)
    finally:
        reader.close()
    rebuilt.shelf.offset = max(rebuilt.shelf.offset, row["from"])
    await rebuild.cut_over(ledger, rebuilt, tail.ends)
    return f"{rebuilt.shelf.n:,} rows; {rebuilt.records:,} records folded, {len(rebuilt.owed):,} messages owed"


def _progress(shelf: int, total: int) -> Callable[[int], None]:
    def say(count: int) -> None:
        if count % PROGRESS_RECORDS == 0:
            print(f"shelf {shelf}: {count:,} of {total:,} records folded", file=sys.stderr)

    return say


def _client(settings: Settings) -> dict[str, Any]:
    return {**kafka_address.client(settings.brokers)}


async def _keep(ledger: RedisLedger, held: Held, write: Write) -> None:
    refused = (await ledger.keep([(held, write)]))[0]
    if refused is not None:
        raise refused


def _asked_for_yes(args: argparse.Namespace) -> int:
    if not args.yes and not args.json:
        print("nothing was changed; add --yes to do it")
    return 0 if args.yes else 1
