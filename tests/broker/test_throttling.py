"""Answers that ask for time, or come from something else than Neuroon: they cost time, and no order."""

import time

import pytest

from consumer.core import delivery as header
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment

ORDERS = 30


async def test_a_week_is_not_waited_for(broker: PrivateBroker, names: Names) -> None:
    """One answer asks for a week: the shop's orders wait in the hold queue, one tries soon, and then all get through.

    Meanwhile the shop is shown as throttled, and afterwards no longer.
    """
    async with Sandbox(faults=["429:retry-after=604800,count=1"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="1", CONSUMER_HOLD_DELAY="5s")
        async with InProcess(environ) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(ORDERS)))
            await eventually(lambda: len(consumer.reports) == ORDERS, timeout=20)
            assert sandbox.book.stats()["requests"] == 1
            assert await at_broker.count(f"{names.queue}.retry.5s") == ORDERS
            shown = "neuroon_consumer_shop_throttled"
            registry = consumer.app.telemetry.registry
            await eventually(lambda: registry.get_sample_value(shown, {"shop": "shop_sandbox"}) == 1)
            await eventually(lambda: len(sandbox.orders) == ORDERS, timeout=40)
            await eventually(lambda: registry.get_sample_value(shown, {"shop": "shop_sandbox"}) == 0)
            assert {report.journey.attempt for report in consumer.reports} == {1}
        assert await at_broker.dead() == 0


@pytest.mark.parametrize("fault", ["html", "402", "407", "423", "451", "403:retry-after=604800"])
async def test_what_stands_before_neuroon_holds_the_shop(broker: PrivateBroker, names: Names, fault: str) -> None:
    """A firewall's page with a 200, a proxy's password, a closed account: no order counts as delivered, or dies."""
    async with Sandbox(faults=[fault]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(ORDERS)))
            await eventually(consumer.app.admission.held)
            await eventually(lambda: len({report.subject.order for report in consumer.reports}) == ORDERS)
            assert {type(report.outcome).__name__ for report in consumer.reports} == {"Retry"}
            assert not sandbox.orders
            if "retry-after" in fault:  # which is heeded for five minutes
                return
            sandbox.fail()
            await eventually(lambda: len(sandbox.orders) == ORDERS, timeout=20)
            assert {report.journey.attempt for report in consumer.reports} == {1}
        assert await at_broker.dead() == 0


async def test_a_refusal_for_now_is_no_refusal(broker: PrivateBroker, names: Names) -> None:
    """413 with a Retry-After costs this order a try and a wait; others go on; without the header it is dead at once."""
    faults = ["413:retry-after=1s,order=LATER,times=1", "413:order=NEVER"]
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(order("LATER"), order("NEVER"), order("GOOD"))
            await eventually(lambda: consumer.outcomes("LATER") == ["retry", "delivered"])
            assert (consumer.outcomes("GOOD"), consumer.outcomes("NEVER")) == (["delivered"], ["dead"])
        (letter,) = await at_broker.take_dead()
        assert (letter.headers[header.REASON], letter.headers[header.STATUS]) == ("refused", 413)


async def test_connections_that_are_closed_under_the_orders_cost_no_try(broker: PrivateBroker, names: Names) -> None:
    """A server that hangs up whenever a connection is used again, as one does that closes idle ones just then."""
    async with Sandbox(faults=["hang-up"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="2")
        async with InProcess(environ) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(ORDERS)))
            await eventually(lambda: len(sandbox.orders) == ORDERS, timeout=20)
        assert [type(report.outcome).__name__ for report in consumer.reports] == ["Delivered"] * ORDERS


async def test_a_page_counts_where_that_is_set(broker: PrivateBroker, names: Names) -> None:
    """For a stand-in of Neuroon's that answers with one; the sandbox's page is a firewall's, and records nothing."""
    async with Sandbox(faults=["html"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, NEUROON_ACCEPT_ANY_2XX="on")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
@pytest.mark.parametrize("fault", ["401:count=1", "429:retry-after=1,count=1"])
async def test_a_clock_that_is_set_holds_no_shop(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch, fault: str, jump: float
) -> None:
    """An hour back or on, while a shop is held or throttled: it is asked again as soon as at any other time.

    The order that was there before may have to wait by the clock; one that comes afterwards does not.
    """
    offset, now = 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: now() + offset)
    async with Sandbox(faults=[fault]) as sandbox:
        async with desk(broker.url, names) as at_broker:
            async with InProcess(environment(broker.url, names, sandbox)) as consumer:
                await at_broker.publish(order("BEFORE"))
                await eventually(lambda: consumer.outcomes("BEFORE") == ["retry"])
                offset = jump
                await at_broker.publish(order("AFTER"))
                await eventually(lambda: consumer.outcomes("AFTER")[-1:] == ["delivered"], timeout=15)
            assert await at_broker.dead() == 0
