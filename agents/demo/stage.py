"""What the demo runs on: an embedded broker and ledger unless real ones are named, topics of its own, one worker.

Everything the stage starts ends with it, also by `kill -9`. On a real broker and Redis, topics and keys of its own
namespace stay, to be looked at.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.installation import create_topics
from agents.settings import Settings
from stream.errors import Away, SetupError
from stream.local.child import Child
from stream.local.embedded import EmbeddedBroker, EmbeddedRedis

START_S = 60.0  # Faust, numpy and pyarrow import in 3 s; on busy cores in 20
LOOK_S = 0.1
WORKER = [sys.executable, "-m", "agents.cli", "worker"]


@dataclass(frozen=True)
class Stage:
    """A running installation: its settings and where its worker's web server is."""

    settings: Settings
    worker: Child
    web: str

    def check(self) -> None:
        """Raise SetupError where the worker has ended."""
        if not self.worker.alive():
            raise _ended(self.worker)


@contextlib.contextmanager
def stage(settings: Settings) -> Iterator[Stage]:
    """Everything up; taken down again however the block ends."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=settings.state_dir))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ours = own_settings(settings, *_neighbours(settings, stack))
        create_topics(ours)
        worker = Child(WORKER, folder / "worker.log", ours.environment())
        stack.callback(worker.stop)
        yield Stage(ours, worker, _web_of(worker))


def _neighbours(settings: Settings, stack: contextlib.ExitStack) -> tuple[str, str]:
    """Bootstrap servers and Redis URL: those somebody named, embedded ones for those nobody did."""
    if "brokers" in settings.model_fields_set:
        brokers = settings.brokers
    else:
        brokers = stack.enter_context(EmbeddedBroker()).address
    if "redis_url" in settings.model_fields_set:
        redis_url = settings.redis_url
    else:
        redis_url = stack.enter_context(EmbeddedRedis()).address
    return brokers, redis_url


def own_settings(settings: Settings, brokers: str, redis_url: str) -> Settings:
    """The demo's own: a namespace nobody else uses, event time, no waiting for late events."""
    name = f"demo-{uuid.uuid4().hex[:6]}"
    return settings.changed(
        brokers=brokers,
        redis_url=redis_url,
        namespace=name,
        clock="event",
        lateness_ms=1_000,
        web_port=0,
        log_format="json",
        log_level="info",
    )


def _web_of(worker: Child) -> str:
    """Where the worker's web server is, once the worker is ready. Raises where it does not come up."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        web = _said_in(worker.log.read_text(errors="replace"))
        if web != "" and _ready(web):
            return web
        if not worker.alive():
            raise _ended(worker)
        time.sleep(LOOK_S)
    raise Away(
        "the worker did not start", f"after {START_S:.0f} s; its last words: {worker.tail(500)}", "restock doctor"
    )


def _said_in(log: str) -> str:
    """The address a worker's log tells; empty before it does.

    >>> _said_in('Warning: x' + chr(10) + '{"message": "web", "web_port": 7}')
    'http://127.0.0.1:7'
    """
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and "web_port" in said:
                return f"http://127.0.0.1:{said['web_port']}"
    return ""


def _ready(web: str) -> bool:
    try:
        with urllib.request.urlopen(f"{web}/ready", timeout=2):
            return True
    except OSError:  # refused, timed out, or 503: not yet
        return False


def _ended(worker: Child) -> SetupError:
    return SetupError("the worker ended", worker.tail().strip() or "it said nothing", "restock doctor")
