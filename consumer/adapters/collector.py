"""The OpenTelemetry collector: spans gather in a thread of the SDK's, which sends them off in batches.

Nothing here waits for the collector but `close`, for as long as it is given. One that cannot be reached costs spans:
the SDK's queue is bounded (OTEL_BSP_MAX_QUEUE_SIZE) and the oldest give way. That is told when it begins and when it
ends, and not with every batch.

The SDK reads most of OTEL_* by itself: endpoint, headers, certificates, time-outs, sampler, limits. What it leaves to
its command line wrapper is which exporter; that is read here.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import cast

import structlog
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from consumer import __version__

SERVICE = "neuroon-consumer"

# What is left is worth no longer wait when the last batch did not arrive either.
SECONDS_IN_VAIN = 1.0

PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# Of OTLP's protocols, the names under which packages offer them. The first is ours, and the specification's default.
PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}

# These tell of every try in vain, every few seconds; `Watched` tells of the first and the last.
NOISY = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")

log = structlog.get_logger(__name__)


class CollectorError(Exception):
    """The exporter that is asked for cannot be had; the message says which variable, and what would do."""


class Watched(SpanExporter):
    """An exporter whose failing is told once, and its working again too."""

    def __init__(self, exporter: SpanExporter, name: str) -> None:
        self._exporter, self._name = exporter, name
        self.lost = 0  # spans since the last batch that arrived

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._try(spans)
        if result is SpanExportResult.SUCCESS:
            if self.lost:
                log.info("traces are exported again", exporter=self._name, lost_spans=self.lost)
            self.lost = 0
        else:
            if not self.lost:
                log.warning("traces cannot be exported, orders go on", exporter=self._name)
            self.lost += len(spans)
        return result

    def _try(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - exporters may be anybody's
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class Collector:
    """Takes spans through `tracer`, and brings them to every exporter. To be closed."""

    def __init__(self, exporters: Mapping[str, SpanExporter]) -> None:
        # What the environment says of the service wins over what we say.
        ours = {"service.name": SERVICE, "service.version": __version__}
        resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporters = [Watched(exporter, name) for name, exporter in exporters.items()]
        for each in self._exporters:
            self._provider.add_span_processor(BatchSpanProcessor(each))
        self.tracer: Tracer = self._provider.get_tracer("consumer", __version__)

    async def close(self, seconds: float) -> None:
        """Send what is left, and wait for that no longer than so many seconds."""
        if any(each.lost for each in self._exporters):
            seconds = min(seconds, SECONDS_IN_VAIN)
        # The SDK's own shutdown takes up to 30 s and cannot be told otherwise. A daemon keeps no process from its end.
        leaving = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        leaving.start()
        await asyncio.to_thread(leaving.join, seconds)
        if leaving.is_alive():
            log.warning("the last traces did not reach the collector in time", seconds=round(seconds, 1))


def open_collector(environ: Mapping[str, str]) -> Collector:
    """A collector with the exporters of OTEL_TRACES_EXPORTER; CollectorError. Connects to nothing."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    names = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").lower().split(",") if name.strip()]
    exporters = {name: _exporter(name, environ) for name in names or ["otlp"]}
    try:
        return Collector(exporters)
    except ValueError as error:  # of the SDK's queue, whose limits do not fit together
        raise CollectorError(f"OTEL_BSP_*: {error}") from error


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    asked, entry = f"OTEL_TRACES_EXPORTER={name!r}", name
    if name == "otlp":
        variable = next((each for each in PROTOCOL_VARIABLES if environ.get(each, "").strip()), PROTOCOL_VARIABLES[0])
        protocol = environ.get(variable, "").strip() or next(iter(PROTOCOLS))
        asked, entry = f"{variable}={protocol!r}", PROTOCOLS.get(protocol, protocol)
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=entry)), None)
    if found is None:
        raise CollectorError(f"{asked}: no installed package offers it; {_offered()}")
    try:
        return cast("SpanExporter", found.load()())
    except Exception as error:
        raise CollectorError(f"{asked}: cannot be set up: {type(error).__name__}") from error


def _offered() -> str:
    offered = {each.name for each in entry_points(group="opentelemetry_traces_exporter")}
    protocols = [protocol for protocol, entry in PROTOCOLS.items() if entry in offered]
    exporters = sorted(offered - set(PROTOCOLS.values()))
    return f"here are the exporters otlp, {', '.join(exporters)}, and for otlp the protocols {', '.join(protocols)}"
