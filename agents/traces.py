"""Traces of single events across the hops, by OpenTelemetry: an extra, off by default, put around the rooms.

    intake (poll to acknowledged) -> sku-events -> planner (fold, keep) -> publish

The context travels in headers of the `sku-events` record and, added as it is sent, of the outgoing message. So neither
values nor state differ by a byte, and a crash loses at most the trace. Which events are traced follows from their
offsets: a worker that reads them again traces the same ones.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.intake.translate import Translated
from agents.settings import Settings
from agents.version import installed_version
from stream.errors import SetupError
from stream.events.naming import split_row_key
from stream.events.outgoing import Outgoing
from stream.events.rows import numbers
from stream.events.topics import SKU_EVENTS, SOURCES
from stream.ledger.port import Held, Write
from stream.ledger.publisher import about
from stream.transport.port import Batch, Send

CONTEXT, OF_SKU = "traceparent", "traced-sku"
CE_CONTEXT = "ce_traceparent"  # the CloudEvents extension for distributed tracing
LINKED_MAX = 10_000  # messages on their way whose trace is remembered; more than one shelf's outbox may hold unsent


class Picked(NamedTuple):
    """The event of a poll that is traced."""

    topic: str
    partition: int
    offset: int
    shelf: int
    sku: str
    location: str


@dataclass
class Following:
    """A shelf's part of a poll that carries a traced event."""

    sku: str
    span: Any
    context: Any
    begun_ns: int


class Traces:
    """Spans of one event in so many; wraps what a worker is made of."""

    def __init__(self, tracer: Any, every: int) -> None:
        self._tracer, self._every = tracer, every
        self._intake: tuple[Picked, Any] | None = None
        self._following: dict[int, Following] = {}
        self._linked: OrderedDict[str, Any] = OrderedDict()  # message id -> context

    # -- intake ---------------------------------------------------------------------------------------------------

    def translating(self, translate: Callable[..., Translated]) -> Callable[..., Translated]:
        """`translate`, followed by a span where the poll holds a traced event."""

        def traced(config: Any, marks: Any, batches: Sequence[Batch]) -> Translated:
            begun_ns = time.time_ns()
            done = translate(config, marks, batches)
            picked = next(self._picks(batches, done), None)
            if picked is not None:
                attributes = {f"restock.{name}": value for name, value in picked._asdict().items()}
                self._intake = picked, self._tracer.start_span("intake", start_time=begun_ns, attributes=attributes)
            return done

        return traced

    def _picks(self, batches: Sequence[Batch], done: Translated) -> Iterator[Picked]:
        for batch in batches:
            for offset in batch.offsets:
                if offset % self._every == 0:
                    yield from _places(batch, offset, done)

    def sender(self, inner: Any) -> Any:
        """A sender that says in the headers which event is traced."""
        return _Around(inner, send=lambda records: self._send(inner, records))

    async def _send(self, inner: Any, records: Sequence[Send]) -> None:
        traced, self._intake = self._intake, None
        if traced is None:
            await inner.send(records)
            return
        picked, span = traced
        context = _context_of(span)
        headers = ((CONTEXT, _text_of(context)), (OF_SKU, picked.sku.encode()))
        to = (SKU_EVENTS.name, picked.shelf)
        with self._tracer.start_as_current_span("send", context=context):
            await inner.send([r._replace(headers=(*r.headers, *headers)) if r[:2] == to else r for r in records])
        span.end()

    # -- planner --------------------------------------------------------------------------------------------------

    def planner(self, inner: Any) -> Any:
        """A planner whose polls are spans where they carry a traced event."""
        return _Around(inner, poll=lambda batches: self._poll(inner, batches))

    async def _poll(self, inner: Any, batches: Sequence[Batch]) -> Sequence[int]:
        for batch in batches:
            for headers in batch.headers:
                if headers and CONTEXT in (told := dict(headers)):
                    self._follow(batch.partition, told)
        try:
            stale: Sequence[int] = await inner.poll(batches)
        finally:
            for following in self._following.values():
                following.span.end()
            self._following.clear()
        return stale

    def _follow(self, shelf: int, told: Mapping[str, bytes]) -> None:
        if shelf in self._following:  # one a shelf and poll is enough
            return
        parent = _context_from(told[CONTEXT])
        span = self._tracer.start_span("planner", context=parent, attributes={"restock.shelf": shelf})
        self._following[shelf] = Following(told[OF_SKU].decode(), span, _context_of(span), time.time_ns())

    def ledger(self, inner: Any) -> Any:
        """The planner's ledger: a keep ends the fold's span and is one itself."""
        return _Around(inner, keep=lambda writes: self._keep(inner, writes))

    async def _keep(self, inner: Any, writes: Sequence[tuple[Held, Write]]) -> Any:
        spans = []
        for held, write in writes:
            following = self._following.get(held.shelf)
            if following is None:
                continue
            self._tracer.start_span("fold", context=following.context, start_time=following.begun_ns).end()
            spans.append(self._tracer.start_span("keep", context=following.context))
            for message in write.out:
                if _sku_of(message) == following.sku:
                    self._link(message.id, following.context)
        try:
            return await inner.keep(writes)
        finally:
            for span in spans:
                span.end()

    def _link(self, id_: str, context: Any) -> None:
        self._linked[id_] = context
        if len(self._linked) > LINKED_MAX:
            self._linked.popitem(last=False)

    # -- publisher ------------------------------------------------------------------------------------------------

    def publisher(self, inner: Any) -> Any:
        """A publisher that hands the context on, in headers added as a message is sent."""
        return _Around(inner, publish=lambda shelf, messages: self._publish(inner, shelf, messages))

    async def _publish(self, inner: Any, shelf: int, messages: Sequence[Outgoing]) -> Any:
        spans, sent = [], []
        for message in messages:
            context = self._linked.pop(message.id, None)
            if context is None:
                sent.append(message)
                continue
            attributes = {"restock.topic": message.topic, "restock.shelf": shelf, "restock.ce_id": message.id}
            span = self._tracer.start_span("publish", context=context, attributes=attributes)
            spans.append(span)
            said = _text_of(_context_of(span))
            sent.append(message._replace(headers=(*message.headers, (CE_CONTEXT, said), (CONTEXT, said))))
        try:
            return await inner.publish(shelf, sent)
        finally:
            for span in spans:
                span.end()


