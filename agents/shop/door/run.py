"""The loop of `restock shop`: hear what is proposed, live, tell, and keep the truth."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol

from agents.clock import now_ms, steady_s
from agents.settings import Settings
from agents.shop.config import DAY_MS, Config
from agents.shop.door import listen
from agents.shop.door.live import Live
from agents.shop.door.pace import Pace
from agents.shop.door.records import TruthFile, require_writable, write_stock
from agents.shop.said import Said
from agents.shop.world import World
from agents.stopping import asked_to_stop
from stream.errors import SetupError
from stream.events.instants import text_from_ms

ROUND_S = 0.05  # between two looks at the clock
TICK_S = 0.25
LINE_S = 5.0  # between two lines of progress
BATCH_MS = 6 * 3_600_000  # of event time between two looks where no pace is kept


class Sink(Protocol):
    """Where events go."""

    published: Counter[str]

    def publish(self, said: list[Said]) -> None:
        """Take events, in order."""

    def tick(self, now_ms: int) -> None:
        """Event time has come this far."""

    def flush(self) -> None:
        """Return when everything is taken."""

    def close(self) -> None:
        """No more will come."""


@dataclass(frozen=True)
class Options:
    """One run of the shop."""

    config: Config
    speed: float  # event time over wall time, inf: as fast as it goes
    live: bool = False  # from now on, in real time
    from_ms: int | None = None  # begin in the middle of a day; else at the first midnight
    days: float | None = None  # of event time
    seconds: float | None = None  # of wall time
    out: Path | None = None  # files instead of Kafka
    truth: Path | None = None
    stock: Path | None = None


@dataclass
class Tale:
    """What a run came to."""

    shop_time: str = ""
    seconds: float = 0.0
    published: dict[str, int] = field(default_factory=dict)
    heard: Counter[str] = field(default_factory=Counter)
    wanted_units: int = 0  # of whole local days
    sold_units: int = 0
    lost_units: int = 0
    stolen_units: int = 0


def run(options: Options, settings: Settings) -> Tale:
    """Live until days or seconds are over, Ctrl-C or SIGTERM; all that was lived is told, and files are finished."""
    if options.out is None and not options.live and settings.clock != "event":
        raise SetupError(
            "by the wall clock a shop can only go in real time",
            f"RESTOCK_CLOCK is {settings.clock}; this shop lives in the past, where days end by its events alone",
            "set RESTOCK_CLOCK=event for the worker and the shop, or go with --speed 1x",
        )
    require_writable("--truth", options.truth)
    require_writable("--stock", options.stock)
    tale = Tale()
    with ExitStack() as stack:
        sink = stack.enter_context(_sink(options, settings))
        listener = _listener(options, settings)
        if listener is not None:
            stack.callback(listener.close)
        live = Live(World(options.config, now_ms() if options.live else options.from_ms))
        truth = None if options.truth is None else TruthFile(options.truth, live.world)
        if truth is not None:
            stack.callback(truth.close)
        with asked_to_stop() as stop:
            for _ in _rounds(options, live, sink, tale):
                if listener is not None:
                    for heard in listener.hear():
                        listen.answer(live.world, heard, tale.heard)
                _keep(live.world, truth, tale)
                if stop():
                    print("stopping ...", file=sys.stderr)
                    break
            _finish(options, live, sink)
            _keep(live.world, truth, tale)
            if options.stock is not None:
                write_stock(options.stock, live.world)
        tale.shop_time, tale.published = text_from_ms(live.world.now_ms - 1), dict(sink.published)
    return tale


@contextmanager
def _sink(options: Options, settings: Settings) -> Iterator[Sink]:
    if options.out is not None:
        from agents.shop.door.files import Files

        sink: Sink = Files(options.out)
    else:
        from agents.shop.door.publish import Publisher

        sink = Publisher(settings)
    try:
        yield sink
    finally:
        sink.close()


def _listener(options: Options, settings: Settings) -> listen.Listener | None:
    if options.out is not None or options.config.restocking != "answers":
        return None
    return listen.Listener(settings, listen.TOPICS)


def _rounds(options: Options, live: Live, sink: Sink, tale: Tale) -> Iterator[None]:
    """Tell what happened since, again and again, until the end; progress on standard error."""
    begin_ms = live.world.now_ms
    # In real time what a step has before now is told at once: a quarter of an hour behind, all of it would come late.
    pace = Pace(now_ms() if options.live else begin_ms, options.speed)
    end_ms = begin_ms + round(options.days * DAY_MS) if options.days is not None else None
    begun, ticked, lined = steady_s(), 0.0, 0.0
    while True:
        elapsed = tale.seconds = steady_s() - begun
        to_ms = pace.at(elapsed, now_ms())
        if pace.speed == inf:
            to_ms = min(to_ms, live.world.now_ms + BATCH_MS)
        if end_ms is not None:
            to_ms = min(to_ms, end_ms - 1)
        sink.publish(live.until(to_ms))
        if not options.live and (pace.speed == inf or elapsed - ticked >= TICK_S):
            ticked = elapsed
            sink.tick(to_ms)
        if elapsed - lined >= LINE_S:
            lined = elapsed
            print(_line(to_ms, elapsed, sink.published.total()), file=sys.stderr, flush=True)
        yield
        if (end_ms is not None and to_ms >= end_ms - 1) or (options.seconds and elapsed >= options.seconds):
            return
        if pace.speed != inf:
            time.sleep(ROUND_S)


def _line(to_ms: int, elapsed_s: float, events: int) -> str:
    return f"{elapsed_s:6.0f} s  shop time {text_from_ms(to_ms)[:16]}Z  {events:,} events"


def _finish(options: Options, live: Live, sink: Sink) -> None:
    """Tell the rest of the last step, so that all that was lived was said; in real time it has not come yet."""
    if not options.live:
        sink.publish(live.rest())
        sink.tick(live.world.now_ms - 1)
    sink.flush()


def _keep(world: World, truth: TruthFile | None, tale: Tale) -> None:
    days = world.truth()
    for day in days:
        tale.wanted_units += int(day.wanted_units.sum())
        tale.sold_units += int(day.sold_units.sum())
        tale.lost_units += int(day.lost_units.sum())
        tale.stolen_units += int(day.stolen_units.sum())
    if truth is not None:
        truth.write(days)


def said_of(tale: Tale) -> dict[str, Any]:
    """A run as plain data."""
    return {**tale.__dict__, "heard": dict(tale.heard)}
