"""The Faust app of a worker: two agents over the `restock://` transport, and how it starts and ends.

An agent that raises would be restarted by Faust and go on with the next message. Ours end the process instead
(`doom`): the supervisor starts it again and the ledger says where to go on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError

from stream import kafka_address
from stream.errors import Away
from stream.events.topics import BY_NAME, SKU_EVENTS, SOURCES, full_name, partitions
from stream.transport import driver
from stream.transport.desk import Desk, IntakeDesk, PlannerDesk, Poll, Work
from stream.transport.members import group_of
from stream.transport.port import IntakeWork, PlannerWork, Sent

IDLE_S = 0.1  # how often the planner is asked for idle work while nothing comes
LOOK_S = 1.0
STANDSTILL_S = 30.0  # a resume follows what was taken within milliseconds
STOP_S = 20.0  # the work in hand is one poll; a worker that is not done by then is ended anyway
DOOM_S = 5.0  # the same where something went wrong: leave the group if that is quick
REBALANCE_S = 60.0  # longest a member may take to finish its work in hand when partitions move
REQUEST_S = 90.0  # longest a shelf's load may take at take-over: Faust goes on without the seek after it
METADATA_MS = 30_000  # how soon a running worker notices that a topic has grown, and stops
BEAT_S = 1.0  # heartbeat: how soon a member hears of a rebalance

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """What the transport needs to know of an installation and its pace."""

    brokers: str  # see kafka_address.py
    namespace: str
    shelves: int
    source_partitions: int
    fact_partitions: int
    session_timeout_ms: int = 10_000
    instance_id: str | None = None
    mark_interval_ms: int = 1_000
    fetch_wait_ms: int = 50
    poll_max_records: int = 4_000
    buffer_bytes: int = 32 << 20
    client_id: str = "restock"  # what a worker calls itself in the group
    end_slack: int = 0  # 1 for the embedded broker, whose log end is one short

    def partition_count(self, name: str) -> int:
        """Partitions of a topic by its short name."""
        return partitions(BY_NAME[name], self.source_partitions, self.fact_partitions, self.shelves)


@dataclass(frozen=True)
class Pace:
    """How much is fetched at once. Half of `buffer_bytes` may wait on desks, half unread in the consumer."""

    fetch_wait_ms: int
    fetch_max_bytes: int
    partition_max_bytes: int
    waiting_max_bytes: int
    end_slack: int


def pace_of(config: Config, partition_count: int) -> Pace:
    """The pace for a worker that may hold every one of `partition_count` partitions.

    A record larger than its share still arrives, alone: the broker always answers with at least one batch.
    """
    half = config.buffer_bytes // 2
    share = max(16 << 10, min(1 << 20, half // max(1, partition_count)))
    return Pace(config.fetch_wait_ms, half, share, half, config.end_slack)


class Boot(faust.App.BootStrategy):  # type: ignore[misc]
    """No producer (we send with librdkafka) and no web server (`web_enabled` alone does not stop it)."""

    enable_kafka_producer = False
    enable_web = False


class App(faust.App):  # type: ignore[misc]
    """A worker's Faust app. Build it with `build`, run it with `serve`."""

    BootStrategy = Boot

    def __init__(self, config: Config, works: Sequence[IntakeDesk | PlannerDesk]) -> None:
        self.desks = [Desk(cast(Work, work)) for work in works]
        self._namespace = config.namespace
        self._short = {full: short for short, full in names(config.namespace).items()}
        self.partition_counts = {t: config.partition_count(self._short[t]) for desk in self.desks for t in desk.topics}
        self.pace = pace_of(config, sum(self.partition_counts.values()))
        # of either work, done by us or by others
        sources = sum(config.partition_count(name) for name in SOURCES)
        self.expected = {IntakeDesk.name: sources, PlannerDesk.name: config.partition_count(SKU_EVENTS.name)}
        self.instance_id, self.fencings = config.instance_id, driver.Fencings()
        self.doomed = asyncio.Event()
        self.reason: BaseException | None = None  # why the process ends, where that is not a signal
        self.leaving = False
        super().__init__(group_of(config.namespace), **options(config, self.pace))

    def full_name(self, name: str) -> str:
        """A topic with the namespace."""
        return full_name(self._namespace, name)

    def hand_over(self, sent: Sequence[Sent]) -> None:
        """Hear of records this worker has just written."""
        if self._consumer is not None:
            self._consumer.hand_over(sent)

    def short_name(self, topic: str) -> str:
        """A topic without the namespace."""
        return self._short[topic]

    def waiting_for(self) -> str:
        """Why this worker is not working yet; empty when it is. Holding nothing is fine: others hold everything."""
        if self.reason is not None or self.leaving:
            return "its end"
        if self._consumer is None or self._assignment is None or self.rebalancing:
            return "partitions to be assigned"
        lacking = [desk.name for desk in self.desks if set(desk.mine(list(self._assignment))) != desk.kept.keys()]
        return f"partitions of {' and '.join(lacking)} to be taken" if lacking else ""

    def standing_still(self) -> bool:
        """Whether everything assigned is taken and yet reading was never resumed: only Faust could, and it did not."""
        return self.waiting_for() == "" and len(self._assignment) > 0 and not self._consumer.flow_active

    def forgotten(self) -> set[tuple[str, int]]:
        """Polls, by agent and number, that wait though nobody is at work just now."""
        return {(desk.name, number) for desk in self.desks if (number := desk.forgotten())}

    def doom(self, error: BaseException) -> None:
        """End the process because of this; the first reason counts."""
        if self.reason is None:
            self.reason = error
            if not self.leaving:
                log.error("ending: %s", error, exc_info=None if isinstance(error, Away) else error)
        self.doomed.set()

    async def on_stop(self) -> None:
        """Finish the work in hand and let go, before Faust stops its consumer: nothing else would wait for it."""
        self.leaving = True
        if self._consumer is not None:
            self._consumer.stop_flow()
            if self.reason is None:
                await self._consumer.release()
        await super().on_stop()

    def _create_directories(self) -> None:
        """None: we have no tables on disk."""


