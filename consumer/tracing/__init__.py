"""Traces: what the program does with each order, told to an OpenTelemetry collector; off unless OTEL_* asks for it.

Off, nothing is wrapped and OpenTelemetry is not even imported: `Untraced` hands everything back as it is. On, `Traced`
puts a layer around the pipeline, around Neuroon and around the two commands that publish.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from consumer.admission import Asking
from consumer.core.delivery import Delivery
from consumer.deadletters.letter import Letter
from consumer.pipeline import Handled
from consumer.settings import Settings, SettingsError

# Seconds to bring what is left to the collector at the end; one that is well takes some 20 ms.
FLUSH_SECONDS = 3.0

Headers = Mapping[str, object]


class Handling(Protocol):
    """What a message is handed to."""

    async def handle(self, delivery: Delivery) -> Handled:
        """See `Pipeline.handle`."""

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        """See `Pipeline.escaped`."""

    def hand_back(self, delivery: Delivery) -> Handled:
        """See `Pipeline.hand_back`."""


class Tracing(Protocol):
    """What the program lets its tracing do."""

    def pipeline(self, pipeline: Handling) -> Handling:
        """The pipeline, with a span for each delivery."""

    def neuroon(self, neuroon: Asking) -> Asking:
        """Neuroon, with a span for each POST."""

    def wire(self, wire: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """What `Neuroon` is to send through instead of `wire`."""

    def published(self, exchange: str, routing_key: str) -> AbstractContextManager[Headers]:
        """A span around one publish; gives the headers to publish with."""

    def replayed(self, letter: Letter, headers: Headers) -> AbstractContextManager[Headers]:
        """A span around one letter's way back; gives the headers to publish with instead of `headers`."""

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Bring what is left to the collector; what takes longer is lost. Raises nothing."""


class Untraced:
    """No traces: everything stays as it is."""

    def pipeline(self, pipeline: Handling) -> Handling:
        """See `Tracing`."""
        return pipeline

    def neuroon(self, neuroon: Asking) -> Asking:
        """See `Tracing`."""
        return neuroon

    def wire(self, wire: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """See `Tracing`."""
        return wire

    def published(self, exchange: str, routing_key: str) -> AbstractContextManager[Headers]:
        """See `Tracing`."""
        return nullcontext({})

    def replayed(self, letter: Letter, headers: Headers) -> AbstractContextManager[Headers]:
        """See `Tracing`."""
        return nullcontext(headers)

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """See `Tracing`."""


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the variables that all of OpenTelemetry's SDKs go by ask for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environ.get("OTEL_TRACES_EXPORTER", "").strip().lower():
        return exporter != "none"
    return bool(environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def open_tracing(settings: Settings, environ: Mapping[str, str]) -> Tracing:
    """The tracing that is asked for; SettingsError when it cannot be had. `environ` must be the process's own.

    A collector that cannot be reached is no error: it is not even asked.
    """
    if not asked_for(environ):
        return Untraced()
    try:
        # Here, and not above: OpenTelemetry is an extra, and whoever has no use for it does not wait for its import.
        from consumer.adapters.collector import CollectorError, open_collector  # noqa: PLC0415
        from consumer.tracing.spans import Broker, Traced  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError([_missing(error)]) from error
    url = urlsplit(settings.amqp_url.get_secret_value())
    broker = Broker(settings.consumer_queue, url.hostname or "", url.port or (5671 if url.scheme == "amqps" else 5672))
    try:
        collector = open_collector(environ)
    except CollectorError as error:
        raise SettingsError([str(error)]) from error
    return Traced(collector, broker, to_neuroon=settings.consumer_trace_header, given=environ)


def _missing(error: ModuleNotFoundError) -> str:
    return (
        f"OTEL_* asks for traces, and {error.name} is missing: pip install 'neuroon-consumer[otel]', "
        "or OTEL_TRACES_EXPORTER=none for no traces"
    )
