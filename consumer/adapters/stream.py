"""What the broker sends, from which deliveries are taken before the client library reads it.

The library reads a delivery as three frames, each an object that passes two queues, and starts a task for it: 40 us of
CPU. In one piece it takes 10 (`bench/stream.py`). It also decodes every property and header, and gives the connection
up when it cannot (see `content`). Everything else is left to the library, whose connection this is.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import aio_pika
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from consumer.adapters.brake import Brake
from consumer.adapters.content import ContentHeader, only_message_id, read_content_header
from consumer.core.amqp_values import decode_text
from consumer.core.delivery import Delivery

OnDelivery = Callable[[int, Delivery], None]

# AMQP 0-9-1, 2.3.5: type, channel, size; then so many bytes, and the end.
_START = struct.Struct(">BHI")
_END = 0xCE
_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER = b"\x00\x3c\x00\x3c"  # class 60, method 60
_RETURN = b"\x00\x3c\x00\x32"  # class 60, method 50
_CLOSE = b"\x00\x0a\x00\x32"  # class 10, method 50: the connection's
_TAG = struct.Struct(">Q?")
# The library takes a connection for dead that it reads nothing from, heartbeats included. The broker sends none of them
# while it sends deliveries, so this one stands for those that were taken, and for those that the brake keeps away.
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_HEARTBEAT_SECONDS = 1.0
# RabbitMQ's own limit for a frame, and ours until one is agreed upon.
_FRAME_MAX = 131_072
# RabbitMQ adds headers of its own to messages whose header frame is full already.
_TOLERANCE = 2


class _Method(NamedTuple):
    """The first frame of a delivery, without the consumer that it is for."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str


@dataclass(slots=True)
class _Arrival:
    """The delivery that is arriving on one channel, if there is one, and whom it is for."""

    on_delivery: OnDelivery
    method: _Method | None = None
    header: ContentHeader | None = None
    body: list[bytes] = field(default_factory=list)
    missing: int = 0

    def clear(self) -> None:
        self.method, self.header, self.body, self.missing = None, None, [], 0


