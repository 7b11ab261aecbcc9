"""Messages that are valid AMQP and that RabbitMQ delivers, though ordinary Python clients refuse to send them."""

import gzip
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import aiormq
from aiormq.abc import AbstractChannel
from hypothesis import strategies as st
from pamqp.commands import Basic

from tests.support.events import order

# The properties of the class "basic" in the order of their flags, from bit 15 down.
NAMES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
# What this program does not carry on: each hop has its own.
NOT_KEPT = frozenset({"delivery_mode", "expiration", "message_id", "user_id"})

Field = tuple[bytes, bytes]  # a name, and a value with its type in front


def sized(kind: bytes, data: bytes) -> bytes:
    """A value of one of the types that say how long they are."""
    return kind + struct.pack(">I", len(data)) + data


def text(value: bytes) -> bytes:
    """A header's value of type S."""
    return sized(b"S", value)


def short(value: bytes) -> bytes:
    """A property's value."""
    return bytes((len(value),)) + value


def table(fields: Sequence[Field]) -> bytes:
    """The inside of a table."""
    return b"".join(short(name) + value for name, value in fields)


def nested(depth: int, kind: bytes = b"F") -> bytes:
    """A table in a table, or a list in a list, so many deep."""
    value = sized(kind, b"")
    for _ in range(depth):
        value = sized(kind, (b"\x01n" if kind == b"F" else b"") + value)
    return value


@dataclass(frozen=True)
class OddMessage:
    """`properties` has encoded values by name; `headers` are added to them. `end` is an outcome or a dead reason."""

    body: bytes
    properties: dict[str, bytes] = field(default_factory=dict)
    headers: tuple[Field, ...] = ()
    routing_key: bytes = b"order.paid"
    end: str = "delivered"

    def encoded(self) -> bytes:
        """Flags and values, as in a content header."""
        values = self.properties | ({"headers": struct.pack(">I", len(table(self.headers))) + table(self.headers)})
        present = [name for name in NAMES if name in values and (name != "headers" or self.headers)]
        flags = sum(1 << (15 - NAMES.index(name)) for name in present)
        return struct.pack(">H", flags) + b"".join(values[name] for name in present)

    def broken(self) -> Self:
        """The same with a body that can never be an order."""
        return replace(self, body=b"{bad", end="malformed")


class _Encoded(Basic.Properties):
    def __init__(self, encoded: bytes) -> None:
        super().__init__(message_id="only for the library")
        self._encoded = encoded

    def marshal(self) -> bytes:
        return self._encoded


class _RawText(str):
    """A routing key of any bytes."""

    __slots__ = ("raw",)
    raw: bytes

    def encode(self, *_: object) -> bytes:
        return self.raw


class RawPublisher:
    """Publishes whatever it is given, with confirms."""

    def __init__(self, channel: AbstractChannel, exchange: str) -> None:
        self._channel, self._exchange = channel, exchange

    async def publish(self, *messages: OddMessage) -> None:
        """Publish each, one after the other."""
        for message in messages:
            key = _RawText(message.routing_key.decode("latin-1"))
            key.raw = message.routing_key
            await self._channel.basic_publish(
                message.body,
                exchange=self._exchange,
                routing_key=key,
                properties=_Encoded(message.encoded()),
                timeout=20,
            )


@asynccontextmanager
async def raw_publisher(url: str, exchange: str) -> AsyncIterator[RawPublisher]:
    """A publisher on a connection of its own, which a refused message may cost."""
    connection = await aiormq.connect(url)
    try:
        yield RawPublisher(await connection.channel(publisher_confirms=True), exchange)
    finally:
        await connection.close()


LATIN = "Boutique É".encode("latin-1")
MICROSECONDS = struct.pack(">Q", 1_767_261_600_000_000)


def _odd(**more: object) -> OddMessage:
    return replace(OddMessage(order("ODD")), **more)  # type: ignore[arg-type]  # fields of it


def _header(name: bytes, value: bytes) -> OddMessage:
    return _odd(headers=((name, value),))


def _event(end: str, **changes: object) -> OddMessage:
    return _odd(body=order("ODD", **changes), end=end)


