"""What a replay with a worker of its own is set to, where nobody set it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents import cli
from agents.replay import command, local
from agents.settings import Settings, load


def settings_of(*words: str, **said: int) -> Settings:
    """The settings `restock replay FILE WORDS` would give its worker."""
    args = cli.parser(["replay"]).parse_args(["replay", "file.csv", *words])
    return command._settings(args, load(**said))


def test_proposals_nobody_answers_stay_open() -> None:
    """Only with --local, without a supplier, and where nobody said otherwise."""
    usual = Settings.model_fields["proposal_expiry_hours"].default
    assert settings_of("--local").proposal_expiry_hours == command.UNANSWERED_HOURS
    assert settings_of("--local", "--with-supplier").proposal_expiry_hours == usual
    assert settings_of().proposal_expiry_hours == usual
    assert settings_of("--local", proposal_expiry_hours=48).proposal_expiry_hours == 48


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--report", "nowhere/report.json"], "could not write the report"),
        (["--report", "."], "could not write the report"),
        (["--supplier-lead-days", "3"], "add --with-supplier"),
    ],
)
def test_what_would_be_wrong_at_the_end_is_said_at_the_beginning(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is published or a broker started."""
    file = tmp_path / "orders.csv"
    file.write_text("sku,quantity,occurred_at\na,1,2026-01-05 10:00\n")
    assert cli.main(["replay", str(file), "--local", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_what_a_local_replay_started(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, by SIGTERM too, once the way out was gone through: servers end and their files go."""
    file = tmp_path / "orders.csv"
    file.write_text("sku,quantity,occurred_at\na,1,2026-01-05 10:00\n")
    stopped = []

    @contextmanager
    def stack(_settings: Settings) -> Iterator[None]:
        try:
            os.kill(os.getpid(), number)
            yield
        finally:
            stopped.append(number)

    monkeypatch.setattr(local, "stack", stack)
    assert cli.main(["replay", str(file), "--local"]) == 130
    assert stopped == [number]
