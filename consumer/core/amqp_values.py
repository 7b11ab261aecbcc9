"""AMQP field values: the bytes on the wire, and what they mean.

A value is its type octet and its data, as RabbitMQ understands them (AMQP 0-9-1, 4.2.5.5, with RabbitMQ's errata). What
a message brings is passed on as bytes, and only decoded where somebody asks for it: clients of other languages send
text in Latin-1, timestamps in microseconds and tables nested a thousand deep, all of which the broker accepts.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

# Tables and lists deeper than this are decoded as `TOO_DEEP`. No header that a person wrote is.
MAX_DEPTH = 16
TOO_DEEP = "(nested too deep to be shown)"

_SIZED = {ord("S"), ord("x"), ord("F"), ord("A")}  # four bytes that give the size of the rest
_FIXED = {
    **dict.fromkeys(b"V", 0),
    **dict.fromkeys(b"tbB", 1),
    **dict.fromkeys(b"su", 2),
    **dict.fromkeys(b"Iif", 4),
    **dict.fromkeys(b"D", 5),
    **dict.fromkeys(b"TlLd", 8),
}
_NUMBERS = {
    ord(kind): struct.Struct(">" + code)
    for kind, code in {
        "b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "q", "f": "f", "d": "d"
    }.items()
}  # fmt: skip
_SIZE = struct.Struct(">I")
_DECIMAL = struct.Struct(">Bi")
_MOMENT = struct.Struct(">Q")


class EncodingError(ValueError):
    """The bytes are no AMQP values, or a value has no place in AMQP; the message names what is wrong, without it."""


class UndecodableText(str):
    r"""Text that is not UTF-8, shown with its strange bytes as `\xNN`; `raw` is what came and is passed on."""

    raw: bytes
    __slots__ = ("raw",)

    @classmethod
    def of(cls, raw: bytes) -> "UndecodableText":
        """The text to show for `raw`."""
        text = cls(raw.decode("utf-8", "backslashreplace"))
        text.raw = raw
        return text


def decode_text(raw: bytes) -> str:
    """The text in `raw`, never an exception."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return UndecodableText.of(raw)


def encode_text(text: str) -> bytes:
    r"""The bytes of a text; those that came, where it could not be decoded. Lone surrogates become `\udNNN`."""
    return text.raw if isinstance(text, UndecodableText) else text.encode("utf-8", "backslashreplace")


def end_of_value(data: bytes, at: int, end: int) -> int:
    """Where the value that begins with its type at `at` ends, without reading it; EncodingError if beyond `end`."""
    if at >= end:
        raise EncodingError("breaks off before a type")
    kind = data[at]
    if kind in _SIZED:
        if at + 5 > end:
            raise EncodingError("breaks off within a size")
        after = at + 5 + int(_SIZE.unpack_from(data, at + 1)[0])
    elif (size := _FIXED.get(kind)) is not None:
        after = at + 1 + size
    else:
        raise EncodingError(f"has the unknown type {kind:#04x}")
    if after > end:
        raise EncodingError("breaks off within a value")
    return after


def decode_value(value: bytes, depth: int = MAX_DEPTH) -> object:
    """What a value means: str, bytes, bool, int, float, Decimal, datetime, None, a dict or a list of these.

    Never an exception. A timestamp that no datetime holds is an int; what cannot be decoded is its bytes.
    """
    kind, data = value[0], value[1:]
    try:
        if (number := _NUMBERS.get(kind)) is not None:
            found: int | float = number.unpack(data)[0]
            return found
        if kind in b"FA":
            return _decode_nested(kind, data[4:], depth - 1)
        return _DECODE[kind](data)
    except (EncodingError, struct.error, KeyError):
        return data


def _decode_nested(kind: int, data: bytes, depth: int) -> object:
    if depth < 0:
        return TOO_DEEP
    if kind == ord("A"):
        return [decode_value(each, depth) for each in _split_array(data)]
    return {decode_text(name): decode_value(each, depth) for name, each in split_table(data)[0]}


def encode_value(value: object) -> bytes:  # noqa: C901 - a case for each type
    """The value as bytes that begin with its type; EncodingError for what AMQP has no type for."""
    match value:
        case str():
            return _sized(b"S", encode_text(value))
        case bool():
            return b"t\1" if value else b"t\0"
        case int() if -(2**31) <= value < 2**31:
            return b"I" + value.to_bytes(4, signed=True)
        case int() if -(2**63) <= value < 2**63:
            return b"l" + value.to_bytes(8, signed=True)
        case float():
            return b"d" + struct.pack(">d", value)
        case Decimal():
            return _decimal(value)
        case datetime() if value.timestamp() >= 0:
            return b"T" + _MOMENT.pack(int(value.timestamp()))
        case bytes() | bytearray():
            return _sized(b"x", bytes(value))
        case None:
            return b"V"
        case Mapping():
            return _sized(b"F", encode_table(value))
        case Sequence():
            return _sized(b"A", b"".join(map(encode_value, value)))
        case _:
            raise EncodingError(f"AMQP has no type for this {type(value).__name__}")


def encode_table(fields: Mapping[str, object]) -> bytes:
    """The table without its size; EncodingError."""
    return b"".join(encode_name(name) + encode_value(value) for name, value in fields.items())


def encode_name(name: str) -> bytes:
    """A field's name: one byte for its length, then at most 255 bytes; EncodingError for more."""
    return short_text(encode_text(name))


def short_text(raw: bytes) -> bytes:
    """A short string: one byte for its length, then at most 255 bytes; EncodingError for more."""
    if len(raw) > 255:  # noqa: PLR2004 - as the line above says
        raise EncodingError(f"a name or property has {len(raw)} bytes; at most 255 are possible")
    return bytes((len(raw),)) + raw


def split_table(table: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """Names and values of a table without its size, undecoded; and the rest, from the first that is none on."""
    fields: list[tuple[bytes, bytes]] = []
    at, end = 0, len(table)
    while at < end:
        start = at + 1 + table[at]
        try:
            after = end_of_value(table, start, end)
        except EncodingError:
            break
        fields.append((table[at + 1 : start], table[start:after]))
        at = after
    return tuple(fields), table[at:]


def _split_array(array: bytes) -> list[bytes]:
    values: list[bytes] = []
    at, end = 0, len(array)
    while at < end:
        after = end_of_value(array, at, end)
        values.append(array[at:after])
        at = after
    return values


def _sized(kind: bytes, data: bytes) -> bytes:
    return kind + _SIZE.pack(len(data)) + data


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, int) and 0 <= -exponent <= 255 and len(digits) <= 10:  # noqa: PLR2004 - checked below
        unscaled = int("".join(map(str, digits))) * (-1 if sign else 1)
        if -(2**31) <= unscaled < 2**31:
            return b"D" + _DECIMAL.pack(-exponent, unscaled)
    raise EncodingError("AMQP has no type for this Decimal")


def _fraction(data: bytes) -> Decimal:
    scale, unscaled = _DECIMAL.unpack(data)
    return Decimal(unscaled).scaleb(-scale)


def _moment(seconds: int) -> datetime | int:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return seconds


_DECODE: dict[int, Callable[[bytes], object]] = {
    ord("S"): lambda data: decode_text(data[4:]),
    ord("x"): lambda data: data[4:],
    ord("t"): lambda data: data != b"\0",
    ord("V"): lambda _: None,
    ord("T"): lambda data: _moment(_MOMENT.unpack(data)[0]),
    ord("D"): _fraction,
}
