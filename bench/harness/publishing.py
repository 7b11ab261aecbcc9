"""A publisher that costs next to nothing, so that 1,000,000 orders are in the queue in a minute.

A client library spends 100 us on each message. Here one prepared run of bytes holds the three frames of a publish; only
the order's number is put in. The broker confirms every one of them all the same.
"""

import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from pamqp import body, commands, frame, header
from pamqp.base import Frame

from bench.harness.events import PLACE, numbered

_CHANNEL = 1
_AT_ONCE = 200
_UNCONFIRMED = 4_000
_SECONDS = 60.0
_PERSISTENT = 2
_FRAME_HEAD = 7  # a byte for the type, two for the channel, four for the size


class Publisher:
    """A connection in confirm mode. A context manager; blocks; every method raises OSError when the broker goes."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._received = b""
        self._confirmed = 0
        self._published = 0

    def __enter__(self) -> Self:
        url = self._url
        self._socket = socket.create_connection((str(url.hostname), url.port or 5672), timeout=_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._await(commands.Connection.Start)
        login = f"\x00{unquote(url.username or 'guest')}\x00{unquote(url.password or 'guest')}"
        self._send(0, commands.Connection.StartOk({}, "PLAIN", login, "en_US"))
        self._await(commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(_CHANNEL, 131_072, 0))  # no heartbeat: it lives for seconds
        self._send(0, commands.Connection.Open(unquote(url.path[1:]) or "/"))
        self._await(commands.Connection.OpenOk)
        self._send(_CHANNEL, commands.Channel.Open())
        self._await(commands.Channel.OpenOk)
        self._send(_CHANNEL, commands.Confirm.Select())
        self._await(commands.Confirm.SelectOk)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def fill(self, queue: str, template: bytes, orders: int) -> None:
        """Publish orders 0 to `orders` - 1 as fast as the broker takes them; returns when all are confirmed."""
        message = _message(queue, template)
        for start in range(0, orders, _AT_ONCE):
            self._publish([numbered(message, number) for number in range(start, min(orders, start + _AT_ONCE))])
            self._confirm(_UNCONFIRMED)
        self._confirm(0)

    def pace(self, queue: str, template: bytes, orders: int, rate: float) -> list[float]:
        """Publish `rate` orders a second, evenly; the monotonic time at which each was due.

        Due, not sent: when the publisher itself is held up, an order's wait for it is part of its latency.
        """
        message = _message(queue, template)
        begun = time.monotonic() + 0.05
        due = [begun + number / rate for number in range(orders)]
        for number, at in enumerate(due):
            if (wait := at - time.monotonic()) > 0:
                time.sleep(wait)
            self._publish([numbered(message, number)])
            self._take_what_is_there()
        self._confirm(0)
        return due

    def _publish(self, messages: list[bytes]) -> None:
        self._socket.sendall(b"".join(messages))
        self._published += len(messages)

    def _confirm(self, unconfirmed: int) -> None:
        while self._published - self._confirmed > unconfirmed:
            self._await(commands.Basic.Ack)

    def _take_what_is_there(self) -> None:
        self._socket.setblocking(False)
        try:
            self._received += self._socket.recv(65_536)
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(_SECONDS)
        for answer in self._frames():
            self._take(answer)

    def _await(self, wanted: type[Frame]) -> None:
        while True:
            for answer in self._frames():
                self._take(answer)
                if isinstance(answer, wanted):
                    return
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionResetError("the broker closed the publisher's connection")
            self._received += received

    def _frames(self) -> Iterator[object]:
        while len(self._received) >= _FRAME_HEAD:
            size = int.from_bytes(self._received[3:7], "big") + _FRAME_HEAD + 1
            if len(self._received) < size:
                return
            whole, self._received = self._received[:size], self._received[size:]
            yield frame.unmarshal(whole)[2]

    def _take(self, answer: object) -> None:
        if isinstance(answer, commands.Basic.Ack):
            self._confirmed = int(answer.delivery_tag or 0) if answer.multiple else self._confirmed + 1
        elif isinstance(answer, commands.Basic.Nack | commands.Channel.Close | commands.Connection.Close):
            raise ConnectionResetError(f"the broker refused: {dict(answer)}")

    def _send(self, channel: int, command: Frame) -> None:
        self._socket.sendall(frame.marshal(command, channel))


def _message(queue: str, template: bytes) -> bytes:
    """The frames of one publish through the default exchange; its message id has a place for the number too."""
    properties = commands.Basic.Properties(
        content_type="application/json", delivery_mode=_PERSISTENT, message_id=PLACE.decode()
    )
    frames = (
        commands.Basic.Publish(exchange="", routing_key=queue),
        header.ContentHeader(body_size=len(template), properties=properties),
        body.ContentBody(template),
    )
    return b"".join(frame.marshal(each, _CHANNEL) for each in frames)
