"""Deliveries are taken out of what the broker sends, and nothing else is: whatever the pieces in which it arrives."""

import asyncio
import struct
from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from aiormq.exceptions import AMQPConnectionError
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Queue
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from consumer.adapters.brake import Brake
from consumer.adapters.stream import DeliveryStream
from consumer.core.delivery import Delivery
from tests.support.odd_messages import OddMessage, nested, short

OURS, OTHERS = 2, 1
FRAME_MAX = 50

Taken = list[tuple[int, Delivery]]


def content(channel: int, method: Basic.Deliver | Basic.GetOk, body: bytes, properties: Basic.Properties) -> bytes:
    """A method with content, whose body comes in frames of at most 50 bytes."""
    frames = [
        pamqp.frame.marshal(method, channel),
        pamqp.frame.marshal(ContentHeader(0, len(body), properties), channel),
    ]
    pieces = (body[at : at + FRAME_MAX] for at in range(0, len(body), FRAME_MAX))
    return b"".join([*frames, *(pamqp.frame.marshal(ContentBody(piece), channel) for piece in pieces)])


def deliver(tag: int, body: bytes, channel: int = OURS, properties: Basic.Properties | None = None) -> bytes:
    method = Basic.Deliver("ctag1.x", tag, redelivered=tag % 2 == 0, exchange="order.paid", routing_key="de.order")
    return content(channel, method, body, properties or Basic.Properties())


async def fed(chunks: list[bytes]) -> tuple[Taken, bytes]:
    """What was taken of the chunks, and what the library would read."""
    taken: Taken = []
    stream = DeliveryStream(Brake())
    stream.take(OURS, lambda tag, delivery: taken.append((tag, delivery)))
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    return taken, await stream.read()


def without_heartbeats(data: bytes) -> bytes:
    return data.replace(pamqp.frame.marshal(Heartbeat(), 0), b"")


