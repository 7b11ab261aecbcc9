"""The wire: httpx's way to Neuroon, over connections that are kept."""

import asyncio
import errno
import socket
import ssl
from collections import deque
from functools import lru_cache
from typing import cast

import httpx

from consumer.adapters.exchange import Connection, WireError
from consumer.adapters.trust import client_context

# Tomcat, which Spring services stand on, closes a connection after 20 s without a request: ours are given up earlier.
KEEPALIVE_SECONDS = 15.0
# Servers close a connection that was idle for a while, and some close each one after its first answer. To look is a
# system call, and meanwhile other threads take the interpreter's lock: 2 % of an order. One that was kept before, and
# has just been used, is not looked at.
LOOK_AFTER_SECONDS = 0.01

# Answers that say nothing about the request, but that it came by the wrong connection.
_TIMED_OUT, _MISDIRECTED = 408, 421

Origin = tuple[str, str, int]


class Wire(httpx.AsyncBaseTransport):
    """Sends requests over HTTP/1.1, each on a connection that is free, else on a new one: none ever waits for another.

    It follows no redirects and knows neither proxies nor cookies. Of the time-outs in a request's extensions it heeds
    the one to connect, TLS included; cancelling a request closes its connection. A request may be sent a second time,
    on a new connection: `handle_async_request` says when. Why it is not one of the usual transports: docs/adr/0004.
    Raises NoTrustError.
    """

    def __init__(self) -> None:
        self._trust = client_context()
        self._idle: dict[Origin, deque[Connection]] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send; raises WireError when no answer comes.

        Once more is sent what met a connection that the server was about to close: a kept one that breaks before the
        first byte of an answer, or is answered 408 (RFC 9112, 9.3.1). So is what is answered 421, "not by me" (RFC
        9110, 15.5.20), each time on a new connection. To send twice is safe: Neuroon counts an order once, by its id.
        """
        url, body = request.url, b"".join(cast("httpx.SyncByteStream", request.stream))
        origin = url.scheme, url.raw_host.decode(), url.port or (443 if url.scheme == "https" else 80)
        head = _head(request.method, url.raw_path, url.netloc, tuple(request.headers.raw))
        seconds = request.extensions.get("timeout", {}).get("connect")
        message = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        kept = self._take(origin)
        if kept is not None:
            response = await _ask(kept, message, (_TIMED_OUT, _MISDIRECTED), kept=True)
            if response is not None:
                return response
        response = await _ask(await self._connect(origin, seconds), message, (_MISDIRECTED,))
        if response is None:
            response = await _ask(await self._connect(origin, seconds), message, ())
        return cast("httpx.Response", response)

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # closing is done in the loop's next round

    def _take(self, origin: Origin) -> Connection | None:
        """The connection that was used last, so that the others grow old; None when there is none."""
        idle, now = self._idle.get(origin), asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            seconds = now - connection.idle_since
            look = seconds > LOOK_AFTER_SECONDS or not connection.was_kept
            if seconds <= min(KEEPALIVE_SECONDS, connection.keep_seconds) and connection.is_open(look=look):
                connection.was_kept = True
                return connection
            connection.close()
        return None

    def _free(self, origin: Origin, connection: Connection) -> None:
        if self._closed:
            connection.close()
            return
        idle = self._idle.setdefault(origin, deque())
        connection.idle_since = now = asyncio.get_running_loop().time()
        idle.append(connection)
        if now - idle[0].idle_since > KEEPALIVE_SECONDS:
            idle.popleft().close()

    async def _connect(self, origin: Origin, seconds: float | None) -> Connection:
        scheme, host, port = origin
        try:
            async with asyncio.timeout(seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(lambda connection: self._free(origin, connection)),
                    host,
                    port,
                    ssl=self._trust if scheme == "https" else None,
                )
        except TimeoutError as error:
            raise WireError("connect timeout") from error
        except OSError as error:
            raise WireError(words(error)) from error
        try:
            await asyncio.sleep(0)  # to read what is there: a write to a server that has hung up would throw it away
        except asyncio.CancelledError:
            connection.abort()
            raise
        return connection


async def _ask(
    connection: Connection, message: bytes, again: tuple[int, ...], *, kept: bool = False
) -> httpx.Response | None:
    """The answer to a request; None when it is to be sent once more, on another connection.

    That is so for an answer whose status is among `again`, and for none at all on a connection that was `kept`.
    """
    exchange = connection.ask(message)
    try:
        response = await exchange.response()
    except BaseException as error:
        if not exchange.complete:  # else it is free, and may be another order's by now
            connection.abort()
        if kept and exchange.silent and isinstance(error, WireError):
            return None
        raise
    if response.status_code in again:
        await response.aclose()
        return None
    return response


@lru_cache(4096)
def _head(method: str, path: bytes, host: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Request line and headers but for the last one. All requests for a shop have the same ones."""
    lines = [method.encode() + b" " + path + b" HTTP/1.1", b"Host: " + host]
    return b"".join(line + b"\r\n" for line in (*lines, *(name + b": " + value for name, value in headers)))


def words(error: OSError) -> str:
    """Why there is no connection, in stable words: metrics show them, and dead letters are grouped by them.

    Never the error's own: it names addresses.
    """
    match error:
        case ssl.SSLCertVerificationError():
            return "tls: certificate verify failed"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
            return "connection dropped"
        case ssl.SSLError():
            return "tls: protocol error"
        case socket.gaierror():
            return "name not resolved"
        case ConnectionRefusedError():
            return "connection refused"
    if error.errno in (errno.EMFILE, errno.ENFILE) or f"[Errno {errno.EMFILE}]" in str(error):
        return "too many open files"
    # A host of several addresses, none of which could be connected to: the loop tells of all in one text.
    return "connection refused" if f"[Errno {errno.ECONNREFUSED}]" in str(error) else "connect failed"


def why(error: BaseException) -> str:
    """Why there was no answer. Never an exception's own text, unless it is one of ours: it may quote our headers."""
    if isinstance(error, WireError):
        return str(error)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "timeout"
    return f"wire failed: {type(error).__name__}"
