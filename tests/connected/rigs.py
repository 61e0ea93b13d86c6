"""The transport over Kafka and the one over memory, behind one face, for the contract they share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from stream.events.topics import SKU_EVENTS, full_name
from stream.transport.memory import MemoryLog, planner_reader
from stream.transport.port import Send
from tests.connected.running import Remember, config, fill, running, until, until_ended
from tests.kafka import Broker

SHELVES = range(8)


class Rig(Protocol):
    """An installation with eight shelves."""

    def fill(self, values: Sequence[Sequence[bytes]]) -> None:
        """Append values to each shelf's log."""

    def delete_below(self, shelf: int, offset: int) -> None:
        """What retention does."""

    def read(self, work: Remember, enough: Callable[[], bool] | None) -> None:
        """Run a worker until `enough`, or until it ends by itself where that is None; raises what ended it."""


class MemoryRig:
    def __init__(self, seed: int = 1) -> None:
        self._log, self._chooser = MemoryLog(2, 1, len(SHELVES)), random.Random(seed)

    def fill(self, values: Sequence[Sequence[bytes]]) -> None:
        for shelf, its in enumerate(values):
            for value in its:
                self._log.append(Send(SKU_EVENTS.name, shelf, None, value))

    def delete_below(self, shelf: int, offset: int) -> None:
        self._log.delete_below(SKU_EVENTS.name, shelf, offset)

    def read(self, work: Remember, enough: Callable[[], bool] | None) -> None:
        async def run() -> None:
            reader = planner_reader(self._log, work, self._chooser)
            await reader.assign_all()
            while enough is None or not enough():
                assert await reader.poll(), "there is no more to read"
            await reader.revoke()

        asyncio.run(run())


class KafkaRig:
    def __init__(self, broker: Broker) -> None:
        self.at = config(broker.bootstrap, poll_max_records=80)  # many polls, some over several partitions

    def fill(self, values: Sequence[Sequence[bytes]]) -> None:
        fill(self.at, values)

    def delete_below(self, shelf: int, offset: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.at.brokers})
        topic = full_name(self.at.namespace, SKU_EVENTS.name)
        for answer in admin.delete_records([TopicPartition(topic, shelf, offset)]).values():
            answer.result(30)

    def read(self, work: Remember, enough: Callable[[], bool] | None) -> None:
        async def run() -> None:
            async with running(self.at, work):
                await (until_ended() if enough is None else until(enough, "enough"))

        asyncio.run(run())
