"""A real worker that kills itself, `kill -9`, after the n-th time it does a numbered step of docs/ARCHITECTURE.md.

python -m tests.connected.crashing STEP N [STOP]

With STOP it is frozen there instead (SIGSTOP), to go on as a zombie when somebody sends SIGCONT.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from agents import refitting, solving
from agents.cli import main
from agents.intake import agent as intake
from agents.network import balance
from agents.planner import agent as planner
from stream.ledger import leader
from stream.ledger.kafka_publisher import KafkaPublisher
from stream.ledger.office import RedisOffice
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.sender import KafkaSender

left = 0  # times the step is still to be done

DEAD_LEASE_MS = 4_000  # of a leader that will die: the next one need not wait for 10 s


def die() -> None:
    """End at once, as a kernel out of memory does it."""
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGSTOP if "STOP" in sys.argv else signal.SIGKILL)


def before(owner: Any, name: str) -> None:
    """Die before a call."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        die()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Die once an awaited call has returned."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = await original(*args, **kwargs)
        if when(*args):
            die()
        return answer

    setattr(owner, name, wrapped)


def folded() -> None:
    """Die after a fold that owes messages, before it is kept."""
    original = planner.fold  # type: ignore[attr-defined]

    def wrapped(*args: Any) -> Any:
        outcome = original(*args)
        if outcome.messages:
            die()
        return outcome

    planner.fold = wrapped  # type: ignore[attr-defined]


def telling(hook: Callable[[], None]) -> Callable[[], None]:
    """Three transfers at a time, so that there is a midst of a plan; made without waiting for idle time."""

    def applied() -> None:
        balance.TELL_TRANSFERS = 3
        leader.TTL_MS = DEAD_LEASE_MS
        solving.COMMAND, refitting.COMMAND = ("-m", "agents.solving"), ("-m", "agents.refitting")
        hook()

    return applied


STEPS: dict[int, Callable[[], None]] = {
    2: lambda: before(intake.Intake, "poll"),
    3: lambda: after(KafkaSender, "send", lambda _, records: len(records) > 0),
    4: lambda: after(RedisLedger, "source_done"),
    5: folded,
    6: lambda: after(RedisLedger, "keep", lambda _, writes: any(w.out for _, w in writes)),
    7: lambda: after(KafkaPublisher, "publish"),
    8: lambda: after(RedisLedger, "sent", lambda _, __, through, ___: through >= 0),
    # of a plan of the network agent, or a run of the slow lane, see stream/ledger/leader.py
    25: telling(lambda: before(RedisOffice, "sent")),
    26: telling(lambda: after(RedisOffice, "sent")),
}

if __name__ == "__main__":
    left = int(sys.argv[2])
    STEPS[int(sys.argv[1])]()
    sys.exit(main(["worker"]))
