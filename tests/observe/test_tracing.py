"""Traces where a process of its own would show no more: what is wrapped, carried on, sent to Neuroon, left out."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes, url_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.attributes import url_attributes as stable_url_attributes
from structlog.testing import capture_logs

from consumer.adapters.collector import Collector, Watched
from consumer.adapters.wire import Wire
from consumer.core.delivery import Delivery
from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.reply import NOT_SENT
from consumer.core.settlement import Ack, Split
from consumer.deadletters.letter import read_letter
from consumer.devbroker import PrivateBroker
from consumer.pipeline import Handled, Pipeline
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from consumer.tracing import Untraced, asked_for, open_tracing
from consumer.tracing import attributes as say
from consumer.tracing.spans import Broker, Traced
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.letters import letter, read
from tests.support.neuroon import RawServer, shop_at
from tests.support.program import environment

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = GIVEN.removesuffix("01") + "00"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Memory:
    """A tracing whose spans stay here."""

    def __init__(self, *, to_neuroon: bool = False, given: Mapping[str, str] | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        collector = Collector({"memory": self._exporter})
        self.tracing = Traced(collector, Broker("q", "", 0), to_neuroon=to_neuroon, given=given or {})

    async def spans(self) -> list[ReadableSpan]:
        await self.tracing.close(10)
        return list(self._exporter.get_finished_spans())


class Ending:
    """A pipeline that ends every message in one way."""

    def __init__(self, handled: Handled) -> None:
        self._handled = handled

    async def handle(self, delivery: Delivery) -> Handled:
        return self._handled

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        return self._handled

    def hand_back(self, delivery: Delivery) -> Handled:
        return self._handled


def ids(span: ReadableSpan) -> tuple[int, int | None]:
    """Trace and parent."""
    assert span.context is not None
    return span.context.trace_id, span.parent.span_id if span.parent else None


async def test_tries_of_an_order_from_an_untraced_shop_hang_together(broker: PrivateBroker, names: Names) -> None:
    """The first try begins a trace, which goes with the order: later tries are children of it."""
    memory = Memory()
    async with Sandbox(faults=["503:times=2"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox), tracing=memory.tracing) as running:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: running.outcomes("ORD-1") == ["retry", "retry", "delivered"])
    first, *later = [each for each in await memory.spans() if each.name.startswith("process")]
    assert first.context is not None
    assert ids(first)[1] is None
    assert len(later) >= 2  # a wait of several hops shows as well
    assert {ids(each) for each in later} == {(first.context.trace_id, first.context.span_id)}


async def test_a_shops_decision_not_to_sample_is_kept(broker: PrivateBroker, names: Names) -> None:
    """Nothing is recorded of an order whose trace is not, at any try; its headers go on as they came."""
    memory = Memory()
    async with Sandbox(faults=["400"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox), tracing=memory.tracing):
            await at_broker.publish(order("ORD-1"), headers={"traceparent": UNSAMPLED, "tracestate": "their=own"})
            await eventually(at_broker.dead)
            [letter] = await at_broker.take_dead()
    assert (letter.headers["traceparent"], letter.headers["tracestate"]) == (UNSAMPLED, "their=own")
    assert await memory.spans() == []


@pytest.mark.parametrize("broken", ["00-1", b"\xff", 7, "", GIVEN.replace("00-", "ff-", 1)])
async def test_a_traceparent_that_is_none_begins_a_trace_and_stays(broken: object) -> None:
    """Rubbish in a header of the shop's does no harm, and is not ours to mend."""
    memory = Memory()
    kept = Handled(Ack(), None)
    traced = memory.tracing.pipeline(Ending(kept))
    assert await traced.handle(Delivery(b"", headers={"traceparent": broken})) is kept
    [span] = await memory.spans()
    assert span.parent is None


