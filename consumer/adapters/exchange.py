"""One HTTP/1.1 connection, and on it one exchange after the other (RFC 9112), parsed by llhttp."""

import asyncio
import math
import re
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from consumer.adapters.leniency import NoHttpError, mend

# Status and headers of an answer; a server that sends more has something else in mind. As much again may stand around
# its body: the sizes and extensions of chunks, and trailers.
HEAD_LIMIT = 64 * 1024
_INFORMATIONAL = 200  # below: the answer is still to come (RFC 9110, 15.2)
# After a 408, which some servers send when a connection was idle for too long, and a 421, which says that the
# connection leads to another server, nothing more is to be asked on the same one.
_LAST_WORDS = frozenset({408, 421})

# "Keep-Alive: timeout=5": how long Node, Apache and others keep a connection that is idle.
_KEEP_ALIVE, _TIMEOUT = b"keep-alive", re.compile(rb"\btimeout\s*=\s*([0-9]{1,9})", re.IGNORECASE)
# Ours is given up so many seconds earlier, for a request may be as long under way as the server's goodbye.
_KEEP_ALIVE_MARGIN = 1.0


class WireError(httpx.TransportError):
    """A request that got no answer; the text is one of a few stable words, without addresses or anything sent."""


class Exchange(httpx.AsyncByteStream):
    """The answer to one request as it arrives: the parser's calls on one side, httpx's stream of the body on the other.

    `complete`: it has arrived to its end. `reusable`: then another request may follow on the same connection, if that
    was idle for no longer than `keep_seconds`. `silent`: not a byte of it has arrived yet.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self.complete = self.reusable = False
        self.silent = True
        self.keep_seconds = math.inf
        self._abort = abort
        self._parser = HttpResponseParser(self)
        self._head: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer: tuple[int, list[tuple[bytes, bytes]]] | None = None  # status and headers, once they are there
        self._seen = b""  # of a head that has not ended yet
        self._refused = False  # by llhttp, which is the head that is now read by `mend`
        self._size = self._around = 0  # of the body, and of what stood around it
        self._chunks: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self._error: WireError | None = None

    async def response(self) -> httpx.Response:
        """Wait for status and headers; WireError when they do not come."""
        return await self._head

    def feed(self, data: bytes) -> None:
        """These bytes have arrived."""
        self.silent = False
        before = self._size
        sound = self._parse(data)
        if self._answer is None:
            self._seen += data
            sound = sound or self._mend()
        if self._answer is None:
            sound = sound and len(self._seen) <= HEAD_LIMIT
        elif not self._head.done():  # it counts from here on, whatever becomes of the body
            self._head.set_result(self._response(*self._answer))
        else:
            self._around += len(data) - (self._size - before)
            sound = sound and self._around <= HEAD_LIMIT
        if not sound:
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
        if len(name) == len(_KEEP_ALIVE) and name.lower() == _KEEP_ALIVE and (found := _TIMEOUT.search(value)):
            seconds = float(found[1])
            self.keep_seconds = seconds - min(_KEEP_ALIVE_MARGIN, seconds / 2)

    def on_headers_complete(self) -> None:
        """Status and headers are known; those of an informational answer are none."""
        status = self._parser.get_status_code()
        if status >= _INFORMATIONAL and self._answer is None:
            self._answer, self._headers = (status, self._headers), []  # trailers are none of them

    def on_body(self, chunk: bytes) -> None:
        """Some of it, without what chunked coding adds."""
        if not self.complete:
            self._size += len(chunk)
            self._chunks.append(chunk)
            self._tell()

    def on_message_complete(self) -> None:
        """The end; that of an informational answer is none."""
        status = self._parser.get_status_code()
        if status >= _INFORMATIONAL and not self.complete:
            self.complete, self.reusable = True, self._parser.should_keep_alive() and status not in _LAST_WORDS
            self._tell()

    def _parse(self, data: bytes) -> bool:
        """Whether llhttp takes it."""
        if self._refused:
            return False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        return True

    def _mend(self) -> bool:
        """Read a head that llhttp has refused; whether it can be one. While it has not ended, more is awaited."""
        self._refused = True
        try:
            mended = mend(self._seen)
        except NoHttpError:
            return False
        if mended is None:
            return True
        self._refused = False
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_optional_crlf_after_chunk=True,
            lenient_spaces_after_chunk_size=True,
        )
        return self._parse(b"".join(mended))

    def _response(self, status: int, headers: list[tuple[bytes, bytes]]) -> httpx.Response:
        """With a body that came along with the head, as nearly all do, there is nothing to wait for."""
        stream = httpx.ByteStream(b"".join(self._chunks)) if self.complete else self
        return httpx.Response(status, headers=headers, stream=stream)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Connection(asyncio.Protocol):
    """`free` is called when an exchange has ended and the next one may begin.

    `was_kept`: it was in use after an exchange before, so that the server is one that keeps connections. It is kept for
    `keep_seconds` without being used, as far as the server says.
    """

    def __init__(self, free: Callable[["Connection"], None]) -> None:
        self.idle_since = 0.0
        self.keep_seconds = math.inf
        self.was_kept = False
        self._free = free
        self._exchange: Exchange | None = None
        self._asked = self._lost = False
        self._early = b""  # arrived before anything was asked
        self._transport: asyncio.Transport
        self._readable = select.poll()

    def is_open(self, *, look: bool) -> bool:
        """Whether it may be asked. With something to read before that, the server has closed it, or speaks no HTTP.

        The event loop may not have come to that yet, and an order that is sent now would be lost with the connection;
        `look` asks the kernel.
        """
        return not (self._transport.is_closing() or (look and self._readable.poll(0)))

    def ask(self, request: bytes) -> Exchange:
        """Send a request; its answer, as it arrives.

        A server that is full or rejects us may have answered, and hung up, before it was asked.
        """
        self._exchange = exchange = Exchange(self.abort)
        self._asked = True
        self._transport.write(request)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)
        if self._lost:
            exchange.fail("connection dropped")
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
        if exchange is None:
            self._early += data
            if self._asked or len(self._early) > HEAD_LIMIT:  # it answers no request
                self.abort()
            return
        exchange.feed(data)
        if exchange.complete:
            self._exchange = None
            if self._transport.get_write_buffer_size():  # answered early: the rest of the request may never be read
                self.abort()
            elif exchange.reusable:
                self.keep_seconds = exchange.keep_seconds
                self._free(self)
            else:
                self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._lost = True
        if self._exchange is not None:
            self._exchange.fail("connection dropped")