_FAR = b"9999-12-31T23:59:59-23:59"
FORGED = tuple(
    (f"x-neuroon-{name}".encode(), value)
    for name, value in {
        "first-seen": text(_FAR),
        "wait-left": b"l" + struct.pack(">q", 2**63 - 1),
        "waited": b"l" + struct.pack(">q", 2**62),
        "returns": b"l" + struct.pack(">q", 2**62),
        "attempt": b"l" + struct.pack(">q", 2**62),
        "replays": b"l" + struct.pack(">q", 2**63 - 1),
        "status": b"l" + struct.pack(">q", -(2**63)),
        "id": text(b"[/x]\x1b[2J"),
        "reason": text(b"malformed"),
        "detail": text(b"d" * 2000),
        "order": text(b"ANOTHER"),
        "shop": text(b"another"),
        "died-at": text(_FAR),
        "fingerprint": nested(3),
        "message-id": text(LATIN),
        "exchange": text(LATIN),
        "routing-key": nested(2),
        "dropped": text(b"x"),
    }.items()
)

KINDS: dict[str, OddMessage] = {
    "timestamp in microseconds": _odd(properties={"timestamp": MICROSECONDS}),
    "timestamp in nanoseconds": _odd(properties={"timestamp": struct.pack(">Q", 1_767_261_600_000_000_000)}),
    "largest timestamp": _odd(properties={"timestamp": b"\xff" * 8}),
    "timestamp header in microseconds": _header(b"x-at", b"T" + MICROSECONDS),
    **{
        f"{name} in Latin-1": _odd(properties={name: short(LATIN)})
        for name in ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id")
    },
    "cluster_id": _odd(properties={"cluster_id": short(LATIN)}),
    "all short texts at their longest": _odd(
        properties={
            name: short(b"\xe9" * 255)
            for name in ("content_type", "correlation_id", "reply_to", "message_id", "type", "app_id", "cluster_id")
        },
        routing_key=b"\xe9" * 255,
    ),
    "empty texts": _odd(properties={name: short(b"") for name in ("content_type", "correlation_id", "message_id")}),
    "expiration and user": _odd(properties={"expiration": short(b"600000"), "user_id": short(b"guest")}),
    "highest priority": _odd(properties={"priority": b"\xff", "delivery_mode": b"\x02"}),
    "routing key in Latin-1": _odd(routing_key=LATIN),
    "header name in Latin-1": _header(LATIN, text(b"x")),
    "longest header name": _header(b"n" * 255, text(b"x")),
    "empty header name": _header(b"", text(b"x")),
    "two headers of one name": _odd(headers=((b"x-a", text(b"1")), (b"x-a", text(b"2")))),
    "text header that is not UTF-8": _header(b"x-tenant-guid", text(bytes.fromhex("fffe0001020304050607fafbfcfd"))),
    "bytes header": _header(b"x-bytes", sized(b"x", b"\0\xff")),
    "large double": _header(b"x-double", b"d" + struct.pack(">d", 1e300)),
    "millisecond double": _header(b"x-at", b"d" + struct.pack(">d", 1700000000.123)),
    "float": _header(b"x-float", b"f" + struct.pack(">f", 1.5)),
    "decimal of the largest scale": _header(b"x-decimal", b"D" + struct.pack(">Bi", 255, -1)),
    **{
        f"integer of type {kind}": _header(b"x-n", kind.encode() + struct.pack(f">{code}", low))
        for kind, code, low in (
            ("b", "b", -128),
            ("B", "B", 255),
            ("s", "h", -(2**15)),
            ("u", "H", 2**16 - 1),
            ("I", "i", -(2**31)),
            ("i", "I", 2**32 - 1),
            ("l", "q", -(2**63)),
            ("L", "q", 2**63 - 1),
        )
    },
    "boolean of another byte": _header(b"x-bool", b"t\x07"),
    "nothing": _header(b"x-void", b"V"),
    "table nested a thousand deep": _header(b"x-deep", nested(1000)),
    "list nested a thousand deep": _header(b"x-deep", nested(1000, b"A")),
    "list of everything": _header(b"x-list", sized(b"A", text(LATIN) + b"V" + b"t\1" + nested(2) + b"T" + b"\xff" * 8)),
    "headers that fill a frame": _odd(headers=tuple((b"x-b%d" % n, text(b"a" * 1004)) for n in range(129))),
    "one header that fills a frame": _header(b"x-large", text(b"a" * 130_900)),
    "twenty thousand headers": _odd(headers=tuple((b"%04x" % n, b"V") for n in range(21_820))),
    "forged headers of ours": _odd(headers=FORGED),
    "forged death": _odd(headers=((b"x-death", text(b"x")), (b"x-first-death-queue", nested(2)))),
    "forged copies": _odd(headers=((b"CC", sized(b"A", b"")), (b"BCC", sized(b"A", b"")))),
    "no body": _odd(body=b"", end="malformed"),
    "broken JSON": _odd(body=b"{bad", end="malformed"),
    "no UTF-8": _odd(body=b'{"orderId":"\xe9"}', end="malformed"),
    "deep JSON": _odd(body=b"[" * 100_000, end="malformed"),
    "a number of a million digits": _odd(body=b'{"orderId":' + b"7" * 1_000_000 + b"}", end="malformed"),
    "broken gzip": _odd(body=b"\x1f\x8b\x08", properties={"content_encoding": short(b"gzip")}, end="malformed"),
    "a gzip bomb": _odd(
        body=gzip.compress(b" " * 20_000_000), properties={"content_encoding": short(b"gzip")}, end="malformed"
    ),
    "an order of ten thousand lines": _odd(
        body=gzip.compress(order("ODD", lines=[{"productId": "SKU-1", "quantity": 1, "unitPrice": 1}] * 10_000)),
        properties={"content_encoding": short(b"gzip")},
        end="malformed",
    ),
    "a lone surrogate": _odd(body=b'{"orderId":"\\ud800"}', end="malformed"),
    "a body of the largest size": _odd(body=json.dumps(json.loads(order("ODD"))).encode().ljust(1_048_576)),
    "a larger body": _odd(body=order("ODD").ljust(3_000_000), end="malformed"),
    "an order with a name for a terminal": _event("delivered", orderId="[/x] \x9b2J\u202e"),
    "a refund": _event("refund", orderValue=-1),
    "a shop that is not known": _event("unknown_shop", shopId="\x1b]0;x\x07"),
}


