"""Ask a periodic agent for a run, and wait for what comes of it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from typing import Any

from agents.commands.output import print_json, word
from stream.errors import Away
from stream.ledger.office import Book, Office

LOOK_S = 0.5
MARGIN_S = 60  # beyond a run's own bound: somebody has to notice the request, and the plan has to be told


async def answered(office: Office, within_s: float, again: str) -> Book:
    """The book with what came of a request we make now; `again` is the command to repeat. Raises Away."""
    request, within_s = secrets.token_hex(8), within_s + MARGIN_S
    await office.ask(request)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        book = await office.book()
        if book.answered == request:
            return book
        if book.wanted != request:
            raise Away("somebody else asked meanwhile", "their request took the place of ours", again)
        await asyncio.sleep(LOOK_S)
    raise Away(
        "no worker answered in time",
        f"{within_s:g} s; " + ("nobody leads" if (await office.book()).leads_ms == 0 else "somebody leads"),
        "start a worker, or see its log; the request stands",
    )


def said(args: argparse.Namespace, told: dict[str, Any]) -> int:
    """Print what an agent's book says, a line each; the exit code: 1 where the run that was asked for failed."""
    if args.json:
        print_json(told)
    else:
        width = max(map(len, told)) + 1
        for name, value in told.items():
            for line in value if isinstance(value, list) else [value]:
                print(f"{name:{width}} {word(line)}")
    return 1 if args.action == "now" and told["status"] == "failed" else 0