class DeliveryStream(asyncio.StreamReader):
    """The reader of one connection, which the library is given. `brake` may stop it."""

    def __init__(self, brake: Brake) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.brake = brake
        self._arrivals: dict[int, _Arrival] = {}
        self._returning: set[int] = set()  # channels on which a message comes back that had no queue
        self.close_reason = ""  # what the broker said when it closed the connection
        self._rest = bytearray()
        self._needed = 0  # bytes without which nothing can be read of `_rest`
        self._longest = _FRAME_MAX * _TOLERANCE
        self._heartbeat_at = 0.0
        self._beating: asyncio.TimerHandle | None = None

    def take(self, channel: int, on_delivery: OnDelivery) -> None:
        """Call `on_delivery` with the tag of each delivery on this channel, and with the delivery."""
        self._arrivals[channel] = _Arrival(on_delivery)

    def leave(self, channel: int) -> None:
        """The channel is closed; its number may be given to another one."""
        self._arrivals.pop(channel, None)

    def agree(self, frame_max: int) -> None:
        """Note the longest frame that was agreed upon, in bytes; 0: any."""
        self._longest = (frame_max or 2**31) * _TOLERANCE

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection stands. What this buffers must not undo the brake: it stops by the brake, too."""
        self.brake.transport = transport  # type: ignore[assignment]  # uvloop's are no asyncio.Transport by name
        super().set_transport(self.brake)  # type: ignore[arg-type]  # as much of a transport as a reader uses
        self._beat()

    def feed_eof(self) -> None:
        """Called when the broker has closed the connection."""
        self._stop_beating()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        """Called when the connection is lost."""
        self._stop_beating()
        super().set_exception(exc)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # no event loop feeds anything else
        """Called with whatever has arrived."""
        if self._longest < 0:
            return  # what follows a broken frame means nothing
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data, self._rest = bytes(self._rest), bytearray()
        try:
            left = self._sift(data)
        except (ValueError, IndexError, struct.error) as error:
            self._longest = -1
            problem = str(error) if type(error) is ValueError else type(error).__name__
            self.set_exception(AMQPConnectionError(f"a frame that cannot be read: {problem}"))
            return
        now = self._loop.time()  # type: ignore[attr-defined]  # the reader's own
        if not left and now > self._heartbeat_at:
            left = _HEARTBEAT
        if left:
            self._heartbeat_at = now + _HEARTBEAT_SECONDS
            super().feed_data(left)

    def _beat(self) -> None:
        """While the brake keeps everything away, the connection is no more dead than before."""
        if self.brake.engaged and not self.at_eof():
            super().feed_data(_HEARTBEAT)
        self._beating = self._loop.call_later(_HEARTBEAT_SECONDS, self._beat)  # type: ignore[attr-defined]

    def _stop_beating(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None

    def _sift(self, data: bytes) -> bytes:
        """Take what is ours of the whole frames in `data`; what is the library's. An unfinished frame is kept.

        Raises ValueError, IndexError or struct.error for what breaks the protocol.
        """
        at, left, arrivals = 0, [], self._arrivals
        self._needed = _START.size
        while len(data) - at >= _START.size:
            kind, channel, size = _START.unpack_from(data, at)
            start, end = at + _START.size, at + _START.size + size
            if size > self._longest:
                raise ValueError(f"it would have {size:,} bytes")
            if end >= len(data):
                self._needed = end + 1 - at
                break
            if data[end] != _END:
                raise ValueError("it does not end where it should")
            arrival = arrivals.get(channel)
            if arrival is None or not self._taken(arrival, kind, data, start, end):
                left.append(self._passed(kind, channel, data, at, end + 1))
            at = end + 1
        if at < len(data):
            self._rest = bytearray(data[at:])
        return b"".join(left)

    def _taken(self, arrival: _Arrival, kind: int, data: bytes, start: int, end: int) -> bool:
        """Whether a frame of a channel of ours belongs to a delivery."""
        if kind == _METHOD:
            arrival.clear()
            if not data.startswith(_DELIVER, start):
                return False
            arrival.method = _read_method(data, start + 4, end)
            return True
        if arrival.method is None:
            return False
        if kind == _HEADER:
            arrival.header = read_content_header(data[start:end])
            arrival.missing = arrival.header.body_size
        elif kind == _BODY:
            arrival.body.append(data[start:end])
            arrival.missing -= end - start
        if arrival.header is not None and arrival.missing <= 0:
            self._hand_over(arrival, arrival.method, arrival.header)
        return True

    @staticmethod
    def _hand_over(arrival: _Arrival, method: _Method, header: ContentHeader) -> None:
        body = b"".join(arrival.body)
        arrival.clear()
        tag, redelivered, exchange, routing_key = method
        arrival.on_delivery(
            tag, header.delivery(body, exchange=exchange, routing_key=routing_key, redelivered=redelivered)
        )

    def _passed(self, kind: int, channel: int, data: bytes, at: int, after: int) -> bytes:
        """A frame as the library is to read it: of a message that comes back to us it needs to know the id only."""
        start = at + _START.size
        if kind == _METHOD:
            self._returning.discard(channel)
            if data.startswith(_RETURN, start):
                self._returning.add(channel)
            elif data.startswith(_CLOSE, start):  # after the method comes the code, 2 bytes
                self.close_reason, _ = _short_text(data, start + len(_CLOSE) + 2)
        elif channel in self._returning:
            if kind == _HEADER:
                payload = only_message_id(data[start : after - 1])
                return _START.pack(kind, channel, len(payload)) + payload + bytes((_END,))
            return b"" if kind == _BODY else data[at:after]
        return data[at:after]


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
    return decode_text(data[at + 1 : end]), end


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
        self.stream = stream
        self.kwargs["transport_factory"] = _Transport(stream)

    async def __aenter__(self) -> Self:
        """The connection, which is open already."""
        await super().__aenter__()
        return self
