"""How an outbox entry is written: its sequence number (8 bytes, big-endian), then the packed message."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stream.events.outgoing import Outgoing, pack, unpack


def entry(sequence: int, message: Outgoing) -> bytes:
    """Bytes of one outbox entry."""
    return sequence.to_bytes(8, "big") + pack(message)


def entries(first: int, messages: Sequence[Outgoing]) -> list[bytes]:
    """Entries numbered from `first` on."""
    numbers = struct.pack(f">{len(messages)}Q", *range(first, first + len(messages)))
    return [numbers[8 * i : 8 * i + 8] + packed for i, packed in enumerate(map(pack, messages))]


def read_entry(raw: bytes) -> tuple[int, Outgoing]:
    """Sequence number and message back from an entry.

    >>> read_entry(entry(7, Outgoing("positions", b"k", b"v", (("ce_id", b"1"),))))[0]
    7
    """
    return int.from_bytes(raw[:8], "big"), unpack(raw[8:])
