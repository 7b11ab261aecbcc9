"""The sandbox itself: an HTTP server that answers as Neuroon does."""

import asyncio
import signal
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Self
from weakref import WeakSet

from aiohttp import web

from consumer.sandbox.answer import RECORDED, challenge, refuse, spoil
from consumer.sandbox.book import Book, Received, Seen
from consumer.sandbox.fault import Body, Cut, Fault, Faults
from consumer.sandbox.inspection import inspection_routes
from consumer.sandbox.payload import flaws, order_id, read_payload, unexpected
from consumer.sandbox.shops import DEFAULT_SHOP, Refusal, Registry, SandboxShop

_SUCCESS = range(200, 300)
_SHOPS = "/api/plugin/shops"

# Real gateways in front of such an API cut a body off somewhere near this.
_MAX_BODY = 1024 * 1024

# As nginx calls a client that has closed the connection.
_CLIENT_GONE = 499

# What an endless answer, or a delayed one, may hold up when the sandbox stops.
_STOP_SECONDS = 0.1

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Sandbox:
    """Neuroon in miniature, in this process. An async context manager; or `start` and `stop` it.

    `conflict_status` is what an order that was recorded before is answered (200, or 409). `faults` are texts as in
    `FAULT_HELP`, or `Fault`s; `seed` makes their chance repeatable. Raises FaultError.
    """

    def __init__(
        self,
        shops: Iterable[SandboxShop] = (),
        faults: Iterable[Fault | str] = (),
        *,
        conflict_status: int = 200,
        keep_bodies: bool = True,
        seed: int = 0,
    ) -> None:
        self.shops = Registry(tuple(shops) or (DEFAULT_SHOP,))
        self.faults = Faults(faults, seed)
        self.book = Book(keep_bodies=keep_bodies)
        self.url = ""
        self._conflict_status = conflict_status
        self._runner: web.AppRunner | None = None
        self._hanging_up: WeakSet[asyncio.Transport] = WeakSet()  # connections that end when they are used again

    async def start(self, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one, `url` then says which. Raises OSError."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.add_routes(
            [
                web.post(f"{_SHOPS}/{{shop}}/track/conversion", self._conversion),
                web.get(f"{_SHOPS}/me", self._me),
                web.get(f"{_SHOPS}/{{shop}}/products/{{product}}", self._product),
                *inspection_routes(self.book, self.faults, self.shops),
                web.route("*", "/{rest:.*}", _nowhere),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
        except OSError:
            await self.stop()
            raise
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if ssl_context else 'http'}://{shown}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close every connection; what was received stays readable in `book`."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        if not self.url:
            await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def orders(self) -> list[Received]:
        """Every recorded order, in the order of arrival."""
        return list(self.book.orders.values())

    def fail(self, *faults: Fault | str) -> None:
        """Misbehave like this from now on; without arguments, behave. Raises FaultError."""
        self.faults.replace(faults)

    async def _conversion(self, request: web.Request) -> web.StreamResponse:
        at, shop_id = time.time(), request.match_info["shop"]
        transport = request.transport
        if transport is not None and transport in self._hanging_up:
            transport.abort()
            return web.Response(status=_CLIENT_GONE)
        try:
            body, payload = await _read(request)
        except ConnectionError:
            return web.Response(status=_CLIENT_GONE)  # half a request is none; the answer goes nowhere
        name = order_id(payload)
        with self.book.under_way(shop_id, name):
            fault = self.faults.strike(shop_id, name) if self.faults else None
            answer = self._answer(request, body, payload, at, fault)
            end = str(answer.status)
            try:
                if fault is None:
                    return answer
                if fault.cut is Cut.HANG_UP and transport is not None:
                    self._hanging_up.add(transport)
                else:
                    end = fault.cut or end
                if fault.delay:
                    await asyncio.sleep(fault.delay)
                return await spoil(request, answer, fault)
            finally:
                self.book.note(Seen(at, shop_id, name, end))

    def _answer(self, request: web.Request, body: bytes, payload: Any, at: float, fault: Fault | None) -> web.Response:
        status = fault.status if fault is not None else None
        if fault is not None and fault.body is Body.HTML:
            return challenge(status or 200)
        withheld = fault is not None and fault.cut in (Cut.DROP, Cut.NOT_HTTP)
        if withheld or (status is not None and status not in _SUCCESS):
            return refuse(request, Refusal(status or 500, "The sandbox was asked to fail"))
        shop_id = request.match_info["shop"]
        if refusal := self.shops.admit(shop_id, request.headers) or _unfit(request, payload):
            return refuse(request, refusal)
        new = self.book.record(shop_id, payload["orderId"], body, unexpected(payload), at)
        if not new and self._conflict_status not in _SUCCESS:
            return refuse(request, Refusal(self._conflict_status, "Order has been tracked before"))
        return web.Response(body=RECORDED, status=status or 200, content_type="application/json")

    async def _me(self, request: web.Request) -> web.Response:
        shop = self.shops.admit_owner(request.headers)
        if isinstance(shop, Refusal):
            return refuse(request, shop)
        return web.json_response({"id": shop.id, "shopId": shop.id, "url": shop.origin})

    async def _product(self, request: web.Request) -> web.Response:
        shop_id = request.match_info["shop"]
        if refusal := self.shops.admit(shop_id, request.headers):
            return refuse(request, refusal)
        return web.json_response({"id": request.match_info["product"], "shopId": shop_id})


async def run_sandbox(
    sandbox: Sandbox, *, host: str = "127.0.0.1", port: int = 0, ready: Callable[[Sandbox], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once the sandbox listens. Raises OSError where it cannot."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    await sandbox.start(host, port)
    try:
        for each in _STOPPING:
            loop.add_signal_handler(each, stopped.set)
        if ready is not None:
            ready(sandbox)
        await stopped.wait()
    finally:
        for each in _STOPPING:
            loop.remove_signal_handler(each)
        await sandbox.stop()


# What `_read` gives for a body that is no JSON, or too long; a payload can be neither.
_NOT_JSON, _TOO_LONG = object(), object()


async def _read(request: web.Request) -> tuple[bytes, Any]:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return b"", _TOO_LONG
    try:
        return body, read_payload(body)
    except ValueError:
        return body, _NOT_JSON


def _unfit(request: web.Request, payload: Any) -> Refusal | None:
    if payload is _TOO_LONG:
        return Refusal(413, f"Body must not exceed {_MAX_BODY} bytes")
    if request.content_type != "application/json":
        return Refusal(415, "Content-Type must be application/json")
    if payload is _NOT_JSON:
        return Refusal(400, "Malformed JSON request")
    if found := flaws(payload):
        return Refusal(400, ", ".join(found))
    return None


async def _nowhere(request: web.Request) -> web.Response:
    return refuse(request, Refusal(404, "No such endpoint"))
