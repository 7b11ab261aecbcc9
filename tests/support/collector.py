"""An OpenTelemetry collector, as far as a test needs one: takes OTLP over HTTP, and shows the spans."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it arrived; ids in hex, "" for no parent."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: Mapping[str, str | int]
    links: tuple[str, ...]

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.id}-01"


class ReceivingCollector:
    """Listens while the context lasts. `raw` is everything that arrived, byte for byte."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.spans: list[Span] = []
        self.raw = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def named(self, beginning: str, order: str | None = None) -> list[Span]:
        """Spans by the first word of their name, and by order, the earliest to arrive first."""
        found = (each for each in self.spans if each.name.startswith(f"{beginning} "))
        return [each for each in found if order in (None, each.attributes.get("neuroon.order"))]

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            )
            self.spans += (_span(each, service) for scope in resource.scope_spans for each in scope.spans)
        return web.Response()


def _span(sent: Sent, service: str) -> Span:
    values = {each.key: each.value for each in sent.attributes}
    return Span(
        service=service,
        name=sent.name,
        kind=Sent.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_"),
        trace=sent.trace_id.hex(),
        id=sent.span_id.hex(),
        parent=sent.parent_span_id.hex(),
        failed=sent.status.code == 2,
        attributes={
            name: value.string_value if value.HasField("string_value") else value.int_value
            for name, value in values.items()
        },
        links=tuple(link.trace_id.hex() for link in sent.links),
    )
