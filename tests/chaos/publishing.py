"""The shops: they publish with confirms, and publish again what was not confirmed."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from aio_pika.abc import AbstractConnection

from consumer.adapters.link import LINK_ERRORS, connect
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.core.delivery import Properties
from tests.chaos.orders import Order
from tests.conftest import Names
from tests.support.odd_messages import OddMessage, raw_publisher

_AT_A_TIME = 50
_PAUSE_SECONDS = 0.5


class Publishing:
    """`copies` counts how often each order was sent, confirmed or not: that many messages of it may exist."""

    def __init__(self, url: str, names: Names) -> None:
        self._url, self._names = url, names
        self._connection: AbstractConnection | None = None
        self._publisher: Publisher | None = None
        self._opening = asyncio.Lock()
        self.copies: Counter[str] = Counter()
        self.confirmed: Counter[str] = Counter()

    @property
    def republished(self) -> int:
        """Publishes that were not confirmed."""
        return self.copies.total() - self.confirmed.total()

    async def publish(self, orders: Sequence[Order], per_second: float) -> None:
        """Publish all of them evenly, each as often as its shop does; returns when all are confirmed."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        done = 0
        while done < len(orders):
            due = min(len(orders), int((loop.time() - begun) * per_second) + 1, done + _AT_A_TIME)
            if due == done:
                await asyncio.sleep(1 / per_second)
                continue
            await asyncio.gather(*(self._one(each) for each in orders[done:due]))
            done = due

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._publisher = self._connection, None, None
        if connection is not None:
            try:
                await connection.close()
            except LINK_ERRORS:
                return

    async def _one(self, order: Order) -> None:
        for _ in range(order.times):
            sent = False
            while not sent:
                sent = await self._sent(order)

    async def _sent(self, order: Order) -> bool:
        if self._publisher is None:
            await self._open()
        publisher = self._publisher
        if publisher is None:
            return False
        self.copies[order.id] += 1
        try:
            if order.odd is not None:
                return await self._sent_as_it_is(order, order.odd)
            await publisher.publish(
                order.body,
                {},
                Properties("application/json"),
                exchange=self._names.exchange,
                routing_key=f"order.paid.{order.shop}",
            )
        except PublishFailedError:
            if publisher is self._publisher:
                await self.close()
            return False
        self.confirmed[order.id] += 1
        return True

    async def _sent_as_it_is(self, order: Order, odd: OddMessage) -> bool:
        """By another connection, which a link that is cut costs no more than this one message."""
        try:
            async with raw_publisher(self._url, self._names.exchange) as raw:
                await raw.publish(odd)
        except LINK_ERRORS:
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        self.confirmed[order.id] += 1
        return True

    async def _open(self) -> None:
        """Open a connection; one at a time, for all who wait for it."""
        async with self._opening:
            if self._publisher is not None:
                return
            try:
                self._connection = await connect(self._url, "chaos publisher")
                self._publisher = await Publisher.open(self._connection)
            except LINK_ERRORS:
                await self.close()
                await asyncio.sleep(_PAUSE_SECONDS)
