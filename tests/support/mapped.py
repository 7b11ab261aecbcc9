"""Foreign events and what a mapping makes of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer.core.body import decode
from consumer.core.conversion import Conversion, attribute
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid
from consumer.mappings import Reader
from consumer.mappings.compiler import compile_mapping
from consumer.mappings.mapping import Mapping as OrderMapping
from consumer.mappings.mapping import Result
from consumer.mappings.source import read_source

EVENTS = Path(__file__).parents[1] / "mappings" / "events"


def event_bytes(name: str) -> bytes:
    """A fixture as a shop would publish it."""
    return (EVENTS / f"{name}.json").read_bytes()


def event_of(name: str) -> Any:
    """A fixture decoded, numbers exact; the element of an array of one."""
    document = decode(event_bytes(name))
    return document[0] if isinstance(document, list) and len(document) == 1 else document


def own(text: str, name: str = "own.toml") -> OrderMapping:
    """A mapping as a newcomer writes it."""
    return compile_mapping(read_source(name, text))


def read(
    mapping: Reader, event: object, headers: Mapping[str, object] | None = None, routing_key: str = "order.paid"
) -> Result:
    """What the mapping makes of an event, which may be Python values with floats."""
    document = decode(json.dumps(event, default=str).encode()) if _is_plain(event) else event
    return mapping.read(document, Delivery(b"", "orders", routing_key, headers or {}))


def order(mapping: Reader, event: object, headers: Mapping[str, object] | None = None) -> OrderPaid:
    """The order in it."""
    found = read(mapping, event, headers)
    assert isinstance(found, OrderPaid), found
    return found


def malformed(mapping: Reader, event: object) -> str:
    """What is said of it."""
    found = read(mapping, event)
    assert isinstance(found, Malformed), found
    return found.detail


def payload(mapping: Reader, event: object) -> str:
    """What would be sent for it."""
    conversion = attribute(order(mapping, event))
    assert isinstance(conversion, Conversion)
    return conversion.payload.decode()


def _is_plain(event: object) -> bool:
    """Whether it was written in Python; what was decoded from a file has its decimals already."""
    try:
        json.dumps(event)
    except TypeError:
        return False
    return True
