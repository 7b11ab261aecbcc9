"""The broker's side of a test: publishing to the exchange, and looking into queues."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pamqp.commands import Basic

from consumer.adapters.link import connect, open_channel
from consumer.adapters.publisher import Publisher
from consumer.adapters.stream import StreamedConnection
from consumer.adapters.topology import queue_state
from consumer.core.delivery import Properties
from tests.conftest import Names


@dataclass(frozen=True, slots=True)
class Message:
    """A message as found in a queue."""

    body: bytes
    headers: dict[str, Any]
    properties: Basic.Properties


class Desk:
    """Publishes as a shop does, and looks as an operator does."""

    def __init__(self, connection: StreamedConnection, publisher: Publisher, names: Names) -> None:
        self.connection, self._publisher, self._names = connection, publisher, names

    async def publish(
        self, *bodies: bytes, headers: dict[str, object] | None = None, properties: Properties | None = None
    ) -> None:
        """Publish to the exchange, with confirms."""
        for start in range(0, len(bodies), 500):
            await asyncio.gather(
                *(
                    self._publisher.publish(
                        body,
                        headers or {},
                        properties or Properties("application/json"),
                        exchange=self._names.exchange,
                        routing_key="order.paid",
                    )
                    for body in bodies[start : start + 500]
                )
            )

    async def count(self, queue: str) -> int:
        """Messages ready in a queue; 0 if there is no such queue."""
        state = await queue_state(self.connection, queue)
        return state.messages if state else 0

    async def is_empty(self, queue: str) -> bool:
        """Whether nothing is ready in a queue."""
        return await self.count(queue) == 0

    async def dead(self) -> int:
        """How many dead letters there are."""
        return await self.count(f"{self._names.queue}.dlq")

    async def take(self, queue: str) -> list[Message]:
        """Take everything out of a queue."""
        channel = await open_channel(self.connection)
        messages: list[Message] = []
        while True:
            got = await channel.basic_get(queue, no_ack=True, timeout=10)
            if not isinstance(got.delivery, Basic.GetOk):
                break
            properties = got.header.properties
            messages.append(Message(got.body, dict(properties.headers or {}), properties))
        await channel.close()
        return messages

    async def take_dead(self) -> list[Message]:
        """Take all dead letters out of their queue."""
        return await self.take(f"{self._names.queue}.dlq")


@asynccontextmanager
async def desk(url: str, names: Names) -> AsyncIterator[Desk]:
    """A desk at one broker."""
    connection = await connect(url, "test desk")
    async with connection:
        yield Desk(connection, await Publisher.open(connection), names)
