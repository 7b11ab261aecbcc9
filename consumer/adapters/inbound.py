"""What the broker delivers, as our own value."""

from pamqp.commands import Basic

from consumer.core.delivery import Delivery, Properties


def to_delivery(
    properties: Basic.Properties, body: bytes, *, exchange: str, routing_key: str, redelivered: bool
) -> Delivery:
    """The message, free of the library's types."""
    return Delivery(
        body=body,
        exchange=exchange,
        routing_key=routing_key,
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
        redelivered=redelivered,
    )
