"""One replay from file to report: the order of things. Everything it waits for has a bound."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents import abilities, clock, wiring
from agents.replay import dates, report
from agents.replay.facts import location_facts
from agents.replay.formats.catalogue import FORMATS
from agents.replay.formats.lines import Lines, What
from agents.replay.formats.options import Options
from agents.replay.formats.reading import read_sheet
from agents.replay.formats.records import records
from agents.replay.opening import opening_stock
from agents.replay.outgoing import Follower, end_of
from agents.replay.pipeline import Pipeline
from agents.replay.publish import Publisher
from agents.replay.supplier import Supplier
from agents.replay.timeline import DAY_MS, Tick, Timeline, day_end_ms, day_start_ms
from agents.settings import Settings
from stream.errors import SetupError
from stream.events.instants import text_from_ms

PROGRESS_S = 1.0
PROGRESS_LOG_S = 10.0  # where standard error is not a terminal
WIDTH = 79  # of a line that is written over
OFFERED, GONE = "proposed", ("cancelled", "expired")  # of replenishments: what to answer, what not any more


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    file: Path
    format: str
    options: Options
    speed: float | None = None  # event seconds a second; None: as fast as it goes
    opening: tuple[str, int] | None = None
    supplier: Supplier | None = None
    tick_ms: int = 3_600_000
    anyway: bool = False  # publish rows of the future too

    @property
    def timezone(self) -> str:
        """The zone of naive times, and of the days."""
        return self.options.timezone or FORMATS[self.format].timezone


@dataclass(frozen=True)
class Loaded:
    """A file that was read and looked at."""

    rows: int
    lines: Lines
    dates: dates.Dates


def load(order: Order, settings: Settings, any_age: bool = False) -> Loaded:
    """Read the file and check its dates. Raises SetupError where it cannot be replayed as asked."""
    sheet = read_sheet(order.file, order.options.delimiter, order.options.encoding)
    lines = FORMATS[order.format].lines(sheet, order.options)
    found = dates.dates_of(lines, clock.now_ms(), settings.max_ahead_ms)
    dates.refuse_future(found, order.anyway)
    if settings.clock == "wall" and not any_age:
        dates.refuse_old(found, clock.now_ms(), settings.max_behind_days)
    return Loaded(sheet.rows, lines, found)


def replay(order: Order, loaded: Loaded, settings: Settings, check: Callable[[], None]) -> dict[str, Any]:
    """Publish the file, wait until the pipeline has drained, and say what it did. `check` raises where waiting is vain.

    The order of things: 1 remember where everything stands; 2 send, with ticks, a supplier's answers in between;
    3 wait for intake, planner and relay; 4 read what they published and settle the account.
    """
    begin_s = clock.steady_s()
    progress = Progress(int(loaded.lines.published.sum()))

    def waiting(what: str) -> None:
        check()
        progress.wait(what)

    with closing(Pipeline(settings, waiting)) as pipeline:
        before = _Before(pipeline, settings)  # 1
        _require_time(order, loaded, settings, pipeline.watermark_ms())
        publisher = Publisher(settings, asyncio.run(abilities.has_transactions(settings.brokers)))
        timeline = _timeline(order, loaded, settings)
        watermark_ms = _send(order, loaded, settings, publisher, timeline, pipeline, before, progress)  # 2
        sent_s = clock.steady_s() - begin_s
        _drain(pipeline, publisher, settings, watermark_ms)  # 3
        progress.clear()
        seconds = clock.steady_s() - begin_s
        sent = report.Sent(publisher.rows, publisher.added, publisher.begin, publisher.end, publisher.not_rows)
        settled = _settle(loaded, settings, pipeline, before, sent)  # 4
    return {
        "file": str(order.file),
        "format": order.format,
        "namespace": settings.namespace,
        "clock": settings.clock,
        "first": text_from_ms(loaded.dates.first_ms),
        "last": text_from_ms(loaded.dates.last_ms),
        "sent_seconds": round(sent_s, 3),
        "seconds": round(seconds, 3),
        **settled,
    }


class _Before:
    """Where everything stood when the replay began."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.counters = pipeline.counters()
        self.totals = pipeline.totals()
        self.outgoing = {topic: pipeline.published(topic) for topic in ("replenishments", "stock-alerts")}
        self.letters = {0: end_of(settings, "dead-letters", 0)}


def _require_time(order: Order, loaded: Loaded, settings: Settings, watermark_ms: int) -> None:
    """Say where the namespace's event time is past the file's begin; a supplier cannot live in the past at all."""
    if settings.clock == "wall" or watermark_ms <= loaded.dates.first_ms:
        return
    at = f"the event time of namespace {settings.namespace} is {text_from_ms(watermark_ms)} already"
    if order.supplier is not None:
        raise SetupError(
            "a supplier cannot answer in the past",
            f"{at}, and the file begins {text_from_ms(loaded.dates.first_ms)}",
            "replay into a new --namespace",
        )
    print(f"{at}: what is older moves stock but teaches nothing", file=sys.stderr)


