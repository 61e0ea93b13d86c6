"""A place to keep ledgers in, as the contract suite sees it: it can be copied, put back, and lose answers."""

from __future__ import annotations

import uuid
from typing import Any, Protocol

import redis

from stream.ledger.client import reader
from stream.ledger.memory import AnswerLost, MemoryLedger
from stream.ledger.port import Ledger
from stream.ledger.redis_ledger import RedisLedger


class Store(Protocol):
    """One store; `ledger` opens a door to it, as each worker does."""

    def ledger(self) -> Ledger: ...
    def save(self) -> Any: ...
    def restore(self, saved: Any) -> None: ...
    def lose_answers(self, ledger: Ledger, count: int) -> None: ...


class MemoryStore:
    """One MemoryLedger shared by all owners."""

    def __init__(self) -> None:
        self._ledger = MemoryLedger()

    def ledger(self) -> Ledger:
        return self._ledger

    def save(self) -> Any:
        return self._ledger.copy()

    def restore(self, saved: Any) -> None:
        self._ledger.restore(saved)

    def lose_answers(self, ledger: Ledger, count: int) -> None:
        left = iter([True] * count)

        def lose(operation: str, shelf: int) -> None:
            if next(left, False):
                raise AnswerLost

        self._ledger.after = lose


class RedisStore:
    """A namespace of its own in a real server, copied by DUMP and put back by RESTORE."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.namespace = f"t[{uuid.uuid4().hex[:8]}]*"  # characters that mean something in a pattern
        self._client: Any = reader(url)

    def ledger(self) -> Ledger:
        return RedisLedger(self.url, self.namespace, timeout_s=10.0)

    def save(self) -> Any:
        return {key: self._client.dump(key) for key in self._keys()}

    def restore(self, saved: Any) -> None:
        for key in self._keys():
            self._client.delete(key)
        for key, value in saved.items():
            self._client.restore(key, 0, value)

    def lose_answers(self, ledger: Ledger, count: int) -> None:
        assert isinstance(ledger, RedisLedger)
        wire: Any = ledger._wire
        whole, left = type(wire)._pipe, iter([True] * count)

        async def lossy(commands: Any, **how: Any) -> Any:
            answers = await whole(wire, commands, **how)
            if next(left, False):
                raise redis.ConnectionError("the answer was lost")
            return answers

        wire._pipe = lossy

    def close(self) -> None:
        for key in self._keys():
            self._client.delete(key)
        self._client.close()

    def _keys(self) -> list[bytes]:
        start = f"{self.namespace}:".encode()
        return [key for key in self._client.scan_iter(count=1_000) if key.startswith(start)]
