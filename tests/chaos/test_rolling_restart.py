"""A deployment is rolled under load, one consumer after the other."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import Consumer, environment

RESTARTS = 10
BATCH = 20


async def test_rolling_restarts_lose_nothing_and_post_nothing_twice(broker: PrivateBroker, names: Names) -> None:
    """Ten SIGTERMs, in turn to two consumers that are busy, at an API that answers in 100 ms: every order posted once.

    Each process leaves with status 0 and says that it had nothing to return.
    """
    async with Sandbox(faults=["delay=100ms"]) as sandbox, desk(broker.url, names) as at_broker:
        # A machine so busy that an answer takes 2 s, or a process 5 s to finish, would be a fault of its own kind.
        patience = {"CONSUMER_REQUEST_TIMEOUT": "20s", "CONSUMER_SHUTDOWN_GRACE": "25s"}
        environ = environment(broker.url, names, sandbox) | patience
        async with Consumer(environ) as one, Consumer(environ) as two:
            shops_sell = asyncio.Event()
            selling = asyncio.create_task(_sell(at_broker.publish, shops_sell))
            for turn in range(RESTARTS):
                consumer = (one, two)[turn % 2]
                settled = len(consumer.events("settled"))
                await eventually(lambda: len(consumer.events("settled")) > settled + BATCH)  # noqa: B023 - awaited here
                consumer.send(signal.SIGTERM)
                assert await consumer.wait() == 0
                await consumer.start()
                await consumer.consuming(times=turn // 2 + 2)
            shops_sell.set()
            published = await selling
            await eventually(lambda: len(sandbox.orders) == published, timeout=60)
            for consumer in (one, two):
                consumer.send(signal.SIGTERM)
                assert await consumer.wait() == 0
        assert sorted({each.posts for each in sandbox.orders}) == [1]
        stops = [*one.events("stopped"), *two.events("stopped")]
        assert len(stops) == RESTARTS + 2
        assert {stop["returned"] for stop in stops} == {0}
        assert sum(stop["finished"] for stop in stops) > 0, "no consumer was busy when it was stopped"
        assert await at_broker.dead() == 0
        assert await at_broker.count(names.queue) == 0


async def _sell(publish: Callable[[bytes], Awaitable[None]], stop: asyncio.Event) -> int:
    """Publish orders evenly until told to stop; how many they were."""
    count = 0
    while not stop.is_set():
        await asyncio.gather(*(publish(order(f"ORD-{count + index}")) for index in range(BATCH)))
        count += BATCH
        await asyncio.sleep(0.1)
    return count