# Every property and header value that RabbitMQ takes; 3.10 closes the connection of whoever publishes NaN.
_numbers = st.one_of(
    st.tuples(st.just(b"b"), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just(b"B"), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just(b"t"), st.binary(min_size=1, max_size=1)),
    st.tuples(st.sampled_from([b"s", b"u"]), st.binary(min_size=2, max_size=2)),
    st.tuples(st.sampled_from([b"I", b"i"]), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(b"D"), st.binary(min_size=5, max_size=5)),
    st.tuples(st.sampled_from([b"l", b"L", b"T"]), st.binary(min_size=8, max_size=8)),
    st.tuples(
        st.just(b"f"), st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda n: struct.pack(">f", n))
    ),
    st.tuples(st.just(b"d"), st.floats(allow_nan=False, allow_infinity=False).map(lambda n: struct.pack(">d", n))),
    st.just((b"V", b"")),
).map(b"".join)
_texts = st.one_of(st.binary(max_size=60), st.text(max_size=20).map(str.encode))
_scalars = _numbers | st.builds(sized, st.sampled_from([b"S", b"x"]), _texts)
_names = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"x-death", b"traceparent", b"x-delivery-count", *(name for name, _ in FORGED)]),
    st.binary(min_size=1, max_size=1).map(lambda byte: byte * 255),
)
values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda each: sized(b"A", b"".join(each))),
        st.lists(st.tuples(_names, inner), max_size=4).map(lambda each: sized(b"F", table(each))),
    ),
    max_leaves=10,
)
_short = (st.binary(max_size=30) | st.binary(min_size=1, max_size=1).map(lambda byte: byte * 255)).map(short)
_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": _short,
        "content_encoding": _short,
        "delivery_mode": st.sampled_from([b"\x01", b"\x02"]),
        "priority": st.binary(min_size=1, max_size=1),
        "correlation_id": _short,
        "reply_to": _short,
        "expiration": st.integers(60_000, 2**31).map(lambda n: short(b"%d" % n)),
        "message_id": _short,
        "timestamp": st.binary(min_size=8, max_size=8),
        "type": _short,
        "user_id": st.just(short(b"guest")),
        "app_id": _short,
        "cluster_id": _short,
    },
)
odd_messages = st.builds(
    OddMessage,
    body=st.just(order("ODD")) | st.binary(max_size=50),
    properties=_properties,
    headers=st.lists(st.tuples(_names, values), max_size=6).map(tuple),
    routing_key=st.binary(max_size=20),
)
