"""The publisher on Kafka: one transactional producer a shelf, or a plain one where the broker has no transactions.

`init_transactions` on the shelf's `transactional.id` ends an older producer's transaction and shuts it out: from then
on nothing can appear in the shelf's outgoing partitions but by us, so the tail read after it is complete. A batch is
one transaction over all topics. When anything fails we do not reason about the producer's state: it is thrown away, the
relay starts a new one, which ends the transaction in doubt, and the tail says what became of it.

Plain (for the embedded broker): one request in flight, acknowledged by all replicas. Nothing shuts out a zombie, so
delivery is at least once, with the same `ce_id`.

The client's calls block, so they run in threads; shelves do not wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from stream import kafka_address
from stream.errors import Away, Fenced
from stream.events.outgoing import Outgoing
from stream.ledger.kafka_tail import TailReader, wrong
from stream.ledger.publisher import TOPICS, Tail, headers_of, partition_of

T = TypeVar("T")
log = logging.getLogger("librdkafka")  # it calls a refused zombie critical; we call it Fenced

THREADS = 16  # more shelves than this in one process wait for a free thread; each waits mostly on the network
TRANSACTION_S = 10.0  # a frozen process hides what follows in a shared partition no longer than this
OPEN_S = 30.0
MESSAGE_BYTES = 8 << 20  # the broker's own limit (max.message.bytes) is usually the smaller one


class KafkaPublisher:
    """The publisher port on a Kafka. `settings` go to every client: security, for instance.

    `transaction_s` bounds a batch from its first message to its commit.
    """

    def __init__(
        self,
        brokers: str,
        namespace: str,
        *,
        transactions: bool = True,
        transaction_s: float = TRANSACTION_S,
        topics: Sequence[str] = TOPICS,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._namespace, self._transactions, self._transaction_s = namespace, transactions, transaction_s
        self._settings = {**kafka_address.client(brokers), "logger": log, "log_level": 5, **(settings or {})}
        self._threads = ThreadPoolExecutor(THREADS, "relay")
        self._tails = TailReader(self._settings, namespace, topics)
        self._senders: dict[int, _Sender] = {}

    async def start(self, shelf: int, published: Mapping[str, int]) -> Tail:
        """Shut out older senders, then read the tails; see the port."""
        await self.stop(shelf)
        kind = _Transactional if self._transactions else _Sender
        sender = self._senders[shelf] = kind(self._settings, self._namespace, shelf, self._transaction_s)
        await self._call(sender.open)
        return await self._call(partial(self._tails.read, shelf, dict(published)))

    async def publish(self, shelf: int, messages: Sequence[Outgoing]) -> dict[str, int]:
        """One transaction; see the port."""
        return await self._call(partial(self._senders[shelf].publish, messages))

    async def stop(self, shelf: int) -> None:
        """Let go of the shelf's producer; what it has in hand is not waited for."""
        sender = self._senders.pop(shelf, None)
        if sender is not None:
            self._threads.submit(sender.close)

    async def close(self) -> None:
        """Let go of all producers and threads."""
        for shelf in list(self._senders):
            await self.stop(shelf)
        await asyncio.to_thread(self._threads.shutdown, wait=True)

    async def _call(self, blocking: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, blocking)


