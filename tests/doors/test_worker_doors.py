"""What a worker shows: metrics, liveness, readiness, log lines."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents import cli, logs, metrics, watching
from agents.intake.translate import IntakeConfig, translate
from agents.web import Web
from stream.errors import Away, Fenced, SetupError
from stream.events.outgoing import Outgoing
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.transport.port import Batch


async def get(web: Web, path: str) -> tuple[int, str]:
    """Status and text of one page."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{web.port}{path}") as answer:
        return answer.status, await answer.text()


def test_a_worker_is_ready_when_it_waits_for_nothing() -> None:
    """/live is 200 from the start; /ready says what is missing until nothing is."""
    waiting = ["partitions"]

    async def story() -> None:
        web = Web("127.0.0.1", 0, lambda: waiting[0])
        await web.start()
        try:
            assert await get(web, "/live") == (200, "live\n")
            assert await get(web, "/ready") == (503, "waiting for partitions\n")
            waiting[0] = ""
            assert await get(web, "/ready") == (200, "ready\n")
        finally:
            await web.stop()

    asyncio.run(story())


def test_metrics_are_served_as_declared() -> None:
    """Every declared metric is in /metrics under its documented name and kind."""

    async def story() -> str:
        web = Web("127.0.0.1", 0, lambda: "")
        await web.start()
        try:
            return (await get(web, "/metrics"))[1]
        finally:
            await web.stop()

    metrics.EVENTS.labels("orders", "accepted").inc(0)
    served = {family.name: family.type for family in text_string_to_metric_families(asyncio.run(story()))}
    for metric in metrics.DECLARED:
        assert served[f"restock_{metric.name}"] == metric.kind
        assert metric.meaning.endswith(".")


