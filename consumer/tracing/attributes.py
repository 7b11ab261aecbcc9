"""What a span says: ids, numbers and our own words for an end. Never what an order holds, never a text of Neuroon's.

Names as in OpenTelemetry's semantic conventions 1.4x for messaging with RabbitMQ and for HTTP clients. They are written
out because their own package keeps those of messaging in a module that may change with every release; a test compares.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from consumer.core.delivery import Delivery, clip
from consumer.core.outcome import Accepted, AlreadyKnown, Dead, Reply, Unavailable
from consumer.core.settlement import Settlement
from consumer.core.shop import Shop
from consumer.deadletters.letter import Letter
from consumer.pipeline import Report
from consumer.telemetry import describe

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
MESSAGE_ID: Final = "messaging.message.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
URL: Final = "url.full"
URL_TEMPLATE: Final = "url.template"
ERROR_TYPE: Final = "error.type"

# Ours.
SHOP: Final = "neuroon.shop"
ORDER: Final = "neuroon.order"
OUTCOME: Final = "neuroon.outcome"
REASON: Final = "neuroon.reason"
ATTEMPT: Final = "neuroon.attempt"
REPLAYS: Final = "neuroon.replays"
SETTLEMENT: Final = "neuroon.settlement"

TEMPLATE = "/api/plugin/shops/{shopId}/track/conversion"

Attributes = dict[str, str | int]


def destination(*parts: str) -> str:
    """The name of where messages go to or come from: exchange, routing key and queue, without what is empty."""
    return ":".join(dict.fromkeys(part for part in parts if part)) or "amq.default"


def operation(name: str, kind: str, place: str, routing_key: str) -> Attributes:
    """What is known of a message's span when it begins."""
    told: Attributes = {SYSTEM: "rabbitmq", OPERATION_NAME: name, OPERATION_TYPE: kind, DESTINATION: place}
    return told | {ROUTING_KEY: routing_key} if routing_key else told


def processing(delivery: Delivery, queue: str) -> Attributes:
    """A delivery that is being handled."""
    place = destination(delivery.exchange, delivery.routing_key, queue)
    return operation("process", "process", place, delivery.routing_key)


def ended(report: Report) -> Attributes:
    """How a try ended. An error is only an end without a further try, so that one dead letter is one error."""
    name, reason, status, _ = describe(report.outcome)
    journey = report.journey
    told: Attributes = {OUTCOME: name, ATTEMPT: journey.attempt}
    told |= _subject(report.subject.shop, report.subject.order)
    if reason:
        told[REASON] = reason
    if status:
        told[HTTP_STATUS] = status
    if journey.message_id:
        told[MESSAGE_ID] = clip(journey.message_id)
    if journey.replays:
        told[REPLAYS] = journey.replays
    if isinstance(report.outcome, Dead):
        told[ERROR_TYPE] = reason
    return told


def settlement(chosen: Settlement) -> Attributes:
    """What becomes of the message at the broker: ack, move (to a delay queue or the dead letters), split, return."""
    return {SETTLEMENT: type(chosen).__name__.lower()}


def posting(shop: Shop, order: str) -> Attributes:
    """A POST that is about to be made."""
    return {HTTP_METHOD: "POST", URL_TEMPLATE: TEMPLATE} | _subject(shop.id, order) | _address(shop.api_url, shop.id)


def answered(reply: Reply) -> Attributes:
    """The answer to a POST. Its words are left out, but for ours when there was none."""
    told: Attributes = {HTTP_STATUS: reply.status} if reply.status else {}
    if isinstance(reply, Accepted | AlreadyKnown):
        return told
    if reply.status:
        return told | {ERROR_TYPE: str(reply.status)}
    return {ERROR_TYPE: reply.why if isinstance(reply, Unavailable) else "not sent"}


def replaying(letter: Letter, queue: str) -> Attributes:
    """A dead letter on its way back to the main queue."""
    told = operation("replay", "send", destination("", queue), queue)
    return told | {REPLAYS: letter.replays + 1} | _subject(letter.shop, letter.order)


def _subject(shop: str | None, order: str | None) -> Attributes:
    return {name: clip(text) for name, text in ((SHOP, shop), (ORDER, order)) if text is not None}


@lru_cache(maxsize=1024)
def _address(api_url: str, shop: str) -> Attributes:
    """Where the POST goes, without what may stand before the host: a password. Nothing of a URL that is none."""
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    if not host:
        return {}
    place = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    url = f"{shown}{TEMPLATE.replace('{shopId}', quote(shop, safe=''))}"
    return {URL: url, SERVER_ADDRESS: host, SERVER_PORT: port or (443 if parts.scheme == "https" else 80)}
