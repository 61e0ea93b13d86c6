"""The generated documents say what the reader does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stream.events import schemas, topics
from stream.events.public import INCOMING, OUTGOING
from stream.events.reading import Said, read_one
from tests.contracts.samples import GOOD, changed, event, paths, text

WRONG = [..., None, "", "x", "7", 7, 0, -1, 1.5, True, [], {}, [{}], "z" * 257]


def schema(topic: str) -> Draft202012Validator:
    document = json.loads((schemas.DOCS / "schemas" / f"{topic}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_the_documents_are_fresh() -> None:
    """What is in docs/ is what the models say; else run `python -m stream.events.schemas`."""
    assert schemas.stale() == []


def test_a_stale_document_is_seen(tmp_path: Any) -> None:
    """Missing, changed, and left over from a topic that is no more."""
    for path, body in schemas.documents().items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(body, "utf-8")
    assert schemas.stale(tmp_path) == []
    (tmp_path / "schemas" / "orders.json").unlink()
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "schemas" / "old.json").write_text("{}")
    assert schemas.stale(tmp_path) == ["asyncapi.json", "schemas/old.json", "schemas/orders.json"]


@pytest.mark.parametrize("topic", sorted(GOOD))
def test_samples_fit_their_schema(topic: str) -> None:
    """Every type, and a tick."""
    for record in [*GOOD[topic], event("clock.tick")]:
        schema(topic).validate(record)


@pytest.mark.parametrize("topic", sorted(GOOD))
def test_what_is_accepted_fits_the_schema(topic: str) -> None:
    """A producer that validates by the schema is never stricter than we are."""
    from stream.events.facts import key_of, key_text

    validator = schema(topic)
    refused = 0
    for record in GOOD[topic]:
        for path in paths(record):
            for wrong in WRONG:
                spoilt = changed(record, path, wrong)
                try:
                    key = key_text(key_of(spoilt)).encode()
                except (KeyError, TypeError, AttributeError):
                    key = b""
                if isinstance(read_one(topic, key, text(spoilt), 1 << 20), Said):
                    assert validator.is_valid(spoilt), spoilt
                else:
                    refused += not validator.is_valid(spoilt)
    assert refused > 50


@pytest.mark.parametrize("path", [("event_id",), ("lines",), ("lines", 0, "sku"), ("lines", 0, "quantity")])
@pytest.mark.parametrize("wrong", [..., None, True, {}])
def test_missing_null_and_wrong_fields_do_not_fit(path: tuple[Any, ...], wrong: Any) -> None:
    """The schema is strict where the reader is."""
    assert not schema("orders").is_valid(changed(GOOD["orders"][0], path, wrong))


@pytest.mark.parametrize("quantity", ["1", True, None, 0, -1, 1e9 + 1])
def test_what_is_no_quantity_does_not_fit(quantity: Any) -> None:
    """Strings and booleans are not numbers here either."""
    assert not schema("orders").is_valid(changed(GOOD["orders"][0], ("lines", 0, "quantity"), quantity))


def test_the_asyncapi_document_holds_every_topic_and_message() -> None:
    """Each public topic is a channel; every reference leads somewhere."""
    document = json.loads((schemas.DOCS / "asyncapi.json").read_text("utf-8"))
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {topic.name for topic in topics.TOPICS} - {"sku-events"}
    named = {name for models in INCOMING.values() for name in models} | {
        t for _, types in OUTGOING.values() for t in types
    }
    assert set(document["components"]["messages"]) == named | {"clock.tick"}

    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [ref for item in part for ref in references(item)]
        if not isinstance(part, dict):
            return []
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for item in part.values() for ref in references(item)]

    found = references(document)
    assert found
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_command_checks_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    """--check fails and names what is stale; without it the documents are written."""
    assert schemas.main(["--check"]) == 0
    monkeypatch.setattr(schemas, "DOCS", tmp_path)
    assert schemas.main(["--check"]) == 1
    assert "docs/asyncapi.json is stale" in capsys.readouterr().err
    assert schemas.main([]) == 0
    assert schemas.main(["--check"]) == 0
