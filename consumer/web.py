"""Probes and metrics over HTTP.

/livez: restart me when this fails. /readyz: the broker has confirmed our consumer. /metrics: Prometheus text.

Each connection serves one request within CONNECTION_SECONDS. A client that sends half a request, or reads no answer,
holds nothing for longer; kept-alive connections would need a time of their own, and a scrape every 15 s gains nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LIVE, READY, METRICS = "/livez", "/readyz", "/metrics"

CONNECTION_SECONDS = 5.0
# The newest stay open, since a probe is answered within milliseconds: strangers who fill the port keep none away.
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the program as a probe tells it. One that is not `vital` is told, and fails no probe."""

    ok: bool
    message: str
    vital: bool = True


Probe = Callable[[], Mapping[str, Part]]


class Web:
    """A small HTTP server. `live` and `ready` tell their parts; a probe is good when all vital ones are."""

    def __init__(self, registry: CollectorRegistry, *, live: Probe, ready: Probe) -> None:
        app = web.Application()
        app.router.add_get(LIVE, _answer(live))
        app.router.add_get(READY, _answer(ready))
        app.router.add_get(METRICS, _metrics(registry))
        app.on_response_prepare.append(_close_afterwards)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        self._listener: asyncio.Server | None = None
        self._newest: deque[web.RequestHandler] = deque()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; 0 takes a free one. OSError when it cannot be had."""
        await self._runner.setup()
        accept = partial(self._accept, cast("web.Server", self._runner.server))
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(accept, host, port, reuse_address=True)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
        async with asyncio.timeout(5):
            await self._runner.cleanup()

    def _accept(self, server: web.Server) -> asyncio.Protocol:
        """The protocol of a new connection, whose time runs from now on."""
        loop = asyncio.get_running_loop()
        connection = server()
        loop.call_later(CONNECTION_SECONDS, _end, connection)
        self._newest.append(connection)
        if len(self._newest) > MAX_CONNECTIONS:
            loop.call_soon(_end, self._newest.popleft())  # not at once: it may have been accepted in this very turn
        return connection


def _end(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()


async def _close_afterwards(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Connection"] = "close"
    response.force_close()


Handle = Callable[[web.Request], Awaitable[web.Response]]


def _answer(probe: Probe) -> Handle:
    async def handle(_: web.Request) -> web.Response:
        parts = probe()
        good = all(part.ok or not part.vital for part in parts.values())
        body = {"ok": good, "parts": {name: {"ok": part.ok, "message": part.message} for name, part in parts.items()}}
        return web.json_response(body, status=200 if good else 503)

    return handle


def _metrics(registry: CollectorRegistry) -> Handle:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return handle
