"""A message we owe the world: value, key and CloudEvents headers, before it has a partition's offset."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Outgoing(NamedTuple):
    """One record of an outgoing topic. Its partition is the shelf's own number."""

    topic: str  # short name: replenishments, stock-alerts, transfers, positions, forecasts, dead-letters
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]  # CloudEvents binary mode; holds ce_id

    @property
    def id(self) -> str:
        """The deterministic `ce_id`; the same decision always gives the same one."""
        return next(v for k, v in self.headers if k == "ce_id").decode()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes, bytes, tuple[tuple[str, bytes], ...]]).decode


def pack(message: Outgoing) -> bytes:
    """Bytes for the outbox.

    >>> unpack(pack(Outgoing("positions", b"k", b"v", (("ce_id", b"1"),)))).id
    '1'
    """
    return _encode(message)


def unpack(raw: bytes) -> Outgoing:
    """A message back from the outbox."""
    return Outgoing(*_decode(raw))
