"""The publisher on a real Apache Kafka: who is shut out, what is seen, what is skipped."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream.errors import Fenced, SetupError
from stream.events.outgoing import Outgoing
from stream.ledger.kafka_publisher import KafkaPublisher
from stream.ledger.memory import MemoryLedger
from stream.ledger.port import Place, Write
from stream.ledger.publisher import TOPICS, Tail, partition_of
from stream.ledger.relay import Limits, Relay
from tests.kafka import Broker

pytestmark = pytest.mark.kafka

SHELVES = 3


@dataclass(frozen=True)
class Outside:
    """A namespace with its outgoing topics on a real broker, and a read_committed consumer's view of them."""

    brokers: str
    namespace: str

    def publisher(self, transactions: bool = True) -> KafkaPublisher:
        return KafkaPublisher(self.brokers, self.namespace, transactions=transactions)

    def read(self, topic: str, shelf: int, isolation: str = "read_committed") -> list[str]:
        """Ids of the partition's messages, to its end."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": uuid.uuid4().hex,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.assign([TopicPartition(f"{self.namespace}.{topic}", partition_of(topic, shelf), 0)])
        ids = []
        while True:
            record = consumer.poll(30)
            assert record is not None, "the partition did not end within 30 s"
            if record.error() is not None:
                assert record.error().code() == KafkaError._PARTITION_EOF
                consumer.close()
                return ids
            ids.append(dict(record.headers())["ce_id"].decode())


@pytest.fixture
def outside(kafka: Broker) -> Iterator[Outside]:
    with topics_on(kafka) as made:
        yield made


@contextmanager
def topics_on(kafka: Broker) -> Iterator[Outside]:
    namespace = f"pub-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    made = admin.create_topics([NewTopic(f"{namespace}.{topic}", SHELVES) for topic in TOPICS])
    for future in made.values():
        future.result(30)
    yield Outside(kafka.bootstrap, namespace)
    admin.delete_topics(list(made))


def message(name: str, topic: str = "replenishments", key: str = "sku") -> Outgoing:
    return Outgoing(topic, key.encode(), b"value", (("ce_id", name.encode()), ("ce_type", b"t")))


def by_topic(tail: Tail) -> list[list[str]]:
    """Ids found in replenishments and in dead letters; topics are read in any order."""
    return [[found.id for found in tail.found if found.topic == topic] for topic in ("replenishments", "dead-letters")]


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 120))  # type: ignore[arg-type]


def test_a_batch_is_seen_on_all_its_topics_in_order(outside: Outside) -> None:
    """One transaction over four topics; each goes to the shelf's partition, dead letters to partition 0."""

    async def body() -> None:
        publisher = outside.publisher()
        tail = await publisher.start(2, {})
        assert (list(tail.found), dict(tail.ends)) == ([], dict.fromkeys(TOPICS, 0))
        ends = await publisher.publish(2, [message(f"{topic} {i}", topic) for i in range(3) for topic in TOPICS])
        await publisher.close()
        assert ends == dict.fromkeys(TOPICS, 3)

    run(body)
    for topic in TOPICS:
        assert outside.read(topic, 2) == [f"{topic} {i}" for i in range(3)]


def test_an_older_relay_cannot_publish_after_a_newer_started(outside: Outside) -> None:
    """The zombie's next transaction is refused as Fenced, and nothing of it is ever seen."""

    async def body() -> None:
        old, new = outside.publisher(), outside.publisher()
        await old.start(1, {})
        await old.publish(1, [message("a")])
        tail = await new.start(1, {})
        assert [found.id for found in tail.found] == ["a"]
        with pytest.raises(Fenced):
            await old.publish(1, [message("zombie")])
        await new.publish(1, [message("b")])
        with pytest.raises(Fenced):
            await old.publish(1, [message("zombie")])
        await old.close()
        await new.close()

    run(body)
    assert outside.read("replenishments", 1) == ["a", "b"]


