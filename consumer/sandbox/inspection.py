"""What the sandbox shows of itself over HTTP, and what can be changed there while it runs."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from consumer.sandbox.book import Book, Received, Seen
from consumer.sandbox.fault import FaultError, Faults
from consumer.sandbox.shops import Registry, SandboxShop


def inspection_routes(book: Book, faults: Faults, shops: Registry) -> list[web.RouteDef]:
    """The routes below /sandbox; docs/sandbox.md describes each."""
    pages = _Inspection(book, faults, shops)
    return [
        web.get("/sandbox/orders", pages.orders),
        web.get("/sandbox/orders/{order:.+}", pages.order),
        web.delete("/sandbox/orders", pages.forget),
        web.get("/sandbox/requests", pages.requests),
        web.get("/sandbox/stats", pages.stats),
        web.get("/sandbox/faults", pages.faults),
        web.put("/sandbox/faults", pages.put_faults),
        web.delete("/sandbox/faults", pages.drop_faults),
        web.get("/sandbox/shops", pages.shops),
        web.put("/sandbox/shops/{shop}", pages.put_shop),
    ]


class _Inspection:
    def __init__(self, book: Book, faults: Faults, shops: Registry) -> None:
        self._book, self._faults, self._shops = book, faults, shops

    async def orders(self, request: web.Request) -> web.Response:
        shop, bodies = request.query.get("shop"), request.query.get("bodies") != "no"
        found = (each for each in self._book.orders.values() if shop in (None, each.shop_id))
        return web.json_response([_order(each, bodies) for each in found])

    async def order(self, request: web.Request) -> web.Response:
        """One entry for each shop that has an order of this id."""
        name = request.match_info["order"]
        found = [_order(each, bodies=True) for each in self._book.orders.values() if each.order_id == name]
        return web.json_response(found, status=200 if found else 404)

    async def forget(self, _: web.Request) -> web.Response:
        self._book.clear()
        return web.Response(status=204)

    async def requests(self, request: web.Request) -> web.Response:
        name = request.query.get("order")
        return web.json_response([_seen(each) for each in self._book.requests if name in (None, each.order_id)])

    async def stats(self, _: web.Request) -> web.Response:
        return web.json_response(self._book.stats())

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response([{"fault": str(each.fault), "applied": each.applied} for each in self._faults.armed])

    async def put_faults(self, request: web.Request) -> web.Response:
        """The body is a list of faults in text form."""
        texts = await _json(request)
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            return _no('a JSON list of texts is expected, such as ["503:share=0.1"]')
        try:
            self._faults.replace(texts)
        except FaultError as error:
            return _no(str(error))
        return await self.faults(request)

    async def drop_faults(self, _: web.Request) -> web.Response:
        self._faults.replace(())
        return web.Response(status=204)

    async def shops(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": each.id, "origin": each.origin} for each in self._shops.all()])

    async def put_shop(self, request: web.Request) -> web.Response:
        """The body is {"apiKey": ..., "origin": ...}, the origin optional."""
        found = await _json(request)
        key = found.get("apiKey") if isinstance(found, dict) else None
        origin = found.get("origin") if isinstance(found, dict) else None
        if not isinstance(key, str) or not key or not isinstance(origin, str | None):
            return _no('{"apiKey": "...", "origin": "..."} is expected, the origin optional')
        self._shops.put(SandboxShop(request.match_info["shop"], key, origin))
        return web.Response(status=204)


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _no(problem: str) -> web.Response:
    return web.json_response({"error": problem}, status=400)


def _order(order: Received, bodies: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "shopId": order.shop_id,
        "orderId": order.order_id,
        "posts": order.posts,
        "firstAt": _time(order.first),
        "lastAt": _time(order.last),
        "sha256": order.sha256.hex(),
        "conflict": order.conflict,
        "unexpectedFields": list(order.unexpected),
    }
    if bodies:
        shown["body"] = None if order.body is None else order.body.decode("utf-8", "replace")
    return shown


def _seen(seen: Seen) -> dict[str, object]:
    return {"at": _time(seen.at), "shopId": seen.shop_id, "orderId": seen.order_id, "end": seen.end}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
