"""A message as a value, and our own headers: read when it comes in, written when it goes on.

Everything that is to outlive a hop travels in headers of ours, because the broker's own (`x-death` and its kin) differ
between versions, can make an older broker take the next hop for a cycle, and are stripped from what we publish.
"""

import math
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime

from consumer.core.value import value

ATTEMPT = "x-neuroon-attempt"
FIRST_SEEN = "x-neuroon-first-seen"
SHOP = "x-neuroon-shop"
ORDER = "x-neuroon-order"
MESSAGE_ID = "x-neuroon-message-id"
EXCHANGE = "x-neuroon-exchange"
ROUTING_KEY = "x-neuroon-routing-key"
REPLAYS = "x-neuroon-replays"
WAIT_LEFT = "x-neuroon-wait-left"
WAITED = "x-neuroon-waited"
ID = "x-neuroon-id"
REASON = "x-neuroon-reason"
DETAIL = "x-neuroon-detail"
STATUS = "x-neuroon-status"
FINGERPRINT = "x-neuroon-fingerprint"
DIED_AT = "x-neuroon-died-at"

OURS = "x-neuroon-"
# Written by the broker; CC and BCC would make it deliver a republished message to further queues.
BROKERS = frozenset({"x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"})
BROKERS_PREFIXES = ("x-first-death-", "x-last-death-")

MAX_HEADER_BYTES = 1024


@value
class Properties:
    """The AMQP properties that stay with a message on every hop.

    Not among them: message_id (fresh at every publish), expiration (a rung has its own), user_id (the broker refuses
    another user's) and delivery_mode (always persistent). `timestamp` is in Unix seconds.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    timestamp: datetime | None = None
    type: str | None = None
    app_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None


@value
class Delivery:
    """One message as the broker handed it over."""

    body: bytes
    exchange: str = ""
    routing_key: str = ""
    headers: Mapping[str, object] = field(default_factory=dict)
    properties: Properties = Properties()
    message_id: str | None = None
    redelivered: bool = False


@value
class Journey:
    """What our headers say of a message's way so far; `first_seen` in Unix seconds.

    `attempt` is the number of the try that is to be made now. `wait_left`: the seconds that it has to wait before.
    `waited`: the seconds of the present row of waits that cost no try. Both are counted by the lengths of the retry
    queues and not by the clock: when it is set, no wait becomes longer, and no order is given up.
    """

    attempt: int
    first_seen: float
    exchange: str
    routing_key: str
    message_id: str | None = None
    replays: int = 0
    wait_left: float = 0.0
    waited: float = 0.0


def read_journey(delivery: Delivery, now: float) -> Journey:
    """The journey of a delivery that arrives at `now`; a header that is not as we write it counts as absent."""
    headers = delivery.headers
    if not headers:  # the usual case: fresh from the exchange
        return Journey(1, now, delivery.exchange, delivery.routing_key, delivery.message_id)
    travelled = ATTEMPT in headers
    message_id = headers.get(MESSAGE_ID) if travelled else delivery.message_id
    first_seen = _moment(headers, FIRST_SEEN)
    return Journey(
        attempt=max(1, _count(headers, ATTEMPT)),
        first_seen=now if first_seen is None else first_seen,
        exchange=_text(headers, EXCHANGE, delivery.exchange),
        routing_key=_text(headers, ROUTING_KEY, delivery.routing_key),
        message_id=message_id if isinstance(message_id, str) else None,
        replays=_count(headers, REPLAYS),
        wait_left=_count(headers, WAIT_LEFT) / 1000,
        waited=_count(headers, WAITED) / 1000,
    )


def write_journey(journey: Journey, shop: str | None, order: str | None) -> dict[str, str | int]:
    """The headers that say `journey`, for a message about to be published."""
    headers: dict[str, str | int] = {
        ATTEMPT: journey.attempt,
        FIRST_SEEN: stamp(journey.first_seen),
        EXCHANGE: clip(journey.exchange),
        ROUTING_KEY: clip(journey.routing_key),
    }
    if journey.replays:
        headers[REPLAYS] = journey.replays
    for name, text in ((MESSAGE_ID, journey.message_id), (SHOP, shop), (ORDER, order)):
        if text is not None:
            headers[name] = clip(text)
    for name, seconds in ((WAIT_LEFT, journey.wait_left), (WAITED, journey.waited)):
        if seconds > 0:
            headers[name] = milliseconds(seconds)
    return headers


def foreign_headers(headers: Mapping[str, object]) -> dict[str, object]:
    """The headers that are neither ours nor the broker's: they stay with the message on every hop."""
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith(OURS) and name not in BROKERS and not name.startswith(BROKERS_PREFIXES)
    }


def clip(text: str) -> str:
    """`text`, cut to at most `MAX_HEADER_BYTES` bytes of UTF-8, never inside a character."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= MAX_HEADER_BYTES else raw[:MAX_HEADER_BYTES].decode("utf-8", "ignore")


def milliseconds(seconds: float) -> int:
    """A duration as it stands in a header, never shorter."""
    return math.ceil(seconds * 1000)


def stamp(moment: float) -> str:
    """Unix seconds as RFC 3339 text in UTC with milliseconds, never earlier than `moment`."""
    whole = datetime.fromtimestamp(math.ceil(moment * 1000) / 1000, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_stamp(text: str) -> float | None:
    """RFC 3339 text as Unix seconds; None when it is something else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(headers: Mapping[str, object], name: str, default: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else default


def _count(headers: Mapping[str, object], name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _moment(headers: Mapping[str, object], name: str) -> float | None:
    value = headers.get(name)
    return read_stamp(value) if isinstance(value, str) else None
