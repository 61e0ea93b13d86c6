"""docs/contract.md is complete: whatever the code knows has its line."""

from __future__ import annotations

import re

import pytest

from stream.events import topics
from stream.events.facts import key_of, key_text
from stream.events.public import INCOMING, OUTGOING, OrderLine, Tick, type_name
from stream.events.refusals import Reason
from stream.events.schemas import DOCS
from tests.contracts.samples import GOOD

PAGE = (DOCS / "contract.md").read_text("utf-8")
NAMED = set(re.findall(r"`([^`\s]+?)\??`", PAGE))


def section(title: str) -> str:
    """The text under a heading of the second level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("topic", topics.TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_its_line(topic: topics.Topic) -> None:
    """With key, number of partitions, and how long it is kept."""
    (line,) = [line for line in section("Topics").splitlines() if line.startswith(f"| `{topic.name}` |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    role = topic.role.value
    default = topics.DEFAULT_PARTITIONS[topic.role]
    assert cells[1] == ("names the fact" if "fact" in topic.key else topic.key)
    assert cells[2] == ("1" if role == "single" else f"{role} ({default})")
    assert cells[3] == ("compacted" if topic.cleanup == "compact" else f"{topic.retention_ms // 86_400_000} days")
    assert cells[4] == topic.purpose


@pytest.mark.parametrize("topic", sorted(INCOMING))
def test_every_incoming_type_and_field_is_described(topic: str) -> None:
    """In its topic's own section; an optional field is marked so."""
    text = section(topic)
    shared = {*Tick.model_fields}
    for name, model in INCOMING[topic].items():
        assert f"`{name}`" in text
        fields = {**model.model_fields, **(OrderLine.model_fields if topic == "orders" else {})}
        for field in fields.keys() - shared:
            assert re.search(rf"`{field}\??`", text), f"{name}: {field}"
    for field in shared:
        assert f"`{field}`" in section("What every event says")
    assert type_name(Tick) in NAMED


@pytest.mark.parametrize("topic", sorted(OUTGOING))
def test_every_outgoing_field_and_type_is_described(topic: str) -> None:
    """By the name it has on the wire."""
    text = section("What goes out")
    model, types = OUTGOING[topic]
    for field in model.model_fields:
        assert f"`{field}`" in text, field
    for name in types:
        assert f"`{name}`" in text or f"`.{name.rsplit('.')[-1]}`" in text, name


def test_every_reason_is_described() -> None:
    """And no reason is described that nobody gives."""
    said = re.findall(r"^\| `([a-z_]+)` \|", section("Why a record is refused"), re.MULTILINE)
    assert said == [str(reason) for reason in Reason]


def test_the_keys_of_facts_are_as_described() -> None:
    """The page's examples are what the code derives."""
    text = section("catalog")
    names = {"A1": "SKU", "mall": "FROM", "acme": "SUPPLIER"}
    for record in GOOD["catalog"]:
        key = key_text(key_of(record))
        for value, name in names.items():
            key = key.replace(f'"{value}"', f'"{name}"')
        key = key.replace('"shop"', '"TO"' if "FROM" in key else '"LOCATION"')
        assert f"`{key}`" in text
    entry = {"type": "calendar.promotion", "category": "fruit", "entry_id": "spring"}
    assert f"`{key_text(key_of(entry))}`" in section("calendar")


def test_optional_fields_are_marked_optional() -> None:
    """A field required by every type that has it is never written with a question mark."""
    for topic, models in INCOMING.items():
        required = {
            name
            for name in {n for model in models.values() for n in model.model_fields}
            if all(m.model_fields[name].is_required() for m in models.values() if name in m.model_fields)
        }
        marked = set(re.findall(r"`([a-z_0-9]+)\?`", section(topic)))
        assert marked & required == set(), topic