class PollSchema(faust.Schema):  # type: ignore[misc]
    """The value of our messages is a `Poll` already."""

    def loads_key(self, *_: Any, **__: Any) -> None:
        """There is no key."""

    def loads_value(self, _app: Any, message: Any, **_: Any) -> Poll:
        """The poll."""
        poll: Poll = message.value
        return poll


def names(namespace: str) -> dict[str, str]:
    """Full names of the topics workers read, by short name."""
    return {name: full_name(namespace, name) for name in (*SOURCES, SKU_EVENTS.name)}


def build(
    config: Config,
    intake: IntakeWork | None,
    planner: PlannerWork | None,
    observe: Callable[[str, int, int], None] | None = None,
) -> App:
    """The app of a worker that does either work or both. Call it within the running loop.

    `observe` hears of every poll as it is begun: the agent's name, the number of records, the oldest one's timestamp.
    """
    full = names(config.namespace)
    works: list[IntakeDesk | PlannerDesk] = []
    if intake is not None:
        works.append(IntakeDesk(intake, {name: full[name] for name in SOURCES}))
    if planner is not None:
        works.append(PlannerDesk(planner, full[SKU_EVENTS.name]))
    app = App(config, works)
    for desk in app.desks:
        _add_agent(app, desk, observe or (lambda _agent, _records, _oldest_ms: None))
    for work, desk in zip(works, app.desks, strict=True):
        idle = _planner_idle(app, work, desk) if isinstance(work, PlannerDesk) else None
        app.task(_guarded(app, idle or _intake_idle(app, work, desk, config.mark_interval_ms / 1000)))
    return app


def _add_agent(app: App, desk: Desk, observe: Callable[[str, int, int], None]) -> None:
    async def answer(polls: Any) -> None:
        async for poll in polls:
            try:
                observe(desk.name, poll.records, poll.oldest_ms)
                await app.consumer.answer(desk, poll)
            except Exception as error:
                app.doom(error)
                await asyncio.Event().wait()  # never take the next message

    # acks=False: Faust's acks decide nothing here, and its `_new_offset` commits past a message in flight (issue 606).
    app.agent(app.topic(*sorted(desk.topics), schema=PollSchema(), acks=False), name=desk.name)(answer)


def _guarded(app: App, idle: Any) -> Any:
    async def run() -> None:
        try:
            while not app.should_stop and app.reason is None:
                await idle()
        except Exception as error:
            app.doom(error)

    return run


def _planner_idle(app: App, work: PlannerDesk, desk: Desk) -> Any:
    async def idle() -> None:
        desk.room.clear()
        async with desk.lock:  # fair: a waiting poll and a slice take turns
            ours = bool(desk.kept) and not desk.fenced
            more = ours and await app.consumer.unless_fenced(desk, work.idle())
        if more:
            await asyncio.sleep(0)
        else:
            await driver.set_within(desk.room, IDLE_S)

    return idle


