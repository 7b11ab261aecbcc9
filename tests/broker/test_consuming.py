"""Consuming: what the broker, and the way to it, can do to us."""

import asyncio
import signal

import pytest

from consumer.adapters.link import connect, short_channel
from consumer.adapters.topology import TopologyError
from consumer.core import delivery as header
from consumer.core.delivery import Properties
from consumer.core.headers import OURS
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import Consumer, command, environment
from tests.support.proxy import Proxy


def orders(count: int) -> list[bytes]:
    return [order(f"ORD-{index}") for index in range(count)]


async def test_the_broker_may_go_away_for_ten_seconds(own_broker: PrivateBroker, names: Names) -> None:
    """Killed in the middle of a run and started again: the consumer goes on by itself, and nothing is lost."""
    async with Sandbox(faults=["delay=50ms"]) as sandbox:
        async with Consumer(environment(own_broker.url, names, sandbox)) as consumer:
            async with desk(own_broker.url, names) as at_broker:
                await asyncio.sleep(2)  # a quorum queue of less than half a second may come back without its leader
                await at_broker.publish(*orders(2000))
                await eventually(lambda: len(sandbox.orders) > 200)
                await asyncio.to_thread(own_broker.kill)
            await eventually(lambda: consumer.events("broker lost"))
            await asyncio.sleep(3)
            await asyncio.to_thread(own_broker.start)
            await consumer.consuming(times=2)
            await eventually(lambda: len(sandbox.orders) == 2000, timeout=60)
        assert sum(each.posts - 1 for each in sandbox.orders) == 0  # the ledger knew those that came again
        assert len(consumer.events("broker lost")) == 1


async def test_a_broker_that_is_not_there_yet_is_waited_for(own_broker: PrivateBroker, names: Names) -> None:
    """Started before its broker, the consumer says so, waits, and then consumes."""
    await asyncio.to_thread(own_broker.stop)
    consumer = Consumer(environment(own_broker.url, names))
    await consumer.start()
    await eventually(lambda: consumer.events("broker not usable"))
    await asyncio.to_thread(own_broker.start)
    await consumer.consuming()
    consumer.send(signal.SIGTERM)
    assert await consumer.wait() == 0


@pytest.mark.parametrize("how", ["channel", "queue", "cut", "rung"])
async def test_whatever_breaks_is_rebuilt_whole(broker: PrivateBroker, names: Names, link: Proxy, how: str) -> None:
    """A channel closed by the broker, a queue deleted under us, a link cut, a delay queue gone: it consumes again."""
    url = f"amqp://guest:guest@127.0.0.1:{link.port}/"
    faults = ["503:order=LATE,times=1"]
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(url, names, sandbox)) as consumer:
            first = consumer.app.rabbit._session
            assert first is not None
            match how:
                case "channel":
                    await first._channel.basic_ack(4711)  # an unknown tag, for which the broker closes the channel
                case "queue":
                    async with short_channel(at_broker.connection) as channel:
                        await channel.queue_delete(names.queue)
                case "cut":
                    link.cut()
                case "rung":
                    async with short_channel(at_broker.connection) as channel:
                        for rung in ("200ms", "400ms"):  # the jitter may choose either
                            await channel.queue_delete(f"{names.queue}.retry.{rung}")
                    await at_broker.publish(order("LATE"))
            await eventually(lambda: consumer.app.rabbit._session is not first and consumer.app.rabbit.consuming)
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            if how == "rung":
                await eventually(lambda: consumer.outcomes("LATE")[-1:] == ["delivered"])


async def test_an_order_in_flight_when_the_link_is_cut_is_posted_once(
    broker: PrivateBroker, names: Names, link: Proxy
) -> None:
    """The POST goes on; the message comes again and is a duplicate."""
    url = f"amqp://guest:guest@127.0.0.1:{link.port}/"
    async with Sandbox(faults=["delay=500ms"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(url, names, sandbox)) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.app.rabbit.in_flight == 1)
            link.cut()
            await eventually(lambda: consumer.outcomes("ORD-1") == ["duplicate"])
        assert [each.posts for each in sandbox.orders] == [1]


@pytest.mark.parametrize("kind", ["direct", "fanout", "headers", "topic"])
async def test_an_exchange_that_exists_is_used_as_it_is(broker: PrivateBroker, names: Names, kind: str) -> None:
    """Whatever its type; a direct one is reached by its routing key."""
    async with desk(broker.url, names) as at_broker, Sandbox() as sandbox:
        async with short_channel(at_broker.connection) as channel:
            await channel.exchange_declare(names.exchange, exchange_type=kind)
        environ = environment(broker.url, names, sandbox, CONSUMER_ROUTING_KEY="order.paid")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])


