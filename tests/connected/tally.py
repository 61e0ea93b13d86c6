"""A worker process whose planner only keeps, in the ledger, which offsets it was brought.

    python -m tests.connected.tally CONFIG-AS-JSON REDIS-URL [SLOW-SECONDS]

Every poll writes one field a shelf: `start` -> `next count sum`, fenced and compared as the planner's writes are. A
gap, an overlap or a record brought twice would show in the fields. SIGUSR1 stops the process (SIGSTOP) right before
its next write.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from stream.errors import Fenced, RestockError, Stale
from stream.ledger.port import Held, Place, Write
from stream.ledger.redis_ledger import RedisLedger
from stream.transport.app import Config, build, serve
from stream.transport.port import Batch


class Tally:
    """`PlannerWork` that keeps what it was brought."""

    def __init__(self, ledger: RedisLedger, slow_s: float) -> None:
        self._ledger, self._slow_s = ledger, slow_s
        self._held: dict[int, Held] = {}
        self._stop_next = False
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._stop_at_next)

    def _stop_at_next(self) -> None:
        self._stop_next = True

    async def positions(self, shelves: Sequence[int]) -> dict[int, int | None]:
        for shelf in shelves:
            self._held[shelf] = await self._ledger.acquire(shelf)
        print("took", json.dumps(list(shelves)), flush=True)
        offsets = {shelf: self._held[shelf].place.offset for shelf in shelves}
        return {shelf: None if offset < 0 else offset for shelf, offset in offsets.items()}

    async def poll(self, batches: Sequence[Batch]) -> Sequence[int]:
        await asyncio.sleep(self._slow_s)  # so that kills and rebalances meet work in hand
        writes = [(self._held[batch.partition], _write(self._held[batch.partition], batch)) for batch in batches]
        if self._stop_next:
            self._stop_next = False
            print("stopping before", json.dumps([batch.partition for batch in batches]), flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        answers = dict(zip((b.partition for b in batches), await self._ledger.keep(writes), strict=True))
        fenced = [shelf for shelf, answer in answers.items() if isinstance(answer, Fenced)]
        if fenced:
            print("fenced", json.dumps(fenced), flush=True)
            raise Fenced(f"shelves {fenced}")
        return [shelf for shelf, answer in answers.items() if isinstance(answer, Stale)]

    async def idle(self) -> bool:
        return False

    async def release(self, shelves: Sequence[int]) -> None:
        for shelf in shelves:
            self._held.pop(shelf, None)
        print("let go", json.dumps(list(shelves)), flush=True)


def _write(held: Held, batch: Batch) -> Write:
    brought = f"{batch.next} {len(batch.values)} {sum(int(value or b'0') for value in batch.values)}"
    fields: dict[bytes, bytes | None] = {b"%d" % batch.start: brought.encode()}
    return Write(held.place, Place(batch.next), {"journal": fields})


def ranges(fields: dict[bytes, bytes]) -> list[tuple[int, int, int, int]]:
    """(start, next, count, sum) of every poll a shelf kept, in order."""
    found: list[Any] = [(int(start), *map(int, said.split())) for start, said in fields.items()]
    return sorted(found)


async def main(config: str, redis_url: str, slow_s: str = "0") -> None:
    at = Config(**json.loads(config))
    ledger = RedisLedger(redis_url, at.namespace)
    await serve(build(at, None, Tally(ledger, float(slow_s))))
    await ledger.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except RestockError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
