"""The private node does as it is told, and keeps what it confirmed. Everything else here is built on that."""

import asyncio

import aio_pika
import pytest
from aio_pika.abc import AbstractRobustConnection

from consumer.devbroker import BrokerError, PrivateBroker
from consumer.devbroker.ports import speaks_amqp
from tests.conftest import Names
from tests.support.eventually import eventually


async def _connect(url: str) -> aio_pika.abc.AbstractConnection:
    return await aio_pika.connect(url, timeout=10)


async def _publish(url: str, queue: str, body: bytes, seconds: float = 10) -> None:
    """Declared durable, published persistent, and confirmed."""
    async with await _connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue, timeout=seconds)


async def _take(url: str, queue: str) -> bytes:
    async with await _connect(url) as connection:
        channel = await connection.channel()
        taken = await (await channel.declare_queue(queue, durable=True)).get(timeout=10)
        await taken.ack()
        return taken.body


@pytest.mark.parametrize("blow", ["kill", "stop"])
async def test_what_was_confirmed_outlives_the_process(own_broker: PrivateBroker, names: Names, blow: str) -> None:
    """After kill -9 as after an orderly stop: gone at once, back on the same port with its data."""
    url = own_broker.url
    async with await _connect(url) as connection:
        await (await connection.channel()).declare_queue(names.queue, durable=True)
    # A confirm tells that a message is on disk. Of the queue itself nothing is promised so soon: once, one that was new
    # was gone with the process. `catch`: a broker may keep its queues elsewhere than in Mnesia.
    await asyncio.to_thread(own_broker.ctl, "eval", "catch mnesia:sync_log().")
    await _publish(url, names.queue, b"order")
    await asyncio.to_thread(getattr(own_broker, blow))
    assert not speaks_amqp(own_broker.port)
    await asyncio.to_thread(own_broker.start)
    assert own_broker.url == url
    assert await _take(url, names.queue) == b"order"


async def test_a_paused_node_keeps_connections_and_answers_nothing(own_broker: PrivateBroker, names: Names) -> None:
    """A client cannot tell by its connection that the broker is frozen, and gets its answer after all later."""
    async with await _connect(own_broker.url) as connection:
        channel = await connection.channel()
        own_broker.pause()
        declared = asyncio.ensure_future(channel.declare_queue(names.queue, durable=True))
        assert await asyncio.wait({declared}, timeout=0.5) == (set(), {declared})
        assert not connection.is_closed
        own_broker.resume()
        assert (await asyncio.wait_for(declared, 10)).name == names.queue


async def test_under_the_memory_alarm_nobody_may_publish(own_broker: PrivateBroker, names: Names) -> None:
    """A publish is neither confirmed nor refused while the alarm is on, and goes through once it is off."""
    await _publish(own_broker.url, names.queue, b"before")
    await asyncio.to_thread(own_broker.set_memory_alarm, on=True)
    with pytest.raises(TimeoutError):
        await _publish(own_broker.url, names.queue, b"during", seconds=0.5)
    await asyncio.to_thread(own_broker.set_memory_alarm, on=False)
    await _publish(own_broker.url, names.queue, b"after")


async def test_starting_a_node_that_runs_changes_nothing(own_broker: PrivateBroker) -> None:
    """Nobody is thrown out by a second start."""
    async with await _connect(own_broker.url) as connection:
        await asyncio.to_thread(own_broker.start)
        await connection.channel()


def test_rabbitmqctl_is_this_nodes_own(own_broker: PrivateBroker, broker: PrivateBroker) -> None:
    """Two private nodes on one machine answer for themselves, and a command that fails says what it said."""
    assert f"{own_broker.port}" in own_broker.ctl("status")
    assert f"{broker.port}" not in own_broker.ctl("status")
    with pytest.raises(BrokerError, match="no_such_command"):
        own_broker.ctl("no_such_command")


async def test_each_virtual_host_is_empty_and_goes_with_its_test(broker: PrivateBroker, vhost: str) -> None:
    """Queues of the usual names in one do not show in another."""
    await _publish(vhost, "neuroon.conversions", b"order")
    async with await _connect(broker.url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("neuroon.conversions", passive=True)
    assert await _take(vhost, "neuroon.conversions") == b"order"


async def test_a_robust_client_finds_the_node_again(own_broker: PrivateBroker) -> None:
    """The port survives a restart: a client that reconnects needs to be told nothing."""
    connection: AbstractRobustConnection = await aio_pika.connect_robust(own_broker.url, reconnect_interval=0.1)
    async with connection:
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        await asyncio.to_thread(own_broker.restart)
        await asyncio.wait_for(lost.wait(), 10)
        await eventually(connection.connected.is_set, timeout=30)
