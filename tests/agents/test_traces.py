"""One event's trace, from its record to the messages it caused; and that it changes nothing."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agents import traces
from agents.intake.agent import Intake
from agents.intake.translate import translate
from agents.planner.agent import Planner
from agents.settings import load
from agents.traces import Traces
from stream.errors import SetupError
from stream.ledger.memory import MemoryLedger
from stream.ledger.memory_publisher import MemoryPublisher, MemoryTopics
from stream.transport.port import Batch, Send
from tests.agents.intake.test_agent import START_MS, WALL, order
from tests.agents.planner.worlds import config


class Log:
    """A sender that remembers."""

    def __init__(self) -> None:
        self.sent: list[Send] = []

    async def send(self, records: list[Send]) -> None:
        self.sent += records


def orders(count: int) -> Batch:
    """Orders of stock nobody has: each raises alerts."""
    values = [order(i, START_MS + i, lines=1) for i in range(count)]
    ids = list(range(count))
    return Batch("orders", 0, 0, count, count, ids, [START_MS] * count, [b"k"] * count, values, [()] * count)


async def worked(with_traces: Traces | None) -> tuple[Log, MemoryLedger, MemoryTopics]:
    """Seven orders through intake and planner."""
    log, ledger, topics = Log(), MemoryLedger(), MemoryTopics()
    sender: Any = log
    kept: Any = ledger
    publisher: Any = MemoryPublisher(topics)
    run = translate
    if with_traces is not None:
        sender, kept = with_traces.sender(log), with_traces.ledger(ledger)
        publisher, run = with_traces.publisher(publisher), with_traces.translating(translate)
    intake = Intake(WALL, sender, ledger, run)
    planner: Any = Planner(kept, publisher, lambda shelf: config(shelf=shelf))
    if with_traces is not None:
        planner = with_traces.planner(planner)
    await intake.positions([("orders", 0)])
    await intake.poll([orders(7)])
    await planner.positions([0, 1, 2])
    for shelf in range(3):
        its = [send for send in log.sent if send[:2] == ("sku-events", shelf)]
        n, values, headers = len(its), [send.value for send in its], [send.headers for send in its]
        poll = Batch("sku-events", shelf, 0, n, n, list(range(n)), [0] * n, [None] * n, values, headers)
        await planner.poll([poll])
    while await planner.idle():
        pass
    await planner.release([0, 1, 2])
    return log, ledger, topics


def test_one_event_is_followed_over_every_hop() -> None:
    """One trace: intake, send, planner, fold, keep, and a publish a message it caused, with the context in it."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    _, _, topics = asyncio.run(worked(Traces(provider.get_tracer("t"), every=7)))
    found = spans.get_finished_spans()
    assert {span.name for span in found} == {"intake", "send", "planner", "fold", "keep", "publish"}
    assert len({span.context.trace_id for span in found}) == 1, "one event in seven"
    by_id = {span.context.span_id: span.name for span in found}
    parents = {(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in found}
    assert parents == {
        ("intake", None), ("send", "intake"), ("planner", "intake"), ("fold", "planner"), ("keep", "planner"),
        ("publish", "planner"),
    }  # fmt: skip
    (intake,) = [span for span in found if span.name == "intake"]
    assert (intake.attributes["restock.offset"], intake.attributes["restock.sku"]) == (0, "sku-0")
    sent = [m for shelf in range(3) for _, m in topics.committed("stock-alerts", shelf)]
    traced = [m for m in sent if dict(m.headers).get("ce_traceparent")]
    assert traced
    assert {m.key for m in traced} == {b"sku-0"}
    assert len(traced) < len(sent)
    trace_id = f"{intake.context.trace_id:032x}".encode()
    assert all(trace_id in dict(m.headers)["traceparent"] for m in traced)


def test_traces_change_no_byte_of_log_and_state() -> None:
    """With and without: the same frames, the same state, the same messages in the outbox's order."""
    traced = asyncio.run(worked(Traces(TracerProvider().get_tracer("t"), every=1)))
    plain = asyncio.run(worked(None))
    assert [send.value for send in traced[0].sent] == [send.value for send in plain[0].sent]

    async def dumps(ledger: MemoryLedger) -> list[Any]:
        return [await ledger.dump(shelf) for shelf in range(3)]

    assert asyncio.run(dumps(traced[1])) == asyncio.run(dumps(plain[1]))
    for shelf in range(3):
        ours, theirs = (t[2].committed("stock-alerts", shelf) for t in (traced, plain))
        assert [(m.id, m.value) for _, m in ours] == [(m.id, m.value) for _, m in theirs]


def test_they_are_off_by_default_and_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrapped without the setting; with it, a missing package is named."""
    off, inner = traces.from_settings(load()), object()
    assert off.sender(inner) is off.planner(inner) is off.ledger(inner) is off.publisher(inner) is inner
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError) as refused:
        traces.from_settings(load(trace_share=0.1))
    assert "restock[otel]" in refused.value.hint
