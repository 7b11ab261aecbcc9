"""A dead letter as one line of JSON, from which the message can be made again: body, headers and properties, exactly.

JSON knows fewer types than AMQP. What it does not know is written as an object with one key that names the type; an
AMQP table is therefore always {"table": {...}}.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from consumer.core.delivery import OURS, Delivery, Properties, foreign_headers
from consumer.deadletters.letter import Letter, lasting_headers

FORMAT = 1
_PROPERTIES = tuple(each.name for each in fields(Properties))


class EnvelopeError(Exception):
    """The text is no exported letter; the message says what is wrong, and quotes nothing of it."""


def write_envelope(delivery: Delivery, letter: Letter) -> str:
    """One line without its end. The broker's own headers are left out; what they told stands in headers of ours."""
    properties = {name: getattr(delivery.properties, name) for name in _PROPERTIES}
    line = {
        "format": FORMAT,
        "id": letter.id,
        "orderId": letter.order,
        "shopId": letter.shop,
        "reason": letter.reason,
        "headers": {name: _write(value) for name, value in lasting_headers(delivery).items()},
        "properties": {name: _write(value) for name, value in properties.items() if value is not None},
        "body": base64.b64encode(delivery.body).decode(),
    }
    return json.dumps(line, ensure_ascii=True, separators=(",", ":"))


def read_envelope(line: bytes | str) -> Delivery:
    """The message of one line; raises EnvelopeError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("not JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise EnvelopeError(f"expected an exported letter with format {FORMAT}")
    headers, properties = found.get("headers"), found.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict) or not properties.keys() <= {*_PROPERTIES}:
        raise EnvelopeError("headers or properties are not as they were exported")
    try:
        body = base64.b64decode(found["body"], validate=True)
        every = {name: _read(value) for name, value in headers.items()}
        known = Properties(**{name: _read(value) for name, value in properties.items()})
    except (KeyError, TypeError, ValueError, binascii.Error, InvalidOperation) as error:
        raise EnvelopeError("body, headers or properties are not as they were exported") from error
    # A line that somebody wrote by hand may have headers that make a broker route the message elsewhere.
    ours = {name: value for name, value in every.items() if name.startswith(OURS)}
    return Delivery(body=body, headers=foreign_headers(every) | ours, properties=known)


def _write(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"timestamp": value.isoformat()}
        case bytes() | bytearray():
            return {"bytes": base64.b64encode(value).decode()}
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
