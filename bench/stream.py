"""What a delivery costs until it is a `Delivery`: read by the client library, and taken out of the stream before it.

    .venv/bin/python -m bench.stream

The library's way is a plain callback on its channel, the cheapest that it has. Both acknowledge every 32nd delivery.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from aiormq.abc import AbstractChannel, DeliveredMessage

from bench.harness.events import canonical
from bench.harness.publishing import Publisher
from consumer.adapters.link import connect, open_channel
from consumer.adapters.topology import declare
from consumer.app import wanted_topology
from consumer.core.delivery import Delivery
from consumer.devbroker import PrivateBroker
from consumer.settings import read_settings

QUEUE = "bench"
DELIVERIES = 20_000
ROUNDS = 3
PREFETCH, TOGETHER = 64, 32


class Count:
    """Counts deliveries, acknowledges them by the bunch, and measures from the first to the last."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.over = asyncio.Event()
        self.cpu = 0.0
        self._channel, self._number = channel, 0
        self._acks: set[asyncio.Task[None]] = set()

    def one(self, tag: int, _: Delivery) -> None:
        """Take one."""
        self._number += 1
        if self._number == 1:
            self.cpu = -time.process_time()
        if self._number % TOGETHER == 0:
            ack = asyncio.ensure_future(self._channel.basic_ack(tag, multiple=True, wait=False))
            self._acks.add(ack)
            ack.add_done_callback(self._acks.discard)
        if self._number == DELIVERIES:
            self.cpu += time.process_time()
            self.over.set()


async def by_library(url: str) -> float:
    """CPU seconds of all deliveries, each of them read by the client library."""
    async with await connect(url, "bench") as connection:
        channel = await open_channel(connection)
        count = Count(channel)

        async def receive(message: DeliveredMessage) -> None:
            delivery = Delivery(message.body, message.exchange or "", message.routing_key or "")
            count.one(message.delivery_tag or 0, delivery)

        return await consumed(channel, count, receive)


async def by_stream(url: str) -> float:
    """The same, each of them taken out of the stream."""
    async with await connect(url, "bench") as connection:
        channel = await open_channel(connection)
        count = Count(channel)
        connection.stream.take(channel.number, count.one)

        async def never(_: DeliveredMessage) -> None:
            raise AssertionError("a delivery was missed")

        return await consumed(channel, count, never)


async def consumed(
    channel: AbstractChannel, count: Count, callback: Callable[[DeliveredMessage], Coroutine[Any, Any, None]]
) -> float:
    """Consume until all have come."""
    await channel.basic_qos(prefetch_count=PREFETCH)
    await channel.basic_consume(QUEUE, callback)
    await count.over.wait()
    return count.cpu


async def prepared(url: str) -> None:
    """Declare the queue as the program does."""
    settings = read_settings({"CONSUMER_QUEUE": QUEUE, "CONSUMER_EXCHANGE": f"{QUEUE}.order.paid"})
    async with await connect(url, "bench") as connection:
        await declare(connection, wanted_topology(settings))


def main() -> None:
    """Both ways in turn; microseconds of CPU a delivery."""
    with PrivateBroker() as broker:
        asyncio.run(prepared(broker.url))
        for _ in range(ROUNDS):
            for way in (by_library, by_stream):
                with Publisher(broker.url) as publisher:
                    publisher.fill(QUEUE, canonical(), DELIVERIES)
                print(f"{way.__name__:12} {uvloop.run(way(broker.url)) / DELIVERIES * 1e6:5.1f} us")


if __name__ == "__main__":
    main()
