"""Neuroon over HTTP: one conversion, one POST, one `Reply`.

Whatever happens on the wire ends as a `Reply`; what an answer means is decided in `consumer.core.reply`. The httpx
transport is driven without an `httpx.AsyncClient` around it: a client adds cookies shared between shops, proxies out of
the environment, and redirects, none of which may ever touch a request that carries a shop's key.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast
from urllib.parse import quote

import httpx

from consumer import __version__
from consumer.adapters.wire import Wire, why
from consumer.core.answerbody import inflate
from consumer.core.conversion import Conversion
from consumer.core.outcome import Accepted, Misconfigured, Reply, Unavailable
from consumer.core.reply import NOT_SENT, Answer, read_owner, read_reply
from consumer.core.shop import Shop

# As "product/version", by which the vendor can tell this consumer's requests from a shop's own.
USER_AGENT = f"neuroon-consumer/{__version__}"

# An error body explains itself in its first lines; the rest of a long or endless one must cost neither memory nor time.
BODY_LIMIT = 64 * 1024
BODY_SECONDS = 2.0

# The headers of an answer that anything is asked of.
_HEADERS = frozenset({b"retry-after", b"location", b"content-type", b"content-encoding"})

# Visible ASCII. More would be legal in a header, but no key or origin has it, and a line break would end the header.
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class _Route:
    """What all requests for one shop have in common."""

    shop: Shop
    conversions: httpx.URL
    headers: httpx.Headers = field(repr=False)


class Neuroon:
    """The conversion endpoint. An async context manager, closed at its end.

    `timeout` is the seconds that one request may take in all; a connection must stand after half of them, so that a
    host that cannot be reached is told from one that is slow. `known_conflicts` and `accept_any_2xx` are explained at
    `read_reply`. `wire` is the httpx transport to send through, closed with this object; by default a `Wire`. It has to
    add Host and Content-Length. `clock` is POSIX time, to read a Retry-After that is a date.
    """

    def __init__(
        self,
        *,
        timeout: float,
        known_conflicts: bool = False,
        accept_any_2xx: bool = False,
        wire: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout
        self._extensions = {"timeout": {"connect": timeout / 2, "read": timeout, "write": timeout, "pool": timeout}}
        self._known_conflicts, self._accept_any_2xx = known_conflicts, accept_any_2xx
        self._wire = Wire() if wire is None else wire
        self._clock = clock
        self._routes: dict[str, _Route] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.aclose()

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        """Send one conversion. Raises nothing but CancelledError.

        A shop whose key, origin or base URL cannot be put into a request at all is `Misconfigured` with the status
        `NOT_SENT`: its orders wait for the cure like those of a shop whose key is refused.
        """
        route = self._route(shop)
        if isinstance(route, Misconfigured):
            return route
        answer = await self._ask("POST", route.conversions, route, conversion.payload)
        return self._read(answer, shop)

    async def probe(self, shop: Shop, product_id: str | None = None) -> Reply:
        """Ask whether base URL, key, origin and shop id belong together. Posts nothing; raises as `post` does.

        By default through `shops/me`, for which nothing else need be known; it proves the key, and the shop id as far
        as the answer names one. With the id of a product that Neuroon surely has, through that product under the
        shop's own path, which proves everything; but there a 404 may mean the product as well as the shop.
        """
        route = self._route(shop)
        if isinstance(route, Misconfigured):
            return route
        if product_id is not None:
            return self._read(await self._ask("GET", _below(shop, shop.id, "products", product_id), route), shop)
        answer = await self._ask("GET", _below(shop, "me"), route)
        reply = self._read(answer, shop)
        if isinstance(answer, Answer) and isinstance(reply, Accepted):
            return read_owner(answer, shop.id)
        return reply

    def _read(self, answer: Answer | Unavailable, shop: Shop) -> Reply:
        if isinstance(answer, Unavailable):
            return answer
        return read_reply(
            answer,
            key=shop.api_key,
            known_conflicts=self._known_conflicts,
            now=self._clock(),
            accept_any_2xx=self._accept_any_2xx,
        )

    async def _ask(self, method: str, url: httpx.URL, route: _Route, content: bytes = b"") -> Answer | Unavailable:
        # `content=` instead of a stream has httpx look for headers to add: 12 us, for what the wire adds anyhow.
        stream = httpx.ByteStream(content)
        request = httpx.Request(method, url, headers=route.headers, stream=stream, extensions=self._extensions)
        try:
            return await self._exchange(request)
        except Exception as error:  # noqa: BLE001 - wires let OSError, ssl's and anyio's through besides httpx's
            return Unavailable(why(error))

    async def _exchange(self, request: httpx.Request) -> Answer:
        """The answer: once its status is there, whatever becomes of the body. Raises what wires do, or TimeoutError."""
        response: httpx.Response | None = None
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout) as limit:
                response = await self._wire.handle_async_request(request)
                if isinstance(response.stream, httpx.ByteStream):  # all of it came with the head
                    body += b"".join(response.stream)
                else:
                    now = asyncio.get_running_loop().time()
                    limit.reschedule(min(limit.when() or now, now + BODY_SECONDS))
                    await _read_beginning(response, body)
        except Exception:
            if response is None:
                raise
        return _answer(response, bytes(body[:BODY_LIMIT]))

    def _route(self, shop: Shop) -> _Route | Misconfigured:
        """Made once per shop. A shop read anew from its file (a rotated key) is another object: it gets a new route."""
        kept = self._routes.get(shop.id)
        if kept is not None and kept.shop is shop:
            return kept
        route = _plan(shop)
        if isinstance(route, _Route):
            self._routes[shop.id] = route
        return route


async def _read_beginning(response: httpx.Response, body: bytearray) -> None:
    """Add to `body` what arrives, up to the limit of its size.

    A body read to its end leaves the connection in use for the next request; any other is closed.
    """
    stream = cast("httpx.AsyncByteStream", response.stream)
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            body += chunk
            if len(body) > BODY_LIMIT:
                return


def _answer(response: httpx.Response, body: bytes) -> Answer:
    """What matters of a response, by one walk through its headers: each look at one by httpx takes more than 1 us."""
    found: dict[bytes, str] = {}
    for name, value in response.headers.raw:
        if (lower := name.lower()) in _HEADERS:
            text = value.decode("latin-1")
            found[lower] = f"{found[lower]}, {text}" if lower in found else text
    if not found:
        return Answer(response.status_code, body)
    get = found.get
    if (codings := get(b"content-encoding")) is not None:
        body = inflate(body, codings, BODY_LIMIT)
    return Answer(response.status_code, body, get(b"retry-after"), get(b"location"), get(b"content-type"))


def _plan(shop: Shop) -> _Route | Misconfigured:
    key = shop.api_key.get_secret_value()
    if not _HEADER_VALUE.fullmatch(key):
        return Misconfigured(NOT_SENT, "the API key is empty or has characters that no key has, such as a line break")
    if shop.origin is not None and not _HEADER_VALUE.fullmatch(shop.origin):
        return Misconfigured(NOT_SENT, "the origin is empty or has characters that no origin has")
    try:
        url = _below(shop, shop.id, "track", "conversion")
    except httpx.InvalidURL:
        return Misconfigured(NOT_SENT, "the API URL is no URL")
    if url.scheme not in ("http", "https") or not url.host:
        return Misconfigured(NOT_SENT, "the API URL is no http or https address")
    return _Route(shop, url, _headers(key, shop.origin))


def _below(shop: Shop, *segments: str) -> httpx.URL:
    """A URL below the base's `shops`. Raises httpx.InvalidURL."""
    path = "/".join(quote(each, safe="") for each in segments)
    return httpx.URL(f"{shop.api_url.rstrip('/')}/api/plugin/shops/{path}")


def _headers(key: str, origin: str | None) -> httpx.Headers:
    headers = {
        "X-Shop-API-Key": key,
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # an error body is read as it comes: nothing to inflate, nothing to explode
        "User-Agent": USER_AGENT,
    }
    return httpx.Headers(headers if origin is None else headers | {"Origin": origin})
