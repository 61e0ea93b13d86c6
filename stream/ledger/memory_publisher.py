"""Outgoing topics in memory, with the parts of Kafka's transactions that the relay leans on.

A transaction's records lie in the partition at once and are seen by read_committed readers when it is committed; an
aborted one stays invisible; a newer producer of the same shelf ends the older one's transaction and shuts it out; a
reader sees nothing behind the first open transaction of a partition. `hook` is called at each step and may raise:
Away (the relay cannot know what happened) or anything else (the process is as good as dead).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.errors import Fenced
from stream.events.outgoing import Outgoing
from stream.ledger.publisher import TOPICS, Found, Tail, about, found_id, headers_of, partition_of

STEPS = ("start", "start:fenced", "start:read", "publish", "publish:written", "publish:committed")
TIMEOUT_TURNS = 20  # of the event loop, until the broker ends the transaction of somebody dead
Hook = Callable[[str, int], None]  # one of STEPS, shelf


@dataclass
class Transaction:
    """Who wrote, and how it ended."""

    shelf: int
    state: str = "open"  # then committed or aborted


@dataclass
class Record:
    """A message in a partition; None is the marker that ends a transaction and takes an offset of its own."""

    message: Outgoing | None
    headers: Sequence[tuple[str, bytes]]
    transaction: Transaction


@dataclass
class MemoryTopics:
    """The broker: partitions and each shelf's newest producer. Shared by all publishers of a simulation."""

    partitions: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    open: list[Transaction] = field(default_factory=list)

    def partition(self, topic: str, shelf: int) -> list[Record]:
        """The partition of `topic` the shelf sends to."""
        return self.partitions.setdefault((topic, partition_of(topic, shelf)), [])

    def committed(self, topic: str, shelf: int) -> list[tuple[int, Outgoing]]:
        """Offset and message of what a read_committed consumer of that partition has been given."""
        seen = []
        for offset, record in enumerate(self.partition(topic, shelf)):
            if record.transaction.state == "open":
                break
            if record.transaction.state == "committed" and record.message is not None:
                seen.append((offset, record.message))
        return seen

    def end(self, transaction: Transaction, state: str) -> None:
        """Commit or abort: a marker into every partition the transaction wrote to."""
        for records in self.partitions.values():
            if any(record.transaction is transaction for record in records):
                records.append(Record(None, (), transaction))
        transaction.state = state
        self.open.remove(transaction)


class MemoryPublisher:
    """The publisher port on MemoryTopics; one per simulated process. `transactions=False`: as a plain producer."""

    def __init__(
        self,
        topics: MemoryTopics,
        hook: Hook | None = None,
        *,
        transactions: bool = True,
        pause: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`pause` is awaited where a broker lets others come first; one turn of the event loop unless told."""
        self.topics = topics
        self._pause = pause or _one_turn
        self.hook: Hook = hook or _nothing
        self._transactions = transactions
        self._epochs: dict[int, int] = {}

    async def start(self, shelf: int, published: Mapping[str, int]) -> Tail:
        """Shut out older senders, then read; see the port."""
        self.hook("start", shelf)
        self._epochs[shelf] = self.topics.epochs[shelf] = self.topics.epochs.get(shelf, 0) + 1
        self._abort(lambda transaction: transaction.shelf == shelf)
        self.hook("start:fenced", shelf)
        await self._neighbours_end(shelf)
        tail = self._tail(shelf, published)
        self.hook("start:read", shelf)
        return tail

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        """One transaction; see the port."""
        self._check(shelf)
        self.hook("publish", shelf)
        self._check(shelf)
        transaction = Transaction(shelf)
        self.topics.open.append(transaction)
        ends = {message.topic: self._append(shelf, message, transaction) for message in messages}
        if not self._transactions:
            self.topics.open.remove(transaction)
            transaction.state = "committed"
        self.hook("publish:written", shelf)
        if self._transactions:
            await self._pause()  # a newer sender may come just here
            self._check(shelf, transaction)
            self.topics.end(transaction, "committed")
        self.hook("publish:committed", shelf)
        return ends

    async def stop(self, shelf: int) -> None:
        """Nothing to let go of."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def _check(self, shelf: int, transaction: Transaction | None = None) -> None:
        ended = transaction is not None and transaction.state != "open"
        if self._transactions and (ended or self._epochs.get(shelf) != self.topics.epochs.get(shelf)):
            raise Fenced(f"could not publish messages of shelf {shelf}: a newer relay publishes for it")

    def _abort(self, which: Callable[[Transaction], bool]) -> None:
        for transaction in [transaction for transaction in self.topics.open if which(transaction)]:
            self.topics.end(transaction, "aborted")

    async def _neighbours_end(self, shelf: int) -> None:
        """Wait until no open transaction hides what lies behind it in a shared partition; the dead time out."""
        for _ in range(TIMEOUT_TURNS):
            if not any(map(self._hides(shelf), self.topics.open)):
                return
            await self._pause()
        self._abort(self._hides(shelf))

    def _hides(self, shelf: int) -> Callable[[Transaction], bool]:
        records = [record for topic in TOPICS for record in self.topics.partition(topic, shelf)]
        return lambda transaction: any(record.transaction is transaction for record in records)

    def _append(self, shelf: int, message: Outgoing, transaction: Transaction) -> int:
        records = self.topics.partition(message.topic, shelf)
        records.append(Record(message, headers_of(message, shelf), transaction))
        return len(records)

    def _tail(self, shelf: int, published: Mapping[str, int]) -> Tail:
        found = [
            Found(topic, offset, about(message.key, message.headers), id_)
            for topic in TOPICS
            for offset, message in self.topics.committed(topic, shelf)
            if offset >= published.get(topic, 0)
            if (id_ := found_id(topic, shelf, self.topics.partition(topic, shelf)[offset].headers)) is not None
        ]
        return Tail(found, {topic: len(self.topics.partition(topic, shelf)) for topic in TOPICS})


async def _one_turn() -> None:
    await asyncio.sleep(0)


def _nothing(step: str, shelf: int) -> None:
    """The hook of a healthy day."""