def _intake_idle(app: App, work: Any, desk: Desk, interval_s: float) -> Any:
    async def idle() -> None:
        await app.sleep(interval_s)
        async with desk.lock:
            if desk.kept and not desk.fenced:
                await work.idle(*await app.consumer.at_end(desk))

    return idle


async def watch_standstill(app: App, patience_s: float = STANDSTILL_S) -> None:
    """End a worker that stands still: its partitions wait for nobody else while it is in the group.

    Seen once in a storm of kills: after its last rebalance a worker's flow stayed stopped, and it said nothing.
    """
    stood_s, forgotten, forgotten_s = 0.0, app.forgotten(), 0.0
    while max(stood_s, forgotten_s) < patience_s:
        await asyncio.sleep(LOOK_S)
        stood_s = stood_s + LOOK_S if app.standing_still() else 0.0
        still = app.forgotten()
        forgotten_s = forgotten_s + LOOK_S if still & forgotten else 0.0
        forgotten = still
    held = sum(len(desk.kept) for desk in app.desks)
    lost = "a poll was lost on its way to its agent" if forgotten_s >= patience_s else ""
    app.doom(
        Away(
            lost or "reading was not resumed after a rebalance",
            f"{held} partitions were held and not read for {patience_s:.0f} s",
            "start the worker again; it goes on where the ledger stands",
        )
    )


def options(config: Config, pace: Pace) -> Mapping[str, Any]:
    """Faust's settings; each line differs from its default for a reason."""
    session_s = config.session_timeout_ms / 1000
    return {
        "broker": [f"{driver.SCHEME}://{broker}" for broker in kafka_address.read(config.brokers).servers.split(",")],
        "broker_credentials": kafka_address.credentials(config.brokers),
        "broker_client_id": config.client_id,
        "broker_max_poll_records": config.poll_max_records,
        "broker_max_poll_interval": 600.0,  # Redis away for ten minutes: somebody else may try
        "broker_session_timeout": session_s,
        "broker_heartbeat_interval": min(BEAT_S, session_s / 4),
        "broker_request_timeout": max(REQUEST_S, session_s + 10.0),
        "broker_rebalance_timeout": REBALANCE_S,
        "broker_commit_interval": 5.0,  # for lag tools only
        "consumer_auto_offset_reset": "none",  # any other would start somewhere else and say nothing
        "consumer_max_fetch_size": pace.partition_max_bytes,
        "consumer_metadata_max_age_ms": METADATA_MS,
        "consumer_group_instance_id": config.instance_id,
        "stream_buffer_maxsize": 8,  # counts polls; desks hold back at two
        "stream_wait_empty": False,
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": 0,  # 1 would select Faust's own assignor, which needs its leader topic
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # `restock topics create` makes them: a leader once kept empty metadata a minute
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "autodiscover": False,
        "store": "memory://",
    }


async def serve(app: App, stop: asyncio.Event | None = None) -> None:
    """Run the app until SIGTERM, SIGINT or `stop`; raises what ended it otherwise.

    Returns when the work in hand is done, everything is released and the group is left.
    """
    stop = stop or _stop_on_signals()
    app.in_worker = True
    started = asyncio.ensure_future(app.start())
    watch = [asyncio.ensure_future(waits) for waits in (stop.wait(), app.doomed.wait(), _crashed(app))]
    try:
        await asyncio.wait([started, *watch], return_when=asyncio.FIRST_COMPLETED)
        if started.done() and started.exception() is None:
            await asyncio.wait(watch, return_when=asyncio.FIRST_COMPLETED)
        if started.done() and started.exception() is not None:
            app.doom(_readable(started.exception()))
    finally:
        await _stop(app, started)
        for task in watch:
            task.cancel()
    if app.reason is not None:
        raise app.reason


async def _crashed(app: App) -> None:
    await app._crashed.wait()
    if app.leaving:  # its fetcher was cancelled while we were stopping it
        return
    app.doom(_readable(app.crash_reason))


async def _stop(app: App, started: asyncio.Future[Any]) -> None:
    seconds = STOP_S if app.reason is None else DOOM_S
    try:
        await asyncio.wait_for(app.stop(), seconds)
    except TimeoutError:
        app.doom(Away("the worker did not stop in time", f"after {seconds:.0f} s", "nothing is lost: start it again"))
    except Exception as error:
        app.doom(error)
    started.cancel()


def _readable(error: BaseException | None) -> BaseException:
    if isinstance(error, KafkaError | OSError):
        return Away("Kafka does not answer", repr(error), "check RESTOCK_BROKERS; `restock doctor` says more")
    return error or AssertionError("Faust ended without a reason")


def _stop_on_signals() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
