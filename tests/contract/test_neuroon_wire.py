"""What the HTTP client below says of its failures, in our words."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from consumer.adapters.neuroon import Neuroon
from consumer.adapters.wire import words
from consumer.core.outcome import Reply, Unavailable
from tests.support.neuroon import RawServer, conversion, shop_at


async def post(url: str, timeout: float) -> Reply:
    async with Neuroon(timeout=timeout) as api:
        return await api.post(conversion(), shop_at(url))


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose backlog is full: whoever connects waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filling = [socket.socket() for _ in range(8)]
        for each in filling:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for each in filling:
            each.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connecting_takes_too_long(full_port: int, scheme: str) -> None:
    """A host that takes no connection is told from one that is slow, after half the time a request may take."""
    assert await post(f"{scheme}://127.0.0.1:{full_port}", timeout=1.0) == Unavailable("connect timeout")


async def test_handshake_takes_too_long() -> None:
    """The same for a server that takes the connection and never says a word of TLS."""
    async with RawServer(None) as server:
        url = server.url.replace("http:", "https:")
        assert await post(url, timeout=1.0) == Unavailable("connect timeout")


async def test_no_such_name() -> None:
    """RFC 6761 keeps `.invalid` for names that nobody has."""
    assert await post("http://neuroon.invalid", timeout=20.0) == Unavailable("name not resolved")


async def test_reset() -> None:
    """A connection that is reset while the answer is awaited is a dropped one."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        linger_not = b"\x01\0\0\0\0\0\0\0"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await post(url, timeout=5.0) == Unavailable("connection dropped")


def test_what_is_not_known() -> None:
    """A failure that nobody has foreseen is told in words of ours, never by its text."""
    assert words(OSError(113, "No route to sk_secret")) == "connect failed"
