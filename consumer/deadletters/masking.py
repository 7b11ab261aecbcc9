"""What of an event anybody may see: ids, amounts, quantities. All else may be a customer's, and is masked."""

from collections.abc import Mapping
from decimal import Decimal

from consumer.core.headers import OURS

MASK = "***"

# Field names of the canonical event and of the recipe's: ids, money, quantities and times of the order.
EVENT_FIELDS = frozenset({"eventId", "occurredAt", "shopId", "orderId", "id", "orderValue", "total", "currency"})
LINE_FIELDS = frozenset({"productId", "sku", "quantity", "unitPrice", "lineTotal", "searchLogId"})
# As an object it maps product ids to search log ids; as text it may be a whole cookie header, with a session in it.
CLICKS_FIELDS = frozenset({"neuroonClicks", "neuroon_clicks"})
HEADERS = frozenset({"traceparent"})


def mask_event(document: object) -> object:
    """The decoded event with every value masked that is not known to be harmless; its shape stays."""
    if not isinstance(document, Mapping):
        return mask(document)
    return {name: _event_field(name, value) for name, value in document.items()}


def mask_headers(headers: Mapping[str, object]) -> dict[str, object]:
    """Message headers with all values masked but those of our own and of tracing."""
    return {name: value if name.startswith(OURS) or name in HEADERS else mask(value) for name, value in headers.items()}


def mask(value: object) -> object:
    """The value with every text and number in it masked."""
    match value:
        case None | bool():
            return value
        case Mapping():
            return {name: mask(each) for name, each in value.items()}
        case list() | tuple():
            return [mask(each) for each in value]
        case _:
            return MASK


def _event_field(name: str, value: object) -> object:
    if name in EVENT_FIELDS:
        return _scalar(value)
    if name == "lines" and isinstance(value, list):
        return [_line(each) for each in value]
    if name in CLICKS_FIELDS and isinstance(value, Mapping):
        return {product: _scalar(search) for product, search in value.items()}
    return mask(value)


def _line(line: object) -> object:
    if not isinstance(line, Mapping):
        return mask(line)
    return {name: _scalar(value) if name in LINE_FIELDS else mask(value) for name, value in line.items()}


def _scalar(value: object) -> object:
    return value if isinstance(value, str | int | Decimal) else mask(value)