def test_a_transaction_its_owner_never_ended_is_never_seen(outside: Outside) -> None:
    """A producer dies between send and commit: the next owner's start aborts it, the tail does not show it."""
    dead = Producer(
        {"bootstrap.servers": outside.brokers, "transactional.id": f"{outside.namespace}.shelf.0", "linger.ms": 0}
    )
    dead.init_transactions(30)
    dead.begin_transaction()
    dead.produce(f"{outside.namespace}.replenishments", b"v", b"sku", 0, headers=[("ce_id", b"half")])
    assert dead.flush(30) == 0

    async def body() -> None:
        publisher = outside.publisher()
        tail = await publisher.start(0, {})
        assert list(tail.found) == []
        await publisher.publish(0, [message("whole")])
        await publisher.close()

    run(body)
    assert outside.read("replenishments", 0) == ["whole"]
    assert outside.read("replenishments", 0, "read_uncommitted") == ["half", "whole"]


def test_the_tail_is_read_from_where_we_know_and_is_ours_alone(outside: Outside) -> None:
    """From the offsets given, over transaction markers, and of shared dead letters only the shelf's own."""

    async def body() -> None:
        publisher = outside.publisher()
        for shelf in (0, 1):
            await publisher.start(shelf, {})
            for n in range(3):
                await publisher.publish(shelf, [message(f"{shelf}.{n}"), message(f"dead {shelf}.{n}", "dead-letters")])
        first = await publisher.start(1, {})
        assert by_topic(first) == [[f"{dead}1.{n}" for n in range(3)] for dead in ("", "dead ")]
        after_one = {found.topic: found.offset + 1 for found in reversed(first.found) if found.id.endswith(".0")}
        second = await publisher.start(1, after_one)
        assert by_topic(second) == [[f"{dead}1.{n}" for n in (1, 2)] for dead in ("", "dead ")]
        assert list((await publisher.start(1, second.ends)).found) == []
        await publisher.close()

    run(body)


def test_a_topic_shorter_than_we_noted_is_read_from_its_beginning(outside: Outside) -> None:
    """It was made anew, or lost records: what we noted means nothing there."""

    async def body() -> None:
        publisher = outside.publisher()
        await publisher.start(1, {})
        await publisher.publish(1, [message("a"), message("b")])
        tail = await publisher.start(1, {"replenishments": 1_000_000})
        assert [found.id for found in tail.found] == ["a", "b"]
        await publisher.close()

    run(body)


def test_a_tail_behind_a_neighbours_open_transaction_is_waited_for(outside: Outside) -> None:
    """A neighbour's transaction hides our committed dead letter; it ends, and the tail has it."""
    neighbour = Producer({"bootstrap.servers": outside.brokers, "transactional.id": f"{outside.namespace}.other"})
    neighbour.init_transactions(30)

    async def body() -> None:
        publisher = outside.publisher()
        await publisher.start(1, {})
        neighbour.begin_transaction()
        neighbour.produce(
            f"{outside.namespace}.dead-letters", b"v", b"k", 0, headers=[("ce_id", b"n"), ("shelf", b"7")]
        )
        assert await asyncio.to_thread(neighbour.flush, 30) == 0
        await publisher.publish(1, [message("mine", "dead-letters")])
        starting = asyncio.create_task(publisher.start(1, {}))
        done, _ = await asyncio.wait({starting}, timeout=0.5)
        assert not done, "our dead letter cannot have been read while the neighbour's transaction is open"
        await asyncio.to_thread(neighbour.commit_transaction, 30)
        assert [found.id for found in (await starting).found] == ["mine"]
        await publisher.close()

    run(body)


def test_a_missing_topic_is_named_with_what_to_do(kafka: Broker) -> None:
    """Nothing waits for a topic that nobody made."""

    async def body() -> None:
        publisher = KafkaPublisher(kafka.bootstrap, f"no-{uuid.uuid4().hex}")
        with pytest.raises(SetupError, match="outgoing topic no-") as refused:
            await publisher.start(0, {})
        assert "restock topics create" in refused.value.hint
        await publisher.close()

    run(body)


def test_a_plain_producer_keeps_order_and_reads_its_tail(outside: Outside) -> None:
    """Where the broker has no transactions the same port publishes in order and finds what it sent."""

    async def body() -> None:
        publisher = outside.publisher(transactions=False)
        await publisher.start(0, {})
        names = [str(i) for i in range(500)]
        assert await publisher.publish(0, [message(name) for name in names]) == {"replenishments": 500}
        tail = await publisher.start(0, {})
        assert [found.id for found in tail.found] == names
        await publisher.close()

    run(body)


