"""Why a record is refused: the reason's code, and a detail that names the field."""

from __future__ import annotations

import pytest

from stream.events.facts import key_of, key_text
from stream.events.public import INCOMING
from stream.events.reading import Said, read_one
from stream.events.refusals import MOST_DETAIL_CHARS, Reason, Refusal
from tests.contracts.samples import GOOD, PLACED, placed, text, with_line

CASES: list[tuple[bytes | None, Reason, str]] = [
    (None, Reason.TOMBSTONE, "orders has nothing to delete"),
    (b"", Reason.NOT_JSON, "EOF"),
    (PLACED[:-1], Reason.NOT_JSON, "EOF"),
    (PLACED + PLACED, Reason.NOT_JSON, "trailing characters"),
    (placed(x="NaN"), Reason.NOT_JSON, "expected value"),
    (placed(x='"\\ud800"'), Reason.NOT_JSON, ""),
    (placed(x="[" * 300 + "]" * 300), Reason.NOT_JSON, "recursion limit"),
    (b"[]", Reason.NOT_AN_OBJECT, "array"),
    (b"null", Reason.NOT_AN_OBJECT, "null"),
    (placed(type='"order.lost"'), Reason.UNKNOWN_TYPE, "order.placed"),
    (b"{}", Reason.MISSING_FIELD, "type: is missing"),
    (placed(type="null"), Reason.MISSING_FIELD, "type: is null"),
    (placed(type="7"), Reason.WRONG_TYPE, "type: should be a string, not a JSON number"),
    (placed(event_id="null"), Reason.MISSING_FIELD, "event_id: is null"),
    (placed(event_id="7"), Reason.WRONG_TYPE, "event_id: "),
    (placed(event_id='""'), Reason.BAD_VALUE, "event_id: "),
    (placed(customer_id="7"), Reason.WRONG_TYPE, "customer_id: "),
    (placed(occurred_at='"yesterday"'), Reason.BAD_TIME, "occurred_at: "),
    (placed(lines="[]"), Reason.BAD_VALUE, "lines: "),
    (placed(lines="[null]"), Reason.MISSING_FIELD, "lines[0]: is null"),
    (with_line(quantity='"1"'), Reason.WRONG_TYPE, "lines[0].quantity: "),
    (with_line(quantity="true"), Reason.WRONG_TYPE, "lines[0].quantity: "),
    (with_line(quantity="null"), Reason.MISSING_FIELD, "lines[0].quantity: is null"),
    (with_line(quantity="0"), Reason.BAD_QUANTITY, "lines[0].quantity: must be above zero"),
    (with_line(quantity="0.0005"), Reason.BAD_QUANTITY, "lines[0].quantity: must have at most three decimals"),
    (with_line(quantity="1e10"), Reason.BAD_QUANTITY, "lines[0].quantity: must lie between"),
    (with_line(quantity="9" * 30), Reason.BAD_QUANTITY, "lines[0].quantity: "),
    (with_line(quantity="9" * 400), Reason.BAD_QUANTITY, "lines[0].quantity: is a number out of bounds"),
    (with_line(unit_price="9" * 400), Reason.BAD_VALUE, "lines[0].unit_price: is a number out of bounds"),
    (with_line(unit_price="-1"), Reason.BAD_VALUE, "lines[0].unit_price: "),
    (b"x" * 3000, Reason.TOO_LARGE, "3,000 bytes; at most 2,048"),
]


@pytest.mark.parametrize(("value", "reason", "words"), CASES)
def test_a_refusal_says_why_and_where(value: bytes | None, reason: Reason, words: str) -> None:
    """The code can be counted, the detail names the field."""
    said = read_one("orders", b"o1", value, 2048)
    assert isinstance(said, Refusal)
    assert said.reason is reason
    assert words in said.detail


def test_many_errors_are_named_in_a_bounded_detail() -> None:
    """The first few and how many more; a detail never grows with the record."""
    said = read_one("orders", b"o1", placed(lines="[" + ",".join(["{}"] * 5000) + "]"), 1 << 20)
    assert isinstance(said, Refusal)
    assert said.detail.endswith("and 19997 more")
    said = read_one("orders", b"o1", placed(type='"' + "x" * 5000 + '"', order_id='"' + "y" * 5000 + '"'), 1 << 20)
    assert isinstance(said, Refusal)
    assert len(said.detail) <= MOST_DETAIL_CHARS


@pytest.mark.parametrize("topic", sorted(GOOD))
def test_required_fields_are_required_and_optional_ones_may_be_null(topic: str) -> None:
    """For each field of each type: absent and null are refused by name, or both are accepted."""
    for record in GOOD[topic]:
        for name, field in INCOMING[topic][record["type"]].model_fields.items():
            if name not in record:
                continue
            without, null = {n: v for n, v in record.items() if n != name}, {**record, name: None}
            for spoilt in (without, null):
                key = (
                    b""
                    if field.is_required()
                    else key_text(key_of(spoilt)).encode()
                    if topic in ("catalog", "calendar")
                    else b""
                )
                said = read_one(topic, key, text(spoilt), 1 << 20)
                if field.is_required():
                    assert isinstance(said, Refusal)
                    assert said.reason is Reason.MISSING_FIELD
                    assert said.detail.startswith(f"{name}: is ")
                else:
                    assert isinstance(said, Said), said
