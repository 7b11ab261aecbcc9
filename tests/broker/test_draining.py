"""Bad moments: to shut down, or to change the prefetch, while the link is stalled or opened, or frames overtake."""

import asyncio
import signal
import time

import pamqp.frame
import pytest
import structlog
from aiormq.abc import ChannelFrame
from pamqp.commands import Basic

from consumer.adapters.link import LINK_ERRORS, connect, open_channel
from consumer.adapters.session import Acks
from consumer.adapters.topology import queue_state
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import Consumer, environment
from tests.support.proxy import Proxy

# Far below the 30 s that a pod usually gets.
PROMPT_SECONDS = 12


async def test_a_shutdown_does_not_wait_for_a_link_that_cannot_be_opened(names: Names, link: Proxy) -> None:
    """SIGTERM while the broker does not answer the greeting: gone within seconds, with status 0."""
    link.stall()
    consumer = Consumer(environment(f"amqp://guest:guest@127.0.0.1:{link.port}/", names))
    await consumer.start()
    await eventually(lambda: link.accepted, timeout=20)
    asked = time.monotonic()
    consumer.send(signal.SIGTERM)
    assert await consumer.wait() == 0
    assert time.monotonic() - asked < PROMPT_SECONDS


async def test_a_shutdown_does_not_wait_for_a_stalled_link(names: Names, link: Proxy) -> None:
    """SIGTERM while nothing passes between us and the broker: gone within seconds, with status 0."""
    async with Consumer(environment(f"amqp://guest:guest@127.0.0.1:{link.port}/", names)) as consumer:
        link.stall()
        asked = time.monotonic()
        consumer.send(signal.SIGTERM)
        assert await consumer.wait(90) == 0
        assert time.monotonic() - asked < PROMPT_SECONDS


async def test_a_drain_is_not_undone_by_a_change_of_the_prefetch(broker: PrivateBroker, names: Names) -> None:
    """The API comes back in the middle of a shutdown: no consumer is made for it any more."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            session = consumer.app.rabbit._session
            assert session is not None
            await asyncio.gather(session.consume(7), session.stop_consuming(), session.consume(9))
            state = await queue_state(at_broker.connection, names.queue)
            assert state is not None
            assert (session.prefetch, state.consumers) == (0, 0)


async def test_a_link_that_stalls_while_the_broker_is_asked_is_rebuilt(
    broker: PrivateBroker, names: Names, link: Proxy
) -> None:
    """The library ends such a question with a CancelledError that nobody of ours has caused."""
    url = f"amqp://guest:guest@127.0.0.1:{link.port}/?heartbeat=1"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(url, names, sandbox)) as consumer:
            first = consumer.app.rabbit._session
            assert first is not None
            link.stall()
            consumer.app.rabbit.want(5)
            await eventually(first.lost.done, timeout=30)
            link.cut()
            link.resume()
            await eventually(lambda: consumer.app.rabbit._session is not first and consumer.app.rabbit.consuming)
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])


@pytest.mark.parametrize("whose", ["ours", "the library's"])
async def test_a_channel_of_a_closed_connection_is_a_lost_link(broker: PrivateBroker, whose: str) -> None:
    """The link may go between any two questions; that the libraries raise RuntimeError then must end no process."""
    connection = await connect(broker.url, "test")
    assert connection.transport is not None
    await (connection.close() if whose == "ours" else connection.transport.connection.close())
    with pytest.raises(LINK_ERRORS):
        await open_channel(connection)
    await connection.close()


class _SlowChannel:
    """Takes frames in no fixed order, as the client library's full write queue does: here a nack is overtaken."""

    is_closed = False
    number = 1

    def __init__(self) -> None:
        self.connection = self.write_queue = self
        self.room = asyncio.Event()
        self.sent: list[tuple[str, int, bool]] = []

    async def put(self, frame: ChannelFrame) -> None:
        data = frame.payload
        while data:
            size, _, ack = pamqp.frame.unmarshal(data)
            assert isinstance(ack, Basic.Ack)
            assert ack.delivery_tag is not None
            self.sent.append(("ack", ack.delivery_tag, ack.multiple))
            data = data[size:]

    async def basic_nack(self, tag: int, requeue: bool = True, wait: bool = True) -> None:
        await self.room.wait()
        self.sent.append(("nack", tag, False))


async def test_a_message_on_its_way_back_is_never_acknowledged_with_its_successors() -> None:
    """An acknowledgement "up to here" that overtook a return would lose the order."""
    channel = _SlowChannel()
    acks = Acks(channel)  # type: ignore[arg-type]  # as much of a channel as is used
    for tag in (1, 2, 3):
        acks.delivered(tag)
    returning = asyncio.create_task(acks.give_back(2))
    await asyncio.sleep(0)
    acks.ack(1)
    acks.ack(3)
    await eventually(lambda: len(channel.sent) == 2)
    assert channel.sent == [("ack", 1, True), ("ack", 3, False)]
    channel.room.set()
    await returning
    assert channel.sent[2:] == [("nack", 2, False)]


async def test_a_drain_during_the_look_for_an_alarm_is_not_told_as_consuming(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the line `consuming`, as a rollout's script may, must not be told so by a process that leaves."""
    async with InProcess(environment(broker.url, names)) as consumer:
        rabbit = consumer.app.rabbit
        session = rabbit._session
        assert session is not None
        looking, may_go_on = asyncio.Event(), asyncio.Event()

        async def slow_look() -> bool:
            looking.set()
            await may_go_on.wait()
            return False

        monkeypatch.setattr(session, "look_for_alarm", slow_look)
        await asyncio.wait_for(looking.wait(), 10)
        with structlog.testing.capture_logs() as told:
            draining = asyncio.create_task(rabbit.drain(1))
            await eventually(lambda: session.prefetch == 0)
            may_go_on.set()
            await draining
            await consumer.stop()
        assert "consuming" not in [line["event"] for line in told]
