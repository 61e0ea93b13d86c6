"""Records as they were fetched or handed over, with the stamp that tells whether a seek came after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from faust.types import TP

from stream.transport.port import Batch


class Stamped(NamedTuple):
    """A batch and the stamp its partition had when it was fetched."""

    tp: TP
    stamp: int
    batch: Batch
    size_bytes: int

    def then(self, later: Stamped) -> Stamped:
        """Both as one: the same partition and stamp."""
        return self._replace(batch=self.batch.then(later.batch), size_bytes=self.size_bytes + later.size_bytes)

    def since(self, offset: int) -> Stamped:
        """What of it has an offset of at least this."""
        return self if offset == self.batch.start else self._replace(batch=self.batch.since(offset))


def size_of(parts: Iterable[Stamped]) -> int:
    """Bytes of their keys and values."""
    return sum(part.size_bytes for part in parts)
