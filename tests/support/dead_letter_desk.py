"""Dead letters at a real broker: put there as the consumer would have left them, and looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.adapters.deadletterqueue import DeadLetterQueue
from consumer.adapters.link import connect
from consumer.adapters.topology import declare
from consumer.app import wanted_topology
from consumer.core.delivery import Delivery
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.settings import read_settings
from tests.conftest import Names
from tests.support import letters as invented
from tests.support.program import environment


@asynccontextmanager
async def a_desk(url: str, names: Names) -> AsyncIterator[Desk]:
    """A desk at queues as the consumer declares them."""
    settings = read_settings(environment(url, names))
    async with await connect(url, "test") as connection:
        await declare(connection, wanted_topology(settings))
        yield Desk(DeadLetterQueue(connection, settings.routes.queues), invented.read)


async def bury(desk: Desk, *letters: Delivery) -> None:
    """Put letters into the queue, in order."""
    publisher = await desk.queue.publisher()
    for start in range(0, len(letters), 500):
        part = letters[start : start + 500]
        await asyncio.gather(
            *(
                publisher.publish(each.body, each.headers, each.properties, routing_key=desk.queue.queues.dead)
                for each in part
            )
        )
    await publisher.close()


async def ids(desk: Desk) -> list[str]:
    """The ids of all letters, in the order in which they lie."""
    async with looking(desk, Filter()) as look:
        return [letter.id async for _, letter in look]
