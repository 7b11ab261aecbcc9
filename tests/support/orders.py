"""The canonical event as a document to change, and what is read from it."""

from decimal import Decimal
from typing import Any

from consumer.core.order import Line, Malformed, OrderPaid, read

LINE: dict[str, Any] = {"productId": "SKU-001", "quantity": 2, "unitPrice": Decimal("39.99")}
EVENT: dict[str, Any] = {
    "eventId": "evt-1",
    "occurredAt": "2026-01-01T10:00:00Z",
    "shopId": "shop_a",
    "orderId": "ORD-1",
    "orderValue": Decimal("199.95"),
    "currency": "EUR",
    "lines": [LINE],
    "neuroonClicks": {"SKU-001": "log_aaa"},
}
ABSENT = object()


def changed(document: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **fields}.items() if value is not ABSENT}


def event(**fields: Any) -> dict[str, Any]:
    return changed(EVENT, fields)


def event_of(**fields: Any) -> dict[str, Any]:
    """An event of one line, with these fields of the line."""
    return event(lines=[changed(LINE, fields)])


def order(document: object) -> OrderPaid:
    found = read(document)
    assert isinstance(found, OrderPaid), found
    return found


def only_line(document: object) -> Line:
    (line,) = order(document).lines
    return line


def malformed(document: object) -> str:
    found = read(document)
    assert isinstance(found, Malformed), found
    return found.detail
