"""Everything about one dead letter, for a person who has to decide what to do with it."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from consumer.core.body import Unreadable, decode
from consumer.core.conversion import attribute
from consumer.core.delivery import Delivery, stamp
from consumer.core.order import OrderPaid, Refund
from consumer.core.outcome import DeadReason, Unattributed
from consumer.core.shop import Shop, Shops
from consumer.deadletters.advice import advice
from consumer.deadletters.letter import Letter, Read
from consumer.deadletters.masking import mask_event, mask_headers


def dossier(delivery: Delivery, letter: Letter, read: Read, shops: Shops, *, reveal: bool) -> dict[str, object]:
    """The letter, its message, its event, what would be sent for it now, its history and advice; ready for JSON.

    Unless `reveal`, the event and the headers are masked, and an event that cannot be decoded is left out.
    """
    counsel = advice(letter.reason, letter.status)
    return {
        **letter.as_dict(),
        "advice": {"meaning": counsel.meaning, "steps": list(counsel.steps)},
        "history": history(letter),
        "now": outcome_now(delivery, read, shops),
        "event": _event(delivery, reveal=reveal),
        "headers": told(delivery.headers if reveal else mask_headers(delivery.headers)),
        "properties": {name: told(value) for name, value in _properties(delivery).items() if value is not None},
        "bytes": len(delivery.body),
        "sha256": hashlib.sha256(delivery.body).hexdigest(),
    }


def history(letter: Letter) -> list[dict[str, object]]:
    """What the letter's own headers tell of its way, oldest first."""
    events: list[dict[str, object]] = []
    if letter.first_seen:
        events.append({"at": stamp(letter.first_seen), "event": "received"})
    if letter.replays:
        events.append({"at": None, "event": "replayed", "times": letter.replays})
    end = {"event": "died", "reason": letter.reason, "status": letter.status, "attempts": letter.attempts}
    events.append({"at": None if letter.died_at is None else stamp(letter.died_at), **end})
    return events


def outcome_now(delivery: Delivery, read: Read, shops: Shops) -> dict[str, object]:
    """What would come of the event today, in the shape of `convert --json`; without shops, none is looked up."""
    order = read(delivery)
    if not isinstance(order, OrderPaid):
        reason = DeadReason.REFUND if isinstance(order, Refund) else DeadReason.MALFORMED
        return {"outcome": "dead", "reason": reason.value, "detail": order.detail}
    shop_id = order.shop_id
    if shops.shops:
        shop = shops.find(order.shop_id)
        if not isinstance(shop, Shop):
            return {"outcome": "dead", "reason": DeadReason.UNKNOWN_SHOP.value, "detail": shop}
        shop_id = shop.id
    conversion = attribute(order)
    if isinstance(conversion, Unattributed):
        return {"outcome": "unattributed", "orderId": order.order_id}
    payload = json.loads(conversion.payload, parse_float=Decimal)
    return {"outcome": "conversion", "shopId": shop_id, "payload": told(payload)}


def told(value: object) -> object:
    """An AMQP or JSON value as JSON can tell it; Decimals become numbers, bytes base64."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)  # JSON has no word for it
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
        case datetime():
            return stamp(value.timestamp())
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(name): told(each) for name, each in value.items()}
        case list() | tuple():
            return [told(each) for each in value]
        case _:
            return str(value)


def _event(delivery: Delivery, *, reveal: bool) -> object:
    document = decode(delivery.body, delivery.properties.content_encoding)
    if isinstance(document, Unreadable):
        return {"text": delivery.body.decode("utf-8", "backslashreplace")} if reveal else None
    return told(document if reveal else mask_event(document))


def _properties(delivery: Delivery) -> dict[str, object]:
    properties = delivery.properties
    return {
        "messageId": delivery.message_id,
        "contentType": properties.content_type,
        "contentEncoding": properties.content_encoding,
        "correlationId": properties.correlation_id,
        "timestamp": properties.timestamp if properties.published_at is None else stamp(properties.published_at),
        "type": properties.type,
        "appId": properties.app_id,
    }
