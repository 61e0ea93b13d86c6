"""What the broker can do, asked before we rely on it."""

from __future__ import annotations

import asyncio

from agents.settings import Settings
from stream import kafka_address
from stream.errors import Away, SetupError

ANSWER_MS = 10_000
PAUSE_S = 0.2


async def transactions(settings: Settings) -> bool:
    """Whether outgoing messages go out in transactions, by RESTOCK_TRANSACTIONS and, where it says so, the broker.

    Raises SetupError where they are demanded and the broker has none, Away where it does not answer.
    """
    if settings.transactions == "off":
        return False
    there = await has_transactions(settings.brokers)
    if settings.transactions == "on" and not there:
        raise SetupError(
            "the broker has no transactions",
            f"{settings.safe_brokers} gives out no producer ids, and RESTOCK_TRANSACTIONS=on demands them",
            "use Apache Kafka, or RESTOCK_TRANSACTIONS=auto for delivery at least once",
        )
    return there


async def has_transactions(brokers: str) -> bool:
    """Whether the broker gives out producer ids: without them there are no idempotent and no transactional producers.

    Asked at the level of the protocol: librdkafka takes the refusal of the embedded broker (-1) for an id. A broker
    that has just started says for a moment that it cannot tell yet: taken for a no, we would send without fences.
    """
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError, for_code
    from aiokafka.protocol.transaction import InitProducerIdRequest

    client = AIOKafkaClient(**kafka_address.aiokafka(brokers), request_timeout_ms=ANSWER_MS)
    try:
        await client.bootstrap()
        deadline = asyncio.get_running_loop().time() + ANSWER_MS / 1000
        while True:
            answer = await client.send(client.get_random_node(), InitProducerIdRequest(None, ANSWER_MS))
            if not for_code(answer.error_code).retriable:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise for_code(answer.error_code)()
            await asyncio.sleep(PAUSE_S)
    except (KafkaError, OSError) as error:
        raise Away(
            "Kafka does not answer",
            f"{kafka_address.safe(brokers)}: {error}",
            "check RESTOCK_BROKERS, or run restock doctor",
        ) from error
    finally:
        await client.close()
    there: bool = answer.error_code == 0 and answer.producer_id >= 0
    return there
