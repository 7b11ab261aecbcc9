"""Retry queues that may not be compared: no order is put into one that has not been proven to hand it on."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from consumer.adapters.link import connect, open_channel, short_channel
from consumer.adapters.publisher import Publisher
from consumer.adapters.rung_proof import REPLY_TO, Probe, Prober, RungProof, read_probe
from consumer.adapters.topology import TopologyError, declare
from consumer.app import wanted_topology
from consumer.core.delivery import ATTEMPT, PROBE, WAIT_LEFT, Delivery, Properties
from consumer.core.headers import Headers
from consumer.core.settlement import Ack, Move
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from tests.conftest import Names
from tests.support.broker import Desk, desk
from tests.support.clerk import Clerk, hired
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment
from tests.support.proxy import Proxy


@pytest.fixture
async def clerk(broker: PrivateBroker, vhost: str, names: Names) -> AsyncIterator[Clerk]:
    """A user who may consume and publish, and neither declare nor compare."""
    async with hired(broker, vhost) as user:
        await user.may("off", names)
        yield user


async def declared(vhost: str, environ: dict[str, str], broken: Mapping[str, Mapping[str, str | int | None]]) -> None:
    """Declare all queues as an administrator would; `broken` changes arguments of some, None leaves one out."""
    wanted = wanted_topology(read_settings(environ))
    async with await connect(vhost, "test") as owner, short_channel(owner) as channel:
        for queue in wanted.queues:
            await channel.queue_delete(queue.name)
        await declare(owner, wanted)
        for queue in wanted.queues:
            if (changes := broken.get(queue.name.rpartition(".")[2])) is not None:
                arguments: dict[str, Any] = {**queue.arguments, **changes}
                given = {name: value for name, value in arguments.items() if value is not None}
                await channel.queue_delete(queue.name)
                await channel.queue_declare(queue.name, durable=True, arguments=given)


NO_TARGET: dict[str, str | int | None] = {
    "x-dead-letter-exchange": None,
    "x-dead-letter-routing-key": None,
    "x-dead-letter-strategy": None,
}


async def everywhere(at_broker: Desk, names: Names, *rungs: str) -> int:
    """How many messages are ready in the main queue and these retry queues."""
    return sum([await at_broker.count(each) for each in (names.queue, *(f"{names.queue}.retry.{r}" for r in rungs))])


async def refusal(environ: dict[str, str], *orders: bytes, at_broker: Desk | None = None) -> str:
    """Run until the program refuses to go on, while these orders are published and tried; the error's message."""
    consumer = InProcess(environ)
    consumer.app.proof.patience = 0.2
    running = asyncio.create_task(consumer.app.run(asyncio.Event()))
    if at_broker is not None:
        await at_broker.publish(*orders)
        await eventually(lambda: len(consumer.reports) >= len(orders))
    with pytest.raises(TopologyError) as refused:
        await running
    return str(refused.value)


def off(clerk: Clerk, names: Names, sandbox: Sandbox, **more: str) -> dict[str, str]:
    return environment(clerk.url, names, sandbox, CONSUMER_DECLARE="off", **more)


async def test_a_retry_queue_without_dead_lettering_gets_no_order_and_stops_the_program(
    clerk: Clerk, vhost: str, names: Names
) -> None:
    """An order that fails meanwhile waits elsewhere and is still there; the error names the queue and what it lacks."""
    async with Sandbox(faults=["503"]) as sandbox, desk(vhost, names) as at_broker:
        environ = off(clerk, names, sandbox, CONSUMER_RETRY_DELAYS="2s,3s")
        await declared(vhost, environ, {"2s": NO_TARGET, "3s": NO_TARGET})
        problem = await refusal(environ, order("ORD-1"), at_broker=at_broker)
        assert problem.startswith(f"retry queue '{names.queue}.retry.2s' is to hand its messages on"), problem
        assert "x-message-ttl=2000" in problem
        await eventually(lambda: everywhere(at_broker, names, "300ms"))
        assert await at_broker.dead() == 0