async def test_the_pieces_of_an_array_are_in_one_trace(broker: PrivateBroker, names: Names) -> None:
    """Each order of an untraced array is a child of the delivery that took it apart."""
    memory = Memory()
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox), tracing=memory.tracing) as running:
            await at_broker.publish(b"[%s,%s]" % (order("ORD-1"), order("ORD-2")))
            await eventually(lambda: len(running.reports) == 2)
    whole, *pieces = [each for each in await memory.spans() if each.name.startswith("process")]
    assert (whole.attributes or {})["neuroon.settlement"] == Split.__name__.lower()
    assert whole.context is not None
    assert [ids(each) for each in pieces] == [(whole.context.trace_id, whole.context.span_id)] * 2


@pytest.mark.parametrize("to_neuroon", [False, True])
async def test_neuroon_gets_a_header_more_only_where_that_is_set(
    to_neuroon: bool, broker: PrivateBroker, names: Names
) -> None:
    """traceparent of the POST's own span, if CONSUMER_TRACE_HEADER is on; never tracestate; else the usual headers."""
    memory = Memory(to_neuroon=to_neuroon)
    headers: dict[str, object] = {"traceparent": GIVEN, "tracestate": "their=own"}
    async with RawServer(OK) as server, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, NEUROON_API_URL=server.url)
        async with InProcess(environ, tracing=memory.tracing) as running:
            await at_broker.publish(order("ORD-1"), headers=headers)
            await eventually(lambda: running.outcomes("ORD-1") == ["delivered"])
    [head] = server.requests
    sent = dict(line.lower().split(": ", 1) for line in head.strip().splitlines()[1:])
    [post] = [each for each in await memory.spans() if each.name.startswith("POST")]
    assert post.context is not None
    own = f"00-{post.context.trace_id:032x}-{post.context.span_id:016x}-01"
    assert sent.get("traceparent") == (own if to_neuroon else None)
    usual = {"x-shop-api-key", "content-type", "accept", "accept-encoding", "user-agent", "host", "content-length"}
    assert sent.keys() - usual == ({"traceparent"} if to_neuroon else set())


async def test_a_replay_takes_nothing_along_of_the_trace_that_it_links_to() -> None:
    """tracestate belongs to the traceparent that it came with, so both give way; all other headers stay."""
    memory = Memory(given={"TRACEPARENT": GIVEN})
    old = {"traceparent": GIVEN.replace("0af7", "1af7"), "tracestate": "their=own", "tenant": "x"}
    with memory.tracing.replayed(read_letter(letter("ORD-1"), read), old) as headers:
        assert headers.keys() == {"traceparent", "tenant"}
    [span] = await memory.spans()
    assert span.context is not None
    assert headers["traceparent"] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert f"{span.context.trace_id:032x}" in GIVEN
    assert [f"{link.context.trace_id:032x}" for link in span.links] == ["1af7651916cd43dd8448eb211c80319c"]