@given(st.lists(st.integers(0, 130), max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_deliveries_are_taken_in_whatever_pieces_they_arrive(sizes: list[int], pieces: list[int]) -> None:
    """However the bytes are cut: every delivery of our channel once, whole and in order, all else left as it was."""
    mixed, left = b"", b""
    for tag, size in enumerate(sizes, 1):
        foreign = deliver(tag, b"f" * size, OTHERS) + pamqp.frame.marshal(Queue.DeclareOk("q", tag, 1), OURS)
        foreign += content(OURS, Basic.GetOk(tag, False, "", "", 0), b"g" * size, Basic.Properties())
        mixed += deliver(tag, b"%d" % tag * size) + foreign
        left += foreign
    chunks: list[bytes] = []
    at = 0
    while at < len(mixed):
        size = pieces[len(chunks) % len(pieces)]
        chunks.append(mixed[at : at + size])
        at += size
    taken, rest = asyncio.run(fed(chunks))
    assert [(tag, delivery.body) for tag, delivery in taken] == [(t, b"%d" % t * s) for t, s in enumerate(sizes, 1)]
    assert [delivery.redelivered for _, delivery in taken] == [tag % 2 == 0 for tag, _ in taken]
    assert without_heartbeats(rest) == left


async def test_a_delivery_is_what_the_publisher_sent() -> None:
    """Properties, headers, exchange and routing key come through as the library reads them."""
    at = datetime(2026, 1, 1, 10, tzinfo=UTC)
    properties = Basic.Properties(
        content_type="application/json",
        content_encoding="gzip",
        headers={"traceparent": "00-ab-cd-01", "n": 2**40, "x-death": [{"count": 1}]},
        correlation_id="c-1",
        timestamp=at,
        message_id="m-1",
        priority=3,
    )
    ((_, delivery),), _ = await fed([deliver(1, b"{}", properties=properties)])
    assert (delivery.exchange, delivery.routing_key, delivery.message_id) == ("order.paid", "de.order", "m-1")
    assert delivery.headers == properties.headers
    assert (delivery.properties.timestamp, delivery.properties.published_at) == (at.timestamp(), at.timestamp())
    assert (delivery.properties.content_encoding, delivery.properties.correlation_id) == ("gzip", "c-1")


async def test_the_library_hears_of_a_broker_that_only_delivers() -> None:
    """It takes a connection for dead on which it reads nothing for 33 s; the broker sends no heartbeat meanwhile."""
    _, rest = await fed([deliver(1, b"{}"), deliver(2, b"{}")])
    assert rest == pamqp.frame.marshal(Heartbeat(), 0)


@pytest.mark.parametrize(
    "garbage",
    [
        deliver(1, b"{}")[:-1] + b"\x00" + deliver(2, b"{}"),
        b"\x03\x00\x02\x00\x05\x00\x00" + deliver(1, b"{}"),
        pamqp.frame.marshal(Basic.Deliver("c", 1, False, "e", "r"), OURS).replace(b"\x01r\xce", b"\xf0r\xce"),
    ],
    ids=["no end", "too long", "broken method"],
)
async def test_what_cannot_be_read_ends_the_connection(garbage: bytes) -> None:
    """The library's reader is told, and with it everybody; nothing is taken for an order that is none."""
    taken: Taken = []
    stream = DeliveryStream(Brake())
    stream.take(OURS, lambda tag, delivery: taken.append((tag, delivery)))
    stream.feed_data(garbage)
    stream.feed_data(deliver(3, b"{}"))
    with pytest.raises(AMQPConnectionError, match="cannot be read"):
        await stream.read(1)
    assert not taken


def returned(channel: int, body: bytes, properties: bytes) -> bytes:
    """A message that had no queue, as the broker sends it back."""
    head = struct.pack(">HHQ", 60, 0, len(body)) + properties
    header = struct.pack(">BHI", 2, channel, len(head)) + head + b"\xce"
    method = pamqp.frame.marshal(Basic.Return(312, "NO_ROUTE", "", "q"), channel)
    return method + header + (pamqp.frame.marshal(ContentBody(body), channel) if body else b"")


async def test_a_message_that_comes_back_is_shown_to_the_library_by_its_id() -> None:
    """It matches returned messages by their ids, and would end the connection for a header that it cannot read."""
    odd = OddMessage(b"body", {"message_id": short(b"m-1"), "timestamp": b"\xff" * 8}, ((b"\xff", nested(1000)),))
    after = pamqp.frame.marshal(Basic.Ack(7), OTHERS)
    _, rest = await fed([returned(OTHERS, odd.body, odd.encoded()) + after])
    frames: list[Any] = []
    while rest:
        size, _, frame = pamqp.frame.unmarshal(rest)
        frames.append(frame)
        rest = rest[size:]
    method, head, ack = frames
    assert (method.name, ack.name) == ("Basic.Return", "Basic.Ack")
    assert (head.body_size, head.properties.message_id, head.properties.headers) == (0, "m-1", None)


@given(st.binary(max_size=200))
def test_whatever_a_content_header_holds_the_message_is_handed_over(rest: bytes) -> None:
    """Properties that break off are named, those before them are kept, and the body is the message's all the same."""
    head = struct.pack(">HHQ", 60, 0, 2) + rest.ljust(2, b"\0")
    data = pamqp.frame.marshal(Basic.Deliver("c", 1, False, "e", "r"), OURS)
    data += struct.pack(">BHI", 2, OURS, len(head)) + head + b"\xce" + pamqp.frame.marshal(ContentBody(b"{}"), OURS)
    ((_, delivery),), _ = asyncio.run(fed([data]))
    assert delivery.body == b"{}"
    dict(delivery.headers)


async def test_a_frame_of_more_than_twice_the_agreed_size_ends_the_connection() -> None:
    """Up to that it is read: the broker adds headers of its own to frames that are full already."""
    stream = DeliveryStream(Brake())
    taken: Taken = []
    stream.take(OURS, lambda tag, delivery: taken.append((tag, delivery)))
    stream.agree(200)
    large = Basic.Properties(headers={"a": "b" * 300})
    stream.feed_data(deliver(1, b"{}", properties=large))
    assert len(taken) == 1
    stream.feed_data(deliver(2, b"{}", properties=Basic.Properties(headers={"a": "b" * 400})))
    with pytest.raises(AMQPConnectionError, match="cannot be read: it would have 4"):
        await stream.read(1)
    assert len(taken) == 1


async def test_a_connection_that_the_brake_stops_is_not_taken_for_dead() -> None:
    """Large bodies in flight may keep it from being read for longer than three heartbeats."""
    stream = DeliveryStream(Brake())
    transport = StoppedTransport()
    stream.set_transport(transport)
    for tag in range(1, 30):
        stream.brake.take(tag, 1_000_000)
    assert stream.brake.engaged
    assert not transport.is_reading
    beat = len(pamqp.frame.marshal(Heartbeat(), 0))
    assert await asyncio.wait_for(stream.readexactly(2 * beat), 30) == pamqp.frame.marshal(Heartbeat(), 0) * 2
    stream.brake.release(range(1, 30))
    assert transport.is_reading
    stream.feed_eof()


class StoppedTransport(asyncio.Transport):
    """A transport that knows whether it is read from."""

    is_reading = True  # type: ignore[assignment]  # the base class has a method

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return False
