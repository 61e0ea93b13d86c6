"""Settings: variables over the file over defaults, refused by name, frozen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from agents.settings import Settings, load, unknown_variables, variable
from stream.errors import SetupError


def test_arguments_win_over_variables_over_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source covers the one below it, field by field."""
    file = tmp_path / "restock.toml"
    file.write_text('namespace = "file"\nshelves = 8\nlog_level = "error"\n')
    monkeypatch.setenv("RESTOCK_CONFIG", str(file))
    monkeypatch.setenv("RESTOCK_SHELVES", "16")
    monkeypatch.setenv("RESTOCK_LOG_LEVEL", "warning")
    settings = load(log_level="debug")
    assert (settings.namespace, settings.shelves, settings.log_level) == ("file", 16, "debug")
    assert settings.source_partitions == Settings.model_fields["source_partitions"].default


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("shelves", "0", "greater than or equal to 1"),
        ("shelves", "many", "integer"),
        ("web_port", "65536", "less than or equal to 65535"),
        ("brokers", "kafka", "'kafka' is not host:port"),
        ("brokers", "kafka:9092,other", "'other' is not host:port"),
        ("redis_url", "http://x", "redis://"),
        ("namespace", "a b", "pattern"),
        ("namespace", "a{b}", "pattern"),
        ("clock", "sundial", "'wall' or 'event'"),
        ("publish_after", "2026-05-01T00:00:00", "timezone"),
        ("currency", "euro", "pattern"),
        ("default_service_level", "1", "less than 1"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """Whoever set it reads which variable it is, what is wrong, and where the reference lies."""
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SetupError) as refused:
        load()
    assert variable(name) in refused.value.detail
    assert says in refused.value.detail
    assert "docs/settings.md" in refused.value.hint


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to start five times to learn of five mistakes."""
    monkeypatch.setenv("RESTOCK_SHELVES", "0")
    monkeypatch.setenv("RESTOCK_CLOCK", "none")
    with pytest.raises(SetupError) as refused:
        load()
    assert "RESTOCK_SHELVES" in refused.value.detail
    assert "RESTOCK_CLOCK" in refused.value.detail


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in the file does not pass as a default."""
    file = tmp_path / "restock.toml"
    file.write_text("shelfs = 8\n")
    monkeypatch.setenv("RESTOCK_CONFIG", str(file))
    with pytest.raises(SetupError, match="settings are wrong") as refused:
        load()
    assert "shelfs (did you mean shelves?)" in refused.value.detail


@pytest.mark.parametrize("content", [None, b"shelves = ", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_says_which_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """Missing, broken, or not text."""
    file = tmp_path / "restock.toml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("RESTOCK_CONFIG", str(file))
    with pytest.raises(SetupError, match="could not read the settings file") as refused:
        load()
    assert str(file) in refused.value.detail


def test_grace_is_not_longer_than_expiry() -> None:
    """A proposal cannot be young after it has expired."""
    with pytest.raises(SetupError) as refused:
        load(proposal_grace_hours=100, proposal_expiry_hours=50)
    assert "proposal_grace_hours must not be above proposal_expiry_hours" in refused.value.detail


def test_settings_do_not_change_once_read() -> None:
    """A worker keeps the settings it started with."""
    with pytest.raises(ValidationError):
        load().shelves = 2


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`RESTOCK_INSTANCE_ID=` in a manifest means no instance id."""
    monkeypatch.setenv("RESTOCK_INSTANCE_ID", "")
    monkeypatch.setenv("RESTOCK_SHELVES", "")
    assert load().instance_id is None
    assert load().shelves == Settings.model_fields["shelves"].default


def test_a_child_process_gets_exactly_our_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where we were told otherwise by variables or a file: they do not reach the child."""
    (tmp_path / "restock.toml").write_text('instance_id = "file"\nshelves = 9\n')
    monkeypatch.setenv("RESTOCK_CONFIG", str(tmp_path / "restock.toml"))
    monkeypatch.setenv("RESTOCK_CLOCK", "wall")
    ours = load().changed(
        clock="event", shelves=2, publish_after="2026-05-01T00:00:00Z", default_lead_days=2.5, state_dir=tmp_path
    )
    environment = ours.environment()
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert "RESTOCK_CONFIG" not in environment
    assert load() == ours


def test_changed_settings_are_checked_as_any() -> None:
    """A wrong value is refused by its name."""
    with pytest.raises(SetupError) as refused:
        load().changed(shelves=0)
    assert "RESTOCK_SHELVES" in refused.value.detail


def test_the_warm_up_instant_is_given_in_event_time_ms() -> None:
    """An RFC 3339 time with a zone becomes ms since 1970 UTC."""
    assert load(publish_after="2026-05-01T02:00:00+02:00").publish_after_ms == 1_777_593_600_000
    assert load().publish_after_ms is None


def test_a_password_is_not_shown() -> None:
    """Logs and doctor print the address without it, errors neither."""
    settings = load(redis_url="redis://ann:s3cret@ledger:6379/0")
    assert settings.safe_redis_url == "redis://ann:***@ledger:6379/0"
    with pytest.raises(SetupError) as refused:
        load(redis_url="http://ann:s3cret@ledger")
    assert "s3cret" not in str(refused.value)


def test_variables_nobody_reads_are_found_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESTOCK_BROKER would otherwise be ignored in silence; variables of tests and tools are known."""
    monkeypatch.setenv("RESTOCK_BROKER", "kafka:9092")
    monkeypatch.setenv("RESTOCK_CONFIG", "")
    monkeypatch.setenv("RESTOCK_SOAK_MINUTES", "1")
    assert unknown_variables() == ["RESTOCK_BROKER is not a setting (did you mean RESTOCK_BROKERS?)"]
