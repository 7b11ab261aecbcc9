"""A link that breaks as networks do."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.eventually import eventually
from tests.support.proxy import Proxy

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.received = b""
        self.resets = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                self.received += chunk
                writer.write(chunk)
        except ConnectionResetError:
            self.resets += 1
        writer.close()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[_Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def _say(connection: _Connection, text: bytes) -> bytes:
    reader, writer = connection
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 5)


async def test_it_forwards_both_ways_whatever_the_size(client: _Connection) -> None:
    """Left alone, the link changes nothing: not a byte of a megabyte."""
    text = bytes(range(256)) * 4096
    assert await _say(client, text) == text


async def test_an_end_in_good_order_is_passed_on(client: _Connection, proxy: Proxy) -> None:
    """The end of what one side says reaches the other, and the link is forgotten once both are done."""
    reader, writer = client
    assert await _say(client, b"hello") == b"hello"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await eventually(lambda: proxy.connections == 0)


async def test_cut_resets_both_sides(client: _Connection, proxy: Proxy, echo: Echo) -> None:
    """Neither side sees an orderly end, and a new connection works at once."""
    reader, _ = client
    await _say(client, b"before")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    await eventually(lambda: echo.resets == 1)
    fresh = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await _say(fresh, b"after") == b"after"
    assert proxy.accepted == 2
    fresh[1].close()


async def test_a_stalled_link_holds_back_what_it_gets_and_delivers_it_later(
    client: _Connection, proxy: Proxy, echo: Echo
) -> None:
    """Nothing arrives, nothing is closed, and nothing is lost."""
    reader, writer = client
    await _say(client, b"1")
    proxy.stall()
    writer.write(b"2")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    assert echo.received == b"1"
    assert proxy.connections == 1
    proxy.resume()
    assert await asyncio.wait_for(reader.read(1), 5) == b"2"


async def test_answers_alone_can_be_stalled(client: _Connection, proxy: Proxy, echo: Echo) -> None:
    """The request arrives, its answer does not: the case in which a client cannot know."""
    reader, writer = client
    proxy.stall(up=False)
    writer.write(b"order")
    await eventually(lambda: echo.received == b"order")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    proxy.resume()
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"order"


async def test_a_stalled_link_can_be_cut(client: _Connection, proxy: Proxy, echo: Echo) -> None:
    """What was held back is lost with the connection."""
    reader, writer = client
    await _say(client, b"1")
    proxy.stall()
    writer.write(b"lost")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    await eventually(lambda: proxy.connections == 0)
    assert echo.received == b"1"


async def test_refusing_keeps_old_connections_and_lets_no_new_one_in(client: _Connection, proxy: Proxy) -> None:
    """A server that listens no more; `accept` brings it back on the same port."""
    await _say(client, b"1")
    port = proxy.port
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await _say(client, b"2") == b"2"
    await proxy.accept()
    fresh = await asyncio.open_connection("127.0.0.1", port)
    assert await _say(fresh, b"3") == b"3"
    fresh[1].close()


async def test_delay_holds_each_chunk_for_that_long(client: _Connection, proxy: Proxy) -> None:
    """Once on the way there and once on the way back."""
    loop = asyncio.get_running_loop()
    proxy.delay = 0.1
    started = loop.time()
    await _say(client, b"ping")
    assert loop.time() - started >= 0.2


async def test_another_upstream_counts_for_new_connections(client: _Connection, proxy: Proxy, echo: Echo) -> None:
    """A broker that comes back elsewhere: old connections stay where they are."""
    await _say(client, b"old")
    other = Echo()
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    async with server:
        proxy.upstream = server.sockets[0].getsockname()
        fresh = await asyncio.open_connection("127.0.0.1", proxy.port)
        await _say(fresh, b"new")
        await _say(client, b"old")
        assert (echo.received, other.received) == (b"oldold", b"new")
        fresh[1].close()
        await eventually(lambda: proxy.connections == 1)


async def test_without_an_upstream_a_connection_is_reset(proxy: Proxy) -> None:
    """The link is up, the machine behind it is not."""
    server = await asyncio.start_server(Echo().serve, "127.0.0.1", 0)
    proxy.upstream = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
