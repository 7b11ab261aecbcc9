"""The canonical event for other programs: JSON Schema and AsyncAPI 3, both made from the model that reads it."""

from typing import Any

from consumer.core.event import OrderPaidEvent
from consumer.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"

EXAMPLE: dict[str, Any] = {
    "eventId": "evt_8f41",
    "occurredAt": "2026-01-01T10:00:00Z",
    "shopId": "shop_a",
    "orderId": "ORD-1",
    "orderValue": 199.95,
    "currency": "EUR",
    "lines": [{"productId": "SKU-001", "quantity": 2, "unitPrice": 39.99}],
    "neuroonClicks": {"SKU-001": "log_aaa"},
}


def json_schema() -> dict[str, Any]:
    """JSON Schema of the event, by its canonical names."""
    schema = OrderPaidEvent.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "title": "order.paid", **_without_title(schema), "examples": [EXAMPLE]}


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: the exchange that the shop publishes to, with the settings' defaults, and the event."""
    exchange = _default("consumer_exchange")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "neuroon-consumer",
            "version": "1.0.0",
            "description": "Paid orders, which become conversions at Neuroon.",
        },
        "channels": {"orderPaid": _channel(exchange)},
        "operations": {
            "receiveOrderPaid": {
                "action": "receive",
                "channel": {"$ref": "#/channels/orderPaid"},
                "summary": "Read one paid order per message, or an array of them.",
                "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
            }
        },
        "components": {"messages": {"orderPaid": _message()}, "schemas": _schemas()},
    }


def _channel(exchange: str) -> dict[str, Any]:
    kind = _default("consumer_exchange_type")
    return {
        "address": "order.paid",
        "description": "The routing key; any does, since the queue is bound with # by default.",
        "messages": {"orderPaid": {"$ref": "#/components/messages/orderPaid"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": kind, "durable": True, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _message() -> dict[str, Any]:
    return {
        "name": "order.paid",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/orderPaid"},
        "examples": [{"name": "one line that came from a search", "payload": EXAMPLE}],
    }


def _schemas() -> dict[str, Any]:
    """What JSON Schema keeps in $defs is a component of its own in AsyncAPI."""
    schema = _without_title(OrderPaidEvent.model_json_schema(ref_template="#/components/schemas/{model}"))
    return {"orderPaid": schema, **schema.pop("$defs", {})}


def _without_title(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "title"}


def _default(setting: str) -> str:
    return str(Settings.model_fields[setting].default)
