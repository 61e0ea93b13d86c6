"""Redis as its address gives it: one server, or every primary of a Redis Cluster.

Which of the two is asked of the server once (`INFO cluster`), so one setting serves both. One server gets a pipeline
straight away. On a cluster commands are grouped by the node that holds their key's slot, one pipeline a node, all nodes
at the same time. Nothing is repeated here: a node that does not answer, or says that a slot has moved, leaves its error
in place of the answer, and the map of slots is read anew before the next call. The wire's patience does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis
from redis import exceptions as wrong
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

Command = tuple[Any, ...]
Slots = Sequence[Sequence[Any]]  # an answer of CLUSTER SLOTS: first, last, [host, port, ...] of the primary, replicas

CONNECT_S = 2.0  # loopback and data centre answer in milliseconds
CONNECTIONS = 64  # a call uses one a node at a time; more than shelves in a process
UNANSWERED = (wrong.ConnectionError, wrong.TimeoutError, OSError, TimeoutError)
MOVING = (wrong.AskError, wrong.TryAgainError, wrong.ClusterDownError)  # MovedError is an AskError
REFUSED = (wrong.ResponseError, wrong.NoPermissionError)


class Client:
    """Pipelines of commands, each with its key, to whoever holds the keys."""

    def __init__(self, url: str, command_s: float) -> None:
        self._url, self._command_s = url, command_s
        self._first = _Node(url, command_s)
        self.clustered: bool | None = None  # None: not asked yet
        self._nodes: dict[str, _Node] = {}  # primaries by address; empty: the map of slots is to be read
        self._known: list[_Node] = [self._first]  # whom to ask for the map, the next one first
        self._ranges: list[tuple[int, int, _Node]] = []
        self._looking = asyncio.Lock()

    async def pipe(self, commands: Sequence[Command], *, at_once: bool = False, at: str = "") -> list[Any]:
        """One round trip; errors stand in place of answers. `at_once`: one tag's keys; `at`: one of `addresses`."""
        if self.clustered is None:
            self.clustered = await self._first.clustered()
        if not self.clustered:
            return await self._first.pipe(commands, at_once=at_once)
        await self._look()
        if at and at not in self._nodes:
            raise wrong.ConnectionError(f"{at} is no longer a primary of the cluster")
        if at:
            return await self._part(self._nodes[at], commands, at_once)
        return await self._over_nodes(commands, at_once)

    async def addresses(self) -> list[str]:
        """Of every server that holds keys, for commands without a key."""
        if self.clustered is None:
            self.clustered = await self._first.clustered()
        if not self.clustered:
            return [address_of(self._url)]
        await self._look()
        return list(self._nodes)

    async def everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """The same commands to every server that holds keys, at the same time; answers by address."""
        addresses = await self.addresses()
        answers = await asyncio.gather(*(self.pipe(commands, at=address) for address in addresses))
        return dict(zip(addresses, answers, strict=True))

    async def close(self) -> None:
        """Let go of connections."""
        for node in {self._first, *self._known}:
            await node.close()

    async def _over_nodes(self, commands: Sequence[Command], at_once: bool) -> list[Any]:
        parts: dict[_Node, list[int]] = {}
        for i, command in enumerate(commands):
            parts.setdefault(self._home(command), []).append(i)
        assert not at_once or len(parts) == 1, f"{len(parts)} nodes have no moment in common"
        found = await asyncio.gather(
            *(self._part(node, [commands[i] for i in part], at_once) for node, part in parts.items())
        )
        answers: list[Any] = [None] * len(commands)
        for part, got in zip(parts.values(), found, strict=True):
            for i, answer in zip(part, got, strict=True):
                answers[i] = answer
        return answers

    async def _part(self, node: _Node, commands: Sequence[Command], at_once: bool) -> list[Any]:
        """A node's answers; where it does not answer, its error as the answer to each."""
        try:
            answers = await node.pipe(commands, at_once=at_once)
        except (wrong.RedisError, OSError, TimeoutError) as error:
            answers = [error] * len(commands)
        if any(isinstance(answer, MOVING + UNANSWERED) for answer in answers):
            self._nodes = {}
        return answers

    def _home(self, command: Command) -> _Node:
        slot = key_slot(_key(command).encode())
        for first, last, node in self._ranges:
            if first <= slot <= last:
                return node
        self._nodes = {}
        raise wrong.ClusterDownError(f"no node of the cluster holds slot {slot}")

    async def _look(self) -> None:
        """Read the map of slots where it is not known, from the first node that tells; the next time from another."""
        async with self._looking:
            if self._nodes:
                return
            error: Exception = wrong.ClusterDownError("no node of the cluster holds a slot")
            for node in list(self._known):
                self._known.append(self._known.pop(0))
                try:
                    [slots] = await node.pipe([("CLUSTER", "SLOTS")])
                except (wrong.RedisError, OSError, TimeoutError) as unanswered:
                    error = unanswered
                    continue
                if isinstance(slots, Exception):
                    error = slots
                elif slots:
                    await self._learn(slots)
                    return
            raise error

    async def _learn(self, slots: Slots) -> None:
        old = {node.url: node for node in self._known}
        urls = primaries(self._url, slots)
        nodes = {url: old.get(url) or _Node(url, self._command_s) for url in urls.values()}
        self._ranges = [(*span, nodes[url]) for span, url in urls.items()]
        self._known = list({*nodes.values(), self._first})
        self._nodes = {address_of(url): node for url, node in nodes.items()}
        for gone in set(old.values()) - set(self._known):
            await gone.close()