class _Around:
    """An object with some methods replaced."""

    def __init__(self, inner: Any, **methods: Any) -> None:
        self._inner = inner
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Untraced:
    """Nobody is followed, and nothing is wrapped."""

    def translating(self, translate: Callable[..., Translated]) -> Callable[..., Translated]:
        """The same."""
        return translate

    def unchanged(self, inner: Any) -> Any:
        """The same."""
        return inner

    sender = planner = ledger = publisher = unchanged


def from_settings(settings: Settings) -> Traces | Untraced:
    """Traces as the settings ask for them. Spans go out by OTLP, as `OTEL_*` variables say.

    Raises SetupError where they are asked for and the packages are not there.
    """
    if settings.trace_share == 0.0:
        return Untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SetupError(
            "RESTOCK_TRACE_SHARE asks for traces, and OpenTelemetry is not installed",
            str(error),
            "pip install 'restock[otel]', or leave the setting out",
        ) from error
    name = {"service.name": "restock", "service.namespace": settings.namespace, "service.version": installed_version()}
    provider = TracerProvider(resource=Resource.create(name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider.get_tracer("restock"), max(1, round(1 / settings.trace_share)))


def _places(batch: Batch, offset: int, done: Translated) -> Iterator[Picked]:
    """Where the rows of a source record went; nothing where it was refused."""
    for shelf, rows in sorted(done.shelves.items()):
        c = numbers(rows)
        mine = (c["source"] == SOURCES[batch.topic]) & (c["partition"] == batch.partition) & (c["offset"] == offset)
        for i in np.flatnonzero(mine)[:1].tolist():
            sku, location = (str(rows.column(name)[i]) for name in ("sku", "location"))
            yield Picked(batch.topic, batch.partition, offset, shelf, sku, location)


def _sku_of(message: Outgoing) -> str:
    return split_row_key(about(message.key, message.headers).decode())[0]


def _context_of(span: Any) -> Any:
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span)


def _text_of(context: Any) -> bytes:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return carrier[CONTEXT].encode()


def _context_from(text: bytes) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({CONTEXT: text.decode("ascii", "replace")})
