"""The rights at the broker that docs/topology.md names are enough, and what check says where they are not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from consumer.adapters.link import connect, short_channel
from consumer.adapters.topology import declare
from consumer.app import wanted_topology
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from tests.conftest import Names
from tests.doctor.test_check import check
from tests.support.broker import desk
from tests.support.clerk import Clerk, hired
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import command, environment

pytestmark = pytest.mark.usefixtures("collected")


@pytest.fixture
async def clerk(broker: PrivateBroker, vhost: str) -> AsyncIterator[Clerk]:
    """With the tag monitoring."""
    async with hired(broker, vhost) as user:
        yield user


@pytest.mark.parametrize("declaring", ["on", "off"])
async def test_the_rights_that_are_documented_are_enough(
    declaring: str, clerk: Clerk, vhost: str, names: Names
) -> None:
    """An order is delivered, another one tried again, a third one dies and is replayed, by a user who may no more."""
    await clerk.may(declaring, names)
    async with Sandbox(faults=["503:order=ORD-2,times=1", "400:order=ORD-3,times=1"]) as sandbox:
        environ = environment(clerk.url, names, sandbox, CONSUMER_DECLARE=declaring)
        if declaring == "off":
            async with await connect(vhost, "test") as owner:
                await declare(owner, wanted_topology(read_settings(environ)))
        async with InProcess(environ) as consumer, desk(vhost, names) as shop:
            await shop.publish(*(order(f"ORD-{number}") for number in (1, 2, 3)))
            await eventually(lambda: consumer.outcomes("ORD-3") == ["dead"])
            await eventually(lambda: consumer.outcomes("ORD-2") == ["retry", "delivered"])
            status, _, err = await command(environ, "dlq", "replay", "--all", "--yes", "--audit", "-")
            assert status == 0, err
            await eventually(lambda: consumer.outcomes("ORD-3") == ["dead", "delivered"])


async def test_check_sees_all_with_the_rights_to_declare(clerk: Clerk, names: Names) -> None:
    """And with the tag monitoring; only what administrators alone are told is a warning, on a broker of before 3.12."""
    await clerk.may("on", names)
    async with Sandbox() as sandbox:
        environ = environment(clerk.url, names, sandbox)
        async with InProcess(environ):
            status, found = await check(environ | {"RABBITMQ_MANAGEMENT_URL": clerk.management})
    assert status == 0
    assert set(found) <= {"features: the broker tells its feature flags to administrators only"}


async def test_check_says_what_it_may_not_compare(clerk: Clerk, vhost: str, names: Names) -> None:
    """With CONSUMER_DECLARE=off that is unknown, and how to find out is told; with `on` `run` would fail at it."""
    await clerk.may("off", names)
    async with Sandbox() as sandbox:
        environ = environment(clerk.url, names, sandbox, CONSUMER_DECLARE="off")
        async with await connect(vhost, "test") as owner:
            await declare(owner, wanted_topology(read_settings(environ)))
        (status, found), (other_status, other) = await asyncio.gather(
            check(environ), check(environ | {"CONSUMER_DECLARE": "on"})
        )
    assert (status, set(found.values()), len(found)) == (2, {"unknown"}, 5)
    assert all("cannot be compared without the right to configure it" in each for each in found)
    assert (other_status, set(other.values()), len(other)) == (1, {"error"}, 5)


async def test_check_compares_by_the_management_api_what_it_may_not_compare(
    clerk: Clerk, vhost: str, names: Names
) -> None:
    """All is good then, or a queue's difference is named, as with the right to compare."""
    await clerk.may("off", names)
    async with Sandbox() as sandbox:
        more = {"CONSUMER_DECLARE": "off", "RABBITMQ_MANAGEMENT_URL": clerk.management}
        environ = environment(clerk.url, names, sandbox, **more)
        async with await connect(vhost, "test") as owner:
            await declare(owner, wanted_topology(read_settings(environ)))
            status, found = await check(environ)
            assert status == 0
            assert set(found) <= {"features: the broker tells its feature flags to administrators only"}
            async with short_channel(owner) as channel:
                rung = f"{names.queue}.retry.400ms"
                await channel.queue_delete(rung)
                await channel.queue_declare(rung, durable=True)
        status, found = await check(environ)
    (problem,) = [each for each, level in found.items() if level == "error"]
    assert status == 1
    assert problem.startswith(
        f"queue {rung}: queue '{rung}' exists with other arguments: x-queue-type: expected quorum"
    )
