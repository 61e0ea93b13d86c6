"""`restock`: parse, load settings, run one command, answer with an exit code.

0    done
1    a neighbour failed, or a check found something
2    a setting, topic or argument is wrong
3    a fault of ours
130  interrupted
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from agents.commands.parsing import Parser
from agents.stopping import interrupts_noted
from agents.version import installed_version
from stream.errors import RestockError

COMMANDS = {
    "demo": "agents.commands.demo",
    "shop": "agents.shop.door.command",
    "worker": "agents.commands.worker",
    "topics": "agents.commands.topics",
    "replay": "agents.replay.command",
    "reconcile": "agents.reconcile.command",
    "policy": "agents.policy.command",
    "plan": "agents.plan.command",
    "backtest": "agents.backtest.command",
    "rebalance": "agents.commands.rebalance",
    "refit": "agents.commands.refit",
    "transfers": "agents.commands.transfers",
    "stock": "agents.commands.stock",
    "dead-letters": "agents.commands.dead_letters",
    "ledger": "agents.commands.ledger",
    "snapshot": "agents.commands.snapshot",
    "upgrade": "agents.commands.upgrade",
    "repartition": "agents.repartition.command",
    "doctor": "agents.commands.doctor",
}

FAULT, INTERRUPTED = 3, 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code. Everything that fails says what, detail and hint on standard error."""
    words = sys.argv[1:] if argv is None else argv
    asked = [words[0]] if words and words[0] in COMMANDS else COMMANDS  # a command need not wait for others' imports
    debug = False
    with interrupts_noted() as interrupted:
        try:
            args = parser(asked).parse_args(words)
            debug = getattr(args, "log_level", None) == "debug"
            return _run(args)
        except RestockError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:  # `restock stock --all | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            return INTERRUPTED if interrupted() else _fault(error, debug)


def _run(args: argparse.Namespace) -> int:
    from agents import logs  # with what else takes long to import, where an interrupt is no traceback
    from agents.settings import load, unknown_variables

    overrides = {"log_level": args.log_level} if getattr(args, "log_level", None) else {}
    settings = load(**overrides)
    logs.setup(settings.log_level, settings.log_format)
    if args.command != "doctor":  # it lists them as findings
        for complaint in unknown_variables():
            print(f"warning: {complaint}", file=sys.stderr)
    return _command(args.command).run(args, settings) or 0


def _fault(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"unexpected {type(error).__name__}: {error}", file=sys.stderr)
    if not debug:
        print("  hint: add --log-level debug for the traceback, and please report it", file=sys.stderr)
    return FAULT


def parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands."""
    root = Parser(
        prog="restock",
        description="Streaming replenishment for shops: orders in, reorder points, replenishments and alerts out.",
        epilog="example:\n  restock demo --seconds 30",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"restock {installed_version()}")
    subparsers = root.add_subparsers(dest="command", metavar="command", required=True, title="commands")
    for name in names:
        _command(name).add_parser(subparsers)
    return root


def _command(name: str) -> Any:
    """The module of a command."""
    return importlib.import_module(COMMANDS[name])


def page(generated: str) -> str:
    """docs/commands.md: every command with its arguments and example."""
    lines = [
        "# Commands",
        "",
        generated,
        "",
        "All read the [settings](settings.md). Errors go to standard error as what happened, detail and hint; the exit",
        "code is 0 when done, 1 when a neighbour failed or a check found something, 2 when a setting or argument is",
        "wrong, 3 for a fault of ours, 130 when interrupted.",
    ]
    for command in _leaves(parser()):
        lines += ["", f"## `{command.prog}`", "", command.description or "", "", *_arguments(command)]
        lines += ["```sh", *(line.strip() for line in (command.epilog or "").splitlines()[1:]), "```"]
    return "\n".join(lines) + "\n"


def _leaves(root: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Parsers that run something, in the order they were added."""
    children: list[Any] = [a for a in root._actions if isinstance(a, argparse._SubParsersAction)]
    if len(children) == 0:
        return [root]
    return [leaf for action in children for child in action.choices.values() for leaf in _leaves(child)]


def _arguments(command: argparse.ArgumentParser) -> list[str]:
    """A table of one command's arguments; built here, as argparse's own help differs between versions of Python."""
    shown = [a for a in command._actions if a.help != argparse.SUPPRESS and not isinstance(a, argparse._HelpAction)]
    if len(shown) == 0:
        return []
    lines = ["| argument | meaning |", "| --- | --- |"]
    for action in shown:
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            choices = "|".join(map(str, action.choices)) if action.choices else ""
            name += f" {choices or action.metavar or action.dest.upper()}"
        meaning = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", meaning)) + " |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
