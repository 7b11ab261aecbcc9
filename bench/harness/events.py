"""The events that are published: one template for each kind, in which only the order's number changes."""

import json
from pathlib import Path

PLACE = b"@@@@@@@@"
"""Where an order's number stands in a template: eight digits, so that every event has the same length."""

MOST = 10 ** len(PLACE)

_SHOPIFY = Path(__file__).parents[2] / "tests" / "mappings" / "events" / "shopify.json"


def numbered(template: bytes, number: int) -> bytes:
    """The template with this order's number in every place."""
    return template.replace(PLACE, b"%08d" % number)


def canonical() -> bytes:
    """An order of three lines, two of which came from a search; about 600 bytes."""
    lines = [{"productId": f"SKU-{each:03}", "quantity": each, "unitPrice": 39.99} for each in (1, 2, 3)]
    event = {
        "eventId": f"evt-{PLACE.decode()}",
        "occurredAt": "2026-01-01T10:00:00Z",
        "shopId": "shop_a",
        "orderId": f"ORD-{PLACE.decode()}",
        "orderValue": 244.89,
        "currency": "EUR",
        "lines": lines,
        "neuroonClicks": {"SKU-001": "log_7f3a9c", "SKU-003": "log_1b22e0"},
    }
    return json.dumps(event).encode()


def small() -> bytes:
    """An order of one line; about 200 bytes."""
    event = {
        "orderId": f"ORD-{PLACE.decode()}",
        "orderValue": 39.99,
        "currency": "EUR",
        "lines": [{"productId": "SKU-001", "quantity": 1, "unitPrice": 39.99}],
        "neuroonClicks": {"SKU-001": "log_7f3a9c"},
    }
    return json.dumps(event).encode()


def shopify() -> bytes:
    """Shopify's orders/paid, as the tests of the mapping have it, without what only makes it readable."""
    order = json.loads(_SHOPIFY.read_text())
    before = str(order["id"])
    text = json.dumps(order, separators=(",", ":"))
    return text.replace(before, before[: -len(PLACE)] + PLACE.decode()).encode()
