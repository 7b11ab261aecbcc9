"""What lies in a queue, byte for byte, through another client library than the program's."""

import struct
from dataclasses import dataclass

import pika
import pytest

from tests.support.odd_messages import NAMES, Field


@dataclass(frozen=True)
class OnTheWire:
    """A message whose properties and headers are the bytes that the broker delivers."""

    body: bytes
    properties: dict[str, bytes]
    headers: list[Field]


_SIZES = {
    "V": 0,
    "t": 1,
    "b": 1,
    "B": 1,
    "s": 2,
    "u": 2,
    "I": 4,
    "i": 4,
    "f": 4,
    "D": 5,
    "l": 8,
    "L": 8,
    "T": 8,
    "d": 8,
}


def _fields(table: bytes) -> list[Field]:
    fields: list[Field] = []
    while table:
        name, rest = table[1 : 1 + table[0]], table[1 + table[0] :]
        kind = chr(rest[0])
        size = 1 + (_SIZES[kind] if kind in _SIZES else 4 + int(struct.unpack_from(">I", rest, 1)[0]))
        fields.append((name, rest[:size]))
        table = rest[size:]
    return fields


def _read(encoded: bytes) -> tuple[dict[str, bytes], list[Field]]:
    flags = struct.unpack_from(">H", encoded)[0]
    properties: dict[str, bytes] = {}
    at = 2
    for index, name in enumerate(NAMES):
        if not flags & 1 << (15 - index):
            continue
        match name:
            case "headers":
                size = 4 + int(struct.unpack_from(">I", encoded, at)[0])
            case "delivery_mode" | "priority":
                size = 1
            case "timestamp":
                size = 8
            case _:
                size = 1 + encoded[at]
        properties[name] = encoded[at : at + size]
        at += size
    return properties, _fields(properties.pop("headers", b"\0\0\0\0")[4:])


def look(url: str, queue: str, monkeypatch: pytest.MonkeyPatch) -> list[OnTheWire]:
    """All messages of a queue, which are returned to it."""
    heads: list[bytes] = []

    def keep(self: object, encoded: bytes, offset: int = 0) -> object:
        heads.append(encoded[offset:])
        return self

    with monkeypatch.context() as patched:
        patched.setattr(pika.BasicProperties, "decode", keep)  # which would fail on most of them
        connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = connection.channel()
        found: list[OnTheWire] = []
        while (got := channel.basic_get(queue))[0] is not None:
            found.append(OnTheWire(got[2], *_read(heads[-1])))
        connection.close()
    return found