async def test_proven_retry_queues_are_used_and_probes_leave_nothing_behind(
    clerk: Clerk, vhost: str, names: Names
) -> None:
    """Two replicas that start on a backlog with orders that fail once prove every queue and deliver all of it."""
    count = 200
    faults = [f"503:order=ORD-{number},times=1" for number in range(0, count, 20)]
    async with Sandbox(faults=faults) as sandbox, desk(vhost, names) as at_broker:
        environ = off(clerk, names, sandbox)
        await declared(vhost, environ, {})
        await at_broker.publish(*(order(f"ORD-{number}") for number in range(count)))
        async with InProcess(environ) as one, InProcess(environ) as two:
            await eventually(lambda: len(sandbox.orders) == count)
            await eventually(lambda: not one.app.proof._unproven and not two.app.proof._unproven)
            assert {line for each in range(count) for line in one.outcomes(f"ORD-{each}")} <= {"retry", "delivered"}
        assert not await everywhere(at_broker, names, "200ms", "300ms", "400ms")
        assert await at_broker.dead() == 0


async def test_a_retry_queue_of_another_delay_stops_the_program(clerk: Clerk, vhost: str, names: Names) -> None:
    """A time to live in seconds instead of milliseconds brings orders back at once, and uses up their tries."""
    async with Sandbox() as sandbox:
        environ = off(clerk, names, sandbox, CONSUMER_RETRY_DELAYS="1s")
        await declared(vhost, environ, {"1s": {"x-message-ttl": 1}})
        assert re.search(r"after 1 s: a probe came back after 0\.\d s", await refusal(environ))


async def test_the_management_api_takes_the_place_of_probes(clerk: Clerk, vhost: str, names: Names) -> None:
    """It shows the arguments: what differs is named at once, be it a queue of an hour or the dead-letter queue."""
    more = {"RABBITMQ_MANAGEMENT_URL": clerk.management, "CONSUMER_RETRY_DELAYS": "1h"}
    async with Sandbox() as sandbox, desk(vhost, names) as at_broker:
        environ = off(clerk, names, sandbox, **more)
        await declared(vhost, environ, {})
        async with InProcess(environ) as consumer:
            await eventually(lambda: not consumer.app.proof._unproven)
            assert not await everywhere(at_broker, names, "1h")
        await declared(vhost, environ, {"1h": NO_TARGET})
        assert "1h' exists with other arguments: x-dead-letter-exchange: expected '', found none" in await refusal(
            environ
        )
        await declared(vhost, environ, {"1h": {}, "dlq": {"x-delivery-limit": 20}})
        assert "dlq' exists with other arguments: x-delivery-limit: expected 100000, found 20" in await refusal(environ)


async def test_a_lost_link_starts_the_proof_again(
    broker: PrivateBroker, clerk: Clerk, vhost: str, names: Names, link: Proxy
) -> None:
    """Answers to the probes of the lost link cannot arrive any more, so that others are sent."""
    async with Sandbox() as sandbox:
        environ = off(clerk, names, sandbox, CONSUMER_RETRY_DELAYS="2s")
        await declared(vhost, environ, {})
        environ["AMQP_URL"] = environ["AMQP_URL"].replace(f":{broker.port}/", f":{link.port}/")
        async with InProcess(environ) as consumer, desk(vhost, names) as at_broker:
            rung = f"{names.queue}.retry.2s"
            await eventually(lambda: at_broker.count(rung))
            link.cut()
            await eventually(lambda: not consumer.app.proof._unproven)
        assert await at_broker_is_empty(vhost, names, rung)


async def at_broker_is_empty(vhost: str, names: Names, rung: str) -> bool:
    async with desk(vhost, names) as at_broker:
        return await at_broker.is_empty(names.queue) and await at_broker.is_empty(rung)


async def test_a_probe_whose_sender_is_gone_is_acknowledged(vhost: str, names: Names) -> None:
    """The consumer neither dead-letters it nor takes the missing reply queue for a queue of its own that is gone."""
    async with Sandbox() as sandbox, desk(vhost, names) as at_broker:
        async with InProcess(environment(vhost, names, sandbox)) as consumer:
            session = consumer.app.rabbit._session
            publisher = await Publisher.open(at_broker.connection)
            probe = Properties(
                reply_to=f"{REPLY_TO}.g1h2AA5yZXBseUAyOTA1NTE1NgAABIIAAAAAawq3wQ==.nAAQXISc9uOwrsq25LMGEA=="
            )
            await publisher.publish(b"", {PROBE: "token"}, probe, routing_key=names.queue)
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            await eventually(lambda: consumer.app.rabbit.in_flight == 0)
            assert consumer.app.rabbit._session is session
        assert await at_broker.is_empty(names.queue)
        assert await at_broker.dead() == 0


