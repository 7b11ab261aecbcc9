"""A dead letter as a value: who, why, since when and how much money, without the event itself."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from consumer.core import delivery as header
from consumer.core.delivery import (
    Delivery,
    foreign_headers,
    last_death,
    our_headers,
    plausible,
    read_journey,
    read_stamp,
    stamp,
)
from consumer.core.headers import Headers
from consumer.core.money import rounded
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.outcome import DeadReason, fingerprint

# Makes an order of a message; the same that the consumer uses, so that both see the same order in it.
Read = Callable[[Delivery], OrderPaid | Malformed | Refund]


# What HTTP knows; a header that says something else was not written by us.
_STATUSES = range(100, 600)


@dataclass(frozen=True, slots=True)
class Letter:
    """What is known of one dead letter. Times are Unix seconds, `value` is in major units of `currency`.

    `order`, `shop`, `value` and `currency` are None where the event does not tell them.
    """

    id: str
    reason: str
    detail: str
    fingerprint: str
    status: int | None = None
    order: str | None = None
    shop: str | None = None
    attempts: int = 1
    replays: int = 0
    first_seen: float | None = None
    died_at: float | None = None
    value: Decimal | None = field(default=None, repr=False)
    currency: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The shape of one line of `dlq list --json`."""
        return {
            "id": self.id,
            "orderId": self.order,
            "shopId": self.shop,
            "reason": self.reason,
            "detail": self.detail,
            "status": self.status,
            "attempts": self.attempts,
            "firstSeen": _told(self.first_seen),
            "diedAt": _told(self.died_at),
            "value": None if self.value is None else str(self.value),
            "currency": self.currency,
            "fingerprint": self.fingerprint,
            "replays": self.replays,
        }


def read_letter(delivery: Delivery, read: Read) -> Letter:
    """The letter in a message of the dead-letter queue, whoever put it there; never an exception."""
    headers = delivery.headers
    end = _our_end(headers) or _brokers_end(delivery)
    order = read(delivery)
    journey = read_journey(delivery, end.died_at or 0.0)
    value, currency = _money(order)
    return Letter(
        id=end.id,
        reason=end.reason,
        detail=end.detail,
        fingerprint=end.fingerprint,
        status=end.status,
        order=_text(headers, header.ORDER) or order.order_id,
        shop=_text(headers, header.SHOP) or order.shop_id,
        attempts=journey.attempt,
        replays=journey.replays,
        first_seen=journey.first_seen or end.died_at,
        died_at=end.died_at,
        value=value,
        currency=currency,
    )


@dataclass(frozen=True, slots=True)
class End:
    """How it died."""

    id: str
    reason: str
    detail: str
    fingerprint: str
    status: int | None
    died_at: float | None

    def headers(self) -> dict[str, str | int]:
        """The headers that say so."""
        told: dict[str, str | int] = {
            header.ID: self.id,
            header.REASON: self.reason,
            header.DETAIL: header.clip(self.detail),
            header.FINGERPRINT: self.fingerprint,
        }
        if self.status is not None:
            told[header.STATUS] = self.status
        if self.died_at is not None:
            told[header.DIED_AT] = stamp(self.died_at)
        return told


def lasting_headers(delivery: Delivery) -> Headers:
    """All headers but the broker's own. What those told of a crash is told by headers of ours instead.

    For a letter that is to lie in a dead-letter queue again, here or elsewhere: a broker may drop or rewrite its own.
    """
    headers = foreign_headers(delivery.headers) | our_headers(delivery.headers)
    if _our_end(delivery.headers) is not None:
        return headers
    return headers | original_place(delivery) | _brokers_end(delivery).headers()


def original_place(delivery: Delivery) -> dict[str, object]:
    """Where a message that never got headers of ours was published once, and its own message id, as such headers."""
    if header.ATTEMPT in delivery.headers:
        return {}
    death = last_death(delivery.headers)
    keys = death.get("routing-keys")
    told = {
        header.EXCHANGE: death.get("exchange", delivery.exchange),
        header.ROUTING_KEY: keys[0] if isinstance(keys, list) and keys else delivery.routing_key,
        header.MESSAGE_ID: delivery.message_id,
    }
    return {header.ATTEMPT: 1} | {name: header.clip(value) for name, value in told.items() if isinstance(value, str)}


def _our_end(headers: Mapping[str, object]) -> End | None:
    """What our consumer wrote when it buried the order. A retry writes a reason too, and no id.

    Where the broker says why it moved the message, it was the broker who did.
    """
    identity = _text(headers, header.ID)
    if identity is None or last_death(headers):
        return None
    reason = _text(headers, header.REASON) or DeadReason.CRASHED.value
    detail = _text(headers, header.DETAIL) or ""
    status = headers.get(header.STATUS)
    status = status if isinstance(status, int) and status in _STATUSES else None
    died_at = plausible(read_stamp(_text(headers, header.DIED_AT) or ""))
    cause = _text(headers, header.FINGERPRINT) or fingerprint(reason, status, detail)
    return End(identity, reason, detail, cause, status, died_at)


def _brokers_end(delivery: Delivery) -> End:
    """What can be said of a message that something else moved here: the broker, or a person.

    The id is worked out from what stays with the message, so that it is the same at every look.
    """
    death = last_death(delivery.headers)
    queue, why = _text(death, "queue"), _text(death, "reason")
    moment = death.get("time")
    reason, detail = DeadReason.CRASHED, f"the broker moved it out of {queue}: {why}"
    if not death:
        detail = "neither the consumer nor the broker says why it is here; it was moved by hand"
    elif why == "rejected":
        reason, detail = DeadReason.BUG, f"the consumer could not publish it, and left it to the broker: {why}"
    elif why == "expired":
        reason, detail = DeadReason.EXPIRED, f"its publisher's own time to live ended in {queue}: {why}"
    died_at = moment.timestamp() if isinstance(moment, datetime) else None
    identity = hashlib.sha256(delivery.body)
    for part in (delivery.message_id, delivery.properties.correlation_id, queue, why, died_at):
        identity.update(f"|{part}".encode("utf-8", "backslashreplace"))
    return End(identity.hexdigest()[:32], reason.value, detail, fingerprint(reason, None, why or ""), None, died_at)


def _money(order: OrderPaid | Malformed | Refund) -> tuple[Decimal | None, str | None]:
    if isinstance(order, OrderPaid):
        return rounded(order.order_value, order.currency), order.currency
    return None, None


def _text(headers: Mapping[str, object], name: str) -> str | None:
    value = headers.get(name)
    return value if isinstance(value, str) and value else None


def _told(moment: float | None) -> str | None:
    return None if moment is None else stamp(moment)
