"""A solve in a process of its own: it reads the ledger and answers on standard output, bounded in time and memory.

Settings come through the environment.

It runs at the lowest priority, and everything that costs time happens in it (reading a snapshot too), so that events go
through the worker as if nothing else went on. It stops looking for a better plan at SEARCH_SHARE of its time; one that
is not done at the end of it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents import wiring
from agents.network import snapshot
from agents.network.balance import Answer, decide, later_of, pack_answer
from agents.network.picture import problem
from agents.plan.answer import as_json
from agents.planner import versions
from agents.planner.config import LONG_AGO
from agents.planner.shelf import Shelf
from agents.settings import Settings, load
from models.network.priced import GAP
from stream.errors import RestockError
from stream.ledger.redis_ledger import RedisLedger

SEARCH_SHARE = 0.8  # of the time allowed; the rest is for rounding what is there
NICE = 19
READ_AGAIN_S, READ_TIMES = 2.0, 15  # while days close
# before the solvers are imported: that alone takes a second or two; where the system can, only what others leave idle
LOWEST = (
    f"import os, sys; os.nice({NICE}); "
    "hasattr(os, 'SCHED_IDLE') and os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); "
)
COMMAND = ("-c", LOWEST + "from agents.solving import main; sys.exit(main())")
SAID_CHARS = 2_000  # of what a process that failed wrote last


class SolveFailed(RestockError):
    """There is no new plan."""


async def solve_apart(settings: Settings, command: Sequence[str] = COMMAND) -> bytes:
    """The packed Answer of a solve. Raises SolveFailed with its why; the process does not outlive the call."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=settings.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), settings.rebalance_seconds)
    except TimeoutError:
        raise SolveFailed(
            "the solve took too long",
            f"it was stopped after {settings.rebalance_seconds} s",
            "allow it more with RESTOCK_REBALANCE_SECONDS, or limit fewer lanes",
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise SolveFailed("the solve failed", _why(process.returncode or 0, said), "the last plan stands")
    return out


def _why(code: int, said: bytes) -> str:
    words = said.decode(errors="replace").strip()[-SAID_CHARS:]
    if code < 0:
        words = f"it was ended by signal {-code}" + (f"; {words}" if words else "")
    return words or f"exit code {code}"


def main() -> int:
    """Solve once; the answer goes to standard output, what is wrong to standard error."""
    settings = load()
    _first_to_go()
    limit = settings.rebalance_memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        answer = asyncio.run(solve(settings))
    except MemoryError:
        print(
            f"it needs more memory than the {settings.rebalance_memory_mb:,} MB of RESTOCK_REBALANCE_MEMORY_MB",
            file=sys.stderr,
        )
        return 1
    except RestockError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(pack_answer(answer))
    return 0


def _first_to_go() -> None:
    """Where the memory of a container ends, which the worker shares, the kernel is to end this and not the worker."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


async def solve(settings: Settings) -> Answer:
    """Read every shelf, and decide. Raises RestockError."""
    begun = time.monotonic()
    shelves = await read_shelves(settings)
    as_of_ms = max(shelf.watermark_ms for shelf in shelves)
    deadline = begun + settings.rebalance_seconds * SEARCH_SHARE
    return answer_of(settings, shelves, as_of_ms, lambda: time.monotonic() > deadline, begun)


def answer_of(
    settings: Settings, shelves: list[Shelf], as_of_ms: int, enough: Callable[[], bool], begun_s: float
) -> Answer:
    """What to send, and how good that is."""
    asked = problem(shelves, float("inf") if settings.rebalance_budget is None else settings.rebalance_budget)
    moves, found = decide(asked, shelves, GAP, enough, settings.rebalance_periods)
    offsets = {str(shelf.config.shelf): shelf.offset for shelf in shelves}
    seconds, memory_mb = time.monotonic() - begun_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if found is None:
        none = {"status": "nothing to decide", "seconds": round(seconds, 3), "memory_mb": round(memory_mb, 1)}
        why = "no catalog.lane connects two locations that know the same SKU"
        return Answer(as_of_ms, offsets, [], {**none, "why": why})
    return Answer(as_of_ms, offsets, moves, as_json(found, seconds, memory_mb), later_of(found, as_of_ms))


async def read_shelves(settings: Settings) -> list[Shelf]:
    """Every shelf as of one moment each. Raises SolveFailed where one is not live, or closes days for too long."""
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        return [await _read(settings, ledger, number) for number in range(settings.shelves)]
    finally:
        await ledger.close()


async def _read(settings: Settings, ledger: RedisLedger, number: int) -> Shelf:
    for _ in range(READ_TIMES):
        shelf = await snapshot.read(ledger, number, wiring.planner_config(settings, number))
        if shelf is None:
            await asyncio.sleep(READ_AGAIN_S)
            continue
        if shelf.watermark_ms == LONG_AGO or not shelf.live:
            raise SolveFailed(
                f"shelf {number} decides nothing yet",
                "its watermark has not come" if shelf.watermark_ms == LONG_AGO else "it is still in its warm-up",
                "wait until every source partition has said something; see `restock ledger show`",
            )
        if shelf.version < versions.NEWEST:
            raise SolveFailed(
                f"shelf {number} still decides as an older release does",
                f"it has version {shelf.version}, this code {versions.NEWEST}; older workers know no transfers",
                "finish the upgrade: see docs/deploy.md",
            )
        return shelf
    raise SolveFailed(f"shelf {number} was closing days all the time", f"{READ_TIMES} readings", "it is tried again")
