"""Sends records to Kafka in order per partition, and says when all of them are acknowledged.

librdkafka sends; its idempotent producer keeps the order through retries. The embedded broker has none: there one
request at a time is in flight, which keeps the order too, and a retry may leave a record twice (the planner drops it).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stream import kafka_address
from stream.errors import Away
from stream.events.topics import BY_NAME, full_name
from stream.transport.port import Send, Sent

DELIVER_S = 30.0  # longest a record may wait for its acknowledgement; a leader election takes seconds
QUEUE_BYTES = 64 << 20  # records handed over and not yet acknowledged: two polls' worth at full size
POLL_S = 0.1  # how long the polling thread waits for events; they wake it at once

log = logging.getLogger(__name__)


class _Batch:
    """The acknowledgements one `send` waits for."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left, self._loop = count, loop
        self._error: KafkaError | None = None
        self.sent: list[Sent] = []
        self.done: asyncio.Future[KafkaError | None] = loop.create_future()

    def delivered(self, record: Send, error: KafkaError | None, said: Any) -> None:
        """Called by the polling thread, once a record; in order within a partition."""
        self._error = self._error or error
        if error is None:
            offset = said.offset()
            self.sent.append(Sent(record, -1 if offset is None else offset, said.timestamp()[1]))
        self._left -= 1
        if self._left == 0:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self._error)


class KafkaSender:
    """`port.Sender` over librdkafka. Make it within the running loop; `close` it at the end."""

    def __init__(self, brokers: str, namespace: str, idempotent: bool = True, deliver_s: float = DELIVER_S) -> None:
        self.heard: Callable[[Sequence[Sent]], None] = lambda _: None  # of what is in the log, before `send` returns
        self._deliver_s = deliver_s
        self._names = {name: full_name(namespace, name) for name in BY_NAME}
        self._producer = Producer(_options(brokers, idempotent, deliver_s), logger=log)
        self._lock = asyncio.Lock()  # so that no two sends interleave within a partition
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="sender", daemon=True)
        self._thread.start()

    async def send(self, records: Sequence[Send]) -> None:
        """Send and wait for every acknowledgement; raises Away when one does not come within the bound."""
        if not records:
            return
        batch = _Batch(len(records), asyncio.get_running_loop())
        async with self._lock:
            for record in records:
                await self._produce(record, batch)
        try:
            error = await asyncio.wait_for(batch.done, self._deliver_s + 1.0)
        except TimeoutError:
            raise _away(f"no acknowledgement within {self._deliver_s:.0f} s") from None
        if error is not None:
            raise _away(str(error.str()))
        self.heard(batch.sent)

    async def _produce(self, record: Send, batch: _Batch) -> None:
        """Hand one record over; where the queue is full, wait until acknowledgements make room."""
        deadline = asyncio.get_running_loop().time() + self._deliver_s
        while True:
            try:
                self._producer.produce(
                    self._names[record.topic],
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=partial(batch.delivered, record),
                    headers=list(record.headers) or None,
                )
                return
            except BufferError:
                if asyncio.get_running_loop().time() > deadline:
                    raise _away(f"its queue of {QUEUE_BYTES >> 20} MiB stayed full") from None
                await asyncio.sleep(0.005)
            except KafkaException as error:
                raise _away(str(error.args[0].str())) from error

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_S)

    async def close(self) -> None:
        """Give what is still unacknowledged a moment, then let go."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._producer.flush, 1.0)
        self._producer.purge()
        self._producer.poll(0)


def _options(brokers: str, idempotent: bool, deliver_s: float) -> dict[str, Any]:
    return {
        **kafka_address.client(brokers),
        "acks": "all",
        "enable.idempotence": idempotent,
        # without idempotence a retry of the first of two requests in flight would come after the second
        "max.in.flight.requests.per.connection": 5 if idempotent else 1,
        "linger.ms": 0,  # what is sent is batched already: waiting would only add to every alert's latency
        "delivery.timeout.ms": round(deliver_s * 1000),
        "queue.buffering.max.kbytes": QUEUE_BYTES >> 10,
        "message.max.bytes": max(int(t.settings().get("max.message.bytes", 1 << 20)) for t in BY_NAME.values()),
        "socket.nagle.disable": True,
        "topic.metadata.propagation.max.ms": 5_000,  # how soon a topic that is not there is an error
    }


def _away(detail: str) -> Away:
    return Away("Kafka did not take what we send", detail, "nothing is lost: it is sent again from the ledger's offset")
