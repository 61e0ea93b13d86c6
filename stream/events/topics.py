"""Every topic once: its key, how many partitions, how long it is kept, and what it is for.

Inside the code a topic goes by its short name; `full_name` puts the installation's namespace before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from stream.events.kinds import Source

_DAY_MS = 86_400_000

MOST_ROWS_BYTES = 32 << 20  # a sku-events record holds one shelf's rows of one poll: 8 MB fetched explode threefold
MOST_DEAD_LETTER_BYTES = 2 << 20  # 1 MB kept of key and value is 1.4 MB in base64


class Role(Enum):
    """What decides the number of partitions."""

    SOURCE = "source"  # order, cart, movement and supply events: chosen by whoever runs the broker
    FACTS = "facts"  # catalog and calendar: small, and read by one intake in one order
    SHELVES = "shelves"  # as many as sku-events has: a SKU has the same partition number in each
    SINGLE = "single"


DEFAULT_PARTITIONS: Final = {Role.SOURCE: 4, Role.FACTS: 1, Role.SHELVES: 4, Role.SINGLE: 1}


@dataclass(frozen=True)
class Topic:
    """One topic as `restock topics create` makes it and `restock doctor` checks it."""

    name: str  # short
    key: str
    role: Role
    cleanup: str  # delete or compact
    retention_ms: int  # -1: for ever
    purpose: str
    config: dict[str, str] = field(default_factory=dict)  # further topic settings

    def settings(self) -> dict[str, str]:
        """The topic's settings by Kafka's names."""
        kept = {"retention.ms": str(self.retention_ms)} if self.cleanup == "delete" else {}
        return {"cleanup.policy": self.cleanup, **kept, **self.config}


_COMPACT = {"min.compaction.lag.ms": "60000", "delete.retention.ms": str(7 * _DAY_MS)}

ORDERS: Final = Topic(
    "orders", "order_id", Role.SOURCE, "delete", 30 * _DAY_MS, "orders placed, cancelled, fulfilled and returned"
)
CARTS: Final = Topic(
    "carts", "cart_id", Role.SOURCE, "delete", 7 * _DAY_MS, "items viewed, added, removed; carts checked out"
)
STOCK_MOVEMENTS: Final = Topic(
    "stock-movements", "sku", Role.SOURCE, "delete", 30 * _DAY_MS, "received, adjusted, counted, moved, written off"
)
SUPPLY: Final = Topic("supply", "sku", Role.SOURCE, "delete", 30 * _DAY_MS, "what was ordered from suppliers")
CATALOG: Final = Topic(
    "catalog",
    "JSON array naming the fact",
    Role.FACTS,
    "compact",
    -1,
    "items, policies, locations, lanes, suppliers",
    _COMPACT,
)
CALENDAR: Final = Topic(
    "calendar",
    "JSON array naming the fact",
    Role.FACTS,
    "compact",
    -1,
    "planned prices, promotions, holidays, closures",
    _COMPACT,
)
SKU_EVENTS: Final = Topic(
    "sku-events",
    "none",
    Role.SHELVES,
    "delete",
    30 * _DAY_MS,
    "internal: rows by SKU and marks, one Arrow batch a record",
    {"max.message.bytes": str(MOST_ROWS_BYTES)},
)
REPLENISHMENTS: Final = Topic(
    "replenishments", "sku", Role.SHELVES, "delete", 30 * _DAY_MS, "what to buy, and what became of it"
)
STOCK_ALERTS: Final = Topic(
    "stock-alerts", "sku", Role.SHELVES, "delete", 30 * _DAY_MS, "alerts raised, updated and resolved"
)
TRANSFERS: Final = Topic(
    "transfers", "sku", Role.SHELVES, "delete", 30 * _DAY_MS, "what to send where, and what became of it"
)
POSITIONS: Final = Topic(
    "positions", "sku@location", Role.SHELVES, "compact", -1, "the stock of every SKU-location, as it stands", _COMPACT
)
FORECASTS: Final = Topic(
    "forecasts", "sku@location", Role.SHELVES, "compact", -1, "the demand expected of every SKU-location", _COMPACT
)
DEAD_LETTERS: Final = Topic(
    "dead-letters",
    "topic/partition/offset",
    Role.SINGLE,
    "delete",
    90 * _DAY_MS,
    "refused records, with the reason",
    {"max.message.bytes": str(MOST_DEAD_LETTER_BYTES)},
)

TOPICS: Final = (
    ORDERS,
    CARTS,
    STOCK_MOVEMENTS,
    SUPPLY,
    CATALOG,
    CALENDAR,
    SKU_EVENTS,
    REPLENISHMENTS,
    STOCK_ALERTS,
    TRANSFERS,
    POSITIONS,
    FORECASTS,
    DEAD_LETTERS,
)
BY_NAME: Final = {topic.name: topic for topic in TOPICS}
SOURCES: Final = {BY_NAME[source.topic].name: source for source in Source}  # short name -> number in source coordinates
OUTGOING: Final = (
    REPLENISHMENTS,
    STOCK_ALERTS,
    TRANSFERS,
    POSITIONS,
    FORECASTS,
)  # one transactional producer a shelf writes all of these


def full_name(namespace: str, name: str) -> str:
    """A topic's name on the broker.

    >>> full_name("shop", "orders"), full_name("", "orders")
    ('shop.orders', 'orders')
    """
    return f"{namespace}.{name}" if namespace else name


def partitions(topic: Topic, sources: int, facts: int, shelves: int) -> int:
    """How many partitions a topic has in an installation with these numbers.

    >>> partitions(POSITIONS, 4, 1, 8), partitions(DEAD_LETTERS, 4, 1, 8)
    (8, 1)
    """
    return {Role.SOURCE: sources, Role.FACTS: facts, Role.SHELVES: shelves, Role.SINGLE: 1}[topic.role]
