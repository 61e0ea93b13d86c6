"""Who is in an installation's consumer group, by the name each worker gives itself."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream import kafka_address
from stream.errors import Away, SetupError

ANSWER_S = 10.0

log = logging.getLogger(__name__)


def group_of(namespace: str) -> str:
    """The consumer group of an installation's workers.

    >>> group_of("shop")
    'shop.worker'
    """
    return f"{namespace}.worker"


def client_ids(brokers: str, namespace: str) -> list[str]:
    """The client ids of the workers that are in the group now, one each; none where the group is empty. Raises Away."""
    admin = AdminClient({**kafka_address.client(brokers)}, logger=log)
    try:
        asked = admin.describe_consumer_groups([group_of(namespace)], request_timeout=ANSWER_S)
        found = [answer.result(2 * ANSWER_S) for answer in asked.values()]
    except (KafkaException, TimeoutError) as error:
        raise Away(
            "cannot ask who is in the consumer group", f"{group_of(namespace)}: {error}", "see `restock doctor`"
        ) from error
    return sorted(member.client_id for group in found for member in group.members)


def require_stopped(brokers: str, namespace: str) -> None:
    """Raise SetupError while a worker is in the group."""
    running = client_ids(brokers, namespace)
    if running:
        raise SetupError(
            "workers are still running",
            f"{len(running)} in group {group_of(namespace)}: {', '.join(sorted(set(running)))}",
            "stop them first; one that was killed leaves the group after RESTOCK_SESSION_TIMEOUT_MS",
        )
