"""Why a record is refused: a short code for counting, and a detail that names the field."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import ValidationError

MOST_DETAIL_CHARS = 500
_NAMED_ERRORS = 3


class Reason(StrEnum):
    """The codes; a dead letter's `reason` is one of them."""

    TOO_LARGE = "too_large"  # more bytes than `max_record_bytes`
    TOMBSTONE = "tombstone"  # no value, in a topic where nothing can be deleted
    NOT_JSON = "not_json"  # not one JSON text in UTF-8, at most 200 levels deep
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"  # `type` is none of the topic's
    UNEXPECTED_TICK = "unexpected_tick"  # a clock.tick where the wall clock rules
    MISSING_FIELD = "missing_field"  # absent, or null where a value is needed
    WRONG_TYPE = "wrong_type"
    BAD_QUANTITY = "bad_quantity"
    BAD_TIME = "bad_time"  # not a time with a zone, or not a date
    BAD_VALUE = "bad_value"  # the right type, but not allowed
    KEY_MISMATCH = "key_mismatch"  # the Kafka key does not name the fact in the value
    TOO_FAR_AHEAD = "too_far_ahead"  # of the record's own Kafka timestamp
    TOO_OLD = "too_old"  # more than `max_behind_days` behind its partition
    COUNT_TOO_OLD = "count_too_old"  # said by the planner: movements since then are no longer all known


class Refusal(NamedTuple):
    """A reason and what exactly is wrong."""

    reason: Reason
    detail: str


def refusal(reason: Reason, detail: str) -> Refusal:
    """A refusal with a detail of bounded length."""
    return Refusal(reason, detail if len(detail) <= MOST_DETAIL_CHARS else detail[: MOST_DETAIL_CHARS - 3] + "...")


def from_validation(wrong: ValidationError) -> Refusal:
    """What pydantic found: the reason of the first error, the first few named, and how many more there are."""
    errors = wrong.errors(include_url=False, include_context=False)
    named = [f"{_path(e['loc'])}{_words(e)}" for e in errors[:_NAMED_ERRORS]]
    if len(errors) > _NAMED_ERRORS:
        named.append(f"and {len(errors) - _NAMED_ERRORS} more")
    return refusal(_reason(errors[0]), "; ".join(named))


def _path(loc: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    return f"{path}: " if path else ""


def _words(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["input"] is None:
        return "is null"
    if _is_beyond_double(error):
        return "is a number out of bounds"
    message: str = error["msg"]
    return message[:1].lower() + message[1:]


def _reason(error: Any) -> Reason:
    kind: str = error["type"]
    if kind == "missing" or error["input"] is None:
        return Reason.MISSING_FIELD
    if kind in ("bad_quantity", "bad_time", "bad_value"):
        return Reason(kind)
    if _is_beyond_double(error):
        return Reason.BAD_QUANTITY if error["loc"][-1] == "quantity" else Reason.BAD_VALUE
    return Reason.WRONG_TYPE if kind.endswith("_type") else Reason.BAD_VALUE


def _is_beyond_double(error: Any) -> bool:
    """Whether it is an integer of hundreds of digits: a JSON number, though pydantic calls it none."""
    return error["type"] == "float_type" and isinstance(error["input"], int) and not isinstance(error["input"], bool)
