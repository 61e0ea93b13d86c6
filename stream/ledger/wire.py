"""Redis at the other end of a wire: scripts and reads in one round trip (a node of a cluster), repeated within a bound.

A script that is sent twice must be safe to run twice: that is the scripts' business (a token, a stamp, a maximum).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

from redis import exceptions as wrong

from stream.errors import Away, SetupError
from stream.ledger.client import MOVING, UNANSWERED, Client, Command

T = TypeVar("T")
log = logging.getLogger(__name__)
Call = tuple[list[str], list[Any]]  # KEYS and ARGV of one script call

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # a restart of an empty Redis takes about 0.1 s
NOTICE_S = 3.0  # without an answer: whoever looks at a terminal begins to wonder
NOTICE_AGAIN_S = 30.0
SCAN_KEYS = 5_000  # one SCAN step: about 1 ms of Redis' one thread
PASSING = ("OOM", "READONLY", "LOADING", "BUSY", "MISCONF", "NOREPLICAS", "MASTERDOWN")
PASSING_TYPES = (
    wrong.OutOfMemoryError,
    wrong.ReadOnlyError,
    wrong.NoScriptError,
    wrong.TryAgainError,
    wrong.ClusterDownError,
)
REFUSALS = (wrong.AuthenticationError, wrong.AuthorizationError, wrong.NoPermissionError)


class Wire:
    """A bounded patience around Redis: `timeout_s` for a call with its repeats, `command_s` for one attempt."""

    def __init__(self, url: str, *, timeout_s: float, command_s: float) -> None:
        self.where = url.rsplit("@", 1)[-1]  # never print a password
        self._timeout_s = timeout_s
        self._client = Client(url, min(command_s, timeout_s))
        self._scripts: dict[str, _Script] = {}
        self._notice_at_s = float("-inf")  # by the loop's clock: no sooner than this is it said that we wait

    async def run(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """One script for several sets of keys in one round trip. What is already answered is not sent again.

        Raises Away when some call is not answered in time, SetupError for what waiting cannot mend.
        """
        if name not in self._scripts:
            self._scripts[name] = _Script(name)
        script = self._scripts[name]
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        answers: dict[int, Any] = {}

        async def attempt() -> None:
            waiting = [i for i in range(len(commands)) if i not in answers]
            got = await self._pipe([commands[i] for i in waiting])
            answers.update((i, a) for i, a in zip(waiting, got, strict=True) if not isinstance(a, Exception))
            errors = [answer for answer in got if isinstance(answer, Exception)]
            if any(isinstance(error, wrong.NoScriptError) for error in errors):
                await self._client.everywhere([("SCRIPT", "LOAD", script.text)])
            if errors:
                raise errors[0]

        if commands:
            await self._patiently(f"run {name} in the ledger", attempt)
        return [answers[i] for i in range(len(commands))]

    async def ask(self, what: str, commands: Sequence[Command], *, at_once: bool = False, at: str = "") -> list[Any]:
        """Reading commands in one round trip, `at_once` as of one moment, `at` one server. Raises like `run`."""

        async def attempt() -> list[Any]:
            answers = await self._pipe(commands, at_once=at_once, at=at)
            _raise_first(answers)
            return answers

        return await self._patiently(what, attempt) if commands else []

    async def ask_everywhere(self, what: str, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """The same of every server that holds keys, by address. Raises like `run` where one does not answer."""

        async def attempt() -> dict[str, list[Any]]:
            answers = await self._client.everywhere(commands)
            _raise_first([answer for of_one in answers.values() for answer in of_one])
            return answers

        return await self._patiently(what, attempt)

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """Keys matching the pattern, each once, of every server that holds keys."""
        seen = set[str]()
        for address in await self._patiently("walk keys", self._client.addresses):
            cursor = 0
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_KEYS)
                [(cursor, keys)] = await self.ask("walk keys", [command], at=address)
                new = set(map(bytes.decode, keys)) - seen
                seen |= new
                for key in new:
                    yield key
                if int(cursor) == 0:
                    break

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _pipe(self, commands: Sequence[Command], *, at_once: bool = False, at: str = "") -> list[Any]:
        return await self._client.pipe(commands, at_once=at_once, at=at)

    async def _patiently(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        begun, pause_s = clock(), 0.0  # the first repeat at once: a dead connection, a new script
        deadline = begun + self._timeout_s
        while True:
            try:
                return await attempt()
            except (wrong.RedisError, OSError, TimeoutError) as error:
                self._passing_or_raise(what, error)
                if clock() + pause_s > deadline:
                    raise self._away(what, error) from error
                if clock() >= max(begun + NOTICE_S, self._notice_at_s):
                    self._notice_at_s = clock() + NOTICE_AGAIN_S
                    left_s, said = deadline - clock(), {"event": "redis_away"}
                    log.warning(
                        "Redis at %s: %s; trying for %.0f s more to %s", self.where, error, left_s, what, extra=said
                    )
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    def _passing_or_raise(self, what: str, error: Exception) -> None:
        """Return for what may pass by itself; raise SetupError for the rest."""
        if isinstance(error, REFUSALS):
            hint = "check user and password in RESTOCK_REDIS_URL, and that its user may run scripts"
            raise SetupError(f"could not {what}: Redis refuses us", f"{error}; at {self.where}", hint) from error
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "name the authority that signed it: RESTOCK_REDIS_URL=rediss://...?ssl_ca_certs=/path/ca.pem"
            raise SetupError(f"could not {what}: Redis' certificate is not trusted", str(error), hint) from error
        if isinstance(error, UNANSWERED) or (isinstance(error, MOVING) and self._client.clustered):
            return  # also a slot on its way: AskError, MovedError
        if isinstance(error, PASSING_TYPES) or str(error).startswith(PASSING):
            return
        if isinstance(error, wrong.AskError):
            hint = "this is a node of a cluster, which we follow where its user may ask INFO and CLUSTER SLOTS"
            raise SetupError(f"could not {what}: its keys are elsewhere", f"{error}; at {self.where}", hint) from error
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


def _raise_first(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _hint(error: Exception) -> str:
    text = str(error)
    if text.startswith("OOM") or "maxmemory" in text:
        return "Redis is full: give it more memory (maxmemory); its policy must be noeviction. Nothing is lost"
    if text.startswith("READONLY") or isinstance(error, wrong.ReadOnlyError):
        return "RESTOCK_REDIS_URL points at a replica: point it at the primary. Nothing is lost"
    if text.startswith("MISCONF"):
        return "Redis cannot write to its disk: see its log and the free space. Nothing is lost"
    if isinstance(error, MOVING):
        return "the cluster lacks a node or moves slots: see CLUSTER INFO. Work goes on when every slot is served"
    return "start Redis or check RESTOCK_REDIS_URL; work goes on from the last kept batch"