class _Sender:
    """A plain producer of one shelf. Its methods block; `close` may be called while another one runs."""

    def __init__(self, settings: Mapping[str, Any], namespace: str, shelf: int, transaction_s: float) -> None:
        self._namespace, self._shelf, self._transaction_s = namespace, shelf, transaction_s
        self._settings = {**settings, **_SENDING, "message.timeout.ms": int(transaction_s * 1000), **self._kind()}
        self._producer: Any = None
        self._in_hand = threading.Lock()

    def _kind(self) -> dict[str, Any]:
        return {"enable.idempotence": False, "max.in.flight.requests.per.connection": 1}

    def open(self) -> None:
        """Shut out older senders, as far as the broker can."""
        with self._in_hand:
            self._producer = Producer(self._settings)

    def publish(self, messages: Sequence[Outgoing]) -> dict[str, int]:
        """Send and wait for the acknowledgements; per topic the offset after the last."""
        with self._in_hand, self._in_our_words():
            return self._send(messages)

    def close(self) -> None:
        """Throw the producer away, after the call in hand."""
        with self._in_hand:
            if self._producer is not None:
                self._producer.purge()
                self._producer = None  # librdkafka ends its threads here

    def _send(self, messages: Sequence[Outgoing]) -> dict[str, int]:
        ends: dict[str, int] = {}
        failed: list[Any] = []

        def heard(topic: str, error: Any, record: Any) -> None:
            if error is not None:
                failed.append(error)
            else:
                ends[topic] = record.offset() + 1

        told = {topic: partial(heard, topic) for topic in {message.topic for message in messages}}
        names = {topic: (f"{self._namespace}.{topic}", partition_of(topic, self._shelf)) for topic in told}
        produce, reported = self._producer.produce, self._reported(messages)
        for at, message in enumerate(messages):
            name, partition = names[message.topic]
            hears = told[message.topic] if at in reported else None
            headers = headers_of(message, self._shelf)
            produce(name, message.value, message.key, partition, on_delivery=hears, headers=headers)
        left = self._producer.flush(self._transaction_s)
        if failed:
            raise KafkaException(failed[0])
        if left > 0:
            raise self._away(f"{left} messages were not acknowledged within {self._transaction_s:g} s")
        return ends

    def _reported(self, messages: Sequence[Outgoing]) -> Container[int]:
        """Of which messages, by place, the delivery must be reported to us: without transactions, of each."""
        return range(len(messages))

    def _away(self, detail: str) -> Away:
        return Away(f"could not publish messages of shelf {self._shelf}", detail, "is the broker up? See its log")

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (KafkaException, SystemError) as raised:
            error = _root(raised)
            if error.args[0].code() in _SHUT_OUT:
                raise Fenced(
                    f"could not publish messages of shelf {self._shelf}: a newer relay publishes for it",
                    f"{error.args[0]}; none of this batch will be seen",
                    "nothing to do if a rebalance just happened; the ledger tells who holds the shelf",
                ) from error
            raise wrong(f"publish messages of shelf {self._shelf}", error) from error


def _root(raised: BaseException) -> KafkaException:
    """The client's error. `flush` raises it for a producer that is done for, and may then still call our delivery
    reports, which Python wraps: SystemError, "returned a result with an exception set"."""
    while not isinstance(raised, KafkaException):
        if raised.__cause__ is None:
            raise raised
        raised = raised.__cause__
    return raised


class _Transactional(_Sender):
    """A transactional producer of one shelf."""

    def _kind(self) -> dict[str, Any]:
        return {
            "transactional.id": f"{self._namespace}.shelf.{self._shelf}",
            "transaction.timeout.ms": int(self._transaction_s * 1000),
        }

    def open(self) -> None:
        """End the older producer's transaction and shut it out."""
        super().open()
        with self._in_hand, self._in_our_words():
            self._producer.init_transactions(OPEN_S)

    def _reported(self, messages: Sequence[Outgoing]) -> Container[int]:
        """Of the last a topic: it tells where the partition ends. A commit fails where any message did."""
        return set({message.topic: at for at, message in enumerate(messages)}.values())

    def _send(self, messages: Sequence[Outgoing]) -> dict[str, int]:
        self._producer.begin_transaction()
        ends = super()._send(messages)
        self._producer.commit_transaction()
        return ends


_SENDING = {
    "acks": "all",
    "linger.ms": 5,  # until `flush`, which follows at once: one request a partition
    "socket.nagle.disable": True,
    "message.max.bytes": MESSAGE_BYTES,
}
_SHUT_OUT = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