# -- 2: send ----------------------------------------------------------------------------------------------------------


def _timeline(order: Order, loaded: Loaded, settings: Settings) -> Timeline:
    zone, found = order.timezone, loaded.dates
    until_ms = min(closed_ms(found.last_ms, zone, settings), clock.now_ms())
    ticks = order.tick_ms if settings.clock == "event" else None
    begin_ms = day_start_ms(found.first_ms, zone)
    timeline = Timeline(records(loaded.lines), ticks, begin_ms, until_ms)
    if order.opening is not None:
        for receipt in opening_stock(loaded.lines, order.opening, begin_ms - 1000, order.file.name):
            timeline.add(receipt)
    return timeline


def closed_ms(last_ms: int, zone: str, settings: Settings) -> int:
    """From when on the day of an instant is closed for every SKU, whether its location's zone is said or not."""
    end_ms = max(day_end_ms(last_ms, z) for z in (zone, "UTC"))
    return end_ms + settings.lateness_ms + wiring.close_spread_ms(settings)


def _send(
    order: Order,
    loaded: Loaded,
    settings: Settings,
    publisher: Publisher,
    timeline: Timeline,
    pipeline: Pipeline,
    before: _Before,
    progress: Progress,
) -> int | None:
    """Send everything; returns the last tick, None where there was none."""
    _tell_zone(order, loaded, settings, publisher)
    pace = _pace(order.speed, publisher)
    buyer = _Buyer(order, settings, publisher, timeline, pipeline, before) if order.supplier is not None else None
    last_ms = None
    try:
        for one in timeline:
            pace(one.at_ms)
            if isinstance(one, Tick):
                publisher.tick(one)
                if last_ms is None:  # what holds from the first day on must be folded before its first sale is read
                    publisher.flush()
                    pipeline.wait_folded(one.at_ms)
                last_ms = one.at_ms
                if buyer is not None:
                    buyer.look(one.at_ms)
                progress.show(one.at_ms)
            else:
                publisher.send(one)
                progress.rows += one.rows
                if last_ms is None or one.rows == 0:
                    progress.show(one.at_ms)
        publisher.flush()
    finally:
        if buyer is not None:
            buyer.close()
    progress.done()
    return last_ms


def _tell_zone(order: Order, loaded: Loaded, settings: Settings, publisher: Publisher) -> None:
    """Say which zone cuts the days; only by the event clock, where the namespace is the replay's own."""
    if settings.clock == "wall":
        return
    at_ms = day_start_ms(loaded.dates.first_ms, order.timezone) - DAY_MS
    for fact in location_facts(loaded.lines, order.timezone, at_ms):
        publisher.send(fact)


class _Buyer:
    """Brings proposals to the supplier once a local day, when everything before has been folded."""

    def __init__(
        self,
        order: Order,
        settings: Settings,
        publisher: Publisher,
        timeline: Timeline,
        pipeline: Pipeline,
        before: _Before,
    ) -> None:
        assert order.supplier is not None
        self._supplier, self._zone = order.supplier, order.timezone
        self._publisher, self._timeline, self._pipeline = publisher, timeline, pipeline
        self._follower = Follower(settings, "replenishments", before.outgoing["replenishments"])
        self._heard = Counter({what: before.counters[f"replenishments:{what}"] for what in (OFFERED, *GONE)})
        self._open: dict[str, Any] = {}  # proposals nobody has answered yet
        self._next_ms: int | None = None

    def look(self, now_ms: int) -> None:
        """Answer what was proposed up to a tick, if a new day has begun since the last look."""
        if self._next_ms is None or now_ms >= self._next_ms:
            self._next_ms = day_end_ms(now_ms, self._zone)
            self._publisher.flush()
            self._pipeline.wait_folded(now_ms)
            self._hear(self._pipeline.counters())
            for proposal in self._open.values():
                for answer in self._supplier.answer(proposal, now_ms, self._next_ms):
                    self._timeline.add(answer)
            self._open.clear()

    def _hear(self, counters: Counter[str]) -> None:
        """Read as many proposals and withdrawals as the planner has counted; what was withdrawn is not answered."""
        while any(self._heard[what] < counters[f"replenishments:{what}"] for what in self._heard):
            type, data = self._follower.next()
            what = type.rpartition(".")[2]
            if what == OFFERED:
                self._open[data["replenishment_id"]] = data
            elif what in GONE:
                self._open.pop(data["replenishment_id"], None)
            if what in self._heard:
                self._heard[what] += 1

    def close(self) -> None:
        """Let go of the connection."""
        self._follower.close()


