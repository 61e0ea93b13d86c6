"""The worker put together: the only place where transport, ledger, intake, planner, relay and web server meet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pyarrow as pa

from agents import abilities, traces, watching, wiring
from agents.clock import now_ms
from agents.installation import installation
from agents.intake.agent import Intake
from agents.network.agent import Network
from agents.planner.agent import Planner
from agents.refit.agent import Refit
from agents.refitting import refit_apart
from agents.settings import Settings
from agents.solving import solve_apart
from agents.version import installed_version
from agents.warm import warm
from agents.web import Web
from stream.ledger.kafka_publisher import KafkaPublisher
from stream.ledger.office import NETWORK, REFIT, RedisOffice
from stream.ledger.redis_ledger import RedisLedger
from stream.transport import topics_admin
from stream.transport.app import App, build, serve, watch_standstill
from stream.transport.sender import KafkaSender

# A poll of 4,000 orders makes some 50,000 objects that are gone, by their reference counts, before the next one. At the
# default of 700 the collector looks after each few records and finds nothing.
GC_ALLOCATIONS = 100_000
# An order passes five threads (fetch, send, fetch, relay, loop), and each may wait this long for Python's lock.
SWITCH_S = 0.001

log = logging.getLogger(__name__)


def run_worker(settings: Settings) -> int:
    """Run a worker until SIGTERM or Ctrl-C; returns the exit code. Raises what ended it otherwise."""
    asyncio.run(work(settings))
    return 0


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run a worker in this loop until `stop`, or a signal where that is None."""
    warm_up()
    watching.begin(installed_version())
    await asyncio.to_thread(topics_admin.require, installation(settings))
    async with worker(settings) as (app, ledger, leaders):
        web = Web(settings.web_host, settings.web_port, app.waiting_for)
        await web.start()
        watches = (*_watches(app, ledger), watch_standstill(app))
        beside = [asyncio.create_task(work) for work in (*watches, *(leader.run() for leader in leaders))]
        try:
            await serve(app, stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)  # a leader resigns, and its process ends with it
            await web.stop()


def _watches(app: App, ledger: RedisLedger) -> list[Coroutine[Any, Any, None]]:
    """What keeps the gauges current."""
    return [
        watching.watch_partitions(app),
        watching.watch_redis(ledger.health),
        watching.watch_snapshot(ledger.snapshot_ms),
    ]


@contextlib.asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[tuple[App, RedisLedger, tuple[Network | Refit, ...]]]:
    """A worker's app, ledger and part in the periodic agents; connections of all neighbours are let go at the end."""
    transactions = await abilities.transactions(settings)
    there = transactions or await abilities.has_transactions(settings.brokers)
    ledger = RedisLedger(settings.redis_url, settings.namespace, command_s=settings.redis_timeout_ms / 1000)
    publisher = watching.MeasuredPublisher(
        KafkaPublisher(settings.brokers, settings.namespace, transactions=transactions)
    )
    kafka = KafkaSender(settings.brokers, settings.namespace, idempotent=there)
    sender = watching.MeasuredSender(kafka)
    traced = traces.from_settings(settings)
    translate = traced.translating(watching.timed_translate)
    intake = Intake(wiring.intake_config(settings), traced.sender(sender), ledger, translate, watching.intake_polled)
    planner = Planner(
        traced.ledger(ledger),
        traced.publisher(publisher),
        lambda shelf: wiring.planner_config(settings, shelf),
        view_every_s=settings.readable_interval_ms / 1000,
        watcher=watching.PlannerWatcher(),
    )
    offices = [
        RedisOffice(settings.redis_url, settings.namespace, tag, command_s=settings.redis_timeout_ms / 1000)
        for tag in (NETWORK, REFIT)
    ]
    network = Network(
        offices[0],
        sender,
        lambda: solve_apart(settings),
        wiring.network_config(settings),
        now_ms,
        watching.NetworkWatcher(settings.rebalance_minutes),
    )
    refit = Refit(
        offices[1],
        sender,
        lambda: refit_apart(settings),
        wiring.refit_config(settings),
        now_ms,
        watching.RefitWatcher(settings.refit_minutes),
    )
    # A broker without producer ids is the embedded one, whose log end is one short.
    config = wiring.transport_config(settings, end_slack=0 if there else 1)
    try:
        reads, keeps = settings.work != "planner", settings.work != "intake"
        works = (intake if reads else None, traced.planner(planner) if keeps else None)
        app = build(config, *works, watching.polled)
        if there:  # else a record may be in the log twice, and not where the broker says
            kafka.heard = app.hand_over
        yield app, ledger, (network, refit) if keeps else ()
    finally:
        for office in offices:
            await office.close()
        await sender.close()
        await publisher.close()
        await ledger.close()


def warm_up() -> None:
    """Import and compile what the first batch would: `pa.array(list)` brings pandas, a second inside the loop; loops
    that no earlier process left compiled take 30 s, in which a worker in the group would answer nothing.

    What is imported by then stays: the garbage collector need not look at it.
    """
    pa.array([1])
    log.info("making the planner's loops ready: 30 s the first time on a machine")
    warm()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 10, 100)
    sys.setswitchinterval(SWITCH_S)
