"""The storm: orders are published while faults strike; then all is mended, and the dust settles."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from consumer.adapters.ledger.opening import lasting_store
from consumer.adapters.link import LINK_ERRORS, connect
from consumer.adapters.topology import queue_state
from consumer.devbroker import PrivateBroker
from tests.chaos import faults, orders
from tests.chaos.account import Account, Evidence, reckon
from tests.chaos.orders import Fate, Order
from tests.chaos.publishing import Publishing
from tests.chaos.repeats import Struck
from tests.chaos.world import CONSUMERS, EXIT_SECONDS, World, a_world
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.eventually import eventually

# A quorum queue that is younger when its broker is killed may come back without a leader.
_SETTLED_QUEUES_SECONDS = 2.0
_AT_ONCE = 3
# The breaker's longest pause, the longest one between two connects, and three missed heartbeats fit in.
_DUST_SECONDS = 90.0
# An order is handled for a second at most, the request's timeout, and half a second of doubt.
_LOOKS, _LOOK_SECONDS = 5, 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """A storm to be. The same seed draws the same orders and the same faults."""

    seed: int
    orders: int
    faults: int
    seconds: float
    ledger: str = "memory"

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.3g}"
        return f"SEED={self.seed} MINUTES={minutes} ORDERS={self.orders} FAULTS={self.faults} LEDGER={self.ledger}"


@dataclass
class Storm:
    """One storm over one world."""

    plan: Plan
    world: World
    publishing: Publishing
    struck: list[Struck] = field(default_factory=list)
    _victims: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def rage(self) -> list[Order]:
        """Publish and strike until both are through; the orders that were published."""
        rng = Random(self.plan.seed)
        published = orders.draw(rng, self.plan.orders)
        for each in orders.odd_ones(rng):
            published.insert(rng.randrange(len(published)), each)
        gap = self.plan.seconds / self.plan.faults
        blows = faults.draw(rng, self.plan.faults, gap, ledger=self.world.postgres is not None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publishing.publish(published, self.plan.orders / self.plan.seconds))
            group.create_task(self._strike_all(blows))
        return published

    async def settle(self) -> None:
        """Wait until nothing waits anywhere."""
        await eventually(self._stays_quiet, timeout=_DUST_SECONDS, what="all queues empty, all consumers consuming")

    async def _strike_all(self, blows: list[faults.Draw]) -> None:
        room = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for blow in blows:
                await asyncio.sleep(blow.gap)
                await room.acquire()
                task = group.create_task(self._strike(blow))
                task.add_done_callback(lambda _: room.release())

    async def _strike(self, blow: faults.Draw) -> None:
        fault = blow.kind(self.world, blow.which)
        async with self._victims[fault.target]:
            began = time.time()
            try:
                await fault.strike()
                await asyncio.sleep(blow.seconds)
            finally:
                await fault.mend()
            self.struck.append(fault.struck(began, time.time()))

    async def _stays_quiet(self) -> bool:
        """Whether nothing turns up for a while: what is being handled is in no count of what is ready.

        Also when a consumer has ended by itself: then there is nothing to wait for, and the account will tell.
        """
        if any(each.ended for each in self.world.workers):
            return True
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            if not await self._is_quiet():
                return False
        return True

    async def _is_quiet(self) -> bool:
        try:
            async with await connect(self.world.broker.url, "chaos") as connection:
                states = [await queue_state(connection, queue) for queue in self.world.queues()]
        except LINK_ERRORS:
            return False
        return all(each is not None and each.messages == 0 for each in states) and (
            states[0] is not None and states[0].consumers == CONSUMERS
        )


async def storm(plan: Plan, broker: PrivateBroker, names: Names, folder: Path) -> Account:
    """Let a storm rage, and account for every order."""
    begun = time.time()
    async with _a_storm(plan, broker, names, folder) as it:
        problems = []
        published = await it.rage()
        try:
            await it.settle()
        except AssertionError as error:
            problems.append(str(error))
        await asyncio.gather(*(each.terminate(EXIT_SECONDS) for each in it.world.workers))
        problems += [fault for each in it.world.workers for fault in each.faults_of_ours]
        async with desk(broker.url, names) as at_broker:
            dead = await at_broker.take_dead()
            left = {queue: await at_broker.take(queue) for queue in it.world.queues()}
        evidence = Evidence(
            orders={each.id: each for each in published},
            copies=it.publishing.copies,
            recorded=it.world.sandbox.orders,
            seen=it.world.sandbox.book.requests,
            dead=dead,
            left={queue: messages for queue, messages in left.items() if messages},
            struck=it.struck,
            logs=[each.lines for each in it.world.workers],
            noted=await _noted(it.world.ledger_url, published),
            ledger_shared=it.world.ledger_shared,
            seconds=time.time() - begun,
        )
        return reckon(str(plan), evidence, problems)


async def _noted(ledger_url: str, published: list[Order]) -> frozenset[str]:
    """The orders of which the ledger says that nothing of them came from a search."""
    store = lasting_store(ledger_url, looks_only=True)
    if store is None:
        return frozenset()
    standings = await store.standings([(each.shop, each.id) for each in published if each.fate is Fate.UNATTRIBUTED])
    await store.close()
    return frozenset(order for (_, order), found in standings.items() if found.state == "unattributed")


@asynccontextmanager
async def _a_storm(plan: Plan, broker: PrivateBroker, names: Names, folder: Path) -> AsyncIterator[Storm]:
    async with a_world(broker, names, folder, plan.ledger) as world:
        publishing = Publishing(broker.url, names)
        it = Storm(plan, world, publishing)
        await eventually(it._is_quiet, timeout=60, what="both consumers consume")
        await asyncio.sleep(_SETTLED_QUEUES_SECONDS)
        try:
            yield it
        finally:
            await publishing.close()