class _Node:
    """One server."""

    def __init__(self, url: str, command_s: float) -> None:
        """No retries inside the client: a repeated write must be seen by us, and bounded by us."""
        self.url = url
        self._redis = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=command_s,
            socket_connect_timeout=min(command_s, CONNECT_S),
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS,
        )

    async def pipe(self, commands: Iterable[Command], *, at_once: bool = False) -> list[Any]:
        async with self._redis.pipeline(transaction=at_once) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))

    async def clustered(self) -> bool:
        """Whether it is a node of a cluster. A proxy or a user that refuses the question counts as one server."""
        [info] = await self.pipe([("INFO", "cluster")])
        if isinstance(info, REFUSED) and not str(info).startswith("BUSY"):
            return False
        if isinstance(info, Exception):
            raise info
        return bool(info.get("cluster_enabled", 0) == 1)

    async def close(self) -> None:
        await self._redis.aclose()


def reader(url: str, **how: Any) -> redis.Redis | redis.RedisCluster:
    """A blocking client that follows keys wherever they are, for looking on from outside. Raises like redis-py."""
    client = redis.Redis.from_url(url, **how)
    try:
        if client.info("cluster").get("cluster_enabled") != 1:
            return client
    except wrong.ResponseError:  # a proxy
        return client
    client.close()
    return redis.RedisCluster.from_url(url, **how)


def primaries(url: str, slots: Slots) -> dict[tuple[int, int], str]:
    """The URL of the node that holds each range of slots: as `url`, at the host and port the cluster announces.

    >>> primaries("rediss://u:p@seed:6379/0", [[0, 16383, [b"10.0.0.7", 7000, b"id"]]])
    {(0, 16383): 'rediss://u:p@10.0.0.7:7000/0'}
    """
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    found = {}
    for first, last, (host, port, *_), *_ in slots:
        name = (host or b"").decode()
        name = name if name not in ("", "?") else parts.hostname or ""  # not announced: the address we came by
        shown = f"[{name}]" if ":" in name else name
        found[first, last] = urlunsplit(parts._replace(netloc=f"{user}{at}{shown}:{port}"))
    return found


def address_of(url: str) -> str:
    """The URL without user and password, for people.

    >>> address_of("redis://:secret@ledger:6379/0")
    'ledger:6379/0'
    """
    return url.rsplit("@", 1)[-1].rpartition("://")[2]


def _key(command: Command) -> str:
    return str(command[3] if command[0] == "EVALSHA" else command[1])
