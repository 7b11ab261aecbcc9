"""Probes and metrics over HTTP.

/livez: restart me when this fails. /readyz: the broker has confirmed our consumer. /metrics: Prometheus text.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LIVE, READY, METRICS = "/livez", "/readyz", "/metrics"


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
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self, host: str, port: int) -> int:
        """Listen, and say on which port; 0 takes a free one. OSError when it cannot be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_address=True)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        async with asyncio.timeout(5):
            await self._runner.cleanup()


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
