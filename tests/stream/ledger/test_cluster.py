"""The ledger over three nodes of a real Redis Cluster: what it does beyond the contract suite."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
import redis

from stream.errors import Away
from stream.events.outgoing import Outgoing
from stream.ledger.office import RedisOffice
from stream.ledger.port import Held, Place, SourcePosition, Write
from stream.ledger.redis_ledger import RedisLedger
from tests.servers import LocalCluster, LocalRedis
from tests.stream.ledger.conftest import possible

SHELVES = range(8)  # their slots lie on all three nodes

Body = Callable[[RedisLedger], Awaitable[None]]


def run(url: str, body: Body, namespace: str = "", *, timeout_s: float = 30.0, command_s: float = 5.0) -> None:
    """The body with a ledger of a namespace of its own."""

    async def bounded() -> None:
        ledger = RedisLedger(url, namespace or secrets.token_hex(4), timeout_s=timeout_s, command_s=command_s)
        try:
            async with asyncio.timeout(60):
                await body(ledger)
        finally:
            await ledger.close()

    asyncio.run(bounded())


def step(held: Held, value: bytes = b"v") -> Write:
    out = [Outgoing("positions", b"k", b"", (("ce_id", b"%d" % held.next_out),))]
    rows = {"hot": {b"row": value}}
    return Write(held.place, Place(held.place.offset + 1), rows, out, {"sku@{odd}": {"on_hand": "1"}})


def keys(node: LocalRedis, namespace: str) -> int:
    with redis.Redis.from_url(node.url) as client:
        return sum(1 for _ in client.scan_iter(f"{namespace}:*", count=1_000))


def test_one_keep_writes_shelves_on_every_node(cluster: LocalCluster) -> None:
    """Scripts none of the nodes knows included; keys lie on all nodes, and every shelf is found again."""
    namespace = secrets.token_hex(4)

    async def body(ledger: RedisLedger) -> None:
        for node in cluster.nodes:
            cluster.ask(node, "SCRIPT", "FLUSH")
        held = [await ledger.acquire(shelf) for shelf in SHELVES]
        assert await ledger.keep([(one, step(one)) for one in held]) == [None] * len(held)
        assert all(keys(node, namespace) > 0 for node in cluster.nodes)
        assert await ledger.shelves() == list(SHELVES)
        assert {(await ledger.copy(shelf)).place for shelf in SHELVES} == {Place(0)}

    run(cluster.url, body, namespace)


def test_intake_positions_and_the_office_lie_where_their_keys_say(cluster: LocalCluster) -> None:
    """Keys without a tag, asked for together; the office under its own tag; Redis' health over all nodes."""
    namespace = secrets.token_hex(4)

    async def body(ledger: RedisLedger) -> None:
        done = {("orders", n): SourcePosition(n + 1, 5 * n) for n in range(16)}
        await ledger.source_done(done)
        assert await ledger.source_positions(list(done)) == done
        assert all(keys(node, namespace) > 0 for node in cluster.nodes)
        office = RedisOffice(cluster.url, namespace)
        assert await office.lead("token", 10_000, "me") == 1
        await office.put("token", "plan", 3, b"body")
        standing = await office.plan()
        assert standing is not None
        assert ((await office.book()).leader, standing.body) == ("me", b"body")
        await office.close()

    run(cluster.url, body, namespace)


def test_health_is_that_of_the_node_nearest_to_its_end(cluster: LocalCluster) -> None:
    """A sum would hide a full node."""
    limits = (1 << 40, 1 << 30, 1 << 40)

    async def body(ledger: RedisLedger) -> None:
        for node, limit in zip(cluster.nodes, limits, strict=True):
            cluster.ask(node, "CONFIG", "SET", "maxmemory", limit)
        assert ((await ledger.health()).memory_limit_bytes, (await ledger.health()).durable) == (1 << 30, True)
        cluster.ask(cluster.nodes[2], "CONFIG", "SET", "appendonly", "no")
        assert not (await ledger.health()).durable

    try:
        run(cluster.url, body)
    finally:
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "maxmemory", 0)
            cluster.ask(node, "CONFIG", "SET", "appendonly", "yes")


def test_a_shelf_whose_slot_moves_is_followed(cluster: LocalCluster, request: pytest.FixtureRequest) -> None:
    """Resharding: the owner goes on at the new node with its token and stamp, nothing is written twice."""
    namespace = secrets.token_hex(4)
    key = f"{namespace}:{{0}}:own"
    source = cluster.home(key)
    other = next(node for node in cluster.nodes if node is not source)

    async def body(ledger: RedisLedger) -> None:
        held, stays = await ledger.acquire(0), await ledger.acquire(3)
        assert await ledger.keep([(held, step(held, b"there")), (stays, step(stays))]) == [None, None]
        await asyncio.to_thread(cluster.move, key, source, other)
        request.addfinalizer(cluster.wait_whole)
        request.addfinalizer(lambda: cluster.move(key, other, source))
        assert await ledger.keep([(held, step(held, b"here")), (stays, step(stays))]) == [None, None]
        found = await ledger.acquire(0)
        assert (found.place, found.sections["hot"], len(found.outbox)) == (Place(1), {b"row": b"here"}, 2)

    run(cluster.url, body, namespace)


def test_a_node_that_dies_is_redis_away_and_its_return_goes_on(cluster: LocalCluster) -> None:
    """Away with the remedy while it is gone; the same writes given again are done once each, on every node."""
    namespace = secrets.token_hex(4)
    lost = cluster.home(f"{namespace}:{{3}}:own")

    async def body(ledger: RedisLedger) -> None:
        held = [await ledger.acquire(shelf) for shelf in SHELVES]
        writes = [(one, step(one)) for one in held]
        await asyncio.to_thread(lost.kill)
        try:
            with pytest.raises(Away, match="did not do it within"):
                await ledger.keep(writes)
            with pytest.raises(Away):
                await ledger.health()
        finally:
            await asyncio.to_thread(lost.start)
            await asyncio.to_thread(cluster.wait_whole)
        assert await ledger.keep(writes) == [None] * len(held)
        found = [await ledger.acquire(shelf) for shelf in SHELVES]
        assert [(one.place, len(one.outbox)) for one in found] == [(Place(0), 1)] * len(held)

    run(cluster.url, body, namespace, timeout_s=1.0)


def test_a_replica_that_takes_over_is_found_without_the_node_of_the_address(request: pytest.FixtureRequest) -> None:
    """The node RESTOCK_REDIS_URL names dies for good: its shelves go on at the replica, with token and stamp."""
    cluster = possible(LocalCluster)
    request.addfinalizer(cluster.close)
    cluster.start()
    dies = cluster.nodes[0]
    replica = cluster.add_replica(dies)

    async def body(ledger: RedisLedger) -> None:
        held = [await ledger.acquire(shelf) for shelf in SHELVES]
        assert await ledger.keep([(one, step(one)) for one in held]) == [None] * len(held)
        while not await asyncio.to_thread(cluster.level, dies, replica):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(dies.kill)
        assert await ledger.keep([(one, step(one)) for one in held]) == [None] * len(held)
        found = await ledger.acquire(3)
        assert (found.place, len(found.outbox), keys(replica, namespace) > 0) == (Place(1), 2, True)

    namespace = secrets.token_hex(4)
    assert cluster.home(f"{namespace}:{{3}}:own") is dies
    run(cluster.url, body, namespace)
