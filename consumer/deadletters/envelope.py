"""A dead letter as one line of JSON, from which the message can be made again: body, headers and properties, exactly.

JSON knows fewer types than AMQP. What it does not know is written as an object with one key that names the type; an
AMQP table is therefore always {"table": {...}}. A header or property that would not come back as the same bytes (a
16-bit number, text that is not UTF-8) is written as these bytes: {"raw": BASE64}, a header's with its type in front.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from consumer.core.amqp_values import (
    EncodingError,
    UndecodableText,
    decode_text,
    decode_value,
    encode_name,
    encode_value,
    end_of_value,
    short_text,
)
from consumer.core.delivery import Delivery, Properties, foreign_headers, our_headers
from consumer.core.headers import Headers
from consumer.deadletters.letter import Letter, lasting_headers

FORMAT = 2
_READABLE = {1, FORMAT}
_PROPERTIES = {each.name: None for each in fields(Properties)}


class EnvelopeError(Exception):
    """The text is no exported letter; the message says what is wrong, and quotes nothing of it."""


def write_envelope(delivery: Delivery, letter: Letter) -> str:
    """One line without its end. The broker's own headers are left out; what they told stands in headers of ours."""
    headers, other = _write_headers(lasting_headers(delivery))
    properties = {name: getattr(delivery.properties, name) for name in _PROPERTIES}
    line = {
        "format": FORMAT,
        "id": letter.id,
        "orderId": letter.order,
        "shopId": letter.shop,
        "reason": letter.reason,
        "headers": headers,
        # Names that are no UTF-8, or that come twice, with their values.
        **({"otherHeaders": other} if other else {}),
        "properties": {name: _write_property(value) for name, value in properties.items() if value is not None},
        "body": base64.b64encode(delivery.body).decode(),
    }
    return json.dumps(line, ensure_ascii=True, separators=(",", ":"))


def read_envelope(line: bytes | str) -> Delivery:
    """The message of one line; raises EnvelopeError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("not JSON") from error
    if not isinstance(found, dict) or found.get("format") not in _READABLE:
        raise EnvelopeError(f"expected an exported letter with format {FORMAT}")
    headers, properties = found.get("headers"), found.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict) or not properties.keys() <= _PROPERTIES.keys():
        raise EnvelopeError("headers or properties are not as they were exported")
    try:
        body = base64.b64decode(found["body"], validate=True)
        every = Headers.from_fields(
            [*map(_read_header, headers.items()), *map(_read_other, found.get("otherHeaders", []))]
        )
        known = Properties(**{name: _read_property(name, value) for name, value in properties.items()})
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error, InvalidOperation, RecursionError) as error:
        raise EnvelopeError("body, headers or properties are not as they were exported") from error
    # A line that somebody wrote by hand may have headers that make a broker route the message elsewhere.
    return Delivery(body=body, headers=foreign_headers(every) | our_headers(every), properties=known)


def _write_headers(headers: Headers) -> tuple[dict[str, object], list[list[str]]]:
    """The headers by name, and those that a JSON object cannot hold as pairs of name and value."""
    told: dict[str, object] = {}
    other: list[list[str]] = []
    for raw_name, value in headers.fields:
        name = decode_text(raw_name)
        if isinstance(name, UndecodableText) or name in told:
            other.append([_base64(raw_name), _base64(value)])
        else:
            written = _write(decode_value(value))
            told[name] = written if _comes_back(written, value) else {"raw": _base64(value)}
    return told, other


def _comes_back(written: object, value: bytes) -> bool:
    try:
        return encode_value(_read(json.loads(json.dumps(written, allow_nan=False)))) == value
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        return False


def _read_header(item: tuple[str, Any]) -> tuple[bytes, bytes]:
    name, value = item
    match value:
        case {"raw": str(text)}:
            return encode_name(name)[1:], _one_value(base64.b64decode(text, validate=True))
        case _:
            return encode_name(name)[1:], encode_value(_read(value))


def _read_other(pair: Any) -> tuple[bytes, bytes]:
    name, value = (base64.b64decode(each, validate=True) for each in pair)
    short_text(name)
    return name, _one_value(value)


def _one_value(raw: bytes) -> bytes:
    if end_of_value(raw, 0, len(raw)) != len(raw):
        raise EncodingError("more than one value")
    return raw


def _write_property(value: str | int) -> object:
    return {"raw": _base64(value.raw)} if isinstance(value, UndecodableText) else value


def _read_property(name: str, value: Any) -> Any:
    match value:
        case {"raw": str(text)}:
            value = decode_text(base64.b64decode(text, validate=True))
        case {"timestamp": str(text)}:  # format 1
            value = int(datetime.fromisoformat(text).timestamp())
    number = {"timestamp": 2**64, "priority": 2**8}.get(name)
    if isinstance(value, bool) or not (isinstance(value, str) if number is None else isinstance(value, int)):
        raise TypeError(name)
    if number is not None and not 0 <= value < number:
        raise ValueError(name)
    if number is None:
        encode_name(value)  # as long as a name may be
    return value


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _write(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"timestamp": value.isoformat()}
        case bytes() | bytearray():
            return {"bytes": _base64(bytes(value))}
        case Mapping():
            return {"table": {name: _write(each) for name, each in value.items()}}
        case list() | tuple():
            return [_write(each) for each in value]
        case _:
            raise TypeError(f"AMQP has no {type(value).__name__}")


def _read(value: Any) -> Any:
    match value:
        case {"decimal": str(text)}:
            return Decimal(text)
        case {"timestamp": str(text)}:
            return datetime.fromisoformat(text)
        case {"bytes": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"table": dict(table)}:
            return {name: _read(each) for name, each in table.items()}
        case dict():
            raise ValueError("an object that names no type")
        case list():
            return [_read(each) for each in value]
        case _:
            return value
