"""The command line: every command has help with an example, every failure an exit code and a hint."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import types

import pytest
from confluent_kafka import Producer

from agents import cli
from agents.commands.output import show, table
from agents.commands.parsing import add_command
from stream.errors import Away, SetupError

LEAVES = cli._leaves(cli.parser())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A command `stock` that does what the test says."""

    def add_parser(subparsers: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
        add_command(subparsers, "stock", "Test.", "restock stock")

    fake = types.SimpleNamespace(add_parser=add_parser, run=lambda _args, _settings: 0)
    monkeypatch.setattr(cli, "_command", lambda _name: fake)
    return fake


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.prog)
def test_every_command_has_a_summary_and_an_example(leaf: argparse.ArgumentParser) -> None:
    """Help says what it does and shows a line that can be typed."""
    assert leaf.description
    assert leaf.epilog is not None
    assert leaf.epilog.startswith("example:\n")
    assert leaf.prog in leaf.epilog


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.prog)
def test_every_argument_says_what_it_is(leaf: argparse.ArgumentParser) -> None:
    """No option without a line of help."""
    assert [action.dest for action in leaf._actions if not action.help] == []


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.prog)
def test_commands_that_print_data_can_print_json(leaf: argparse.ArgumentParser) -> None:
    """All but those that run until they are stopped, and replay, whose `--report -` is JSON."""
    if leaf.prog not in ("restock demo", "restock worker", "restock replay"):
        assert "--json" in {option for action in leaf._actions for option in action.option_strings}


def test_all_commands_are_there() -> None:
    """The commands people were promised."""
    assert {"demo", "worker", "topics", "replay", "reconcile", "stock", "dead-letters", "doctor"} <= set(cli.COMMANDS)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`restock --version` names the program and a version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("restock ")


@pytest.mark.parametrize(
    ("error", "code"), [(SetupError("a", "b", "c"), 2), (Away("a", "b", "c"), 1), (KeyboardInterrupt(), 130)]
)
def test_an_error_becomes_its_exit_code(
    command: types.SimpleNamespace, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    """What happened, detail and hint go to standard error; no traceback."""

    def fail(_args: object, _settings: object) -> int:
        raise error

    command.run = fail
    assert cli.main(["stock"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    if code != 130:
        assert printed.err == "a\n  detail: b\n  hint: c\n"


def test_ctrl_c_within_a_clients_callback_is_no_fault(
    command: types.SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client loses the KeyboardInterrupt and fails as something else."""

    def interrupted(_args: object, _settings: object) -> int:
        producer = Producer({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 1, "log_level": 0})
        producer.produce("orders", b"", on_delivery=lambda *_: os.kill(os.getpid(), signal.SIGINT))
        return producer.flush(10)

    command.run = interrupted
    assert cli.main(["stock"]) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(
    command: types.SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Imports take a second or two, as does impatience."""
    command.add_parser = lambda _parsers: os.kill(os.getpid(), signal.SIGINT)
    assert cli.main(["stock"]) == 130
    assert capsys.readouterr().err == ""


def test_a_fault_of_ours_is_short_and_the_traceback_is_one_option_away(
    command: types.SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, one line and a hint; with --log-level debug the whole of it."""

    def fail(_args: object, _settings: object) -> int:
        raise ZeroDivisionError("of ours")

    command.run = fail
    assert cli.main(["stock"]) == 3
    short = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: of ours\n  hint:" in short
    assert "Traceback" not in short
    assert cli.main(["stock", "--log-level", "debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_wrong_settings_stop_before_the_command_begins(
    command: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the variable named, the command not run."""
    command.run = lambda _args, _settings: pytest.fail("it ran")
    monkeypatch.setenv("RESTOCK_SHELVES", "none")
    assert cli.main(["stock"]) == 2
    assert "RESTOCK_SHELVES='none'" in capsys.readouterr().err


def test_a_variable_nobody_reads_is_warned_of(
    command: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs; standard error names the likely typing error."""
    monkeypatch.setenv("RESTOCK_NAMSPACE", "x")
    assert cli.main(["stock"]) == 0
    assert "RESTOCK_NAMSPACE is not a setting (did you mean RESTOCK_NAMESPACE?)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["no-such"], ["topics"], ["stock", "--no-such"]])
def test_wrong_arguments_end_with_a_hint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and where help is."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_a_reader_that_stops_reading_is_no_error() -> None:
    """`restock stock --all | head -1` ends quietly."""
    script = "import sys; from agents import cli; from types import SimpleNamespace as S\n" + (
        "from agents.commands.output import show\n"
        "rows = ({'n': n} for n in range(100_000))\n"
        "run = lambda args, settings: show(rows, True, ['n']) and 0\n"
        "cli._command = lambda _: S(add_parser=lambda s: s.add_parser('stock'), run=run)\n"
        "sys.exit(cli.main(['stock']))\n"
    )
    run = subprocess.run(
        ["sh", "-c", '{ "$0" -c "$1"; echo "code $?" >&2; } | head -1', sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == '{"n": 0}\n'
    assert run.stderr == "code 0\n"


def test_rows_print_as_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json every field is there, one object a line."""
    rows = [{"sku": "Ä-1", "on_hand": 2.5, "more": {"a": None}}, {"sku": "b", "on_hand": 0, "more": {}}]
    assert show(rows, True, ("sku",)) == 2
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows


def test_tables_show_nothing_known_as_a_dash_and_zero_as_zero() -> None:
    """A missing number is not a zero."""
    assert table([{"a": None, "b": 0, "c": 0.5}], ("a", "b", "c")) == ["a  b    c", "-  0  0.5"]