def _pace(speed: float | None, publisher: Publisher) -> Callable[[int], None]:
    """Wait until an event time is due at this speed."""
    if speed is None:
        return lambda _: None
    begin: list[float] = []

    def wait(at_ms: int) -> None:
        if not begin:
            begin.extend((clock.steady_s(), at_ms))
        due_s = begin[0] + (at_ms - begin[1]) / 1000 / speed
        while (left_s := due_s - clock.steady_s()) > 0:
            publisher.poll(min(left_s, 0.2))

    return wait


class Progress:
    """How far a replay has come, on standard error: a line that is rewritten, or one every ten seconds in a log."""

    def __init__(self, total: int) -> None:
        self.rows = 0
        self._total = total
        self._live = sys.stderr.isatty()
        self._begin_s = self._shown_s = clock.steady_s()

    def show(self, at_ms: int) -> None:
        """Say how far it is, if nothing was said just now."""
        if self._due():
            share = self.rows / max(self._total, 1)
            pace = self.rows / (self._shown_s - self._begin_s)
            done = f"{self.rows:,} of {self._total:,} rows  {pace:,.0f} rows/s"
            self._say(f"{share:4.0%}  {text_from_ms(at_ms)[:16]}  {done}", end=not self._live)

    def wait(self, what: str) -> None:
        """Say what is waited for, if nothing was said just now."""
        if self._due():
            self._say(f"waiting: {what}", end=not self._live)

    def done(self) -> None:
        """Everything is sent."""
        seconds = max(clock.steady_s() - self._begin_s, 1e-9)
        self._say(f"sent {self.rows:,} rows in {seconds:.1f} s, {self.rows / seconds:,.0f} rows/s", end=True)

    def clear(self) -> None:
        """Leave no half line behind."""
        if self._live:
            self._say("", end=False)
            print("\r", end="", file=sys.stderr, flush=True)

    def _due(self) -> bool:
        now_s = clock.steady_s()
        if now_s - self._shown_s < (PROGRESS_S if self._live else PROGRESS_LOG_S):
            return False
        self._shown_s = now_s
        return True

    def _say(self, line: str, end: bool) -> None:
        whole = f"\r{line[:WIDTH]:<{WIDTH}}" if self._live else line
        print(whole, end="\n" if end else "", file=sys.stderr, flush=True)


# -- 3: drain ---------------------------------------------------------------------------------------------------------


def _drain(pipeline: Pipeline, publisher: Publisher, settings: Settings, watermark_ms: int | None) -> None:
    """Wait until what was sent is read, folded and published.

    By the wall clock there is no tick to wait for: a mark made after intake has read everything has passed where the
    rows before it have. In a namespace that was used before, ticks may lie behind the marks and say nothing: there the
    offsets do.
    """
    pipeline.wait_read(publisher.end)
    pipeline.wait_caught_up({shelf: end_of(settings, "sku-events", shelf) for shelf in range(settings.shelves)})
    if watermark_ms is None:
        watermark_ms = clock.now_ms() - settings.lateness_ms
    pipeline.wait_folded(watermark_ms)
    pipeline.wait_published()


# -- 4: settle --------------------------------------------------------------------------------------------------------


def _settle(
    loaded: Loaded, settings: Settings, pipeline: Pipeline, before: _Before, sent: report.Sent
) -> dict[str, Any]:
    after = pipeline.counters()
    moved = {name: count - before.counters[name] for name, count in after.items()}
    with closing(Follower(settings, "dead-letters", before.letters)) as letters:
        refused = report.refusals(letters.to_end(), sent)
    account = report.account(
        loaded.rows, loaded.lines.counted_here(), sent, refused, moved, _copied(loaded.lines, settings.shelves)
    )
    totals = pipeline.totals()
    published = {}
    for topic, count in (("stock-alerts", report.alerts_of), ("replenishments", report.replenishments_of)):
        with closing(Follower(settings, topic, before.outgoing[topic])) as messages:
            published[topic] = count(messages.until(pipeline.published(topic)))
    return {
        "read": account.read,
        "accepted": account.accepted,
        "repeated": account.repeated,
        "refused": account.refused,
        "unaccounted": account.unaccounted,
        "added_events": dict(sent.added),
        "added_refused": dict(refused.added),
        "units_by_sku": report.units_by_sku(before.totals, totals),
        "positions": report.positions(totals),
        "alerts": published["stock-alerts"],
        "replenishments": published["replenishments"],
    }


def _copied(lines: Lines, shelves: int) -> dict[str, tuple[int, int]]:
    """A checked-out cart goes to every shelf, and each counts it."""
    out = lines.published & lines.good & (lines.what == What.CHECKED_OUT)
    again = int(np.count_nonzero(out & (lines.copy > 0)))
    return {"carts": ((int(out.sum()) - again) * (shelves - 1), again * (shelves - 1))}