def test_a_relay_taking_over_skips_what_is_out_and_sends_the_rest(outside: Outside) -> None:
    """Committed in Kafka, not yet noted in the ledger: the next relay finds the ids and skips exactly those."""

    async def body() -> None:
        ledger, publisher = MemoryLedger(), outside.publisher()
        held = await ledger.acquire(1)
        out = [message(str(i)) for i in range(6)]
        assert await ledger.keep([(held, Write(held.place, Place(0), {}, out))]) == [None]
        await publisher.start(1, {})
        await publisher.publish(1, out[:4])  # and dies before the note

        heir = Relay(ledger, publisher, await ledger.acquire(1), lambda shelf, error: None, Limits(note_every_s=0.0))
        await heir.start()
        await heir.drained()
        await heir.stop(drain=True)

        assert (heir.counters.skipped, heir.counters.published) == (4, 2)
        again = await ledger.acquire(1)
        assert again.outbox == []
        assert list((await publisher.start(1, again.published)).found) == []
        await publisher.close()

    run(body)
    assert outside.read("replenishments", 1) == [str(i) for i in range(6)]


def test_a_zombie_relay_gives_way_having_sent_nothing(outside: Outside) -> None:
    """Its shelf was taken while it was frozen: its transaction is refused, the ledger says why, its owner hears."""

    async def body() -> None:
        ledger, heard = MemoryLedger(), []
        zombie_side, heir_side = outside.publisher(), outside.publisher()
        held = await ledger.acquire(1)
        zombie = Relay(ledger, zombie_side, held, lambda shelf, error: heard.append(error), Limits(note_every_s=0.0))
        await zombie.start()
        assert await ledger.keep([(held, Write(held.place, Place(0), {}, [message("a")]))]) == [None]
        zombie.offer([(0, message("a"))])
        await zombie.drained()

        heir = Relay(ledger, heir_side, await ledger.acquire(1), lambda shelf, error: None, Limits(note_every_s=0.0))
        await heir.start()
        await heir_side.start(1, {})  # whoever opens last is the one who sends; the heir opens again by itself
        zombie.offer([(1, message("never kept"))])
        with pytest.raises(Fenced, match="newer owner"):
            await zombie.drained()
        await heir.stop(drain=True)
        assert [type(error) for error in heard] == [Fenced]
        await zombie_side.close()
        await heir_side.close()

    run(body)
    assert outside.read("replenishments", 1) == ["a"]


def test_a_relay_outlives_its_broker(own_kafka: Broker) -> None:
    """`kill -9` of the broker with a transaction on its way, and a restart: everything is seen, once, in order."""

    async def body(outside: Outside) -> None:
        ledger, heard = MemoryLedger(), []
        publisher = KafkaPublisher(outside.brokers, outside.namespace, transaction_s=1.0)
        held = await ledger.acquire(1)
        limits = Limits(batch_messages=20, note_every_s=0.0)
        relay = Relay(ledger, publisher, held, lambda shelf, error: heard.append(error), limits)
        await relay.start()

        async def decide(first: int, last: int) -> None:
            for n in range(first, last):
                out = [message(str(n), key=f"sku {n % 7}")]
                assert await ledger.keep([(held, Write(held.place, Place(n), {}, out))]) == [None]
                relay.offer([(n, out[0])])

        await decide(0, 100)
        await relay.drained()
        await decide(100, 1_000)
        own_kafka.kill()  # in the middle of them: nothing else runs in this loop meanwhile
        await decide(1_000, 1_100)
        while relay.counters.openings == 1:  # the transaction on its way is given up
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own_kafka.start)
        await relay.drained()
        await relay.stop(drain=True)
        await publisher.close()
        assert heard == []
        assert relay.counters.published + relay.counters.skipped == 1_100

    with topics_on(own_kafka) as outside:
        run(lambda: body(outside))
        assert outside.read("replenishments", 1) == [str(n) for n in range(1_100)]
