"""`restock worker`: intake, planner and relay in one process, until it is told to stop."""

from __future__ import annotations

import argparse
from typing import Any

from agents.commands.parsing import add_command
from agents.settings import Settings


def add_parser(subparsers: Any) -> None:
    """The parser of `restock worker`."""
    add_command(
        subparsers,
        "worker",
        "Run a worker until SIGTERM or Ctrl-C.",
        "RESTOCK_BROKERS=kafka-1:9092 RESTOCK_REDIS_URL=redis://ledger:6379/0 restock worker",
        more="""It joins the others of its namespace and shares the partitions with them. SIGTERM finishes the batch in
        hand. It serves /metrics, /live and /ready.""",
    )


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Run until stopped; returns the exit code."""
    from agents.app import run_worker  # Faust takes a second to import

    return run_worker(settings)
