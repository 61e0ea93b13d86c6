"""The contract only grows: today's schemas against those of release 0.1.0, and the differ against planted breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream.events import schemas
from stream.events.topics import BY_NAME, Role
from tests.contracts import additive

KEPT = Path(__file__).parent / "kept" / "0.1.0"
NAMES = sorted(path.stem for path in KEPT.glob("*.json"))
Schema = dict[str, Any]


def is_incoming(topic: str) -> bool:
    """Whether others send it."""
    return BY_NAME[topic].role in (Role.SOURCE, Role.FACTS)


def complaints(topic: str, old: Schema, new: Schema) -> list[str]:
    """What somebody who kept to the old schema would run into."""
    return (additive.incoming if is_incoming(topic) else additive.outgoing)(old, new)


def kept(topic: str) -> Schema:
    """The schema as release 0.1.0 had it."""
    found: Schema = json.loads((KEPT / f"{topic}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("topic", NAMES)
def test_the_contract_only_grows(topic: str) -> None:
    """Whoever sends or reads by the schemas of 0.1.0 may go on."""
    path = schemas.DOCS / "schemas" / f"{topic}.json"
    assert path.exists(), f"the topic {topic} is gone from the contract"
    assert complaints(topic, kept(topic), json.loads(path.read_text("utf-8"))) == []


def test_all_of_0_1_0_is_kept() -> None:
    """Six source topics, four outgoing ones."""
    assert len(NAMES) == 10
    assert sum(map(is_incoming, NAMES)) == 6


def order(new: Schema) -> Schema:
    """An event of `orders`, to be changed."""
    its: Schema = new["$defs"]["OrderPlaced"]
    return its


BREAKS: dict[str, tuple[str, Callable[[Schema], object]]] = {
    "a field goes": ("orders", lambda s: order(s)["properties"].pop("channel")),
    "a field of a line goes": ("orders", lambda s: s["$defs"]["OrderLine"]["properties"].pop("unit_price")),
    "an optional field is demanded": ("orders", lambda s: order(s)["required"].append("channel")),
    "an incoming type narrows": ("orders", lambda s: order(s)["properties"].update(channel={"type": "string"})),
    "an incoming bound tightens": ("orders", lambda s: order(s)["properties"]["order_id"].update(maxLength=9)),
    "an incoming pattern appears": ("orders", lambda s: order(s)["properties"]["order_id"].update(pattern="^x")),
    "a value is refused": ("orders", lambda s: order(s)["properties"]["channel"].update({"not": {"const": "web"}})),
    "a keyword nobody can compare": ("orders", lambda s: order(s).update({"if": {}})),
    "a type of event goes": ("orders", lambda s: s["oneOf"].pop()),
    "an outgoing field goes": ("replenishments", lambda s: s["properties"].pop("order_ref")),
    "an outgoing field may be missing": ("replenishments", lambda s: s["required"].remove("status")),
    "an outgoing type widens": ("replenishments", lambda s: s["properties"]["sku"].update(type=["string", "null"])),
    "an outgoing choice grows": ("replenishments", lambda s: s["properties"]["status"]["enum"].append("lost")),
}

GROWTH: dict[str, tuple[str, Callable[[Schema], object]]] = {
    "an optional field comes": ("orders", lambda s: order(s)["properties"].update(note={"type": "string"})),
    "an incoming field need not be there": ("orders", lambda s: order(s)["required"].remove("order_id")),
    "an incoming bound loosens": ("orders", lambda s: order(s)["properties"]["order_id"].update(maxLength=999)),
    "a type of event comes": (
        "orders",
        lambda s: s["oneOf"].append({"type": "object", "properties": {"type": {"const": "order.split"}}}),
    ),
    "an outgoing field comes": ("replenishments", lambda s: s["properties"].update(note={"type": "string"})),
    "an outgoing field is always there": ("positions", lambda s: s.update(required=sorted(s["properties"]))),
    "other words": ("replenishments", lambda s: s.update(description="otherwise said", title="x")),
}


def changed(how: tuple[str, Callable[[Schema], object]]) -> list[str]:
    """Complaints about 0.1.0's schema with a change planted in it."""
    topic, change = how
    new = copy.deepcopy(kept(topic))
    change(new)
    assert new != kept(topic), "nothing was planted"
    return complaints(topic, kept(topic), new)


@pytest.mark.parametrize("what", BREAKS)
def test_a_planted_break_is_seen(what: str) -> None:
    """The differ can fail."""
    assert changed(BREAKS[what]) != []


@pytest.mark.parametrize("what", GROWTH)
def test_growth_is_let_through(what: str) -> None:
    """And it does not fail for what harms nobody."""
    assert changed(GROWTH[what]) == []
