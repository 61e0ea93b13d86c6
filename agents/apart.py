"""Long computing in a process of its own: at the lowest priority, bounded in time and memory, gone with its caller.

Settings come through the environment, the answer over standard output, what is wrong over standard error. Everything
that costs time happens there (reading a snapshot too), so that events go through the worker as if nothing went on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agents import wiring
from agents.network import snapshot
from agents.planner import versions
from agents.planner.config import LONG_AGO
from agents.planner.shelf import Shelf
from agents.settings import Settings, load
from stream.errors import RestockError
from stream.ledger.redis_ledger import RedisLedger

NICE = 19
READ_AGAIN_S, READ_TIMES = 2.0, 20  # while days close; and as often as fit into the seconds they close over
PR_SET_PDEATHSIG = 1
# before the models are imported, which alone takes seconds: where the system can, gone with whoever started it, and
# only on what others leave idle
LOWEST = (
    "import ctypes, os, sys; "
    f"sys.platform == 'linux' and ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
    f"os.setpriority(os.PRIO_PROCESS, 0, {NICE}); "
    "hasattr(os, 'SCHED_IDLE') and os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); "
)
SAID_CHARS = 2_000  # of what a process that failed wrote last


class SolveFailed(RestockError):
    """There is no new plan."""


def command(module: str) -> tuple[str, ...]:
    """The words after `python` that run a module's `main` at the lowest priority."""
    return ("-c", LOWEST + f"from {module} import main; sys.exit(main())")


async def answer(settings: Settings, words: Sequence[str], within_s: float, what: str, hint: str) -> bytes:
    """What a process says. Raises SolveFailed with its why; neither it nor its children outlive the call."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env=settings.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        detail = f"it was stopped after {within_s:g} s"
        raise SolveFailed(f"the {what} took too long", detail, hint) from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # whoever of its session is left
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            await process.wait()
    if process.returncode != 0:
        raise SolveFailed(f"the {what} failed", _why(process.returncode or 0, said), "the last one stands")
    return out


def _why(code: int, said: bytes) -> str:
    words = said.decode(errors="replace").strip()[-SAID_CHARS:]
    if code < 0:
        words = f"it was ended by signal {-code}" + (f"; {words}" if words else "")
    return words or f"exit code {code}"


def run(work: Callable[[Settings], Awaitable[bytes]], memory_mb: Callable[[Settings], int], setting: str) -> int:
    """Do the work once within its memory; the answer goes to standard output, what is wrong to standard error."""
    settings = load()
    _first_to_go()
    most_mb = memory_mb(settings)
    resource.setrlimit(resource.RLIMIT_DATA, (most_mb << 20, most_mb << 20))
    try:
        said = asyncio.run(_awaited(work, settings))
    except MemoryError:
        print(f"it needs more memory than the {most_mb:,} MB of {setting}", file=sys.stderr)
        return 1
    except RestockError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(said)
    return 0


async def _awaited(work: Callable[[Settings], Awaitable[bytes]], settings: Settings) -> bytes:
    return await work(settings)


def end_with_parent() -> None:
    """Where the system can: a worker that is killed leaves no process behind that computes for nobody."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _first_to_go() -> None:
    """Where the memory of a container ends, which the worker shares, the kernel is to end this and not the worker."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


async def read_shelves(settings: Settings) -> list[Shelf]:
    """Every shelf as of one moment each. Raises SolveFailed where one is not live, or closes days for too long."""
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    try:
        return [await _read(settings, ledger, number) for number in range(settings.shelves)]
    finally:
        await ledger.close()


async def _read(settings: Settings, ledger: RedisLedger, number: int) -> Shelf:
    config = wiring.planner_config(settings, number)
    times = READ_TIMES + math.ceil(config.close_spread_ms / 1000 / READ_AGAIN_S)
    for _ in range(times):
        shelf = await snapshot.read(ledger, number, config)
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
                f"it has version {shelf.version}, this code {versions.NEWEST}; older workers do not know what is told",
                "finish the upgrade: see docs/deploy.md",
            )
        return shelf
    hint = "by the event clock a closing ends with a tick past RESTOCK_CLOSE_SPREAD_SECONDS; else it is tried again"
    raise SolveFailed(f"shelf {number} was closing days all the time", f"{times} readings", hint)
