"""The wire: HTTP connections to Neuroon, whom they trust, and what their failures are called."""

import os
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import cast

import certifi
import httpx
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, DetailedPyreqwestError, PyreqwestError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

# Tomcat, which Spring services stand on, closes a connection after 20 s without a request: ours are given up earlier.
KEEPALIVE_SECONDS = 15.0


class NoTrustError(Exception):
    """There are no certificates where SSL_CERT_FILE or SSL_CERT_DIR point, so that nobody could be trusted."""


class WireError(httpx.TransportError):
    """A request that got no answer; the text is one of a few stable words, without addresses or anything sent."""


def default_wire(concurrency: int, connect_timeout: float) -> httpx.AsyncBaseTransport:
    """Connections over reqwest, Rust's HTTP client: `concurrency` of them stay open to each host between requests.

    `connect_timeout` in seconds, TLS included. Redirects are not followed, and neither proxies nor cookies are known.
    Of the transports that were measured it takes the least time of an event loop (docs/adr/0004). Raises NoTrustError.
    """
    builder = (
        ClientBuilder()
        .follow_redirects(False)
        .no_proxy()
        .http1_only()
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .min_tls_version("TLSv1.2")
        .connect_timeout(timedelta(seconds=connect_timeout))
        .pool_idle_timeout(timedelta(seconds=KEEPALIVE_SECONDS))
        .pool_max_idle_per_host(concurrency)
    )
    if not named_trust_store() and not system_trusts():
        builder = builder.add_root_certificate_pem(Path(certifi.where()).read_bytes())
    try:
        return Reqwest(builder.build())
    except BuilderError as error:
        raise NoTrustError(f"{named_trust_store()}: expected certificates of authorities, found none") from error


class Reqwest(httpx.AsyncBaseTransport):
    """httpx's way to speak to a pyreqwest client, which is closed with it.

    The one that pyreqwest brings waits for 64 KiB of a body before it tells the status, and adds httpx's four
    time-outs up to one. Here the read time-out is that of the whole request. A request that is cancelled runs on, out
    of reach, for as long as that: pyreqwest cannot end it, but no other request ever waits for it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send; raises WireError when no answer comes."""
        builder = self._client.request(request.method, str(request.url)).headers(_texts(tuple(request.headers.raw)))
        builder = builder.body_bytes(b"".join(cast("httpx.SyncByteStream", request.stream))).streamed_read_buffer_limit(
            0
        )
        if (seconds := request.extensions.get("timeout", {}).get("read")) is not None:
            builder = builder.timeout(timedelta(seconds=seconds))
        sending = builder.build_streamed()
        try:
            response = await sending.__aenter__()
        except PyreqwestError as error:
            raise WireError(words(error)) from error
        return httpx.Response(response.status, headers=list(response.headers.items()), stream=_Body(sending, response))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.close()


class _Body(httpx.AsyncByteStream):
    """The body of one answer, in the chunks in which it arrives."""

    def __init__(self, sending: StreamRequest, response: Response) -> None:
        self._sending, self._reader = sending, response.body_reader

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._reader.read_chunk()
        except PyreqwestError as error:
            raise WireError(words(error)) from error
        if chunk is None:
            raise StopAsyncIteration
        return bytes(chunk)

    async def aclose(self) -> None:
        await self._sending.__aexit__(None, None, None)


@lru_cache(4096)
def _texts(raw: tuple[tuple[bytes, bytes], ...]) -> list[tuple[str, str]]:
    """Headers as pyreqwest takes them. All requests for a shop have the same ones."""
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in raw]


def named_trust_store() -> str:
    """The variable that names certificate authorities instead of the system's, and what it says; "" without one."""
    return next(
        (f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), ""
    )


def system_trusts() -> bool:
    """Whether this system knows certificate authorities. Without ca-certificates it does not; certifi's serve there."""
    paths = ssl.get_default_verify_paths()  # None for each that is not there
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


# Stable words: metrics show them, and dead letters of one cause are grouped by them. The first text that is found in
# the causes of a failure counts, so the telling ones stand first. Never the causes themselves: they name addresses.
_WORDS = (
    ("(Connect)\ntcp connect error\ndeadline has elapsed", "connect timeout"),
    ("(Connect)\noperation timed out", "connect timeout"),
    ("timed out", "timeout"),
    ("peer certificate", "tls: certificate verify failed"),
    ("dns error", "name not resolved"),
    ("Connection refused", "connection refused"),
    ("connection closed before message completed", "connection dropped"),
    ("peer closed connection", "connection dropped"),
    ("tls handshake eof", "connection dropped"),
    ("os error", "connection dropped"),
    ("received corrupt message", "tls: protocol error"),
    ("received fatal alert", "tls: protocol error"),
    ("peer is incompatible", "tls: protocol error"),
    ("peer misbehaved", "tls: protocol error"),
    ("parsed", "protocol error"),
    ("message head is too large", "protocol error"),
    ("(Connect)", "connect failed"),
)


def words(error: PyreqwestError) -> str:
    """A failure of reqwest in a few stable words."""
    details = error.details if isinstance(error, DetailedPyreqwestError) else None
    causes = "\n".join(cause["message"] for cause in (details and details["causes"]) or ())
    for found, said in _WORDS:
        if found in causes:
            return said
    return f"wire failed: {type(error).__name__}"


def why(error: BaseException) -> str:
    """Why there was no answer. Never an exception's own text, unless it is one of ours: it may quote our headers."""
    if isinstance(error, WireError):
        return str(error)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "timeout"
    return f"wire failed: {type(error).__name__}"
