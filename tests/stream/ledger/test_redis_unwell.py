"""What a real Redis does to us: dies, forgets, fills up, refuses."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.errors import Away, Fenced, SetupError, Stale
from stream.events.outgoing import Outgoing
from stream.ledger import redis_ledger, wire
from stream.ledger.port import Held, Place, Write
from stream.ledger.redis_ledger import RedisLedger
from stream.local.child import free_port
from tests import servers

Body = Callable[[RedisLedger], Awaitable[None]]


def run(url: str, body: Body, namespace: str = "", **how: Any) -> None:
    """The body with a ledger of a namespace of its own."""

    async def bounded() -> None:
        ledger = RedisLedger(url, namespace or secrets.token_hex(4), **{"timeout_s": 30.0, **how})
        try:
            async with asyncio.timeout(60):
                await body(ledger)
        finally:
            await ledger.close()

    asyncio.run(bounded())


def step(held: Held, value: bytes = b"v") -> Write:
    out = [Outgoing("positions", b"k", b"", (("ce_id", b"%d" % held.next_out),))]
    return Write(held.place, Place(held.place.offset + 1), {"hot": {b"row": value}}, out)


async def one(ledger: RedisLedger, held: Held, write: Write) -> Exception | None:
    [answer] = await ledger.keep([(held, write)])
    return answer


@pytest.fixture
def local_redis() -> Iterator[servers.LocalRedis]:
    """A server with no persistence of note, for settings a shared one must not have."""
    server = servers.LocalRedis(fsync="no")
    server.start()
    yield server
    server.close()


def test_a_redis_killed_and_started_again_costs_a_pause(own_redis: servers.Server) -> None:
    """A keep under way while Redis is away is done when it is back; acknowledged writes are there."""

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        assert await one(ledger, held, step(held, b"before")) is None
        await asyncio.to_thread(own_redis.kill)
        keeping = asyncio.create_task(one(ledger, held, step(held, b"after")))
        await asyncio.to_thread(own_redis.start)
        assert await keeping is None
        assert (await ledger.acquire(0)).sections["hot"] == {b"row": b"after"}

    run(own_redis.url, body)


def test_a_redis_put_back_to_an_earlier_copy_is_seen(own_redis: servers.Server) -> None:
    """Its append-only file of a moment ago: the owner's next write is Stale, the next owner reads the older state."""

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        assert await one(ledger, held, step(held, b"old")) is None
        copy: Path = await asyncio.to_thread(own_redis.copy)
        assert await one(ledger, held, step(held, b"new")) is None
        await asyncio.to_thread(own_redis.put_back, copy)
        assert isinstance(await one(ledger, held, step(held, b"newer")), Stale)
        found = await ledger.acquire(0)
        assert (found.place, found.sections["hot"]) == (Place(0), {b"row": b"old"})
        assert [entry.id for _, entry in found.outbox] == ["0"]

    run(own_redis.url, body)


def test_a_redis_that_hangs_is_away_within_the_bound(own_redis: servers.Server) -> None:
    """SIGSTOP: connections stand and nothing answers. The call ends; the same write given again is done once."""

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        write = step(held)
        own_redis.pause()
        with pytest.raises(Away, match="did not do it within") as away:
            await ledger.keep([(held, write)])
        assert "start Redis" in away.value.hint
        own_redis.resume()
        while (answer := await _patient(ledger, held, write)) is away.value:
            pass
        assert answer is None
        found = await ledger.acquire(0)
        assert (found.place, len(found.outbox)) == (Place(0), 1)

    async def _patient(ledger: RedisLedger, held: Held, write: Write) -> Exception | None:
        try:
            return await one(ledger, held, write)
        except Away:
            return await _patient(ledger, held, write)

    run(own_redis.url, body, timeout_s=0.3, command_s=0.1)


