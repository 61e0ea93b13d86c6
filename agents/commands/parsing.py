"""What every command's parser has: a summary, an example, a log level."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any, NoReturn

LOG_LEVELS = ("debug", "info", "warning", "error")


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors end with the next action."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is; exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n  hint: {self.prog} --help\n")


def add_command(
    subparsers: Any, name: str, summary: str, example: str, more: str = "", log_level: bool = True
) -> argparse.ArgumentParser:
    """A command's parser: `summary` is one line, `example` one or more lines of shell, `more` a paragraph.

    >>> commands = Parser(prog="restock").add_subparsers()
    >>> print(add_command(commands, "stock", "Show stock.", "restock stock A-1").epilog)
    example:
      restock stock A-1
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description="\n\n".join(filter(None, (summary, textwrap.fill(" ".join(more.split()), 100)))),
        epilog=f"example:\n{textwrap.indent(example, '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if log_level:
        parser.add_argument("--log-level", choices=LOG_LEVELS, help="overrides RESTOCK_LOG_LEVEL")
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """The `--json` option of commands that print data."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
