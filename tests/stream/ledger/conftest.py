"""A real Redis for the session, and a store of each kind for the contract suite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests import servers
from tests.stream.ledger.stores import MemoryStore, RedisStore, Store

T = TypeVar("T")


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


@pytest.fixture(scope="session")
def cluster() -> Iterator[servers.LocalCluster]:
    """Three nodes of a Redis Cluster shared by the session: tests leave every node up, and slots where they were."""
    made = possible(servers.LocalCluster)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(params=["memory", "redis", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
    else:
        url = request.getfixturevalue("cluster").url if request.param == "cluster" else None
        redis_store = RedisStore(url or request.getfixturevalue("redis_url"))
        yield redis_store
        redis_store.close()


def _server() -> servers.Server:
    return possible(servers.server)


def possible(make: Callable[[], T]) -> T:
    """What `make` makes; skips the test where no server can run here, fails in CI."""
    try:
        return make()
    except servers.NotPossible as why:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(why))
