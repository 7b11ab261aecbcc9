"""Invented dead letters, as the consumer and the broker leave them."""

from datetime import UTC, datetime

from consumer.core import delivery as header
from consumer.core.delivery import Delivery, Properties, stamp
from consumer.core.order import Malformed, OrderPaid, Refund, parse
from consumer.core.outcome import fingerprint
from tests.support.events import order

DIED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def read(delivery: Delivery) -> OrderPaid | Malformed | Refund:
    """What the consumer makes of a canonical event."""
    return parse(delivery.body, delivery.properties.content_encoding)


def dead_headers(order_id: str, /, **changes: object) -> dict[str, object]:
    """The headers of an exhausted order of shop_a; a change of None takes a header away."""
    detail = str(changes.get(header.DETAIL, "answered 503"))
    headers: dict[str, object] = {
        header.ATTEMPT: 3,
        header.FIRST_SEEN: stamp(DIED_AT - 60),
        header.EXCHANGE: "order.paid",
        header.ROUTING_KEY: "order.paid.shop_a",
        header.MESSAGE_ID: f"msg-{order_id}",
        header.SHOP: "shop_a",
        header.ORDER: order_id,
        header.ID: f"letter-{order_id}",
        header.REASON: "exhausted",
        header.DETAIL: detail,
        header.STATUS: 503,
        header.DIED_AT: stamp(DIED_AT),
    }
    headers |= changes
    status = headers.get(header.STATUS)
    cause = fingerprint(str(headers[header.REASON]), status if isinstance(status, int) else None, detail)
    headers.setdefault(header.FINGERPRINT, cause)
    return {name: value for name, value in headers.items() if value is not None}


def letter(order_id: str, body: bytes | None = None, /, **changes: object) -> Delivery:
    """A dead letter as our consumer wrote it."""
    return Delivery(
        body=order(order_id, shopId="shop_a") if body is None else body,
        routing_key="q.dlq",
        headers=dead_headers(order_id, **changes),
        properties=Properties("application/json", correlation_id=f"corr-{order_id}"),
        message_id="fresh",
    )


def crashed(order_id: str, /, **headers: object) -> Delivery:
    """A message that the broker moved by itself, after its delivery limit."""
    death = {
        "queue": "q",
        "reason": "delivery_limit",
        "exchange": "order.paid",
        "routing-keys": ["order.paid.shop_a"],
        "count": 1,
        "time": datetime.fromtimestamp(DIED_AT, UTC),
    }
    return Delivery(
        body=order(order_id, shopId="shop_a"),
        routing_key="q.dlq",
        headers={"x-death": [death], "x-first-death-queue": "q", "x-delivery-count": 4, **headers},
        properties=Properties("application/json"),
        message_id=f"msg-{order_id}",
    )
