"""Makes the topics of an installation, says what they are, and refuses to run on others.

A topic's number of partitions is part of what the ledger holds: rows find their shelf by it and repeats are recognised
by it. So a differing number is an error here, not a warning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType

from stream import kafka_address
from stream.errors import Away, PartitionsChanged, SetupError
from stream.events.topics import SKU_EVENTS, TOPICS, Topic, full_name, partitions

ANSWER_S = 15.0  # a broker that is up answers in milliseconds; one that has just elected takes seconds
NO_ANSWER = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT)
SEEN_S = 10.0  # how long a new topic may take to show in every broker's metadata

_silent = logging.getLogger("stream.transport.librdkafka")  # what it has to say, we say in our own errors
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True)
class Installation:
    """Where the topics are, and how many partitions they shall have."""

    brokers: str
    namespace: str
    source_partitions: int
    fact_partitions: int
    shelves: int
    replication_factor: int = 1

    def name(self, topic: Topic) -> str:
        """A topic's name on the broker."""
        return full_name(self.namespace, topic.name)

    def partitions(self, topic: Topic) -> int:
        """How many partitions a topic shall have."""
        return partitions(topic, self.source_partitions, self.fact_partitions, self.shelves)


@dataclass(frozen=True)
class Found:
    """A topic as it is."""

    topic: Topic
    name: str  # with namespace
    partitions: int | None  # None: there is no such topic
    wanted_partitions: int
    settings: dict[str, str] = field(default_factory=dict)  # those we set; empty where the broker does not tell

    def differences(self) -> list[str]:
        """What is not as it should be, a sentence each; empty where all is well."""
        if self.partitions is None:
            return [f"{self.name} does not exist"]
        wrong = []
        if self.partitions != self.wanted_partitions:
            wrong.append(f"{self.name} has {self.partitions} partitions, not {self.wanted_partitions}")
        for key, wanted in self.topic.settings().items():
            found = self.settings.get(key, wanted)
            if found != wanted:
                wrong.append(f"{self.name} has {key}={found}, not {wanted}")
        return wrong


def create(here: Installation) -> list[str]:
    """Make the topics that are not there yet; returns their names. What exists is left as it is."""
    admin = _admin(here.brokers)
    known = _partition_counts(admin, here.brokers)
    missing = [topic for topic in TOPICS if here.name(topic) not in known]
    if not missing:
        return []
    asked = [NewTopic(here.name(t), here.partitions(t), here.replication_factor, config=t.settings()) for t in missing]
    _answered(here, "create", admin.create_topics(asked, request_timeout=ANSWER_S))
    _await_seen(admin, here, missing)
    return [here.name(topic) for topic in missing]


def grow(here: Installation) -> list[str]:
    """Give topics that have fewer partitions than they shall have the rest; returns their names."""
    admin = _admin(here.brokers)
    known = _partition_counts(admin, here.brokers)
    small = [topic for topic in TOPICS if 0 < known.get(here.name(topic), 0) < here.partitions(topic)]
    if not small:
        return []
    asked = [NewPartitions(here.name(topic), here.partitions(topic)) for topic in small]
    _answered(here, "add partitions to", admin.create_partitions(asked, request_timeout=ANSWER_S))
    _await_seen(admin, here, small)
    return [here.name(topic) for topic in small]


def _answered(here: Installation, doing: str, answers: Mapping[str, Any]) -> None:
    """Wait for the broker. Raises Away, and SetupError for what waiting cannot mend."""
    for name, answer in answers.items():
        try:
            answer.result(2 * ANSWER_S)  # after its own request_timeout
        except TimeoutError as error:
            raise _away(here.brokers, f"no answer within {2 * ANSWER_S:.0f} s to: {doing} topic {name}") from error
        except KafkaException as error:
            if error.args[0].retriable() or error.args[0].code() in NO_ANSWER:
                raise _away(here.brokers, str(error.args[0].str())) from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was quicker
                raise SetupError(
                    f"could not {doing} topic {name}",
                    str(error.args[0].str()),
                    "replication_factor may be above the number of brokers, or the user may lack the right to do it",
                ) from error


def _await_seen(admin: Any, here: Installation, topics: Sequence[Topic]) -> None:
    """A worker started before the brokers know a new topic keeps empty metadata of it for a minute: wait here."""
    deadline = time.monotonic() + SEEN_S
    while time.monotonic() < deadline:
        known = _partition_counts(admin, here.brokers)
        if all(known.get(here.name(topic), 0) >= here.partitions(topic) for topic in topics):
            return
        time.sleep(0.05)
    raise Away(
        "new topics or partitions do not show", f"after {SEEN_S:.0f} s", "look at the brokers' logs, then try again"
    )


def describe(here: Installation) -> list[Found]:
    """Every topic as it is, in the order they are documented. Raises Away where the broker does not answer."""
    admin = _admin(here.brokers)
    known = _partition_counts(admin, here.brokers)
    settings = _settings(admin, [here.name(t) for t in TOPICS if here.name(t) in known])
    found = []
    for topic in TOPICS:
        name = here.name(topic)
        ours = {key: value for key, value in settings.get(name, {}).items() if key in topic.settings()}
        found.append(Found(topic, name, known.get(name), here.partitions(topic), ours))
    return found


def namespaces(brokers: str) -> list[str]:
    """Namespaces that have topics at this broker. Raises Away where it does not answer."""
    end = f".{SKU_EVENTS.name}"
    return sorted(name.removesuffix(end) for name in _partition_counts(_admin(brokers), brokers) if name.endswith(end))


def require(here: Installation) -> None:
    """Raise SetupError where a topic is missing, PartitionsChanged where one has another number of partitions.

    Differing retention or compaction does not stop a worker; `restock doctor` says so.
    """
    found = describe(here)
    missing = [state.name for state in found if state.partitions is None]
    if missing:
        raise SetupError("topics are missing", ", ".join(missing), "`restock topics create` makes them")
    wrong = [state for state in found if state.partitions != state.wanted_partitions]
    if wrong:
        raise PartitionsChanged(
            "topics have another number of partitions than the settings say",
            "; ".join(state.differences()[0] for state in wrong),
            "set RESTOCK_SHELVES, RESTOCK_SOURCE_PARTITIONS and RESTOCK_FACT_PARTITIONS to what the ledger was begun "
            "with; `restock repartition` moves to more",
        )


def _admin(brokers: str) -> Any:
    return AdminClient({**kafka_address.client(brokers), "logger": _silent, "socket.timeout.ms": int(ANSWER_S * 1000)})


def _away(brokers: str, detail: str) -> Away:
    return Away(
        "Kafka does not answer",
        f"brokers {kafka_address.safe(brokers)}: {detail}",
        "check RESTOCK_BROKERS and that the broker is up; `restock doctor` says more",
    )


def _partition_counts(admin: Any, brokers: str) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=ANSWER_S).topics
    except KafkaException as error:
        raise _away(brokers, str(error.args[0].str())) from error
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def _settings(admin: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Topic settings; nothing of a broker that does not tell them (the embedded one)."""
    if not names:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, answer in admin.describe_configs(asked, request_timeout=ANSWER_S).items():
        try:
            found[resource.name] = {key: entry.value for key, entry in answer.result(2 * ANSWER_S).items()}
        except (KafkaException, TimeoutError):
            continue
    return found
