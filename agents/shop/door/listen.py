"""What the shop hears: proposals to buy and to move, and that they are not needed any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from agents.commands import tail
from agents.settings import Settings
from agents.shop.world import World
from stream.events.topics import BY_NAME, REPLENISHMENTS, full_name

MOST = 1_000  # messages a look
_REMEMBERED = 100_000  # ids: the embedded broker delivers at least once


class Heard(NamedTuple):
    """One message: its CloudEvents type, its data, the event time of its cause and when it was published."""

    type: str
    data: dict[str, Any]
    event_time: str
    published_ms: int


class Listener:
    """Reads outgoing topics from now on, each message once."""

    def __init__(self, settings: Settings, topics: list[str]) -> None:
        names = [full_name(settings.namespace, topic) for topic in topics]
        self._consumer = tail.follow(settings.brokers, names, from_end=True)
        self._seen: dict[bytes, None] = {}

    def hear(self) -> Iterator[Heard]:
        """What was published since."""
        for message in self._consumer.consume(MOST, timeout=0):
            if message.error() is not None or message.value() is None:  # an end, what librdkafka retries, a deleted key
                continue
            headers = dict(message.headers() or [])
            id = headers.get("ce_id", b"")
            if id in self._seen:
                continue
            self._seen[id] = None
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            type, time = headers.get("ce_type", b"").decode(), headers.get("ce_time", b"").decode()
            yield Heard(type, orjson.loads(message.value()), time, message.timestamp()[1])

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


TOPICS = [name for name in (REPLENISHMENTS.name, "transfers") if name in BY_NAME]


def answer(world: World, heard: Heard, counts: Counter[str]) -> None:
    """Let the buyer know; what names a row of another world is counted and left."""
    what, verb = heard.type.split(".")[-2:]
    data = heard.data
    try:
        if verb == "proposed":
            units = max(1, round(data["quantity"]))  # this shop sells whole units
            if what == "replenishment":
                world.replenish(data["replenishment_id"], data["sku"], data["location"], units)
            else:
                world.move(data["transfer_id"], data["sku"], data["from_location"], data["to_location"], units)
        elif what == "replenishment" and verb in ("cancelled", "expired"):
            world.withdraw(data["replenishment_id"])
        counts[f"{what} {verb}"] += 1
    except KeyError:
        counts["not ours"] += 1
