"""The wire: HTTP connections to Neuroon, whom they trust, and what their failures are called."""

import os
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import httpx

# Tomcat, which Spring services stand on, closes a connection after 20 s without a request: ours are given up earlier.
KEEPALIVE_SECONDS = 15.0


def default_wire(concurrency: int) -> httpx.AsyncBaseTransport:
    """A lane for every request under way, `concurrency` of which stay connected to each host in between."""
    context = trust_store()
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS)
    return Lanes(lambda: httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False), concurrency)


class Lanes(httpx.AsyncBaseTransport):
    """Transports side by side, each of which carries one request at a time and so keeps one connection.

    httpx's own pool looks at all of its connections several times for every request: at 16 connections a request costs
    2.5 times the CPU that it costs at one, at 64 ten times. Here it costs the same at any number. `make` makes a
    lane; up to `spare` of them wait, connected, for the next request to the same host.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], spare: int) -> None:
        self._make = make
        self._spare = spare
        self._free: defaultdict[tuple[str, str, int | None], list[httpx.AsyncBaseTransport]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send through the lane that was used last. One that failed, or whose request was cancelled, is given up."""
        url = request.url
        free = self._free[url.scheme, url.host, url.port]
        lane = free.pop() if free else self._make()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            await lane.aclose()
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _LaneStream(stream, partial(self._leave, lane, free))
        return response

    async def _leave(self, lane: httpx.AsyncBaseTransport, free: list[httpx.AsyncBaseTransport]) -> None:
        if len(free) < self._spare:
            free.append(lane)
        else:
            await lane.aclose()

    async def aclose(self) -> None:
        """Close the lanes that wait."""
        for free in self._free.values():
            while free:
                await free.pop().aclose()


class _LaneStream(httpx.AsyncByteStream):
    """A body; closing it leaves the lane to the next request."""

    def __init__(self, stream: httpx.AsyncByteStream, leave: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._leave = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._leave()


def trust_store() -> ssl.SSLContext:
    """The certificate authorities that this system trusts, or those that SSL_CERT_FILE and SSL_CERT_DIR name instead.

    httpx by itself would take certifi's, and an authority that a company adds to its machines would not be known. That
    one serves only where a Python finds no store at all (python.org's for macOS, images without ca-certificates).
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # else it is what this system's OpenSSL is configured for
    chosen = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    directory = ssl.get_default_verify_paths().capath  # None unless there is such a directory
    found = context.cert_store_stats()["x509_ca"] or (directory and any(Path(directory).iterdir()))
    return context if chosen or found else httpx.create_ssl_context(trust_env=False)


# Stable words: metrics show them, and dead letters of one cause are grouped by them. The first kind that is found in an
# exception or among its causes counts, so the telling ones stand first. No addresses: they differ by host.
_WHY: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "tls: certificate verify failed"),
    (ssl.SSLEOFError, "connection dropped"),
    (ssl.SSLError, "tls: protocol error"),
    (socket.gaierror, "name not resolved"),
    (ConnectionRefusedError, "connection refused"),
    (httpx.ConnectTimeout, "connect timeout"),
    (httpx.ReadTimeout, "read timeout"),
    (httpx.WriteTimeout, "write timeout"),
    (httpx.PoolTimeout, "pool timeout"),
    (httpx.ConnectError, "connect failed"),
    (httpx.NetworkError, "connection dropped"),
    (httpx.ProtocolError, "protocol error"),
    (TimeoutError, "timeout"),
    (OSError, "connection dropped"),
)


def why(error: BaseException) -> str:
    """A failure of the wire in a few stable words. Never the exception's own text: it may quote our headers."""
    if isinstance(error, httpx.RemoteProtocolError) and "disconnect" in str(error):
        return "connection dropped"  # between requests or before the status: httpx calls it a protocol error
    chain = list(_causes(error))
    for kind, words in _WHY:
        if any(isinstance(each, kind) for each in chain):
            return words
    return f"wire failed: {type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and the members of groups (one for each address that was tried)."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    if (cause := error.__cause__ or error.__context__) is not None:
        yield from _causes(cause)
