"""The pipeline seen from outside: has it drained, what did it count, how does each row stand. Read from the ledger.

The broker's own idea of where a topic ends is not enough: the embedded one names the begin of its last batch. What was
acknowledged to us is where our topics end, and a mark has passed where the rows before it have.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import redis
from redis.exceptions import RedisClusterException

from agents import clock
from agents.planner.packing import HOT, unpacked
from agents.settings import Settings
from stream.errors import Away
from stream.events.instants import text_from_ms
from stream.events.naming import split_row_key
from stream.ledger.client import reader
from stream.ledger.keys import Keys

STALL_S = 60.0  # a worker that joins, or a Redis that restarts, takes seconds; a minute without progress is a fault
LOOK_S = 0.02  # how often it is asked: an answer takes 1 ms

Totals = dict[tuple[str, str], dict[str, Any]]  # (sku, location) -> field of HOT -> value


class Pipeline:
    """Reads the ledger of one namespace. Takes nothing from its owners."""

    def __init__(self, settings: Settings, waiting: Callable[[str], None] = lambda _: None) -> None:
        """`waiting` hears again and again what is not done yet; it may raise where waiting is in vain."""
        self._settings, self._waiting = settings, waiting
        with _redis_errors(settings):
            self._redis: Any = reader(settings.redis_url, socket_timeout=settings.redis_timeout_ms / 1000)
        self._keys = Keys(settings.namespace)

    def wait_read(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Return when intake has read up to these offsets, by (short topic, partition), and its rows are in the log."""
        self._wait(lambda: self._unread(ends))

    def wait_folded(self, watermark_ms: int) -> None:
        """Return when every shelf's watermark has come here and nothing that became due by it is left to do."""
        self._wait(lambda: self._unfolded(watermark_ms))

    def wait_caught_up(self, ends: Mapping[int, int]) -> None:
        """Return when every shelf has folded `sku-events` up to these offsets."""
        self._wait(lambda: self._unfolded_records(ends))

    def wait_published(self) -> None:
        """Return when every outbox is empty."""
        self._wait(self._unpublished)

    def counters(self) -> Counter[str]:
        """The planner's counters, summed over shelves."""
        total: Counter[str] = Counter()
        for raw in self._each_shelf("HGET", "meta", "counters"):
            total.update(orjson.loads(raw or b"{}"))
        return total

    def totals(self) -> Totals:
        """Every row's numbers, by the names in `planner.shelf.HOT`; quantities in milli."""
        found: Totals = {}
        for packed in self._each_shelf("HGETALL", "hot"):
            for key, raw in packed.items():
                values, _ = unpacked(raw)
                found[split_row_key(key.decode())] = dict(zip(HOT.names or (), values.tolist(), strict=True))
        return found

    def watermark_ms(self) -> int:
        """Event time up to which every shelf has everything; below zero where a shelf has none yet."""
        return min(int(mark or -1) for mark in self._each_shelf("HGET", "meta", "watermark_ms"))

    def published(self, topic: str) -> dict[int, int]:
        """Of a topic the shelves publish to: by partition, the offset after the last message."""
        offsets = self._each_shelf("HGET", "own", f"pub:{topic}")
        return {shelf: int(offset or 0) for shelf, offset in enumerate(offsets)}

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()

    # -- what is left to do, in words; empty where nothing is ----------------------------------------------------

    def _unread(self, ends: Mapping[tuple[str, int], int]) -> str:
        places = sorted(ends)
        offsets = self._ask([("HGET", self._keys.source(*place), "offset") for place in places])
        for place, offset in zip(places, offsets, strict=True):
            if int(offset or 0) < ends[place]:
                return f"intake is at {int(offset or 0):,} of {ends[place]:,} in {place[0]}, partition {place[1]}"
        return ""

    def _unfolded(self, watermark_ms: int) -> str:
        marks = self._each_shelf("HGET", "meta", "watermark_ms")
        sweeps = self._each_shelf("HGET", "place", "sweep")
        for shelf, (mark, sweep) in enumerate(zip(marks, sweeps, strict=True)):
            if int(mark or -1) < watermark_ms:
                return f"shelf {shelf} stands at {_instant(int(mark or -1))}, not yet at {_instant(watermark_ms)}"
            if sweep:
                return f"shelf {shelf} is closing days, at {sweep.decode()}"
        return ""

    def _unfolded_records(self, ends: Mapping[int, int]) -> str:
        offsets = self._each_shelf("HGET", "place", "offset")
        sweeps = self._each_shelf("HGET", "place", "sweep")
        for shelf, end in ends.items():
            if int(offsets[shelf] or 0) < end or sweeps[shelf]:
                return f"shelf {shelf} is at {int(offsets[shelf] or 0):,} of {end:,} in sku-events"
        return ""

    def _unpublished(self) -> str:
        for shelf, left in enumerate(self._each_shelf("LLEN", "out")):
            if left > 0:
                return f"shelf {shelf} has {left:,} messages to publish"
        return ""

    def _wait(self, left: Callable[[], str]) -> None:
        before, moved_s = (), clock.steady_s()
        while (now := left()) != "":
            self._waiting(now)
            if (stands := (now, *self._stands())) != before:
                before, moved_s = stands, clock.steady_s()
            elif clock.steady_s() - moved_s > STALL_S:
                raise Away(
                    "the pipeline does not move",
                    f"for {STALL_S:.0f} s: {now}",
                    "is a worker running for this namespace and by the same clock? RESTOCK_NAMESPACE, RESTOCK_CLOCK",
                )
            time.sleep(LOOK_S)

    def _stands(self) -> tuple[Any, ...]:
        """Everything that moves while somebody works: intake waits for shelves that close many days, and is no fault.

        Numbers of sources are not known here; what intake reads, shelves fold.
        """
        places = self._ask(
            [
                (command, self._keys.of(shelf, name), *fields)
                for shelf in range(self._settings.shelves)
                for command, name, *fields in (("HMGET", "place", "offset", "sweep"), ("LLEN", "out"))
            ]
        )
        return tuple(tuple(place) if isinstance(place, list) else place for place in places)

    def _each_shelf(self, command: str, name: str, *fields: str) -> list[Any]:
        shelves = range(self._settings.shelves)
        return self._ask([(command, self._keys.of(shelf, name), *fields) for shelf in shelves])

    def _ask(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        with _redis_errors(self._settings):
            pipe = self._redis.pipeline(transaction=False)  # a cluster's has one part a node
            for call in calls:
                pipe.execute_command(*call)
            return list(pipe.execute())


def _instant(ms: int) -> str:
    return text_from_ms(ms) if ms >= 0 else "its beginning"


@contextmanager
def _redis_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, RedisClusterException) as error:
        raise Away(
            f"Redis at {settings.safe_redis_url} does not answer", str(error), "check RESTOCK_REDIS_URL; restock doctor"
        ) from error
