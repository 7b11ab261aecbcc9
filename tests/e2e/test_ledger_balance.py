"""The account of a consumer at work, and of what the broker dead-letters itself."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aio_pika

from consumer.adapters.ledger.batching import BatchedLedger
from consumer.balance import BalanceWatch
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.e2e.test_ledger import told
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment


async def test_the_account_closes_at_every_moment_of_a_busy_consumer(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """A tenth of 2,000 orders wait at least once, some die: those on their way are booked, whenever it is closed."""
    faults = ["400:order=BAD-*", "503:share=0.1,times=2"]
    orders = [order(f"BAD-{index}" if index % 20 == 0 else f"ORD-{index}") for index in range(2000)]
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            seen: list[Mapping[str, float]] = []
            ledger = consumer.app.ledger
            assert isinstance(ledger, BatchedLedger)
            watch = BalanceWatch(ledger.store, broker.url, consumer.app.settings.routes, seen.append)
            publishing = asyncio.create_task(at_broker.publish(*orders))

            async def ended() -> bool:
                await watch._close_account()
                return seen[-1]["delivered"] + seen[-1]["dead"] == len(orders)

            await eventually(ended, timeout=120)
            await publishing
    assert [each["difference"] for each in seen if each["difference"]] == []
    assert any(each["inFlight"] for each in seen)
    assert len(seen) >= 5


async def test_what_the_broker_dead_lettered_itself_is_in_the_account(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Before and after it was discarded; a dead letter that is really missing is told beside it."""
    async with Sandbox(faults=["400"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: len(consumer.reports) == 1)
        await at_broker.publish(order("CRASH-1"))
        connection = await aio_pika.connect(broker.url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(names.queue)
            message = await queue.get(timeout=10)
            assert message is not None
            await message.reject(requeue=False)
        await eventually(lambda: at_broker.is_empty(names.queue))

        async def closed() -> Any:
            found = await told(environ, "ledger", "balance")
            return found if found["dead"] == 2 else None

        account = await eventually(closed)
        assert (account["received"], account["crashed"], account["difference"]) == (2, 1, 0)
        audit = ("--audit", str(tmp_path / "audit"))
        await told(environ, "dlq", "discard", "--reason", "bug", "--yes", "--why", "tested", *audit)
        account = await told(environ, "ledger", "balance")
        assert (account["dead"], account["discarded"], account["difference"]) == (1, 1, 0)
