"""Redis at the other end of a wire: scripts and reads in one round trip, tried again within a bound.

A script that is sent twice must be safe to run twice: that is the scripts' business (a token, a stamp, a maximum).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

from redis import asyncio as redis
from redis import exceptions as wrong
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stream.errors import Away, SetupError

T = TypeVar("T")
Call = tuple[list[str], list[Any]]  # KEYS and ARGV of one script call
Command = tuple[Any, ...]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # a restart of an empty Redis takes about 0.1 s
CONNECT_S = 2.0  # loopback and data centre answer in milliseconds
CONNECTIONS = 64  # a call uses one at a time; more than shelves in a process
SCAN_KEYS = 5_000  # one SCAN step: about 1 ms of Redis' one thread
PASSING = ("OOM", "READONLY", "LOADING", "BUSY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
PASSING_TYPES = (wrong.OutOfMemoryError, wrong.ReadOnlyError, wrong.NoScriptError)
REFUSALS = (wrong.AuthenticationError, wrong.AuthorizationError, wrong.NoPermissionError)


class Wire:
    """A bounded patience around one Redis: `timeout_s` for a call with its repeats, `command_s` for one attempt."""

    def __init__(self, url: str, *, timeout_s: float, command_s: float) -> None:
        self.where = url.rsplit("@", 1)[-1]  # never print a password
        self._timeout_s = timeout_s
        self._redis = _client(url, min(command_s, timeout_s))
        self._scripts: dict[str, _Script] = {}

    async def run(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """One script for several sets of keys in one round trip. What is already answered is not sent again.

        Raises Away when some call is not answered in time, SetupError for what waiting cannot mend.
        """
        script = self._scripts.setdefault(name, _Script(name))
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        answers: dict[int, Any] = {}

        async def attempt() -> None:
            waiting = [i for i in range(len(commands)) if i not in answers]
            got = await self._pipe([commands[i] for i in waiting])
            answers.update((i, a) for i, a in zip(waiting, got, strict=True) if not isinstance(a, Exception))
            errors = [answer for answer in got if isinstance(answer, Exception)]
            if any(isinstance(error, wrong.NoScriptError) for error in errors):
                await self._pipe([("SCRIPT", "LOAD", script.text)])
            if errors:
                raise errors[0]

        if commands:
            await self._patiently(f"run {name} in the ledger", attempt)
        return [answers[i] for i in range(len(commands))]

    async def ask(self, what: str, commands: Sequence[Command], *, at_once: bool = False) -> list[Any]:
        """Reading commands in one round trip, `at_once` as of one moment. Raises like `run`."""

        async def attempt() -> list[Any]:
            answers = await self._pipe(commands, at_once=at_once)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

        return await self._patiently(what, attempt) if commands else []

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """Keys matching the pattern, each once."""
        cursor, seen = 0, set[str]()
        while True:
            [(cursor, keys)] = await self.ask("walk keys", [("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_KEYS)])
            new = set(map(bytes.decode, keys)) - seen
            seen |= new
            for key in new:
                yield key
            if int(cursor) == 0:
                return

    async def close(self) -> None:
        """Let go of connections."""
        await self._redis.aclose()

    async def _pipe(self, commands: Iterable[Command], *, at_once: bool = False) -> list[Any]:
        async with self._redis.pipeline(transaction=at_once) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))

    async def _patiently(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        deadline, pause_s = clock() + self._timeout_s, 0.0  # the first repeat at once: a dead connection, a new script
        while True:
            try:
                return await attempt()
            except (wrong.RedisError, OSError, TimeoutError) as error:
                self._passing_or_raise(what, error)
                if clock() + pause_s > deadline:
                    raise self._away(what, error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    def _passing_or_raise(self, what: str, error: Exception) -> None:
        """Return for what may pass by itself; raise SetupError for the rest."""
        if isinstance(error, REFUSALS):
            hint = "check user and password in RESTOCK_REDIS_URL, and that its user may run scripts"
            raise SetupError(f"could not {what}: Redis refuses us", f"{error}; at {self.where}", hint) from error
        if isinstance(error, wrong.ConnectionError | wrong.TimeoutError | OSError | TimeoutError):
            return
        if isinstance(error, PASSING_TYPES) or str(error).startswith(PASSING):
            return
        hint = "another program may use this namespace, or Redis is older than 6; see `restock doctor`"
        raise SetupError(f"could not {what}: Redis answers an error", f"{error}; at {self.where}", hint) from error

    def _away(self, what: str, error: Exception) -> Away:
        return Away(
            f"could not {what}: Redis did not do it within {self._timeout_s:g} s",
            f"{str(error) or type(error).__name__}; at {self.where}",
            _hint(error),
        )


class _Script:
    """A Lua file beside this one."""

    def __init__(self, name: str) -> None:
        self.text = (Path(__file__).parent / f"{name}.lua").read_text()
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _client(url: str, command_s: float) -> redis.Redis:
    """No retries inside the client: a repeated write must be seen by us, and bounded by us."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=command_s,
        socket_connect_timeout=min(command_s, CONNECT_S),
        retry=Retry(NoBackoff(), 0),
        max_connections=CONNECTIONS,
    )


def _hint(error: Exception) -> str:
    text = str(error)
    if text.startswith("OOM") or "maxmemory" in text:
        return "Redis is full: give it more memory (maxmemory); its policy must be noeviction. Nothing is lost"
    if text.startswith("READONLY") or isinstance(error, wrong.ReadOnlyError):
        return "RESTOCK_REDIS_URL points at a replica: point it at the primary. Nothing is lost"
    if text.startswith("MISCONF"):
        return "Redis cannot write to its disk: see its log and the free space. Nothing is lost"
    return "start Redis or check RESTOCK_REDIS_URL; work goes on from the last kept batch"
