"""AMQP deliveries: any message that a broker can send, and any bytes in its place, in whatever pieces they come."""

import asyncio
import struct
from dataclasses import dataclass, replace

import pamqp.frame
from aiormq.exceptions import AMQPConnectionError
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic

from consumer.adapters.brake import Brake
from consumer.adapters.content import encode_properties, room_for_headers
from consumer.adapters.stream import DeliveryStream
from consumer.core.delivery import Delivery, fitting, foreign_headers, read_journey
from consumer.core.headers import Headers
from consumer.deadletters.envelope import read_envelope, write_envelope
from consumer.deadletters.letter import read_letter
from tests.fuzz.target import Target
from tests.support.letters import read
from tests.support.odd_messages import NOT_KEPT, OddMessage, odd_messages, table

CHANNEL = 2
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Case:
    """A message, the sizes of the pieces in which its frames arrive, and damage: a place and the bytes put there."""

    odd: OddMessage
    exchange: str
    pieces: tuple[int, ...]
    damage: tuple[int, bytes] | None


_CASES = st.builds(
    Case,
    odd_messages,
    st.sampled_from(["", "order.paid"]),
    st.lists(st.integers(1, 60), min_size=1, max_size=8).map(tuple),
    st.none() | st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)),
)


def frames(case: Case) -> bytes:
    """The message as the broker delivers it."""
    head = struct.pack(">HHQ", 60, 0, len(case.odd.body)) + case.odd.encoded()
    method = Basic.Deliver("c", 7, redelivered=False, exchange=case.exchange, routing_key="")
    body = pamqp.frame.marshal(ContentBody(case.odd.body), CHANNEL) if case.odd.body else b""
    header = struct.pack(">BHI", 2, CHANNEL, len(head)) + head + b"\xce"
    return pamqp.frame.marshal(method, CHANNEL) + header + body


async def _taken(data: bytes, pieces: tuple[int, ...]) -> tuple[list[Delivery], bool]:
    """The deliveries in `data`, and whether it broke the protocol."""
    deliveries: list[Delivery] = []
    stream = DeliveryStream(Brake())
    stream.take(CHANNEL, lambda _, delivery: deliveries.append(delivery))
    at = number = 0
    while at < len(data):
        stream.feed_data(data[at : at + pieces[number % len(pieces)]])
        at += pieces[number % len(pieces)]
        number += 1
    return deliveries, isinstance(stream.exception(), AMQPConnectionError)


def check(case: Case) -> None:
    """Whole messages arrive with every byte that is kept; damage costs at most the connection and raises nothing."""
    data = frames(case)
    if case.damage is not None:
        place, damage = case.damage[0] % len(data), case.damage[1]
        data = data[:place] + damage + data[place + len(damage) :]
    deliveries, broken = asyncio.run(_taken(data, case.pieces))
    assert (deliveries, broken) == asyncio.run(_taken(data, (len(data),))), "the pieces made a difference"
    for delivery in deliveries:
        _can_go_anywhere(delivery)
    if case.damage is None:
        assert not broken
        (delivery,) = deliveries
        _is_what_was_sent(delivery, case)


def _is_what_was_sent(delivery: Delivery, case: Case) -> None:
    assert (delivery.body, delivery.exchange, delivery.unreadable) == (case.odd.body, case.exchange, "")
    headers = [each for each in case.odd.headers if not (case.exchange and each[0].startswith(b"x-neuroon-"))]
    assert Headers.of(delivery.headers).encode() == table(headers)
    values = {name: value for name, value in case.odd.properties.items() if name not in NOT_KEPT}
    expected = replace(case.odd, headers=(), properties=values | {"delivery_mode": b"\2", "message_id": b"\0"})
    assert encode_properties(delivery.properties, b"", "").marshal() == expected.encoded()


def _can_go_anywhere(delivery: Delivery) -> None:
    """Its headers are read, bounded, fitted into a frame, exported and imported, with the same bytes at the end."""
    dict(delivery.headers)
    journey = read_journey(delivery, NOW)
    assert 1 <= journey.attempt <= 1_000_000
    letter = read_letter(delivery, read)
    room = room_for_headers(4096, delivery.properties)
    kept = foreign_headers(delivery.headers)
    if not kept.is_broken and len(kept.encode()) < 100_000:
        assert len(fitting(kept, room).encode()) <= max(room, 2_100)
        again = read_envelope(write_envelope(delivery, letter))
        assert again.body == delivery.body
        assert again.properties == delivery.properties
        assert sorted(foreign_headers(again.headers).fields) == sorted(kept.fields)


TARGET = Target("amqp", _CASES, check)
