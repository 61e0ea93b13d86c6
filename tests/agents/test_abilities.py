"""What a broker says it can do is not taken for a no before it can tell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiokafka.client
import pytest

from agents import abilities
from stream.errors import Away

LOADING, FORBIDDEN = 14, 53


class Broker:
    """Answers InitProducerId as told, one answer after the other."""

    answers: list[tuple[int, int]]

    def __init__(self, **_: Any) -> None: ...
    async def bootstrap(self) -> None: ...
    async def close(self) -> None: ...

    def get_random_node(self) -> int:
        return 0

    async def send(self, *_: Any) -> Any:
        code, producer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return SimpleNamespace(error_code=code, producer_id=producer)


@pytest.mark.parametrize(
    ("answers", "there"),
    [
        ([(0, 7)], True),
        ([(LOADING, -1), (LOADING, -1), (0, 7)], True),  # it has just started
        ([(0, -1)], False),  # the embedded broker
        ([(FORBIDDEN, -1)], False),
    ],
)
def test_a_broker_is_asked_until_it_can_tell(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, int]], there: bool
) -> None:
    """Loading is no answer; an id is a yes, no id a no."""
    monkeypatch.setattr(aiokafka.client, "AIOKafkaClient", type("Told", (Broker,), {"answers": list(answers)}))
    monkeypatch.setattr(abilities, "PAUSE_S", 0.0)
    assert asyncio.run(abilities.has_transactions("b:1")) is there


def test_a_broker_that_never_can_tell_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends and is started again, rather than sending without transactions."""
    monkeypatch.setattr(aiokafka.client, "AIOKafkaClient", type("Told", (Broker,), {"answers": [(LOADING, -1)]}))
    monkeypatch.setattr(abilities, "ANSWER_MS", 50)
    with pytest.raises(Away):
        asyncio.run(abilities.has_transactions("b:1"))
