"""A consumer whose ledger's server stalls: orders are delivered, and a stop is heeded."""

import signal
from urllib.parse import urlsplit

from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.contract.test_ledger_store import empty_database
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import Consumer, environment
from tests.support.proxy import Proxy


async def test_a_stop_waits_for_no_ledger_that_stalls(broker: PrivateBroker, names: Names, postgres_url: str) -> None:
    """Before the first order as well as with entries unwritten, which are named at the end."""
    address = urlsplit(await empty_database(postgres_url))
    async with Proxy(("127.0.0.1", address.port or 0)) as proxy, Sandbox() as sandbox:
        url = address._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()
        environ = environment(broker.url, names, sandbox, LEDGER_URL=url)
        async with desk(broker.url, names) as at_broker, Consumer(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: len(consumer.events("settled")) == 1)
            proxy.stall()
            await at_broker.publish(order("ORD-2"))
            await eventually(lambda: len(consumer.events("settled")) == 2)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
            assert consumer.events("ledger closed with entries unwritten")
            connections = proxy.accepted
            await consumer.start()
            await eventually(lambda: proxy.accepted > connections)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
