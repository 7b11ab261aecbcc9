"""The spans: one for each delivery, POST, publish and replayed letter, hung together by W3C's traceparent.

publish (or the shop's own) -> process -> POST
                            -> process -> POST      the next try, after its wait
replay, which links to the trace that ended in the dead letters
                            -> process -> POST
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer.adapters.collector import Collector
from consumer.admission import Asking
from consumer.core import headers as core_headers
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery
from consumer.core.outcome import Dead, Reply
from consumer.core.settlement import Move, Settlement, Split
from consumer.core.shop import Shop
from consumer.deadletters.letter import Letter
from consumer.pipeline import Handled
from consumer.tracing import FLUSH_SECONDS, Handling, Headers
from consumer.tracing import attributes as say

# By itself and not as OTEL_PROPAGATORS says: baggage may hold anything, and other formats are not in our queues.
PROPAGATOR = TraceContextTextMapPropagator()
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_TRACE_HEADERS = frozenset({TRACEPARENT.encode(), TRACESTATE.encode()})


@dataclass(frozen=True, slots=True)
class Broker:
    """The main queue, and the host and port where the broker is."""

    queue: str
    host: str
    port: int

    def address(self) -> say.Attributes:
        """For every span about a message."""
        return {say.SERVER_ADDRESS: self.host, say.SERVER_PORT: self.port} if self.host else {}


class Traced:
    """See `Tracing`. `given`: an environment whose TRACEPARENT, if there is one, is what publishes continue."""

    def __init__(self, collector: Collector, broker: Broker, *, to_neuroon: bool, given: Mapping[str, str]) -> None:
        self._collector, self._broker, self._to_neuroon = collector, broker, to_neuroon
        self._given = context_of({name: given.get(name.upper()) for name in (TRACEPARENT, TRACESTATE)})

    def pipeline(self, pipeline: Handling) -> Handling:
        """See `Tracing`."""
        return TracedPipeline(pipeline, self._collector.tracer, self._broker)

    def neuroon(self, neuroon: Asking) -> Asking:
        """See `Tracing`."""
        return TracedNeuroon(neuroon, self._collector.tracer)

    def wire(self, wire: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """See `Tracing`."""
        return TracedWire(wire) if self._to_neuroon else wire

    @contextmanager
    def published(self, exchange: str, routing_key: str) -> Iterator[Headers]:
        """See `Tracing`."""
        place = say.destination(exchange, routing_key)
        told = say.operation("publish", "send", place, routing_key)
        with self._sending(f"publish {exchange or place}", told) as carried:
            yield carried

    @contextmanager
    def replayed(self, letter: Letter, headers: Headers) -> Iterator[Headers]:
        """See `Tracing`."""
        before = trace.get_current_span(context_of(headers)).get_span_context()
        links = [Link(before)] if before.is_valid else []
        queue = self._broker.queue
        with self._sending(f"replay {queue}", say.replaying(letter, queue), links) as carried:
            yield core_headers.Headers.of(headers).select(lambda name: name not in _TRACE_HEADERS) | carried

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """See `Tracing`."""
        await self._collector.close(seconds)

    @contextmanager
    def _sending(self, name: str, told: say.Attributes, links: list[Link] | None = None) -> Iterator[dict[str, str]]:
        told |= self._broker.address()
        with _span(self._collector.tracer, name, SpanKind.PRODUCER, told, self._given, links) as span:
            try:
                yield carrier()
            except Exception as error:
                span.set_attribute(say.ERROR_TYPE, type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise


@dataclass(frozen=True, slots=True)
class TracedPipeline:
    """A pipeline with a span for each delivery, which continues the message's trace.

    A message that is in no trace gets the one that begins here on its further way, so that its tries hang together.
    """

    inner: Handling
    tracer: Tracer
    broker: Broker

    async def handle(self, delivery: Delivery) -> Handled:
        """See `Pipeline.handle`."""
        told = say.processing(delivery, self.broker.queue) | self.broker.address()
        name, parent = f"process {self.broker.queue}", context_of(delivery.headers)
        with _span(self.tracer, name, SpanKind.CONSUMER, told, parent) as span:
            handled = await self.inner.handle(delivery)
            _tell(span, handled)
            if TRACEPARENT in delivery.headers:
                return handled
            return replace(handled, settlement=_continued(handled.settlement, carrier()))

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        """See `Pipeline.escaped`."""
        return await self.inner.escaped(delivery, error)

    def hand_back(self, delivery: Delivery) -> Handled:
        """See `Pipeline.hand_back`."""
        return self.inner.hand_back(delivery)


@dataclass(frozen=True, slots=True)
class TracedNeuroon:
    """Neuroon with a span for each POST. A failed one is no error yet: the order may have further tries."""

    inner: Asking
    tracer: Tracer

    async def probe(self, shop: Shop) -> Reply:
        """See `Neuroon.probe`."""
        return await self.inner.probe(shop)

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        """See `Neuroon.post`."""
        told = say.posting(shop, conversion.order_id)
        with _span(self.tracer, f"POST {say.TEMPLATE}", SpanKind.CLIENT, told) as span:
            reply = await self.inner.post(conversion, shop)
            span.set_attributes(say.answered(reply))
            return reply


class TracedWire(httpx.AsyncBaseTransport):
    """A wire whose POSTs carry traceparent. Not tracestate, which is for those who run the shop's own tracing."""

    def __init__(self, wire: httpx.AsyncBaseTransport) -> None:
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        if request.method == "POST" and (own := carrier().get(TRACEPARENT)) is not None:
            request.headers[TRACEPARENT] = own
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        """See `httpx.AsyncBaseTransport`."""
        await self._wire.aclose()


def context_of(headers: Mapping[str, object]) -> Context:
    """The trace that a message is in; an empty context for one that is in none, or names none that can be."""
    carried = {name: value for name in (TRACEPARENT, TRACESTATE) if isinstance(value := headers.get(name), str)}
    return PROPAGATOR.extract(carried, Context())


def carrier() -> dict[str, str]:
    """The headers by which somebody else continues the span that we are in."""
    carried: dict[str, str] = {}
    PROPAGATOR.inject(carried)
    return carried


def _span(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: say.Attributes,
    parent: Context | None = None,
    links: list[Link] | None = None,
) -> AbstractContextManager[Span]:
    """A span, current inside; an exception's text is not told, since it may quote an order."""
    return tracer.start_as_current_span(
        name, parent, kind, attributes, links, record_exception=False, set_status_on_exception=False
    )


def _tell(span: Span, handled: Handled) -> None:
    span.set_attributes(say.settlement(handled.settlement))
    if handled.report is None:
        return
    span.set_attributes(say.ended(handled.report))
    if isinstance(handled.report.outcome, Dead):
        span.set_status(StatusCode.ERROR, handled.report.outcome.reason.value)


def _continued(settlement: Settlement, carried: dict[str, str]) -> Settlement:
    match settlement:
        case Move():
            return _carrying(settlement, carried)
        case Split(moves):
            return Split(tuple(_carrying(move, carried) for move in moves))
        case _:
            return settlement


def _carrying(move: Move, carried: dict[str, str]) -> Move:
    return replace(move, headers=move.headers | carried)
