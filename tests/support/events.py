"""Invented orders."""

import json


def order(order_id: str, **changes: object) -> bytes:
    """A canonical event whose one line came from a search."""
    event: dict[str, object] = {
        "eventId": f"evt-{order_id}",
        "orderId": order_id,
        "orderValue": 24.99,
        "currency": "EUR",
        "lines": [
            {"productId": "SKU-1", "quantity": 2, "unitPrice": 7.5},
            {"productId": "SKU-2", "quantity": 1, "unitPrice": 9.99},
        ],
        "neuroonClicks": {"SKU-1": "log_1"},
    }
    return json.dumps(event | changes).encode()


def payload(order_id: str) -> str:
    """What must arrive at Neuroon for `order(order_id)`, to the byte."""
    return (
        f'{{"orderId":"{order_id}","orderValue":24.99,"currency":"EUR",'
        '"conversions":[{"productId":"SKU-1","searchLogId":"log_1","quantity":2,"lineTotal":15.00}]}'
    )
