"""Publishing with confirms: a message counts as published when the broker has said so, and not before."""

import asyncio
import uuid
from collections.abc import Mapping

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from consumer.adapters.content import encode_properties, room_for_headers
from consumer.adapters.link import LINK_ERRORS, describe, open_channel, own_cancellation
from consumer.core.delivery import Properties, fitting
from consumer.core.headers import Headers

# Longer than a quorum queue needs to elect a leader; shorter than the time an operator would call it stuck.
CONFIRM_TIMEOUT = 15.0


class PublishFailedError(Exception):
    """The broker has not confirmed. `unroutable`: there is no queue where the message was sent.

    `refused`: the queue has said no, or has not answered in time.
    """

    def __init__(self, why: str, *, unroutable: bool = False, refused: bool = False) -> None:
        super().__init__(why)
        self.unroutable, self.refused = unroutable, refused


class Publisher:
    """One channel in confirm mode."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._frame_max: int = channel.connection.connection_tune.frame_max

    @classmethod
    async def open(cls, connection: AbstractConnection) -> "Publisher":
        """A publisher on a channel of its own."""
        return cls(await open_channel(connection, confirms=True))

    async def publish(
        self,
        body: bytes,
        headers: Mapping[str, object],
        properties: Properties,
        *,
        exchange: str = "",
        routing_key: str,
        mandatory: bool = True,
    ) -> None:
        """Publish one persistent message and wait for the confirm; raises PublishFailedError.

        Headers that do not fit into a frame are left out as `fitting` says. EncodingError: AMQP has no type for one.
        The message_id is fresh each time: the client library matches returned messages by it, so that of two publishes
        under way with one id the unroutable one would be reported as confirmed.
        """
        room = room_for_headers(self._frame_max, properties)
        table = fitting(Headers.of(headers), room).encode()
        try:
            with own_cancellation():
                confirm = await self._channel.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=encode_properties(properties, table, uuid.uuid4().hex),
                    mandatory=mandatory,
                    timeout=CONFIRM_TIMEOUT,
                )
        except aiormq.exceptions.PublishError as error:
            raise PublishFailedError(f"no queue at {exchange or routing_key!r}", unroutable=True) from error
        except (aiormq.exceptions.DeliveryError, TimeoutError) as error:
            raise PublishFailedError(describe(error), refused=True) from error
        except LINK_ERRORS as error:
            raise PublishFailedError(describe(error)) from error
        if not isinstance(confirm, Basic.Ack):
            raise PublishFailedError(f"answered {type(confirm).__name__} instead of a confirm")

    @property
    def closing(self) -> "asyncio.Future[object]":
        """Done when the channel is gone."""
        return self._channel.closing

    async def close(self) -> None:
        """Close the channel, if it is still open."""
        if not self._channel.is_closed:
            await self._channel.close()
