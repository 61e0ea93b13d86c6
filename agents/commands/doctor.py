"""`restock doctor`: looks at every setting and neighbour, and says what to do about what it finds."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from agents.commands.output import print_json
from agents.commands.parsing import add_command, add_json
from agents.settings import Settings, unknown_variables
from stream.errors import RestockError

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do where it is not well."""

    level: Level
    about: str
    what: str
    hint: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def add_parser(subparsers: Any) -> None:
    """The parser of `restock doctor`."""
    parser = add_command(
        subparsers,
        "doctor",
        "Check every setting and connection, and say what to do.",
        "restock doctor --json",
        more="Exit code 1 where a finding is `fail`. It changes nothing, but for what --probe does.",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="also ask the broker for the time, by a record in a topic that is made and deleted for it",
    )
    add_json(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print every finding as it is found; exit code 1 where one is `fail`."""
    from agents.commands import checks  # neighbours' clients take a moment to import

    failed = False
    for finding in examine(settings, [_settings, *checks.ALL, *([checks.broker_clock] if args.probe else [])]):
        failed |= finding.level == "fail"
        if args.json:
            print_json(asdict(finding))
        else:
            print(f"{finding.level:4}  {finding.about}: {finding.what}")
            if finding.hint:
                print(f"      hint: {finding.hint}")
    return 1 if failed else 0


def examine(settings: Settings, checks: list[Check]) -> Iterator[Finding]:
    """The findings of these checks in order; a check that a neighbour stops is a finding too."""
    for check in checks:
        try:
            yield from check(settings)
        except RestockError as error:
            name = check.__name__.strip("_").replace("_", " ")
            yield Finding("fail", name, f"{error.what}; {error.detail}".rstrip("; "), error.hint)


def _settings(settings: Settings) -> Iterator[Finding]:
    """They were read, or we would not be here; are there others nobody reads?"""
    typos = unknown_variables()
    yield from (Finding("warn", "settings", typo, "docs/settings.md lists them all") for typo in typos)
    if not typos:
        yield Finding("ok", "settings", f"namespace {settings.namespace}, clock {settings.clock}")
