"""One HTTP/1.1 connection, and on it one exchange after the other (RFC 9112), parsed by llhttp."""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# Status and headers of an answer; a server that sends more has something else in mind.
HEAD_LIMIT = 64 * 1024
_INFORMATIONAL = 200  # below: the answer is still to come (RFC 9110, 15.2)


class WireError(httpx.TransportError):
    """A request that got no answer; the text is one of a few stable words, without addresses or anything sent."""


class Exchange(httpx.AsyncByteStream):
    """The answer to one request as it arrives: the parser's calls on one side, httpx's stream of the body on the other.

    `complete`: it has arrived to its end. `reusable`: then another request may follow on the same connection.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self.complete = self.reusable = False
        self._abort = abort
        self._parser = HttpResponseParser(self)
        self._head: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer: tuple[int, list[tuple[bytes, bytes]]] | None = None  # status and headers, once they are there
        self._head_size = 0
        self._chunks: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self._error: WireError | None = None

    async def response(self) -> httpx.Response:
        """Wait for status and headers; WireError when they do not come."""
        return await self._head

    def feed(self, data: bytes) -> None:
        """These bytes have arrived."""
        try:
            self._parser.feed_data(data)
            broken = False
        except (HttpParserError, HttpParserUpgrade):
            broken = True
        if not self._head.done():
            self._head_size += len(data)
            if self._answer is not None:  # it counts from here on, whatever becomes of the body
                self._head.set_result(self._response(*self._answer))
            elif self._head_size > HEAD_LIMIT:
                broken = True
        if broken:
            self.fail("protocol error")
        if self.complete:
            del self._parser  # it knows us as we know it: a circle of a dozen objects, left to the cycle collector

    def fail(self, why: str) -> None:
        """Nothing more arrives."""
        if self.complete or self._error:
            return
        self._error = WireError(why)
        if not self._head.done():
            self._head.set_exception(self._error)
        self._tell()
        self._abort()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, in the chunks in which it arrives; WireError when its end does not."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self.complete:
                return
            if self._error is not None:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    async def aclose(self) -> None:
        """A body that was not read to its end leaves a connection that is good for nothing."""
        if not self.complete:
            self.fail("closed by us")

    def on_message_begin(self) -> None:
        """Called by the parser, as are those below."""
        self._headers = []
        if self.complete:  # bytes that nobody has asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of them; the names come as the server writes them."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Status and headers are known; those of an informational answer are none."""
        status = self._parser.get_status_code()
        if status >= _INFORMATIONAL and self._answer is None:
            self._answer, self._headers = (status, self._headers), []  # trailers are none of them

    def on_body(self, chunk: bytes) -> None:
        """Some of it, without what chunked coding adds."""
        if not self.complete:
            self._chunks.append(chunk)
            self._tell()

    def on_message_complete(self) -> None:
        """The end; that of an informational answer is none."""
        if self._parser.get_status_code() >= _INFORMATIONAL and not self.complete:
            self.complete, self.reusable = True, self._parser.should_keep_alive()
            self._tell()

    def _response(self, status: int, headers: list[tuple[bytes, bytes]]) -> httpx.Response:
        """With a body that came along with the head, as nearly all do, there is nothing to wait for."""
        stream = httpx.ByteStream(b"".join(self._chunks)) if self.complete else self
        return httpx.Response(status, headers=headers, stream=stream)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Connection(asyncio.Protocol):
    """`free` is called when an exchange has ended and the next one may begin.

    `was_kept`: it was in use after an exchange before, so that the server is one that keeps connections.
    """

    def __init__(self, free: Callable[["Connection"], None]) -> None:
        self.idle_since = 0.0
        self.was_kept = False
        self._free = free
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport
        self._readable = select.poll()

    def is_open(self, *, look: bool) -> bool:
        """Whether it may be asked. With something to read before that, the server has closed it, or speaks no HTTP.

        The event loop may not have come to that yet, and an order that is sent now would be lost with the connection;
        `look` asks the kernel.
        """
        return not (self._transport.is_closing() or (look and self._readable.poll(0)))

    def ask(self, request: bytes) -> Exchange:
        """Send a request; its answer, as it arrives."""
        self._exchange = exchange = Exchange(self.abort)
        self._transport.write(request)
        return exchange

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._transport.abort()

    def close(self) -> None:
        """Close in good order."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        exchange = self._exchange
        if exchange is None:  # nobody has asked
            self.abort()
            return
        exchange.feed(data)
        if exchange.complete:
            self._exchange = None
            if exchange.reusable:
                self._free(self)
            else:
                self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        if self._exchange is not None:
            self._exchange.fail("connection dropped")
