"""A TCP link that breaks on request, in each of the ways in which networks break."""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_CHUNK = 64 * 1024
# l_onoff = 1, l_linger = 0: closing sends RST, and what was not sent yet is lost.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards 127.0.0.1:`port` to `upstream`, and cuts, stalls, delays or refuses when told to.

    `upstream` (host, port) and `delay` (seconds before each chunk is passed on, in either direction) may be changed at
    any time; a new upstream counts for new connections.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.delay = 0.0
        self.accepted = 0
        """Connections taken so far, the present ones included."""
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._may_go_up = asyncio.Event()
        self._may_go_down = asyncio.Event()
        self.resume()

    @property
    def port(self) -> int:
        """Where to connect; it stays the same through `refuse` and `accept`."""
        return self._port

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._links)

    async def accept(self) -> None:
        """Listen, at first or again after `refuse`."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more: new connections are refused, the present ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """Reset every connection now, on both sides (RST)."""
        for link in tuple(self._links):
            link.reset()

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Pass nothing on, and close nothing: towards upstream (`up`), back (`down`), or both.

        With `down` alone, requests arrive and their answers are late: a confirmation that does not come.
        """
        if up:
            self._may_go_up.clear()
        if down:
            self._may_go_down.clear()

    def resume(self) -> None:
        """Pass on again, beginning with what was held back."""
        self._may_go_up.set()
        self._may_go_down.set()

    async def close(self) -> None:
        """Listen no more, and cut what there is."""
        await self.refuse()
        links = tuple(self._links)
        self.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            _abort(writer)
            return
        link = _Link(writer, upstream_writer)
        self._links.add(link)
        try:
            await link.run(
                self._pump(reader, upstream_writer, self._may_go_up),
                self._pump(upstream_reader, writer, self._may_go_down),
            )
        finally:
            self._links.discard(link)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_go: asyncio.Event) -> None:
        while chunk := await reader.read(_CHUNK):
            if self.delay:
                await asyncio.sleep(self.delay)
            await may_go.wait()
            writer.write(chunk)
            await writer.drain()
        # A peer that closed in good order while the link is stalled: that, too, is news that must wait.
        await may_go.wait()
        if writer.can_write_eof():
            writer.write_eof()


class _Link:
    """The two connections of one client, and the two tasks between them."""

    def __init__(self, downstream: asyncio.StreamWriter, upstream: asyncio.StreamWriter) -> None:
        self.ended = asyncio.Event()
        self._writers = (downstream, upstream)
        self._pumps: list[asyncio.Task[None]] = []

    async def run(self, *pumps: Coroutine[Any, Any, None]) -> None:
        """Until both directions have ended, or one has failed, or `reset`."""
        self._pumps = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            ended = await asyncio.gather(*self._pumps, return_exceptions=True)
            if any(ended):
                self.reset()
        finally:
            for writer in self._writers:
                writer.close()
            self.ended.set()

    def reset(self) -> None:
        """Cut both sides now."""
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
