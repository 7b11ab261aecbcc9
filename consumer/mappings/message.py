"""A message as a mapping looks at it: the body, the event without envelopes, the order in it, one of its lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from consumer.core import delivery as header
from consumer.core.delivery import Delivery


@dataclass(frozen=True)
class Carrier:
    """What travels beside the body; a message that has waited in a delay queue looks as it did when it was new."""

    delivery: Delivery

    @cached_property
    def headers(self) -> dict[str, object]:
        """By name in lower case: whatever forwards HTTP to a queue spells header names its own way."""
        return {name.lower(): _text(value) for name, value in self.delivery.headers.items()}

    @property
    def routing_key(self) -> object:
        """The routing key it was published with."""
        return self.delivery.headers.get(header.ROUTING_KEY, self.delivery.routing_key)

    @property
    def exchange(self) -> object:
        """The exchange it was published to."""
        return self.delivery.headers.get(header.EXCHANGE, self.delivery.exchange)

    @property
    def properties(self) -> Mapping[str, object]:
        """The AMQP properties that a path may ask for."""
        properties = self.delivery.properties
        return {name: getattr(properties, name) for name in PROPERTIES} | {"message_id": self.delivery.message_id}


PROPERTIES = ("type", "app_id", "content_type", "correlation_id", "reply_to")


@dataclass(slots=True)
class Message:
    """Each part is what a path may begin from; `type` is what the envelope calls the event."""

    carrier: Carrier
    body: object
    event: object = None
    type: object = None
    order: object = None
    line: object = None
    peeled: list[str] = field(default_factory=list)

    def as_object(self) -> dict[str, object]:
        """All parts at once, with header names in lower case."""
        carrier = self.carrier
        beside = {"headers": carrier.headers, "properties": carrier.properties}
        keys = {"routing_key": carrier.routing_key, "exchange": carrier.exchange, "type": self.type}
        return {"body": self.body, "event": self.event, "order": self.order, "line": self.line, **beside, **keys}


def _text(value: object) -> object:
    if not isinstance(value, bytes | bytearray):
        return value
    return bytes(value).decode(errors="replace")