class Failing(SpanExporter):
    """An exporter that fails as it is told: by an exception, by its answer, or not."""

    def __init__(self, *ends: SpanExportResult | Exception) -> None:
        self._ends = list(ends)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def test_an_outage_of_the_collector_is_told_when_it_begins_and_when_it_ends() -> None:
    """However many batches fail, and however; the second line says how many spans are gone."""
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    watched = Watched(Failing(good, bad, OSError("secret"), bad, good, good, bad), "otlp")
    with capture_logs() as lines:
        for _ in range(7):
            watched.export([ReadableSpan("a"), ReadableSpan("b")])
    assert [line["event"].partition(",")[0] for line in lines] == [
        "traces cannot be exported",
        "traces are exported again",
        "traces cannot be exported",
    ]
    assert lines[1]["lost_spans"] == 6
    assert "secret" not in str(lines)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Accepted(201), {say.HTTP_STATUS: 201}),
        (AlreadyKnown(409), {say.HTTP_STATUS: 409}),
        (Throttled(429, 1.0), {say.HTTP_STATUS: 429, say.ERROR_TYPE: "429"}),
        (Unavailable("answered 503", 503), {say.HTTP_STATUS: 503, say.ERROR_TYPE: "503"}),
        (Unavailable("read timeout"), {say.ERROR_TYPE: "read timeout"}),
        (Misconfigured(301, "redirected to x"), {say.HTTP_STATUS: 301, say.ERROR_TYPE: "301"}),
        (Misconfigured(NOT_SENT, "the key is none"), {say.ERROR_TYPE: "not sent"}),
        (Refused(400, "jane@example.com is not welcome"), {say.HTTP_STATUS: 400, say.ERROR_TYPE: "400"}),
    ],
    ids=str,
)
def test_of_an_answer_the_status_is_told_and_never_its_words(reply: Reply, told: dict[str, Any]) -> None:
    """Neuroon's text may quote an order; ours for "no answer" is one of a few."""
    assert say.answered(reply) == told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://jane:secret@api.example/base/", ("https://api.example/base", "api.example", 443)),
        ("http://[::1]:81", ("http://[::1]:81", "::1", 81)),
        ("https://[oops", None),
        ("nonsense", None),
    ],
)
def test_where_a_post_goes_is_told_without_a_password(url: str, told: tuple[str, str, int] | None) -> None:
    """And a base URL that is none does not keep the order from its end."""
    attributes = say.posting(shop_at(url, "shop a"), "ORD-1")
    place = attributes.get(say.URL), attributes.get(say.SERVER_ADDRESS), attributes.get(say.SERVER_PORT)
    if told is None:
        assert place == (None, None, None)
    else:
        assert place == (f"{told[0]}/api/plugin/shops/shop%20a/track/conversion", *told[1:])


def test_attributes_have_the_names_of_the_newest_conventions() -> None:
    """Every one that is not ours is defined by the conventions' own package, and not deprecated there."""
    modules = (
        messaging_attributes,
        url_attributes,
        error_attributes,
        http_attributes,
        server_attributes,
        stable_url_attributes,
    )
    known = {value for module in modules for name, value in vars(module).items() if name.isupper()}
    names = {value for name, value in vars(say).items() if name.isupper() and isinstance(value, str)}
    names -= {say.TEMPLATE}
    foreign = {name for name in names if not name.startswith("neuroon.")}
    assert len(foreign) == 13
    assert foreign <= known
    assert messaging_attributes.MessagingSystemValues.RABBITMQ.value == "rabbitmq"
    operations = {each.value for each in messaging_attributes.MessagingOperationTypeValues}
    assert {"process", "send"} <= operations


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True),
    ],
)
def test_the_usual_variables_switch_it_on(environ: dict[str, str], asked: bool, names: Names) -> None:
    """As for every program with OpenTelemetry in it; without them there is nothing."""
    assert asked_for(environ) is asked
    if not asked:
        settings = read_settings(environment("amqp://127.0.0.1:9/", names))
        assert isinstance(open_tracing(settings, environ), Untraced)


OFF = """
import os, sys
from consumer.app import App, load_shops
from consumer.cli import main
from consumer.settings import read_settings
from consumer.tracing import open_tracing

settings = read_settings(os.environ)
app = App(settings, load_shops(settings, os.environ), tracing=open_tracing(settings, os.environ))
print(type(app.pipeline).__name__, type(app.admission._neuroon).__name__, type(app.neuroon._wire).__name__)
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google", "requests")])
"""


def test_off_means_not_even_imported(names: Names) -> None:
    """Without OTEL_* nothing of OpenTelemetry is loaded, and the orders' way is the same objects as ever."""
    environ = environment("amqp://127.0.0.1:9/", names)
    done = subprocess.run([sys.executable, "-c", OFF], env=environ, capture_output=True, text=True, check=True)
    wire = Wire.__name__
    assert done.stdout.splitlines() == [f"{Pipeline.__name__} MeasuredNeuroon {wire}", "[]"]
