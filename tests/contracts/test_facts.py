"""Facts: one key each, the same from the value and from the bytes, and a home."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.events.facts import Home, home_of, key_of, key_text, parse_key
from stream.events.kinds import Kind
from stream.events.reading import Said, read_one
from stream.events.refusals import Reason, Refusal
from tests.contracts.samples import GOOD, changed, text

FACTS = [(topic, record) for topic in ("catalog", "calendar") for record in GOOD[topic]]


def told(topic: str, record: dict[str, Any], key: bytes | None = None) -> Said | Refusal:
    return read_one(topic, key_text(key_of(record)).encode() if key is None else key, text(record), 1 << 20)


@pytest.mark.parametrize(("topic", "record"), FACTS)
def test_a_fact_is_a_row_of_canonical_json(topic: str, record: dict[str, Any]) -> None:
    """What was said is kept, sorted; unknown fields and nulls are not."""
    said = told(topic, {**record, "unknown": [1], "name": None})
    assert isinstance(said, Said)
    (row,) = said.rows
    kept = json.loads(row.fact or "")
    assert kept == {name: value for name, value in record.items() if name != "name"}
    assert row.fact == json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert (row.kind, row.sku, row.location) == (Kind.FACT, *home_of(key_of(kept)))


@pytest.mark.parametrize(("topic", "record"), FACTS)
def test_a_tombstone_takes_back_the_fact_of_its_key(topic: str, record: dict[str, Any]) -> None:
    """Its row names the fact by the same key, and goes to the same shelves."""
    key = key_text(key_of(record))
    said = read_one(topic, key.encode(), None, 1 << 20)
    assert isinstance(said, Said)
    (row,) = said.rows
    assert (row.kind, row.fact) == (Kind.FACT_GONE, key)
    assert (row.sku, row.location) == home_of(key_of(record))
    assert parse_key(key.encode(), topic) == key_of(record)


@pytest.mark.parametrize(("topic", "record"), FACTS)
def test_a_fact_under_another_key_is_refused(topic: str, record: dict[str, Any]) -> None:
    """A wrong key would let compaction drop the wrong fact; the message says the right one."""
    right = key_text(key_of(record))
    for wrong in (b"", b"A1", right.replace('","', '", "').encode(), right.encode() + b" ", right.encode("utf-16")):
        said = told(topic, record, wrong)
        assert isinstance(said, Refusal)
        assert said.reason is Reason.KEY_MISMATCH
        assert right in said.detail
    said = read_one(topic, None, text(record), 1 << 20)
    assert isinstance(said, Refusal)
    assert said.reason is Reason.KEY_MISMATCH


@pytest.mark.parametrize(
    "key",
    [b"", b"null", b"{}", b"[]", b'["item"]', b'["item",1]', b'["item",""]', b'["item","a","b"]', b'["items","a"]',
     b'["item", "a"]', b'["item","\\u0061"]', b'["item","a"]x', b'["item","' + b"x" * 257 + b'"]', b"\xff", b"[" * 5000,
     b'["calendar","price","sku","a","","e"]'],
)  # fmt: skip
def test_a_tombstone_that_names_no_fact_is_refused(key: bytes) -> None:
    """Also where the key is right but not written in its one way."""
    said = read_one("catalog", key, None, 1 << 20)
    assert isinstance(said, Refusal)
    assert said.reason is Reason.KEY_MISMATCH


UNLAWFUL_ENTRIES = [
    ["calendar", "price", "sku", "a", "", ""],
    ["calendar", "price", "sku", "", "", "e"],
    ["calendar", "fair", "sku", "a", "", "e"],
    ["calendar", "price", "shop", "a", "", "e"],
    ["calendar", "price", "location", "a", "b", "e"],
    ["calendar", "price", "all", "a", "", "e"],
    ["calendar", "price", "all", "", "b", "e"],
    ["calendar", "price", "sku", "a", "e"],
    ["item", "a"],
]


@pytest.mark.parametrize("key", UNLAWFUL_ENTRIES)
def test_calendar_keys_have_one_shape(key: list[str]) -> None:
    """Scope, target and location fit together."""
    with pytest.raises(ValueError, match="names no fact of calendar"):
        parse_key(key_text(tuple(key)).encode(), "calendar")


def test_facts_go_where_they_are_needed() -> None:
    """A fact about a SKU goes to its shelf; about a category, location, lane or supplier, to all."""
    homes = {key_text(key_of(record)): home_of(key_of(record)) for _, record in FACTS}
    assert homes == {
        '["item","A1"]': Home("A1", ""),
        '["policy","A1","shop"]': Home("A1", "shop"),
        '["location","shop"]': Home("", "shop"),
        '["lane","mall","shop"]': Home("", ""),
        '["supplier","acme"]': Home("", ""),
        **{f'["calendar","{kind}","sku","A1","shop","e1"]': Home("A1", "shop") for kind in KINDS},
        **{f'["calendar","{kind}","category","fruit","","e1"]': Home("", "") for kind in KINDS},
        **{f'["calendar","{kind}","location","shop","","e1"]': Home("", "shop") for kind in KINDS},
        **{f'["calendar","{kind}","all","","","e1"]': Home("", "") for kind in KINDS},
    }


KINDS = ("price", "promotion", "holiday", "closure")


def test_a_key_holds_any_character() -> None:
    """A SKU with quotes, brackets, control characters and letters from anywhere has one key, and it comes back."""
    for sku in ('a"b', "a\\b", "a,b]", "é😀", "\x00\n\x7f", "a@b%40", " "):
        key = key_text(("item", sku)).encode()
        assert parse_key(key, "catalog") == ("item", sku)
        assert isinstance(told("catalog", changed(GOOD["catalog"][0], ("sku",), sku)), Said)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/Argentina/Ushuaia"])
def test_time_zones_of_the_tz_database_are_known(zone: str) -> None:
    """By the pinned copy of it."""
    assert isinstance(told("catalog", changed(GOOD["catalog"][2], ("timezone",), zone)), Said)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "europe/berlin", "+01:00", "local"])
def test_other_time_zones_are_refused(zone: str) -> None:
    """A day cannot be cut by a zone nobody knows."""
    said = told("catalog", changed(GOOD["catalog"][2], ("timezone",), zone))
    assert isinstance(said, Refusal)
    assert said.reason is Reason.BAD_VALUE
    assert said.detail.startswith("timezone: ")


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"last_day": "2026-01-31"}, Reason.BAD_VALUE, "last_day"),
        ({"last_day": "2099-01-31"}, Reason.BAD_VALUE, "last_day"),
        ({"first_day": "2026-02-30"}, Reason.BAD_TIME, "first_day"),
        ({"sku": "A1", "category": "fruit"}, Reason.BAD_VALUE, "category"),
        ({"discount_share": 1}, Reason.BAD_VALUE, "discount_share"),
        ({"entry_id": None}, Reason.MISSING_FIELD, "entry_id"),
    ],
)
def test_a_calendar_entry_makes_sense(changes: dict[str, Any], reason: Reason, field: str) -> None:
    """Days in order and not too many, one target, a share under one."""
    entry = next(e for e in GOOD["calendar"] if e["type"] == "calendar.promotion" and "category" in e)
    said = told("calendar", {**entry, **changes}, b"any")
    assert isinstance(said, Refusal)
    assert (said.reason, said.detail.split(":")[0]) == (reason, field)
