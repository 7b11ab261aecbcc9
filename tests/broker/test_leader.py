"""A cluster of three nodes, whose queues' leaders move while orders flow."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from consumer.adapters.publisher import PublishFailedError
from consumer.adapters.topology import queue_state
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import Desk, desk
from tests.support.cluster import Cluster, Member
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import Consumer, environment
from tests.support.proxy import Proxy

pytestmark = pytest.mark.long

# So many are on their way in the consumer at a time, each for 50 ms: whatever strikes strikes some.
IN_FLIGHT = 20
# Orders between two blows: a fifth of a second to one second, at one confirm after the other.
STRETCH = 100
# Measured: 0.3 to 0.5 s. A consumer that only the session's watch saves stands still for 35 s.
MOST_SILENCE = 25.0


@pytest.fixture(scope="module")
def _nodes() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(_nodes: Cluster) -> Iterator[Cluster]:
    """Three nodes; whatever a test did to them, the next one finds them up."""
    yield _nodes
    _nodes.start()


@dataclass
class Shop:
    """Publishes one order after the other, each until it is confirmed."""

    at_broker: Desk
    confirmed: int = 0
    repeated: int = 0
    """Published anew for want of a confirm: these may be there twice."""

    async def publish_for_ever(self) -> None:
        while True:
            try:
                await self.at_broker.publish(order(f"ORD-{self.confirmed}"))
            except PublishFailedError:
                self.repeated += 1
                await asyncio.sleep(0)  # a failure that comes at once must not keep the test from its time-out
            else:
                self.confirmed += 1


@dataclass
class Scene:
    """Orders flow from a shop through the cluster and a consumer to the sandbox."""

    cluster: Cluster
    queue: str
    shop: Shop
    publishing: asyncio.Task[None]
    consumer: Consumer
    sandbox: Sandbox

    def arrived(self) -> int:
        return len(self.sandbox.orders)

    async def flows(self, what: str) -> None:
        """Wait until `STRETCH` orders more than are confirmed now have arrived."""
        wanted = self.shop.confirmed + STRETCH
        await eventually(lambda: self.arrived() > wanted, timeout=90, what=f"orders flow {what}")

    def longest_silence(self) -> float:
        """Seconds between the two neighbouring arrivals that lie furthest apart."""
        return max(later - earlier for earlier, later in pairwise(sorted(each.first for each in self.sandbox.orders)))

    async def is_led_by(self, member: Member) -> bool:
        """Whether the member on that node leads the main queue, in a cluster where each node has a member of it."""
        leader = await asyncio.to_thread(lambda: self.cluster.leader(self.queue, asked=member))
        return leader is member

    async def lead_by(self, member: Member) -> None:
        """Move leadership to that node, in good order."""

        async def moved() -> bool:
            await asyncio.to_thread(self.cluster.move_leader, self.queue, member)
            return await self.is_led_by(member)

        await eventually(moved, timeout=60, what=f"{member.name} leads")

    async def all_is_accounted_for(self) -> None:
        """Every confirmed order was posted once, nothing waits or is dead, and the broker knows our consumer."""
        self.publishing.cancel()
        await asyncio.wait({self.publishing})
        wanted = {f"ORD-{number}" for number in range(self.shop.confirmed)}
        await eventually(lambda: wanted <= {each.order_id for each in self.sandbox.orders}, timeout=60)
        at_broker = self.shop.at_broker

        async def is_idle() -> bool:
            state = await queue_state(at_broker.connection, self.queue)
            assert state is not None
            assert (state.messages, state.consumers) == (0, 1)
            return True

        await eventually(is_idle)
        assert await at_broker.dead() == 0
        # The ledger knew every order that came again.
        assert sum(each.posts - 1 for each in self.sandbox.orders) == 0
        assert self.longest_silence() < MOST_SILENCE
        await eventually(lambda: len(self.outcomes()) >= len(wanted), what="all are logged")
        assert set(self.outcomes()) <= {"delivered", "duplicate"}
        assert self.outcomes().count("duplicate") <= self.shop.repeated + IN_FLIGHT

    def outcomes(self) -> list[str]:
        return [line["outcome"] for line in self.consumer.events("settled")]


@asynccontextmanager
async def scene(cluster: Cluster, names: Names, url: str, shop_at: Member) -> AsyncIterator[Scene]:
    async with Sandbox(faults=["delay=50ms"]) as sandbox, desk(shop_at.url, names) as at_broker:
        environ = environment(url, names, sandbox, CONSUMER_CONCURRENCY=str(IN_FLIGHT))
        async with Consumer(environ) as consumer:
            shop = Shop(at_broker)
            publishing = asyncio.create_task(shop.publish_for_ever())
            try:
                yield Scene(cluster, names.queue, shop, publishing, consumer, sandbox)
            finally:
                publishing.cancel()
                await asyncio.wait({publishing})


async def test_the_leader_of_the_queue_is_killed_and_comes_back(cluster: Cluster, names: Names) -> None:
    """Connected to another node, the consumer goes on with the new leader: nothing lost, nothing posted twice."""
    ours, leading, other = cluster.members
    async with scene(cluster, names, ours.url, other) as at:
        await at.lead_by(leading)
        await at.flows("before")
        await asyncio.to_thread(leading.kill)
        await at.flows("after the kill")
        assert await asyncio.to_thread(lambda: cluster.leader(names.queue, asked=ours)) in {ours, other}
        await asyncio.to_thread(leading.start)
        await at.flows("with the node back")
        await at.all_is_accounted_for()


async def test_leadership_moves_without_harm(cluster: Cluster, names: Names) -> None:
    """As when an operator rebalances, twice: from the consumer's node to another, and on to a third."""
    ours, second, third = cluster.members
    async with scene(cluster, names, ours.url, third) as at:
        assert await at.is_led_by(ours)  # where the consumer declared it
        await at.flows("before")
        for member in (second, third):
            await at.lead_by(member)
            await at.flows(f"led by {member.name}")
        await at.all_is_accounted_for()


async def test_behind_a_load_balancer_the_consumers_own_node_may_die(cluster: Cluster, names: Names) -> None:
    """It leads the queue, too; the consumer connects to the address it knows, and is led to a node that lives."""
    ours, other, third = cluster.members
    async with Proxy(("127.0.0.1", ours.port)) as balancer:
        async with scene(cluster, names, f"amqp://guest:guest@127.0.0.1:{balancer.port}/", third) as at:
            assert await at.is_led_by(ours)  # where the consumer declared it
            await at.flows("before")
            await asyncio.to_thread(ours.kill)
            balancer.upstream = ("127.0.0.1", other.port)
            await at.flows("through another node")
            assert at.consumer.events("broker lost")
            await asyncio.to_thread(ours.start)  # until then the broker counts the consumer that was there
            await at.all_is_accounted_for()
