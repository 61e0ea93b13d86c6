"""What tests of the doors share. No variable of whoever runs the tests reaches them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from agents.settings import PREFIX, Settings, load
from stream.local.embedded import EmbeddedBroker, EmbeddedRedis


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RESTOCK_") and not name.startswith("RESTOCK_TEST_"):
            monkeypatch.delenv(name)


@dataclass
class Neighbours:
    """An embedded broker and Redis that all doors' tests share; each test has a namespace of its own."""

    brokers: str
    redis_url: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def settings(self, **others: Any) -> Settings:
        """Settings of a new installation on them."""
        here = {"brokers": self.brokers, "redis_url": self.redis_url, "namespace": f"doors{next(self.numbers)}"}
        return load(**here, **others)

    def set_variables(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        """Let commands find the installation."""
        for name, value in settings.environment().items():
            if name.startswith(PREFIX):
                monkeypatch.setenv(name, value)

    def topics(self) -> list[str]:
        """Names of all topics on the broker."""
        return sorted(AdminClient({"bootstrap.servers": self.brokers}).list_topics(timeout=10).topics)


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """The embedded stack."""
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis:
        yield Neighbours(broker.address, redis.address)
