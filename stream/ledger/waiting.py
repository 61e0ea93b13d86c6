"""Messages waiting to be published: a queue that knows its bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from stream.events.outgoing import Outgoing

Entry = tuple[int, Outgoing]  # sequence number, message
OVERHEAD_BYTES = 400  # headers and Python objects of a message, roughly


class Waiting:
    """Entries oldest first; `bytes` is about what they hold in memory."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: deque[Entry] = deque()
        self._sizes: deque[int] = deque()  # of each: it is asked for three times
        self.bytes = 0
        self.add(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Put entries at the end."""
        added = list(entries)
        sizes = list(map(size_bytes, added))
        self._entries.extend(added)
        self._sizes.extend(sizes)
        self.bytes += sum(sizes)

    def head(self, messages: int, most_bytes: int) -> list[Entry]:
        """The oldest entries within both bounds, but at least one if there is one. They stay."""
        total_bytes, taken = 0, 0
        for size in islice(self._sizes, messages):
            total_bytes += size
            if taken > 0 and total_bytes > most_bytes:
                break
            taken += 1
        return list(islice(self._entries, taken))

    def drop(self, count: int) -> None:
        """Forget the oldest entries."""
        for _ in range(count):
            self._entries.popleft()
            self.bytes -= self._sizes.popleft()


def size_bytes(entry: Entry) -> int:
    """About what an entry holds in memory.

    >>> size_bytes((0, Outgoing("positions", b"key", b"value", ())))
    408
    """
    return len(entry[1].key) + len(entry[1].value) + OVERHEAD_BYTES
