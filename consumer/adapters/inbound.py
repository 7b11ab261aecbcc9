"""What the client library delivers, as our own value."""

from aiormq.abc import DeliveredMessage

from consumer.core.delivery import Delivery, Properties


def to_delivery(message: DeliveredMessage) -> Delivery:
    """The message, free of the library's types."""
    properties = message.header.properties
    return Delivery(
        body=message.body,
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        headers=properties.headers or {},
        properties=Properties(
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            correlation_id=properties.correlation_id,
            timestamp=properties.timestamp,
            type=properties.message_type,
            app_id=properties.app_id,
            reply_to=properties.reply_to,
            priority=properties.priority,
        ),
        message_id=properties.message_id,
        redelivered=bool(message.redelivered),
    )
