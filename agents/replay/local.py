"""The embedded stack and one worker for a replay: started, told what the replay needs, stopped with it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.settings import Settings, load, variable
from stream.errors import RestockError
from stream.local.child import Child
from stream.local.embedded import EmbeddedBroker, EmbeddedRedis
from stream.transport import topics_admin


class WorkerEnded(RestockError):
    """The worker of a local replay ended by itself."""


@contextmanager
def stack(settings: Settings) -> Iterator[tuple[Settings, Child]]:
    """Settings that point at an embedded broker and Redis with topics and a running worker, and the worker.

    What the caller set explicitly stays; the connections are always the embedded ones.
    """
    with EmbeddedBroker() as broker, EmbeddedRedis() as store:
        here = changed(settings, brokers=broker.address, redis_url=store.address, web_port=0)
        topics_admin.create(installation(here))
        with tempfile.TemporaryDirectory(prefix="restock-replay-") as logs:
            worker = Child([sys.executable, "-m", "agents.cli", "worker"], Path(logs) / "worker.log", environment(here))
            try:
                yield here, worker
            finally:
                worker.stop()


def installation(settings: Settings) -> topics_admin.Installation:
    """Where the topics of these settings are."""
    return topics_admin.Installation(
        settings.brokers,
        settings.namespace,
        settings.source_partitions,
        settings.fact_partitions,
        settings.shelves,
        settings.replication_factor,
    )


def changed(settings: Settings, **values: Any) -> Settings:
    """The same settings with some of them replaced, checked as any."""
    return load(**{**settings.model_dump(), **values})


def environment(settings: Settings) -> dict[str, str]:
    """The variables a child needs to have exactly these settings."""
    said = settings.model_dump(mode="json")
    ours = {variable(name): str(value) for name, value in said.items() if value is not None}
    return {k: v for k, v in os.environ.items() if not k.startswith("RESTOCK_")} | ours


def check(worker: Child) -> None:
    """Raise WorkerEnded, with the end of its log, where it does not run any more."""
    if not worker.alive():
        raise WorkerEnded(
            "the worker ended",
            worker.tail(1_500).strip(),
            "run it by hand to see more: restock worker --log-level debug",
        )