def test_a_long_wait_for_redis_is_said_once(
    own_redis: servers.Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that waits two minutes for a Redis that is away says so, and to whom it speaks; not at each try."""
    monkeypatch.setattr(wire, "NOTICE_S", 0.2)
    caplog.set_level(logging.WARNING)  # commands that ran in this process have set one of their own

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        own_redis.pause()
        with pytest.raises(Away):
            await ledger.keep([(held, step(held))])
        own_redis.resume()

    run(own_redis.url, body, timeout_s=1.0, command_s=0.1)
    said = [record.getMessage() for record in caplog.records if record.name == wire.__name__]
    assert len(said) == 1, said
    assert "s more to run keep in the ledger" in said[0]
    assert own_redis.url in said[0]


def test_scripts_a_redis_has_forgotten_are_loaded_again(redis_url: str) -> None:
    """SCRIPT FLUSH, as a restart or a failover does it."""

    async def body(ledger: RedisLedger) -> None:
        a, b = await ledger.acquire(0), await ledger.acquire(1)
        redis.Redis.from_url(redis_url).script_flush()
        assert await ledger.keep([(a, step(a)), (b, step(b))]) == [None, None]
        redis.Redis.from_url(redis_url).script_flush()
        await ledger.sent(a, 0, {})
        assert (await ledger.acquire(0)).outbox == []

    run(redis_url, body)


def test_a_full_redis_says_so_and_nothing_is_half_written(local_redis: servers.LocalRedis) -> None:
    """Out of memory: Away with the remedy; state, place and outbox are as before; with memory it goes on."""
    client = redis.Redis.from_url(local_redis.url)

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        assert await one(ledger, held, step(held, b"kept")) is None
        before = await ledger.dump(0)
        client.config_set("maxmemory", 1)
        write = step(held, b"refused")
        with pytest.raises(Away) as away:
            await ledger.keep([(held, write)])
        assert "maxmemory" in away.value.hint
        assert await ledger.dump(0) == before
        client.config_set("maxmemory", 0)
        assert await one(ledger, held, write) is None
        assert [number for number, _ in (await ledger.acquire(0)).outbox] == [0, 1]

    run(local_redis.url, body, timeout_s=0.2)


def test_a_replica_says_so(local_redis: servers.LocalRedis) -> None:
    """READONLY after a failover: Away with the remedy, nothing written."""
    client = redis.Redis.from_url(local_redis.url)

    async def body(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(Away) as away:
            await ledger.keep([(held, step(held))])
        assert "replica" in away.value.hint
        client.replicaof("NO", "ONE")
        assert await one(ledger, held, step(held)) is None

    run(local_redis.url, body, timeout_s=0.2)


def test_a_wrong_password_is_told_at_once_and_not_printed(local_redis: servers.LocalRedis) -> None:
    """Waiting does not mend it; the message names the place, never the secret."""
    redis.Redis.from_url(local_redis.url).config_set("requirepass", "right")
    url = local_redis.url.replace("redis://", "redis://:wr0ng@")

    async def body(ledger: RedisLedger) -> None:
        with pytest.raises(SetupError, match="refuses us") as refused:
            await ledger.acquire(0)
        assert "wr0ng" not in str(refused.value)
        assert "127.0.0.1" in refused.value.detail

    run(url, body)


@pytest.fixture
def tls_redis(tmp_path: Path) -> Iterator[str]:
    """The address of a server with a certificate nobody signed but itself, `tmp_path`/ca.pem."""
    ca, key, port = str(tmp_path / "ca.pem"), str(tmp_path / "key.pem"), free_port()
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ledger"]
    made = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", ca]
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate with")
    subprocess.run([openssl, "req", *words, *made], check=True, capture_output=True)
    files = ["--tls-cert-file", ca, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no"]
    server = servers.LocalRedis("--tls-port", str(port), *files, fsync="no")
    try:
        server.start()
    except RuntimeError as why:
        pytest.skip(f"this server was built without TLS: {why}")
    yield f"rediss://127.0.0.1:{port}/0"
    server.close()


def test_over_tls_the_authority_is_named_in_the_address(tls_redis: str, tmp_path: Path) -> None:
    """With it the ledger works; without it the certificate is refused at once, with what to do."""

    async def works(ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        assert await one(ledger, held, step(held)) is None

    async def refused(ledger: RedisLedger) -> None:
        with pytest.raises(SetupError, match="not trusted") as why:
            await ledger.acquire(0)
        assert "ssl_ca_certs" in why.value.hint

    run(f"{tls_redis}?ssl_ca_certs={tmp_path / 'ca.pem'}", works)
    run(tls_redis, refused)


def test_a_key_of_another_program_is_told_at_once(redis_url: str) -> None:
    """A string where our hash should be: SetupError before anything is written."""
    redis.Redis.from_url(redis_url).set("taken:{0}:hot", "not ours")

    async def body(ledger: RedisLedger) -> None:
        with pytest.raises(SetupError, match="answers an error"):
            await ledger.acquire(0)

    run(redis_url, body, "taken")


def test_no_redis_at_all_is_away_with_the_address() -> None:
    """Nothing listens there: the message says where we looked."""

    async def body(ledger: RedisLedger) -> None:
        with pytest.raises(Away) as away:
            await ledger.shelves()
        assert "127.0.0.1:1/0" in away.value.detail

    run("redis://127.0.0.1:1/0", body, timeout_s=0.1)


def test_everything_a_script_touches_lies_in_one_cluster_slot(request: pytest.FixtureRequest) -> None:
    """A one-node cluster refuses a script over two slots: ours pass, all sections and readable rows included."""
    server = servers.LocalRedis("--cluster-enabled", "yes", "--cluster-port", str(free_port()), fsync="no")
    request.addfinalizer(server.close)
    server.start()
    client = redis.Redis.from_url(server.url)
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def body(ledger: RedisLedger) -> None:
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            await asyncio.sleep(0.01)
        for shelf in range(8):
            held = await ledger.acquire(shelf)
            rows: Any = {name: {b"a": b"1"} for name in held.sections}
            write = Write(held.place, Place(0), rows, readable={"sku@{odd}": {"on_hand": "1"}})
            assert await one(ledger, held, write) is None
            await ledger.sent(held, -1, {})
        assert await ledger.shelves() == list(range(8))

    run(server.url, body)


class TestReadingABigShelf:
    """More fields than one slice holds; Redis misbehaves between two slices."""

    FIELDS = 3 * redis_ledger.SLICE_FIELDS

    async def _fill(self, ledger: RedisLedger) -> None:
        held = await ledger.acquire(0)
        rows: Any = {b"%d" % n: b"%d" % n * 100 for n in range(self.FIELDS)}
        assert await one(ledger, held, Write(held.place, Place(0), {"hot": rows})) is None

    def _between_slices(self, ledger: RedisLedger, deed: Callable[[], Awaitable[Any]]) -> None:
        """Do it once, after the first slice is read."""
        wire: Any = ledger._wire
        ask, deeds = wire.ask, iter([deed])

        async def interrupted(what: str, commands: Any, **how: Any) -> Any:
            answers = await ask(what, commands, **how)
            if commands and commands[0][0] == "HSCAN":
                for waiting in deeds:
                    await waiting()
            return answers

        wire.ask = interrupted

    def test_it_is_read_whole(self, redis_url: str) -> None:
        """Every field, in several slices."""

        async def body(ledger: RedisLedger) -> None:
            await self._fill(ledger)
            found = await ledger.acquire(0)
            assert len(found.sections["hot"]) == self.FIELDS
            assert all(value == name * 100 for name, value in found.sections["hot"].items())

        run(redis_url, body)

    def test_a_restart_between_slices_loses_no_field(self, own_redis: servers.Server) -> None:
        """A new process hashes anew, so an old cursor may skip fields: the count shows it, and reading starts over."""

        async def body(ledger: RedisLedger) -> None:
            await self._fill(ledger)

            async def restart() -> None:
                await asyncio.to_thread(own_redis.stop)
                await asyncio.to_thread(own_redis.start)

            self._between_slices(ledger, restart)
            assert len((await ledger.acquire(0)).sections["hot"]) == self.FIELDS

        run(own_redis.url, body)

    def test_a_roll_back_between_slices_starts_the_reading_over(self, own_redis: servers.Server) -> None:
        """The older copy does not know our token: we take the shelf again and read that copy, whole."""

        async def body(ledger: RedisLedger) -> None:
            await self._fill(ledger)
            copy = await asyncio.to_thread(own_redis.copy)
            held = await ledger.acquire(0)
            assert await one(ledger, held, Write(held.place, Place(1), {"hot": {b"0": b"changed"}})) is None
            self._between_slices(ledger, lambda: asyncio.to_thread(own_redis.put_back, copy))
            found = await ledger.acquire(0)
            assert (found.place, found.sections["hot"][b"0"]) == (Place(0), b"0" * 100)
            assert await one(ledger, found, step(found)) is None

        run(own_redis.url, body)

    def test_a_newer_owner_between_slices_fences_the_reader(self, redis_url: str) -> None:
        """What we have read may be half theirs: Fenced, not a mixture."""
        namespace = secrets.token_hex(4)

        async def body(ledger: RedisLedger) -> None:
            await self._fill(ledger)
            other = RedisLedger(redis_url, namespace)

            async def take() -> None:
                theirs = await other.acquire(0)
                assert await one(other, theirs, step(theirs)) is None

            self._between_slices(ledger, take)
            with pytest.raises(Fenced, match="newer owner"):
                await ledger.acquire(0)
            await other.close()

        run(redis_url, body, namespace)
