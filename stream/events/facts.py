"""Catalog and calendar: what names a fact, which shelves it concerns, and its one way of being written.

A fact's key is a JSON array of strings, written without spaces and with characters outside ASCII as they are:
compaction compares bytes, so each fact has exactly one key.

    ["item", SKU]   ["policy", SKU, LOCATION]   ["location", LOCATION]   ["lane", FROM, TO]   ["supplier", SUPPLIER]
    ["calendar", KIND, SCOPE, TARGET, LOCATION or "", ENTRY]    KIND price, promotion, holiday, closure
                                                                 SCOPE sku, category, location, all (TARGET "")

A key that names a SKU sends its fact to that SKU's shelf; every other fact goes to all shelves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from stream.events.public import MOST_TEXT_CHARS, Fact

_NAMED_BY: Final[dict[str, tuple[str, ...]]] = {
    "item": ("sku",),
    "policy": ("sku", "location"),
    "location": ("location",),
    "lane": ("from_location", "to_location"),
    "supplier": ("supplier",),
}
_ENTRIES: Final = ("price", "promotion", "holiday", "closure")
_SCOPES: Final = ("sku", "category", "location", "all")

Key = tuple[str, ...]


class Home(NamedTuple):
    """Whom a fact is about."""

    sku: str  # empty: every shelf
    location: str


def key_of(fact: Mapping[str, Any]) -> Key:
    """The key of a fact, from its fields.

    >>> key_of({"type": "catalog.policy", "sku": "a", "location": "b"})
    ('policy', 'a', 'b')
    >>> key_of({"type": "calendar.holiday", "location": "b", "entry_id": "x"})
    ('calendar', 'holiday', 'location', 'b', '', 'x')
    """
    topic, _, kind = fact["type"].partition(".")
    if topic == "catalog":
        return (kind, *(fact[name] for name in _NAMED_BY[kind]))
    location = fact.get("location") or ""
    for scope in ("sku", "category"):
        if fact.get(scope) is not None:
            return ("calendar", kind, scope, fact[scope], location, fact["entry_id"])
    scope = "location" if location else "all"
    return ("calendar", kind, scope, location, "", fact["entry_id"])


def key_text(key: Key) -> str:
    """The one way to write a key.

    >>> key_text(("item", "Käse 1"))
    '["item","Käse 1"]'
    """
    return orjson.dumps(key).decode()


def parse_key(raw: bytes, topic: str) -> Key:
    """A key back from a record's bytes. Raises ValueError where the topic has no such key."""
    try:
        parts = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise ValueError("not a JSON array of strings") from wrong
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("not a JSON array of strings")
    key = tuple(parts)
    if not _lawful(key, topic):
        raise ValueError(f"names no fact of {topic}")
    if key_text(key).encode() != raw:
        raise ValueError(f"not written as {key_text(key)}")
    return key


def _lawful(key: Key, topic: str) -> bool:
    kind = key[0] if key else ""
    if topic == "catalog":
        return kind in _NAMED_BY and len(key) == 1 + len(_NAMED_BY[kind]) and all(_name(part) for part in key[1:])
    if kind != "calendar" or len(key) != 6 or key[1] not in _ENTRIES or key[2] not in _SCOPES:
        return False
    _, _, scope, target, location, entry = key
    if scope in ("location", "all") and location:
        return False
    return _name(entry) and (target == "" if scope == "all" else _name(target)) and (location == "" or _name(location))


def _name(text: str) -> bool:
    return 1 <= len(text) <= MOST_TEXT_CHARS


def home_of(key: Key) -> Home:
    """Whom a fact under this key is about.

    >>> home_of(("policy", "a", "b")), home_of(("calendar", "price", "category", "c", "", "x"))
    (Home(sku='a', location='b'), Home(sku='', location=''))
    """
    kind = key[0]
    if kind == "calendar":
        scope, target, location = key[2:5]
        return Home(target if scope == "sku" else "", target if scope == "location" else location)
    if kind in ("item", "policy"):
        return Home(key[1], key[2] if kind == "policy" else "")
    return Home("", key[1] if kind == "location" else "")


def fact_text(fact: Fact) -> str:
    """A fact's canonical JSON: what was said and nothing else, keys sorted, no spaces."""
    return orjson.dumps(fact.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS).decode()
