"""What goes out: CloudEvents 1.0 in Kafka's binary mode, the same bytes for the same decision.

The envelope's attributes are headers (`ce_id`, `ce_type`, ...), the record's value is the data alone, as JSON
with sorted keys. Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

import orjson

from stream.events.instants import BELOW_MS, FROM_MS, text_from_ms
from stream.events.outgoing import Outgoing
from stream.events.public import DEAD_LETTER_EVENT
from stream.events.topics import DEAD_LETTERS

KEPT_VALUE_BYTES = 1 << 20  # of a refused record: 1.4 MB in base64, under the 2 MiB of the topic
KEPT_KEY_BYTES = 16_384

_VERSION = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")


def outgoing_event(
    topic: str, key: str, type: str, id: str, source: str, time_ms: int, subject: str, data: Mapping[str, Any]
) -> Outgoing:
    """One outgoing record.

    `type`, `source` and `id` must be plain ASCII; `subject` may be any text (a control character in it is written %XX).

    >>> out = outgoing_event("positions", "a@b", "restock.position", "i1", "/restock", 0, "a@b", {"b": 1, "a": 2})
    >>> out.value, dict(out.headers)["ce_time"]
    (b'{"a":2,"b":1}', b'1970-01-01T00:00:00.000Z')
    """
    value = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    time, about = text_from_ms(time_ms).encode(), printable(subject).encode()
    said = (("ce_id", id.encode()), *_of_type(source, type), ("ce_time", time), ("ce_subject", about))
    return Outgoing(topic, key.encode(), value, (_VERSION, *said, _JSON))


@lru_cache(maxsize=256)
def _of_type(source: str, type: str) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    return ("ce_source", source.encode()), ("ce_type", type.encode())


class Envelope:
    """What the messages of one type and one moment have in common; `type`, `source` and `time` are plain ASCII."""

    def __init__(self, topic: str, type: str, source: str, time: str) -> None:
        self._topic = topic
        self._said = (*_of_type(source, type), ("ce_time", time.encode()))

    def messages(self, keys: Sequence[bytes], ids: Iterable[bytes], values: Iterable[bytes]) -> list[Outgoing]:
        """Many of them, each about its own key, in columns: a third of what one by one takes."""
        plain = b"".join(keys).decode().isprintable()
        subjects = keys if plain else [printable(key.decode()).encode() for key in keys]
        names, about = zip(repeat("ce_id"), ids), zip(repeat("ce_subject"), subjects)
        headers = zip(repeat(_VERSION), names, *map(repeat, self._said), about, repeat(_JSON))
        return list(map(Outgoing, repeat(self._topic), keys, values, headers))


def printable(text: str) -> str:
    """A text whose control characters are written %XX."""
    if text.isprintable():
        return text
    return "".join(f"%{ord(c):02X}" if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 else c for c in text)


def dead_letter(
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    reason: str,
    detail: str,
) -> Outgoing:
    """A refused record with its reason. Its id names the record, so refusing it twice gives the same id.

    What does not fit is cut off and `truncated` says so; the record itself is still at its offset.

    >>> dead_letter("orders", 3, 17, 0, None, b"{", "not_json", "...").id
    'dead-letter/orders/3/17'
    """
    place = f"{topic}/{partition}/{offset}"
    kept_key = None if key is None else key[:KEPT_KEY_BYTES]
    kept_value = None if value is None else value[:KEPT_VALUE_BYTES]
    known = FROM_MS <= timestamp_ms < BELOW_MS  # -1: none; a producer may also write nonsense
    data = {
        "reason": reason,
        "detail": detail,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": text_from_ms(timestamp_ms) if known else None,
        "key": _base64(kept_key),
        "value": _base64(kept_value),
        "value_bytes": 0 if value is None else len(value),
        "truncated": kept_key != key or kept_value != value,
    }
    return outgoing_event(
        DEAD_LETTERS.name,
        place,
        DEAD_LETTER_EVENT,
        f"dead-letter/{place}",
        "/restock/intake",
        timestamp_ms if known else 0,
        place,
        data,
    )


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
