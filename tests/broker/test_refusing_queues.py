"""Queues that take no messages cost time and never orders: neither those that would go there, nor the others."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx

from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.refusals import IN_A_ROW, PROBE_SECONDS, Refusals
from consumer.core import delivery as header
from consumer.core.delivery import Properties
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import Desk, desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment


@asynccontextmanager
async def policy(broker: PrivateBroker, queue: str, definition: dict[str, int]) -> AsyncIterator[None]:
    """A policy for one queue, as an operator sets it by mistake."""
    policy = {"pattern": f"^{queue}$", "definition": definition, "apply-to": "queues"}
    async with httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as management:
        path = f"/api/policies/%2F/{queue}"
        (await management.put(path, json=policy)).raise_for_status()
        try:
            yield
        finally:
            (await management.delete(path)).raise_for_status()


def full(broker: PrivateBroker, queue: str) -> AbstractAsyncContextManager[None]:
    """A queue that takes one message and no more."""
    return policy(broker, queue, {"max-length": 1})


async def refuses(at_broker: Desk, queue: str) -> None:
    """Wait until the policy is in force, and the queue full."""

    async def refused() -> bool:
        publisher = await Publisher.open(at_broker.connection)
        try:
            await publisher.publish(b"filler", {}, Properties(), routing_key=queue)
        except PublishFailedError:
            return True
        finally:
            await publisher.close()
        return False

    await eventually(refused, timeout=30)


def counted(consumer: InProcess, queue: str) -> float:
    registry = consumer.app.telemetry.registry
    return registry.get_sample_value("neuroon_consumer_queue_refusals_total", {"queue": queue}) or 0.0


async def test_dead_letters_that_have_no_room_hold_up_no_other_order(broker: PrivateBroker, names: Names) -> None:
    """Seventy bad events, more than there are places, and thirty good ones: the good ones are delivered at once.

    The bad ones wait in the retry queue of held orders, readiness and a metric name the queue, and all of them are dead
    letters soon after the policy is gone, in the same session.
    """
    dead = f"{names.queue}.dlq"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox, CONSUMER_HOLD_DELAY="500ms")) as consumer:
            async with full(broker, dead):
                await refuses(at_broker, dead)
                await at_broker.publish(*(b"{bad %d" % number for number in range(70)))
                await at_broker.publish(*(order(f"GOOD-{number}") for number in range(30)))
                await eventually(lambda: all(consumer.outcomes(f"GOOD-{number}") for number in range(30)), timeout=30)
                session = consumer.app.rabbit._session
                assert session is not None
                part = consumer.app.health.ready()["queues"]
                assert not part.ok
                assert not part.vital
                assert dead in part.message
                assert counted(consumer, dead) >= IN_A_ROW
            await eventually(lambda: len(consumer.reports) >= 100, timeout=60, what="all have come to an end")
            await eventually(lambda: at_broker.is_empty(f"{names.queue}.retry.500ms"))
            await eventually(lambda: consumer.app.health.ready()["queues"].ok)
            assert consumer.app.rabbit._session is session
            assert not session.lost.done()
        letters = [each for each in await at_broker.take_dead() if each.body != b"filler"]
    assert {letter.headers[header.REASON] for letter in letters} == {"malformed"}
    # A queue may refuse what it keeps all the same: a copy, and never a loss.
    assert {letter.body for letter in letters} == {b"{bad %d" % number for number in range(70)}
    assert len(sandbox.orders) == 30


async def test_a_retry_queue_that_has_no_room_is_passed_by(broker: PrivateBroker, names: Names) -> None:
    """Orders whose rung takes nothing wait in the one of held orders, with the try charged once, and are delivered."""
    rung = f"{names.queue}.retry.5s"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_RETRY_DELAYS="5s", CONSUMER_HOLD_DELAY="500ms")
        async with InProcess(environ) as consumer, full(broker, rung):
            await refuses(at_broker, rung)
            sandbox.fail("503:times=1")
            await at_broker.publish(*(order(f"ORD-{number}") for number in range(6)))
            ends = [f"ORD-{number}" for number in range(6)]
            await eventually(lambda: all("delivered" in consumer.outcomes(each) for each in ends), timeout=60)
            assert counted(consumer, rung) >= IN_A_ROW
            assert {tuple(consumer.outcomes(each)[:2]) for each in ends} == {("retry", "delivered")}


async def test_orders_returned_untried_do_not_walk_towards_the_limit(broker: PrivateBroker, names: Names) -> None:
    """Handed back twelve times by a pausing consumer, with a limit of four by policy: not dead, and delivered once."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox)
        async with InProcess(environ) as consumer, policy(broker, names.queue, {"delivery-limit": 4}):
            rabbit = consumer.app.rabbit
            hand_back = consumer.app.pipeline.hand_back
            left = 12

            async def untried(delivery: object) -> object:
                nonlocal left
                if left and b"ORD-" in delivery.body:  # type: ignore[attr-defined]
                    left -= 1
                    return hand_back(delivery)  # type: ignore[arg-type]
                return await handle(delivery)  # type: ignore[arg-type]

            handle = consumer.app.pipeline.handle
            consumer.app.pipeline.handle = untried  # type: ignore[method-assign,assignment]
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"], timeout=30)
            await eventually(lambda: not rabbit.in_flight)
        assert await at_broker.dead() == 0
    assert [each.posts for each in sandbox.orders] == [1]


def test_a_queue_that_refuses_is_tried_from_time_to_time() -> None:
    """After three refusals in a row messages go elsewhere, but for one every few seconds; one that is taken ends it."""
    now = 100.0
    refusals = Refusals(lambda: now)
    assert [refusals.note_refused("q") for _ in range(IN_A_ROW)] == [False, False, True]
    assert refusals.avoids("q")
    assert not refusals.avoids("other")
    now += PROBE_SECONDS
    assert [refusals.avoids("q"), refusals.avoids("q")] == [False, True]
    assert refusals.refusing == {"q": PROBE_SECONDS}
    assert refusals.note_accepted("q")
    assert not refusals.avoids("q")
    assert refusals.refusing == {}
