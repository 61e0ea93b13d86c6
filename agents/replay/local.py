"""The embedded stack and one worker for a replay: started, told what the replay needs, stopped with it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.installation import create_topics
from agents.settings import Settings
from stream.errors import RestockError
from stream.local.child import Child
from stream.local.embedded import EmbeddedBroker, EmbeddedRedis


class WorkerEnded(RestockError):
    """The worker of a local replay ended by itself."""


@contextmanager
def stack(settings: Settings) -> Iterator[tuple[Settings, Child]]:
    """Settings that point at an embedded broker and Redis with topics and a running worker, and the worker.

    What the caller set explicitly stays; the connections are always the embedded ones.
    """
    with EmbeddedBroker() as broker, EmbeddedRedis() as store:
        here = settings.changed(brokers=broker.address, redis_url=store.address, web_port=0)
        create_topics(here)
        with tempfile.TemporaryDirectory(prefix="restock-replay-") as logs:
            worker = Child(
                [sys.executable, "-m", "agents.cli", "worker"], Path(logs) / "worker.log", here.environment()
            )
            try:
                yield here, worker
            finally:
                worker.stop()


def check(worker: Child) -> None:
    """Raise WorkerEnded, with the end of its log, where it does not run any more."""
    if not worker.alive():
        raise WorkerEnded(
            "the worker ended",
            worker.tail(1_500).strip(),
            "run it by hand to see more: restock worker --log-level debug",
        )
