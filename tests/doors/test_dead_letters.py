"""`restock dead-letters`: list, show, and the same bytes to the same place again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from agents import cli
from agents.commands import tail
from agents.commands.dead_letters import COLUMNS
from agents.installation import installation
from agents.settings import Settings
from stream import kafka_address
from stream.errors import SetupError
from stream.events.cloudevents import dead_letter
from stream.transport import topics_admin
from tests.doors.conftest import Neighbours

AT_MS = 1_780_000_000_000
LARGE = b"x" * 1_500_000  # more than is kept of a refused record


@pytest.fixture
def settings(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation with three dead letters: the second was sent twice, the third is cut."""
    settings = neighbours.settings()
    neighbours.set_variables(monkeypatch, settings)
    topics_admin.create(installation(settings))
    letters = [
        dead_letter("orders", 3, 17, AT_MS, b"o-1", b'{"broken', "not_json", "unexpected end"),
        dead_letter("supply", 1, 5, AT_MS, None, b"\xff\x00", "bad_quantity", "quantity: must be above zero"),
        dead_letter("supply", 1, 5, AT_MS, None, b"\xff\x00", "bad_quantity", "quantity: must be above zero"),
        dead_letter("orders", 0, 9, AT_MS, b"o-2", LARGE, "too_large", "more than 1 MiB"),
    ]
    producer = Producer({"bootstrap.servers": settings.brokers, "message.max.bytes": 8 << 20})
    for letter in letters:
        name = f"{settings.namespace}.dead-letters"
        producer.produce(name, letter.value, letter.key, 0, headers=list(letter.headers))
    assert producer.flush(10) == 0
    return settings


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    """The JSON lines a command prints."""
    assert cli.main(["dead-letters", *words, "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def sent(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    """Partition, key and value of everything in a topic."""
    name = f"{settings.namespace}.{topic}"
    return [(m.partition(), m.key(), m.value()) for m in tail.read_to_end(settings.brokers, name)]


def test_each_letter_is_listed_once_with_where_it_came_from(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A letter that intake sent again after a crash is one letter."""
    rows = run(capsys, "list")
    assert [(row["id"], row["topic"], row["partition"], row["offset"]) for row in rows] == [
        ("0-0", "orders", 3, 17),
        ("0-1", "supply", 1, 5),
        ("0-3", "orders", 0, 9),
    ]
    assert set(COLUMNS) <= set(rows[0])


def test_filters_and_counts(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """By topic, by part of the reason, or only how many of each."""
    assert [row["id"] for row in run(capsys, "list", "--topic", "orders")] == ["0-0", "0-3"]
    assert [row["id"] for row in run(capsys, "list", "--reason", "quantity")] == ["0-1"]
    assert {(row["reason"], row["count"]) for row in run(capsys, "list", "--count")} == {
        ("not_json", 1),
        ("bad_quantity", 1),
        ("too_large", 1),
    }


def test_show_prints_the_value_even_where_it_is_not_text(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are not UTF-8 are shown as escapes; --json has them whole in base64."""
    assert cli.main(["dead-letters", "show", "0-1"]) == 0
    assert "\\xff\x00" in capsys.readouterr().out
    assert run(capsys, "show", "0-1")[0]["value"] == "/wA="


def test_the_same_bytes_go_to_the_place_they_came_from(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Key, value and partition are the refused record's; what was done is printed."""
    done = run(capsys, "resubmit", "0-1", "0-0")
    assert [(row["id"], row["done"], row["new_offset"]) for row in done] == [("0-1", "sent", 0), ("0-0", "sent", 0)]
    assert sent(settings, "orders") == [(3, b"o-1", b'{"broken')]
    assert sent(settings, "supply") == [(1, None, b"\xff\x00")]


def test_a_corrected_value_takes_the_place_of_one_letters(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of one that was cut and could not be sent otherwise."""
    corrected = tmp_path / "corrected.json"
    corrected.write_bytes(b'{"whole": 1}\n')
    run(capsys, "resubmit", "0-3", "--value", str(corrected))
    assert sent(settings, "orders") == [(0, b"o-2", b'{"whole": 1}\n')]


def test_all_that_the_filters_leave_can_be_sent(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """--all with --reason, as after a repair on our side; a dry run sends nothing."""
    assert [row["done"] for row in run(capsys, "resubmit", "--all", "--reason", "json", "--dry-run")] == [
        "would be sent"
    ]
    assert sent(settings, "orders") == []
    assert [row["id"] for row in run(capsys, "resubmit", "--all", "--reason", "json")] == ["0-0"]
    assert len(sent(settings, "orders")) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["resubmit"], "either ids or --all"),
        (["resubmit", "0-0", "--all"], "either ids or --all"),
        (["resubmit", "0-0", "0-1", "--value", "x"], "exactly one id"),
        (["resubmit", "0-0", "--value", "no-such-file"], "no-such-file"),
        (["resubmit", "0-3"], "too large to be kept whole"),
        (["resubmit", "--all"], "too large to be kept whole"),
        (["resubmit", "0-0", "7-7"], "no dead letter 7-7"),
        (["show", "7-7"], "no dead letter 7-7"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_sent(
    settings: Settings, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    """Exit code 2, the reason, and no record."""
    assert cli.main(["dead-letters", *words]) == 2
    assert says in capsys.readouterr().err
    assert sent(settings, "orders") == []


def test_a_record_near_the_largest_is_sent_again(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Kept whole, it has more bytes than a producer takes unless it is told."""
    whole = b"y" * 1_020_000
    letter = dead_letter("orders", 2, 3, AT_MS, None, whole, "not_json", "")
    producer = Producer({"bootstrap.servers": settings.brokers, "message.max.bytes": 8 << 20})
    producer.produce(f"{settings.namespace}.dead-letters", letter.value, letter.key, 0, headers=list(letter.headers))
    assert producer.flush(10) == 0
    assert [row["done"] for row in run(capsys, "resubmit", "0-4")] == ["sent"]
    assert sent(settings, "orders") == [(2, None, whole)]


def test_more_letters_than_the_client_holds_are_sent(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its queue is full, it is waited for."""
    told = kafka_address.client
    monkeypatch.setattr(kafka_address, "client", lambda b: told(b) | {"queue.buffering.max.messages": 1})
    done = run(capsys, "resubmit", "0-0", "0-1")
    assert [row["done"] for row in done] == ["sent", "sent"]


def test_a_topic_that_has_no_dead_letters_is_no_typing_error(settings: Settings) -> None:
    """`order` is no topic: it would list none, as if none were refused."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["dead-letters", "list", "--topic", "order"])
    assert ended.value.code == 2


def test_an_installation_without_topics_says_how_to_make_them(neighbours: Neighbours) -> None:
    """Reading a topic that is not there neither hangs nor makes it."""
    before = neighbours.topics()
    with pytest.raises(SetupError, match="no topic nowhere") as refused:
        list(tail.read_to_end(neighbours.brokers, "nowhere.dead-letters"))
    assert refused.value.hint == "restock topics create"
    assert neighbours.topics() == before
