"""Whether one JSON Schema is an additive change of another: nobody who kept to the old one is let down by the new one.

Of what comes in, everything the old schema allowed must still be allowed; of what goes out, everything the new one
allows must have been allowed before. Both are one question, `not_within`. A field that was named stays named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

ANNOTATIONS = {"$schema", "$defs", "$id", "title", "description", "default", "examples", "discriminator", "deprecated"}
AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")  # of b: a's must not be less
AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
SAME = ("pattern", "format", "multipleOf", "not")
KNOWN = {
    *("type", "const", "enum", "anyOf", "oneOf", "$ref", "properties", "required", "additionalProperties", "items"),
    *AT_LEAST,
    *AT_MOST,
    *SAME,
}


def incoming(old: Schema, new: Schema) -> list[str]:
    """What senders who kept to `old` would run into; empty where nothing."""
    return [*lost(old, new), *not_within(old, new, old, new)]


def outgoing(old: Schema, new: Schema) -> list[str]:
    """What readers who relied on `old` would run into; empty where nothing."""
    return [*lost(old, new), *not_within(new, old, new, old)]


def lost(old: Schema, new: Schema) -> list[str]:
    """Fields that were named and are not any more."""
    return [f"{path} is gone" for path in sorted(set(_named(old, old)) - set(_named(new, new)))]


def _named(schema: Schema, document: Schema, at: str = "", seen: tuple[str, ...] = ()) -> Iterator[str]:
    reference = schema.get("$ref")
    if reference in seen:
        return
    resolved = _resolve(schema, document)
    inside = (*seen, reference) if reference else seen
    kind = resolved.get("properties", {}).get("type", {}).get("const")
    at = f"{at}<{kind}>" if kind else at
    for name, its in resolved.get("properties", {}).items():
        yield f"{at}.{name}"
        yield from _named(its, document, f"{at}.{name}", inside)
    for part in (*resolved.get("anyOf", ()), *resolved.get("oneOf", ())):
        yield from _named(part, document, at, inside)
    for name in ("items", "additionalProperties"):
        if isinstance(resolved.get(name), dict):
            yield from _named(resolved[name], document, f"{at}[]", inside)


def not_within(a: Schema, b: Schema, a_document: Schema, b_document: Schema, at: str = "$") -> list[str]:
    """Why some value that fits `a` may not fit `b`; empty where every one does."""
    a, b = _resolve(a, a_document), _resolve(b, b_document)
    strange = (a.keys() | b.keys()) - KNOWN - ANNOTATIONS
    if strange:
        return [f"{at}: {', '.join(sorted(strange))} cannot be compared: teach tests/contracts/additive.py"]
    for choices in ("anyOf", "oneOf"):
        if choices in a:
            rest = _without(a, choices)
            parts = (not_within({**rest, **part}, b, a_document, b_document, at) for part in a[choices])
            return [why for part in parts for why in part]
    for choices in ("anyOf", "oneOf"):
        if choices in b:
            found = [not_within(a, part, a_document, b_document, at) for part in b[choices]]
            return [*min(found, key=len), *not_within(a, _without(b, choices), a_document, b_document, at)]
    return [*_values(a, b, at), *_bounds(a, b, at), *_parts(a, b, a_document, b_document, at)]


def _without(schema: Schema, word: str) -> Schema:
    return {name: its for name, its in schema.items() if name != word}


def _values(a: Schema, b: Schema, at: str) -> Iterator[str]:
    more = _types(a) - _types(b)
    if _types(b) and (not _types(a) or more):
        yield f"{at}: type {sorted(more) or 'any'} was not among {sorted(_types(b))}"
    allowed = _enumerated(b)
    if allowed is not None:
        its = _enumerated(a)
        extra = its - allowed if its is not None else {"any value"}
        if extra:
            yield f"{at}: {', '.join(sorted(map(str, extra)))} not among {sorted(map(str, allowed))}"


def _bounds(a: Schema, b: Schema, at: str) -> Iterator[str]:
    for name in AT_LEAST:
        if name in b and a.get(name, float("-inf")) < b[name]:
            yield f"{at}: {name} {a.get(name)} against {b[name]}"
    for name in AT_MOST:
        if name in b and a.get(name, float("inf")) > b[name]:
            yield f"{at}: {name} {a.get(name)} against {b[name]}"
    for name in SAME:
        if name in b and a.get(name) != b[name]:
            yield f"{at}: {name} {a.get(name)} against {b[name]}"


def _parts(a: Schema, b: Schema, a_document: Schema, b_document: Schema, at: str) -> Iterator[str]:
    missing = set(b.get("required", ())) - set(a.get("required", ()))
    if missing:
        yield f"{at}: {', '.join(sorted(missing))} required on one side only"
    for name in sorted(a.get("properties", {}).keys() & b.get("properties", {}).keys()):
        its, theirs = a["properties"][name], b["properties"][name]
        yield from not_within(its, theirs, a_document, b_document, f"{at}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(b.get(name), dict):
            its = a.get(name)
            yield from not_within(its if isinstance(its, dict) else {}, b[name], a_document, b_document, f"{at}[]")
    if b.get("additionalProperties") is False and a.get("additionalProperties") is not False:
        yield f"{at}: other fields are refused on one side only"


def _resolve(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for word in schema["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        schema = {**found, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _types(schema: Schema) -> set[str]:
    said = schema.get("type", [])
    types = {said} if isinstance(said, str) else set(said)
    return types | {"integer"} if "number" in types else types


def _enumerated(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None
