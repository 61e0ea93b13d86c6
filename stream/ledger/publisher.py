"""What the relay asks of the outgoing side; Kafka (with and without transactions) and memory give it.

A shelf sends to one partition of every outgoing topic: its own number, but for dead letters, which all share
partition 0. Whatever sends is fenced per shelf: `start` shuts an older sender of the shelf out *before* it reads the
tails, so nothing can be added to them behind our back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stream.events.outgoing import Outgoing

TOPICS = ("replenishments", "stock-alerts", "transfers", "positions", "forecasts", "dead-letters")
SHARED = frozenset({"dead-letters"})  # all shelves send to partition 0
SHELF_HEADER = "shelf"  # on messages of a shared partition: whose they are


class Found(NamedTuple):
    """A message of ours that is already in an outgoing partition."""

    topic: str
    offset: int
    about: bytes  # see `about`
    id: str


@dataclass(frozen=True)
class Tail:
    """What is published from the offsets we knew to the end, oldest first per topic; and where each partition ends."""

    found: Sequence[Found] = ()
    ends: Mapping[str, int] = field(default_factory=dict)


class Publisher(Protocol):
    """Sends a shelf's messages, each batch all or nothing where the broker can."""

    async def start(self, shelf: int, published: Mapping[str, int]) -> Tail:
        """Shut out older senders of the shelf, then read each outgoing partition from `published` to its end.

        A topic that `published` does not name is read from its beginning. Raises Away, SetupError.
        """
        ...

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        """Send in order; returns per topic the offset after its last message of ours.

        Raises Fenced when a newer sender was started for the shelf: nothing of this batch will be seen. Raises Away
        when it is not known whether it will: `start` again tells. Raises SetupError for what trying again cannot mend.
        """
        ...

    async def stop(self, shelf: int) -> None:
        """Let go of what the shelf needed. Does not raise."""
        ...

    async def close(self) -> None:
        """Stop all shelves and let go of connections."""
        ...


def partition_of(topic: str, shelf: int) -> int:
    """The partition of `topic` a shelf sends to.

    >>> partition_of("positions", 5), partition_of("dead-letters", 5)
    (5, 0)
    """
    return 0 if topic in SHARED else shelf


def headers_of(message: Outgoing, shelf: int) -> list[tuple[str, bytes]]:
    """The headers as sent: on a shared partition they say whose message it is."""
    headers = list(message.headers)
    if message.topic in SHARED:
        headers.append((SHELF_HEADER, b"%d" % shelf))
    return headers


def about(key: bytes, headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """What a message is about, a SKU-location: its `ce_subject`, else its key.

    Every owner of a shelf decides what is about one row in the same order. Two locations of a SKU share a key and not
    their order: it depends on where a sweep was cut.
    """
    return dict(headers).get("ce_subject") or key


def found_id(topic: str, shelf: int, headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The `ce_id` of a record in an outgoing partition; None for a record that is not the shelf's."""
    values = dict(headers)
    if topic in SHARED and values.get(SHELF_HEADER) != b"%d" % shelf:
        return None
    found = values.get("ce_id")
    return None if found is None else found.decode()
