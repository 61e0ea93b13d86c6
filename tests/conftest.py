"""Real servers, one of each for the whole session: tests keep apart by namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import kafka as kafka_


@pytest.fixture(scope="session")
def kafka() -> Iterator[kafka_.Broker]:
    """A real Apache Kafka shared by the session. Do not stop it: see `own_kafka`."""
    yield from _broker()


@pytest.fixture
def own_kafka() -> Iterator[kafka_.Broker]:
    """A real Apache Kafka of the test's own, to be killed, paused and started again."""
    yield from _broker()


def _broker() -> Iterator[kafka_.Broker]:
    try:
        started = kafka_.broker()
    except kafka_.NotPossible as why:
        if kafka_.must_run():
            raise
        pytest.skip(str(why))
    yield started
    started.close()