async def test_a_probe_is_answered_by_whichever_replica_receives_it(vhost: str, names: Names) -> None:
    """By a message to the sender's own reply queue, which needs no queue to be declared."""
    wanted = wanted_topology(read_settings(environment(vhost, names)))
    async with desk(vhost, names) as at_broker, await connect(vhost, "sender") as connection:
        await declare(connection, wanted)
        prober = Prober(await open_channel(connection, confirms=True), names.queue, {})
        await prober.start()
        answer = await prober.send(names.queue)
        (message,) = await at_broker.take(names.queue)
        reply_to = message.properties.reply_to
        assert reply_to is not None
        await RungProof(vhost, wanted).answer(Probe(message.headers[PROBE], reply_to))
        assert await prober.wait(answer, 20)


async def test_an_order_waits_in_a_proven_queue_for_as_long_as_in_its_own() -> None:
    """In the longest that is not longer; the rest, in a header, afterwards. So does one that another queue refuses."""
    wanted = wanted_topology(read_settings({}))
    main = wanted.main.name
    proof = RungProof("amqp://localhost/", wanted)
    hold = Move(f"{main}.retry.1m", b"{}", Headers(), Properties())
    move = Move(f"{main}.retry.10m", b"{}", Headers.of({ATTEMPT: 4, WAIT_LEFT: 1500}), Properties(), otherwise=hold)
    dead = Move(f"{main}.dlq", b"{}", Headers(), Properties(), otherwise=hold)
    assert await proof.detour(move) is move
    proof.suspect([main, *(f"{main}.retry.{each}" for each in ("1m", "10m", "1h")), f"{main}.dlq"])
    instead = await proof.detour(move)
    assert isinstance(instead, Move)
    assert instead.otherwise is not None
    assert (instead.queue, dict(instead.headers)) == (f"{main}.retry.2m", {ATTEMPT: 4, WAIT_LEFT: 481_500})
    assert (instead.otherwise.queue, instead.otherwise.headers[WAIT_LEFT]) == (f"{main}.retry.30s", 30_000)
    instead = await proof.detour(dead)
    assert isinstance(instead, Move)
    assert (instead.queue, instead.otherwise and instead.otherwise.queue) == (f"{main}.dlq", f"{main}.retry.30s")
    proof.suspect(f"{main}.retry.{each}" for each in ("5s", "30s", "2m"))
    kept = proof.around(Move(f"{main}.retry.5s", b"{}", Headers(), Properties()), 1.0)
    assert isinstance(kept, Move)
    assert (kept.queue, kept.headers[WAIT_LEFT]) == (main, 4000)
    assert await proof.detour(Ack()) == Ack()


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(b"{}", headers={PROBE: "t"}, properties=Properties(reply_to=f"{REPLY_TO}.x")),
        Delivery(b"", exchange="order.paid", headers={PROBE: "t"}, properties=Properties(reply_to=f"{REPLY_TO}.x")),
        Delivery(b"", headers={PROBE: "t"}, properties=Properties(reply_to="neuroon.conversions.dlq")),
        Delivery(b"", headers={PROBE: 7}, properties=Properties(reply_to=f"{REPLY_TO}.x")),
        Delivery(b"", headers={PROBE: "t"}),
        Delivery(b"", headers={"probe": "t"}, properties=Properties(reply_to=f"{REPLY_TO}.x")),
        Delivery(b""),
    ],
)
def test_only_our_own_empty_messages_are_probes(delivery: Delivery) -> None:
    """Whatever has a body, came through an exchange or asks for an answer elsewhere is handled as an order."""
    assert read_probe(delivery) is None
    ours = Delivery(b"", headers=Headers.of({PROBE: "t"}), properties=Properties(reply_to=f"{REPLY_TO}.x"))
    assert read_probe(ours) == Probe("t", f"{REPLY_TO}.x")