async def test_queues_that_differ_stop_the_start_with_a_way_out(broker: PrivateBroker, names: Names) -> None:
    """The message names queue and argument, and what to do."""
    connection = await connect(broker.url, "test")
    async with connection, short_channel(connection) as channel:
        await channel.queue_declare(f"{names.queue}.dlq", durable=True)
    status, _, err = await command(environment(broker.url, names), "run")
    assert status == 1
    assert f"{names.queue}.dlq" in err
    assert "x-overflow: expected reject-publish, found none" in err
    assert "CONSUMER_QUEUE" in err


async def test_with_declare_off_nothing_is_created(broker: PrivateBroker, names: Names) -> None:
    """Missing queues are named; existing ones that fit are consumed from."""
    environ = environment(broker.url, names, CONSUMER_DECLARE="off")
    status, _, err = await command(environ, "run")
    assert (status, "does not exist" in err) == (1, True)
    async with InProcess(environment(broker.url, names)):
        pass
    async with InProcess(environ) as consumer:
        assert consumer.app.rabbit.consuming


async def test_what_a_message_carries_stays_with_it_and_the_brokers_headers_do_not(
    broker: PrivateBroker, names: Names
) -> None:
    """Through two rungs into the dead letters: properties and foreign headers kept, x-death and CC gone."""
    properties = Properties("application/json", "identity", "corr-1", None, "OrderPaid", "shop", "replies", 3)
    headers: dict[str, object] = {"traceparent": "00-1", "n": 7, "nested": {"a": [1, "x"]}, "CC": ["elsewhere"]}
    async with Sandbox(faults=["503"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)):
            await at_broker.publish(order("ORD-1"), headers=headers, properties=properties)
            await eventually(at_broker.dead)
        (letter,) = await at_broker.take_dead()
    # Each quorum queue adds a count of its own to what it delivers.
    carried = {name: value for name, value in letter.headers.items() if name != "x-delivery-count"}
    foreign = {name: value for name, value in carried.items() if not name.startswith(OURS)}
    assert foreign == {"traceparent": "00-1", "n": 7, "nested": {"a": [1, "x"]}}
    kept = letter.properties
    assert (kept.content_type, kept.content_encoding, kept.correlation_id) == ("application/json", "identity", "corr-1")
    assert (kept.message_type, kept.app_id, kept.reply_to, kept.priority) == ("OrderPaid", "shop", "replies", 3)
    assert letter.headers[header.EXCHANGE] == names.exchange
    assert letter.headers[header.ROUTING_KEY] == "order.paid"
    assert letter.headers[header.ATTEMPT] == 3


async def test_sigterm_finishes_what_is_in_flight(broker: PrivateBroker, names: Names) -> None:
    """Slow POSTs end within the grace, are acknowledged, and the exit status is 0 with one line that counts them."""
    async with Sandbox(faults=["delay=1s"]) as sandbox, desk(broker.url, names) as at_broker:
        async with Consumer(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(*orders(10))
            await eventually(lambda: len(sandbox.orders) == 10)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
        (stopped,) = consumer.events("stopped")
        assert (stopped["finished"], stopped["returned"]) == (10, 0)
        assert await at_broker.count(names.queue) == 0


async def test_what_outlasts_the_grace_goes_back_untried(broker: PrivateBroker, names: Names) -> None:
    """The rest is returned to the queue, its try unused, and the next consumer delivers it."""
    async with Sandbox(faults=["delay=2s:times=1"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(
            broker.url, names, sandbox, CONSUMER_REQUEST_TIMEOUT="200ms", CONSUMER_SHUTDOWN_GRACE="300ms"
        )
        slow = environ | {"CONSUMER_REQUEST_TIMEOUT": "29s", "CONSUMER_SHUTDOWN_GRACE": "30s"}
        async with InProcess(slow) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: sandbox.book.orders)
            drained = await consumer.app.rabbit.drain(0.1)
            assert (drained.finished, drained.returned) == (0, 1)
        async with InProcess(environ) as consumer:
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            assert [report.journey.attempt for report in consumer.reports] == [1]


async def test_a_second_signal_leaves_at_once(broker: PrivateBroker, names: Names) -> None:
    """The operator insists: no more waiting for a slow POST; the message stays in the queue."""
    async with Sandbox(faults=["delay=25s"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_REQUEST_TIMEOUT="20s", CONSUMER_SHUTDOWN_GRACE="30s")
        async with Consumer(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: sandbox.book.orders)
            consumer.send(signal.SIGTERM)
            await asyncio.sleep(0.2)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait(timeout=15) == 1
        await eventually(lambda: at_broker.count(names.queue))


async def test_a_mismatch_is_told_in_words(broker: PrivateBroker, names: Names) -> None:
    """In process: the same error as an exception, before anything is consumed."""
    connection = await connect(broker.url, "test")
    async with connection, short_channel(connection) as channel:
        await channel.queue_declare(
            names.queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 3}
        )
    consumer = InProcess(environment(broker.url, names))
    with pytest.raises(TopologyError, match=r"x-delivery-limit|x-dead-letter|x-overflow"):
        await consumer.app.run(asyncio.Event())
