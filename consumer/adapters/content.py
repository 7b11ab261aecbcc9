"""Content headers: what the broker sends and takes beside a body, to and from our own values.

The library decodes every property and header of a message, and ends the connection when it cannot: on a timestamp in
microseconds, text in Latin-1, a table nested a thousand deep. The broker forbids none of these.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp.commands import Basic

from consumer.core.amqp_values import EncodingError, decode_text, encode_text, short_text
from consumer.core.delivery import Delivery, Properties
from consumer.core.headers import Headers

# AMQP 0-9-1, 2.3.5.2: class, weight, size of the body, property flags.
_HEAD = struct.Struct(">HHQH")
_BASIC = 60
_SIZE = struct.Struct(">I")
_TIMESTAMP = struct.Struct(">Q")
_PERSISTENT = 2
# What a frame holds beside its payload: type, channel, size and end.
FRAME_OVERHEAD = 8

# The properties of the class "basic" from the highest flag down. A name, and how its value is written.
_TEXT, _TABLE, _OCTET, _MOMENT = "short string", "table", "octet", "timestamp"
_PROPERTIES = (
    ("content_type", _TEXT),
    ("content_encoding", _TEXT),
    ("headers", _TABLE),
    ("delivery_mode", _OCTET),
    ("priority", _OCTET),
    ("correlation_id", _TEXT),
    ("reply_to", _TEXT),
    ("expiration", _TEXT),
    ("message_id", _TEXT),
    ("timestamp", _MOMENT),
    ("type", _TEXT),
    ("user_id", _TEXT),
    ("app_id", _TEXT),
    ("cluster_id", _TEXT),
)
_FLAGS = tuple((1 << (15 - place), name, kind) for place, (name, kind) in enumerate(_PROPERTIES))
_KEPT = frozenset(Properties.__dataclass_fields__)


@dataclass(slots=True)
class ContentHeader:
    """A content header frame. `properties` has the ones that stay with a message; `unreadable` as in `Delivery`."""

    body_size: int
    properties: dict[str, str | int]
    table: bytes = b""
    message_id: str | None = None
    unreadable: str = ""

    def delivery(self, body: bytes, *, exchange: str, routing_key: str, redelivered: bool) -> Delivery:
        """The whole message. Our own headers are believed if it came through the default exchange."""
        headers = Headers(self.table, believe_ours=not exchange) if self.table else _NONE
        return Delivery(
            body,
            exchange,
            routing_key,
            headers,
            Properties(**self.properties),  # type: ignore[arg-type]  # each of the type that its name says
            self.message_id,
            redelivered,
            self.unreadable,
        )


_NONE = Headers()


def read_content_header(payload: bytes) -> ContentHeader:
    """The content header in a frame's payload. Raises struct.error if it has not even the size of a body.

    What cannot be read ends the reading of properties, and is named: the body is still the message's.
    """
    _, _, body_size, flags = _HEAD.unpack_from(payload)
    found = ContentHeader(body_size, {})
    at = _HEAD.size
    for flag, name, kind in _FLAGS:
        if not flags & flag:
            continue
        try:
            value, at = _read(payload, at, kind)
        except (IndexError, struct.error, EncodingError):
            found.unreadable = f"property {name} breaks off"
            return found
        if name in _KEPT:
            found.properties[name] = value  # type: ignore[assignment]  # only the table is bytes
        elif name == "headers":
            found.table = value  # type: ignore[assignment]
        elif name == "message_id":
            found.message_id = value  # type: ignore[assignment]
    if flags & 1 or at != len(payload):
        found.unreadable = "there are more properties than AMQP 0-9-1 has"
    return found


def _read(payload: bytes, at: int, kind: str) -> tuple[str | int | bytes, int]:
    if kind == _OCTET:
        return payload[at], at + 1
    if kind == _MOMENT:
        return _TIMESTAMP.unpack_from(payload, at)[0], at + 8
    if kind == _TEXT:
        start = at + 1
        end = start + payload[at]
        value: str | bytes = decode_text(payload[start:end])
    else:
        start = at + 4
        end = start + int(_SIZE.unpack_from(payload, at)[0])
        value = payload[start:end]
    if end > len(payload):
        raise EncodingError("breaks off")
    return value, end


_ENCODE: dict[str, Callable[[Any], bytes]] = {
    _TEXT: lambda text: short_text(encode_text(text)),
    _TABLE: lambda table: _SIZE.pack(len(table)) + table,
    _OCTET: lambda number: bytes((number,)),
    _MOMENT: _TIMESTAMP.pack,
}


class EncodedProperties(Basic.Properties):
    """Properties that are encoded already; of them the library looks at the message id only."""

    def __init__(self, encoded: bytes, message_id: str) -> None:
        super().__init__(message_id=message_id)
        self._encoded = encoded

    def marshal(self) -> bytes:
        """What the library puts into the frame."""
        return self._encoded


def encode_properties(properties: Properties, table: bytes, message_id: str) -> EncodedProperties:
    """Properties of a persistent message with these headers; EncodingError for one of more than 255 bytes."""
    values = {
        "headers": table,
        "delivery_mode": _PERSISTENT,
        "message_id": message_id,
        **{name: getattr(properties, name) for name in _KEPT},
    }
    flags = 0
    parts: list[bytes] = []
    for flag, name, kind in _FLAGS:
        value = values.get(name)
        if value is None or (kind == _TABLE and not value):
            continue
        flags |= flag
        parts.append(_ENCODE[kind](value))
    return EncodedProperties(struct.pack(">H", flags) + b"".join(parts), message_id)


def only_message_id(payload: bytes) -> bytes:
    """A content header of an empty body with the message id of the one in `payload`: all that the library needs."""
    identity = read_content_header(payload).message_id or ""
    return _HEAD.pack(_BASIC, 0, 0, 1 << 7) + short_text(encode_text(identity))


def room_for_headers(frame_max: int, properties: Properties) -> int:
    """Bytes that a header table may have where a frame has at most `frame_max` (0: no limit)."""
    if not frame_max:
        return 2**31
    bare = len(encode_properties(properties, b"", "0" * 32).marshal())
    return frame_max - FRAME_OVERHEAD - (_HEAD.size - 2) - bare - _SIZE.size
