"""When the network, or what is behind it, does not answer as HTTP should."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from consumer.adapters import neuroon as module
from consumer.adapters.exchange import WireError
from consumer.adapters.neuroon import BODY_LIMIT, Neuroon
from consumer.adapters.wire import why
from consumer.core.outcome import Accepted, Misconfigured, Refused, Reply, Unavailable
from consumer.sandbox import Sandbox
from tests.support.eventually import eventually
from tests.support.neuroon import RawServer, conversion, shop_at

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def post(url: str, timeout: float = 5.0) -> Reply:
    async with Neuroon(timeout=timeout) as api:
        return await api.post(conversion(), shop_at(url))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refused_connection(host: str) -> None:
    """Nobody listens: said in the same words whether the host has one address or several."""
    assert await post(f"http://{host}:{free_port()}") == Unavailable("connection refused")


async def test_silence() -> None:
    """A server that takes the request and never answers is given up when the time is over, and not later."""
    async with RawServer(None) as server:
        started = time.monotonic()
        assert await post(server.url, timeout=0.3) == Unavailable("timeout")
        assert 0.3 <= time.monotonic() - started < 10
        assert len(server.requests) == 1


async def test_trickle() -> None:
    """The time limit is for the whole request: a byte now and then does not lengthen it."""

    over = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await post(url, timeout=0.4) == Unavailable("timeout")
        await over.wait()


async def test_recorded_though_late() -> None:
    """An answer that comes too late is no answer, though the order was recorded: the next try will be a repeat."""
    async with Sandbox(faults=["delay=30s:times=1"]) as sandbox:
        assert await post(sandbox.url, timeout=0.3) == Unavailable("timeout")
        assert len(sandbox.orders) == 1
        assert await post(sandbox.url) == Accepted(200)
        assert [each.posts for each in sandbox.orders] == [2]


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"", Unavailable("connection dropped")),
        (b"HTTP/1.1 200 O", Unavailable("connection dropped")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut o", Accepted(200)),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\ncut o", Refused(400, "cut o")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", Accepted(200)),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk", Accepted(200)),
        (b"HTTP/1.1 200 OK\r\nX: y", Unavailable("connection dropped")),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n", Unavailable("protocol error")),
        (b"\x00\x01\x02 no http at all\r\n\r\n", Unavailable("protocol error")),
    ],
)
async def test_broken_answer(answer: bytes, reply: Reply) -> None:
    """Once the status is there it counts, however the rest arrives; before that there is no answer."""
    async with RawServer(answer, hang_up=True) as server:
        assert await post(server.url) == reply


async def test_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is waited for much shorter than an answer: what has come of it by then is shown."""
    monkeypatch.setattr(module, "BODY_SECONDS", 0.3)
    async with Sandbox(faults=["400:body=slow"]) as sandbox:
        reply = await post(sandbox.url, timeout=30.0)
    assert isinstance(reply, Refused)
    assert set(reply.problem) == {"x"}


async def test_endless_body_is_not_read() -> None:
    """Of a body without an end no more than the limit, and the chunk that passed it, is ever taken in."""
    taken = 0

    class Endless(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1000
                yield b"x" * 1000

        async def aclose(self) -> None:
            self.closed = True

    stream = Endless()
    wire = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    async with Neuroon(timeout=5.0, wire=wire) as api:
        assert await api.post(conversion(), shop_at("https://api.example")) == Accepted(200)
    assert BODY_LIMIT < taken <= BODY_LIMIT + 1000
    assert stream.closed


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    """A redirect is never followed, least of all with the key: the other host is not even connected to."""
    async with RawServer(OK) as other, Sandbox(faults=[f"{status}:location={other.url}/x"]) as sandbox:
        assert await post(sandbox.url) == Misconfigured(status, f"redirected to {other.url}/x")
        assert other.connections == 0


async def test_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies named in the environment do not get to see requests with a key."""
    async with RawServer(OK) as proxy, Sandbox() as sandbox:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await post(sandbox.url) == Accepted(200)
        assert proxy.connections == 0


async def test_cookies() -> None:
    """A cookie that is set for one shop does not come along with another's request."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=a\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answer) as server, Neuroon(timeout=5.0) as api:
        for shop_id in ("shop_a", "shop_b"):
            assert await api.post(conversion(), shop_at(server.url, shop_id)) == Accepted(200)
    assert "cookie" not in "".join(server.requests).lower()


async def test_connection_is_kept() -> None:
    """Answers that were read to their end leave the connection for the next order, refused ones as well."""
    answer = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\n{"message": "no"}'
    async with RawServer(answer) as server, Neuroon(timeout=5.0) as api:
        for _ in range(5):
            assert await api.post(conversion(), shop_at(server.url)) == Refused(400, "no")
        assert (len(server.requests), server.connections) == (5, 1)


async def test_server_hangs_up_between_orders() -> None:
    """A kept connection that the server has closed meanwhile costs no order: a new one is made."""
    async with RawServer(OK, hang_up=True) as server, Neuroon(timeout=5.0) as api:
        for index in range(5):
            assert await api.post(conversion(), shop_at(server.url)) == Accepted(200)
            await eventually(lambda wanted=index + 1: server.connections == wanted)  # type: ignore[misc]


async def test_server_comes_back() -> None:
    """The same client goes on once a server that was away listens again."""
    async with Neuroon(timeout=5.0) as api:
        sandbox = Sandbox()
        await sandbox.start()
        shop, port = shop_at(sandbox.url), int(sandbox.url.rpartition(":")[2])
        assert await api.post(conversion(), shop) == Accepted(200)
        await sandbox.stop()
        assert await api.post(conversion(), shop) == Unavailable("connection refused")
        await sandbox.start(port=port)
        assert await api.post(conversion(), shop) == Accepted(200)
        await sandbox.stop()


async def test_cancelled() -> None:
    """A cancelled post raises CancelledError, and leaves a client that works."""
    async with RawServer(None) as silent, RawServer(OK) as server, Neuroon(timeout=30.0) as api:
        task = asyncio.create_task(api.post(conversion(), shop_at(silent.url)))
        await eventually(lambda: silent.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await api.post(conversion(), shop_at(server.url)) == Accepted(200)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WireError("connection refused"), "connection refused"),
        (httpx.ReadTimeout("x"), "timeout"),
        (TimeoutError("x"), "timeout"),
        (httpx.LocalProtocolError("Illegal header value b'sk_secret'"), "wire failed: LocalProtocolError"),
        (RuntimeError("sk_secret"), "wire failed: RuntimeError"),
    ],
)
async def test_failure_of_the_wire(error: Exception, said: str) -> None:
    """Whatever a wire raises is a reply in stable words, which quote nothing of the exception."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    async with Neuroon(timeout=5.0, wire=httpx.MockTransport(fail)) as api:
        assert await api.post(conversion(), shop_at("https://api.example")) == Unavailable(said)
    assert why(error) == said
