"""Connections and channels to the broker, with the settings that every one of them needs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from yarl import URL

from consumer.adapters.brake import Brake
from consumer.adapters.refusal import remedy
from consumer.adapters.stream import DeliveryStream, StreamedConnection

# A frozen broker or a dead link is noticed after about 3 x (heartbeat + 1) seconds: 33 with 10, three minutes with 60.
HEARTBEAT_SECONDS = 10
CONNECT_TIMEOUT = 15.0
RPC_TIMEOUT = 20.0


class ConnectionRefusedByBrokerError(aiormq.exceptions.AMQPConnectionError):
    """The broker has closed the connection while it was opened; the message is the broker's own."""


# What a broker, or the way to it, can raise at us.
LINK_ERRORS = (OSError, TimeoutError, aiormq.exceptions.AMQPError, aiormq.exceptions.ChannelInvalidStateError)


def cancelled_by_us() -> bool:
    """Whether a CancelledError at hand is meant for the running task. If not, a library has leaked one of its own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextmanager
def own_cancellation() -> Iterator[None]:
    """Let a CancelledError pass only when it is we who were cancelled; ConnectionResetError for any other.

    When heartbeats fail to come, aiormq cancels its reader, and every call that waits for an answer then raises the
    reader's CancelledError: to us that is a lost link, and must not end the task that would open a new one.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if cancelled_by_us():
            raise
        raise ConnectionResetError("connection lost while the broker was asked") from error


async def connect(url: str, name: str) -> StreamedConnection:
    """An open connection, `name` in the broker's lists; raises one of LINK_ERRORS."""
    stream = DeliveryStream(Brake())
    parsed = URL(url)
    if "heartbeat" not in parsed.query:
        parsed = parsed.update_query(heartbeat=HEARTBEAT_SECONDS)
    try:
        with own_cancellation():
            connection = await aio_pika.connect(
                parsed,
                timeout=CONNECT_TIMEOUT,
                client_properties={"connection_name": name, "product": "neuroon-consumer"},
                connection_class=partial(StreamedConnection, stream=stream),
            )
    except LINK_ERRORS as error:
        if stream.close_reason:  # the library reports the address of the frame in its place
            raise ConnectionRefusedByBrokerError(stream.close_reason) from error
        raise
    stream.agree(frame_max(connection))
    return cast("StreamedConnection", connection)


def frame_max(connection: AbstractConnection) -> int:
    """The longest frame that was agreed upon with the broker, in bytes; 0: any."""
    transport = connection.transport
    tune = getattr(transport and transport.connection, "connection_tune", None)
    return int(getattr(tune, "frame_max", 0) or 0)


def server_version(connection: AbstractConnection) -> tuple[str, str]:
    """Product and version of the broker, as the first frame of the connection told them; "" for what it did not."""
    transport = connection.transport
    told = {} if transport is None else transport.connection.server_properties
    return _words(told.get("product")), _words(told.get("version"))


def _words(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def virtual_host(url: str) -> str:
    """The virtual host that an AMQP URL names, as the client library reads it.

    All that follows the first slash of the path is its name, so that `%2Fprod` names the virtual host "/prod".
    """
    path = URL(url).path
    return path[1:].replace("%2F", "/") or "/"


def user_name(url: str) -> str | None:
    """The user that an AMQP URL names; None if it names none."""
    return URL(url).user


async def open_channel(connection: AbstractConnection, *, confirms: bool = False) -> AbstractChannel:
    """A channel of its own; with `confirms` the broker answers every publish, and an unroutable one raises."""
    with own_cancellation():
        try:
            channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
            await channel.initialize(timeout=RPC_TIMEOUT)
            return await channel.get_underlay_channel()
        except LINK_ERRORS:
            raise
        except RuntimeError as error:  # what the libraries raise when the connection has been closed meanwhile
            raise ConnectionResetError("connection lost before a channel was opened") from error


@asynccontextmanager
async def short_channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """A channel for one question, because the broker closes the channel of a question that it answers with no."""
    channel = await open_channel(connection)
    with own_cancellation():
        try:
            yield channel
        finally:
            if not channel.is_closed:
                await channel.close()


def describe(error: BaseException) -> str:
    """A broker's or network's error in one line; URLs, and the password in them, are not part of it.

    A refusal whose remedy is known is the broker's own sentence and the remedy.
    """
    text = (str(error) or type(error).__name__).splitlines()[0][:200]
    known = remedy(text)
    return f"{text}: {known}" if known else f"{type(error).__name__}: {text}"
