"""A real Redis for the session, and a store of each kind for the contract suite."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import servers
from tests.stream.ledger.stores import MemoryStore, RedisStore, Store


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis shared by the session: tests keep apart by namespace."""
    server = _server()
    yield server.url
    server.close()


@pytest.fixture
def own_redis() -> Iterator[servers.Server]:
    """A real Redis of the test's own, to be killed, paused and put back to an earlier copy."""
    server = _server()
    yield server
    server.close()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
    else:
        redis_store = RedisStore(request.getfixturevalue("redis_url"))
        yield redis_store
        redis_store.close()


def _server() -> servers.Server:
    try:
        return servers.server()
    except servers.NotPossible as why:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(why))
