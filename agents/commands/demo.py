"""`restock demo`: a small shop, live."""

from __future__ import annotations

import argparse
from typing import Any

from agents.commands.parsing import add_command
from agents.settings import Settings
from agents.stopping import end_like_ctrl_c


def add_parser(subparsers: Any) -> None:
    """The parser of `restock demo`."""
    parser = add_command(
        subparsers,
        "demo",
        "Run a small shop on an embedded broker and ledger, and watch it.",
        "restock demo --seconds 30",
        more="""Four weeks pass in ten seconds, then an hour a second. RESTOCK_BROKERS and RESTOCK_REDIS_URL, where they
        are set, name real ones to use instead; what it makes there, in a namespace of its own, stays. Exit code 1 where
        no order was processed or no alert came out.""",
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this many seconds; 0: at Ctrl-C")
    parser.add_argument("--seed", type=int, default=1, help="the shop's random numbers (default 1)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the demo; returns the exit code."""
    from agents.demo.run import run as run_demo  # clients and rich take a moment to import

    end_like_ctrl_c()
    return run_demo(settings, args.seed, args.seconds)
