"""What the broker sends, from which deliveries are taken before the client library reads it.

The library reads a delivery as three frames, each an object that passes two queues, and starts a task for it: 40 us of
CPU. In one piece it takes 10 (`bench/stream.py`). Everything else is left to the library, whose connection this is.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp.header import ContentHeader
from yarl import URL

from consumer.adapters.brake import Brake
from consumer.adapters.inbound import to_delivery
from consumer.core.delivery import Delivery

OnDelivery = Callable[[int, Delivery], None]

# AMQP 0-9-1, 2.3.5: type, channel, size; then so many bytes, and the end.
_START = struct.Struct(">BHI")
_END = 0xCE
_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER = b"\x00\x3c\x00\x3c"  # class 60, method 60
_TAG = struct.Struct(">Q?")
# The library takes a connection for dead that it reads nothing from, heartbeats included. The broker sends none of them
# while it sends deliveries, so this one stands for those that were taken.
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_HEARTBEAT_SECONDS = 1.0


class _Method(NamedTuple):
    """The first frame of a delivery, without the consumer that it is for: there is one on a channel."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class DeliveryStream(asyncio.StreamReader):
    """The reader of one connection, which the library is given. `brake` may stop it."""

    def __init__(self, brake: Brake) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.brake = brake
        self._channel = 0  # the library's own: nothing is taken
        self._on_delivery: OnDelivery
        self._rest = b""
        self._method: _Method | None = None
        self._header = ContentHeader()
        self._body: list[bytes] = []
        self._missing = 0
        self._heartbeat_at = 0.0

    def take(self, channel: int, on_delivery: OnDelivery) -> None:
        """Call `on_delivery` with the tag of each delivery on this channel, and with the delivery."""
        self._channel, self._on_delivery = channel, on_delivery

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection stands. What this buffers must not undo the brake: it stops by the brake, too."""
        self.brake.transport = transport  # type: ignore[assignment]  # uvloop's are no asyncio.Transport by name
        super().set_transport(self.brake)  # type: ignore[arg-type]  # as much of a transport as a reader uses

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # no event loop feeds anything else
        """Called with whatever has arrived."""
        if not self._channel:
            super().feed_data(data)
            return
        try:
            left = self._sift(self._rest + data if self._rest else data)
        except (ValueError, IndexError, struct.error) as error:
            self._channel = 0
            self.set_exception(AMQPConnectionError(f"a delivery that cannot be read: {type(error).__name__}"))
            return
        now = self._loop.time()  # type: ignore[attr-defined]  # the reader's own
        if not left and now > self._heartbeat_at:
            left = _HEARTBEAT
        if left:
            self._heartbeat_at = now + _HEARTBEAT_SECONDS
            super().feed_data(left)

    def _sift(self, data: bytes) -> bytes:
        """Take what is ours of the whole frames in `data`; what is the library's. An unfinished frame is kept."""
        at, left = 0, []
        while len(data) - at >= _START.size:
            kind, channel, size = _START.unpack_from(data, at)
            start, end = at + _START.size, at + _START.size + size
            if end >= len(data):
                break
            if data[end] != _END:
                raise ValueError("a frame does not end where it should")
            if channel != self._channel or not self._taken(kind, data, start, end):
                left.append(data[at : end + 1])
            at = end + 1
        self._rest = data[at:]
        return b"".join(left)

    def _taken(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Whether a frame of our channel belongs to a delivery."""
        if kind == _METHOD:
            self._method = _read_method(data, start + 4, end) if data.startswith(_DELIVER, start) else None
            return self._method is not None
        if self._method is None:
            return False
        if kind == _HEADER:
            self._header = ContentHeader()
            self._header.unmarshal(data[start:end])
            self._missing = self._header.body_size
        elif kind == _BODY:
            self._body.append(data[start:end])
            self._missing -= end - start
        if self._missing <= 0:
            self._hand_over(self._method)
        return True

    def _hand_over(self, method: _Method) -> None:
        body, self._body, self._method = b"".join(self._body), [], None
        delivery = to_delivery(
            self._header.properties,
            body,
            exchange=method.exchange,
            routing_key=method.routing_key,
            redelivered=method.redelivered,
        )
        self._on_delivery(method.tag, delivery)


def _read_method(data: bytes, at: int, end: int) -> _Method:
    """Basic.Deliver (AMQP 0-9-1, 1.8.3.13): consumer tag, delivery tag, redelivered, exchange, routing key."""
    at += 1 + data[at]
    tag, redelivered = _TAG.unpack_from(data, at)
    exchange, at = _short_text(data, at + _TAG.size)
    routing_key, at = _short_text(data, at)
    if at != end:
        raise ValueError("a method does not end with its frame")
    return _Method(tag, redelivered, exchange, routing_key)


def _short_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end


class _Transport(TransportFactory):
    """Connects as the library does, with our reader in place of its own."""

    def __init__(self, stream: DeliveryStream) -> None:
        self._stream = stream

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._stream, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, url.host or "localhost", url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return self._stream, asyncio.StreamWriter(transport, protocol, self._stream, loop)


class StreamedConnection(aio_pika.Connection):
    """A connection that reads through `stream`. The library passes a factory on, but has no parameter for it."""

    def __init__(self, url: URL, *arguments: Any, stream: DeliveryStream, **named: Any) -> None:
        super().__init__(url, *arguments, **named)
        self.kwargs["transport_factory"] = _Transport(stream)