def test_port_zero_takes_a_free_one_and_a_taken_one_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Two workers on one host: each logs its own port; a fixed one that is taken is refused with the way out."""

    async def story() -> None:
        first, second = Web("127.0.0.1", 0, lambda: ""), Web("127.0.0.1", 0, lambda: "")
        ports = [await first.start(), await second.start()]
        assert ports[0] != ports[1]
        assert [record.web_port for record in caplog.records] == ports  # type: ignore[attr-defined]
        with pytest.raises(SetupError) as refused:
            await Web("127.0.0.1", ports[0], lambda: "").start()
        assert "RESTOCK_WEB_PORT=0" in refused.value.hint
        await first.stop()
        await second.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(story())


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON lines on standard error."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines_carry_extras_and_the_three_parts_of_an_error(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object a line, whatever is in it; an error of ours brings detail and hint."""
    logs.setup("info", "json")
    root_logger.info("two\nlines %s", "ä", extra={"web_port": 7})
    try:
        raise Fenced("fenced", "epoch", "nothing to do")
    except Fenced:
        root_logger.exception("gave way")
    first, second = logged(capsys)
    assert (first["message"], first["web_port"], first["level"]) == ("two\nlines ä", 7, "info")
    assert first["at"].endswith("Z")
    assert (second["detail"], second["hint"]) == ("epoch", "nothing to do")
    assert "Traceback" in second["error"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_that_wants_no_traceback_is_a_line(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """`exc_info` may be false as well as absent; a line once became a fault of the logger's own."""
    logs.setup("info", form)
    try:
        raise Fenced("fenced")
    except Fenced as error:
        root_logger.error("ending: %s", error, exc_info=False)
    assert [line.count("ending: fenced") for line in capsys.readouterr().err.splitlines()] == [1]


def test_tasks_of_others_that_were_cancelled_are_no_crash(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faust traces every task it stops, and what went wrong on the way out; why a worker ends stands alone."""
    logs.setup("info", "json")
    library, ours = logging.getLogger("faust.agents"), logging.getLogger("stream.transport")

    async def stopped(way_out: Callable[[], object]) -> None:
        try:
            try:
                raise asyncio.CancelledError
            finally:
                way_out()
        except BaseException as error:
            library.error("Crashed reason=%r", error, exc_info=error)
            ours.error("stopped", exc_info=error)

    asyncio.run(stopped(lambda: None))
    asyncio.run(stopped(lambda: [][0]))

    async def too_long() -> None:
        try:
            await asyncio.wait_for(asyncio.sleep(1), 0.001)
        except TimeoutError as error:  # which asyncio makes of a cancellation
            library.error("Crashed", exc_info=error)

    asyncio.run(too_long())
    assert [(line["logger"], line["message"]) for line in logged(capsys)] == [
        ("stream.transport", "stopped"),
        ("stream.transport", "stopped"),
        ("faust.agents", "Crashed"),
    ]


def test_when_the_newest_snapshot_was_taken_is_said_and_stays_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again and again; a Redis that is away takes nothing back."""
    answers: list[int | Exception | None] = [None, 1_767_225_600_500, Away("Redis is away", "gone", "wait")]
    monkeypatch.setattr(watching, "SNAPSHOT_S", 0.0)
    shown = []

    async def newest() -> int | None:
        shown.append(metrics.SNAPSHOT_TAKEN_TIMESTAMP_SECONDS._value.get())
        if not answers:
            raise asyncio.CancelledError
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watching.watch_snapshot(newest))
    assert shown[1:] == [0, 1_767_225_600.5, 1_767_225_600.5]


def test_other_peoples_loggers_speak_from_warning_on(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with debug: theirs would be thousands of lines a second."""
    logs.setup("debug", "json")
    logging.getLogger("aiokafka.consumer").info("fetched")
    logging.getLogger("aiokafka.consumer").warning("lost")
    logging.getLogger("stream.ledger").debug("kept")
    assert [line["message"] for line in logged(capsys)] == ["lost", "kept"]


def test_what_a_library_repeats_is_counted(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker away is said at once, then with how often it was said meanwhile; our own lines are never held back."""
    logs.setup("info", "json")
    for _ in range(3):
        logging.getLogger("aiokafka").error("no node %d", 1)
        logging.getLogger("aiokafka").error("no node %d", 2)
        logging.getLogger("stream.relay").warning("late")
    monkeypatch.setattr(logs, "REPEAT_S", 0.0)
    logging.getLogger("aiokafka").error("no node %d", 1)
    said = [line["message"] for line in logged(capsys)]
    assert said[:3] == ["no node 1", "no node 2", "late"]
    assert said[3:] == ["late", "late", "no node 1 (2 times more since it was last said)"]


def test_text_lines_begin_with_time_and_level(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: time, level, logger, message."""
    logs.setup("info", "text")
    logging.getLogger("stream.relay").warning("late")
    assert capsys.readouterr().err.rstrip().endswith("Z warning stream.relay: late")


def test_lines_about_records_and_messages_name_event_sku_and_partition(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused records always, bounded a poll; published messages with debug only."""
    batch = Batch("orders", 3, 5, 25, 25, range(5, 25), [0] * 20, [b"k"] * 20, [b"{"] * 20, [()] * 20)
    done = translate(IntakeConfig(1), {}, [batch])
    message = Outgoing("stock-alerts", b"A", b"{}", (("ce_id", b"1"), ("ce_type", b"restock.alert.raised"),
        ("ce_subject", b"A@shop"), ("ce_time", b"2026-01-01T00:00:00Z")))  # fmt: skip
    publisher = MemoryPublisher(MemoryTopics())

    async def publish() -> None:
        await publisher.start(2, {})
        await watching.MeasuredPublisher(publisher).publish(2, [message])

    logs.setup("debug", "json")
    watching.intake_polled(done)
    asyncio.run(publish())
    *refused, published = [line for line in logged(capsys) if "event" in line]
    assert len(refused) == watching.REFUSED_LOGGED
    assert [refused[0][name] for name in ("event", "topic", "partition", "offset")] == [
        "record_refused",
        "orders",
        3,
        5,
    ]
    command = refused[0]["message"].split("`")[1]  # whoever is on call copies it
    assert cli.parser().parse_args(command.split()[1:]).topic == "orders"
    said = {name: published[name] for name in ("event", "sku", "location", "topic", "partition")}
    assert said == {
        "event": "restock.alert.raised",
        "sku": "A",
        "location": "shop",
        "topic": "stock-alerts",
        "partition": 2,
    }
    logs.setup("info", "json")
    asyncio.run(publish())
    assert logged(capsys) == []
