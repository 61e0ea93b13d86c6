"""Messages found published that the shelf has not decided again yet: which to skip, and how far all is published.

After a take-over the outbox holds messages the last owner may have sent; after a roll-back of Redis the shelf decides
anew what it decided before. Both give the same `ce_id`s, so a message whose id was found in the tail is not sent again.
What is about one row (a SKU-location, see `publisher.about`) is decided and sent in one order. Hence:

- A message that is *not* in the tail while later ones about its row are, is one the topic has dropped since
  (compaction, retention). It is sent, and so are the row's later ones: a consumer must end with the latest, not with
  it.
- An offset is noted as "published below here" only up to the first message not decided again: after one more crash it
  must be found again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from stream.events.outgoing import Outgoing
from stream.ledger.publisher import Tail, about

FORGET_AFTER = (
    1_000_000  # new messages; a replay decides again within the rows of a shelf, and a tail this long reads in seconds
)


class Unmatched:
    """The tail, less what was decided again."""

    def __init__(self, tail: Tail) -> None:
        self._ids: dict[tuple[str, bytes], set[str]] = {}
        self._by_offset: dict[str, deque[tuple[int, bytes, str]]] = {}
        for topic, offset, row, id_ in tail.found:
            self._ids.setdefault((topic, row), set()).add(id_)
            self._by_offset.setdefault(topic, deque()).append((offset, row, id_))
        self._new = 0

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))

    def skips(self, message: Outgoing) -> bool:
        """Whether the message is published already. Asked once per message, in the order of decisions."""
        if not self._ids:
            return False
        at = (message.topic, about(message.key, message.headers))
        waiting = self._ids.get(at, set())
        known = message.id in waiting
        if known:
            waiting.remove(message.id)
        if not known or not waiting:  # none left, or a message before them: the row starts anew
            self._ids.pop(at, None)
        self._new += not known
        if self._new >= FORGET_AFTER:
            self._ids.clear()
        return known

    def floors(self, ends: Mapping[str, int]) -> dict[str, int]:
        """Per topic the offset below which every message is published and decided; `ends` where each one ends."""
        return {topic: self._first(topic, end) for topic, end in ends.items()}

    def _first(self, topic: str, end: int) -> int:
        queue = self._by_offset.get(topic, deque())
        while queue and queue[0][2] not in self._ids.get((topic, queue[0][1]), ()):
            queue.popleft()
        return queue[0][0] if queue else end
