"""`restock topics`: make the installation's topics, say what they are."""

from __future__ import annotations

import argparse
from typing import Any

from agents.commands.output import show
from agents.commands.parsing import add_command, add_json
from agents.installation import create_topics, installation
from agents.settings import Settings
from stream.transport import topics_admin
from stream.transport.topics_admin import Found

COLUMNS = ("topic", "partitions", "key", "cleanup", "kept_days", "state")
DAY_MS = 86_400_000


def add_parser(subparsers: Any) -> None:
    """The parsers of `restock topics create` and `describe`."""
    commands = add_command(
        subparsers, "topics", "Create or describe the topics.", "restock topics create", log_level=False
    ).add_subparsers(dest="action", metavar="action", required=True, title="actions")
    create = add_command(
        commands,
        "create",
        "Create the topics that are not there yet.",
        "RESTOCK_SHELVES=8 RESTOCK_REPLICATION_FACTOR=3 restock topics create",
        more="Partitions, retention and compaction come with it. Topics that exist are left as they are.",
    )
    add_json(create)
    describe = add_command(
        commands,
        "describe",
        "Show every topic as it is; exit code 1 where one is not as it should be.",
        "restock topics describe --json",
    )
    add_json(describe)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Create or describe; returns the exit code."""
    here = installation(settings)
    created = create_topics(settings) if args.action == "create" else []
    rows = [_row(found, found.name in created) for found in topics_admin.describe(here)]
    show(rows, args.json, COLUMNS)
    return 0 if all(row["ok"] for row in rows) else 1


def _row(found: Found, created: bool) -> dict[str, Any]:
    wrong = found.differences()
    kept_days = found.topic.retention_ms // DAY_MS if found.topic.retention_ms >= 0 else None
    return {
        "topic": found.name,
        "partitions": found.partitions,
        "key": found.topic.key,
        "cleanup": found.topic.cleanup,
        "kept_days": kept_days,
        "purpose": found.topic.purpose,
        "ok": not wrong,
        "state": "; ".join(wrong) or ("created" if created else "as it should be"),
    }
