"""Blows at the broker and at the ledger's database."""

import asyncio

from tests.chaos.faults.fault import ALL, Fault


class BrokerStopped(Fault):
    """In good order, and away for a while."""

    victim, copies = "broker", True

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.stop)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.start)


class BrokerKilled(BrokerStopped):
    """kill -9."""

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.kill)


class BrokerFrozen(Fault):
    """SIGSTOP: connections stay open and nothing answers."""

    victim, longest, copies = "broker", 12.0, True
    felt = 10.0  # missed heartbeats count from before

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.pause)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.resume)


class MemoryAlarm(Fault):
    """Publishers are read no more; a publish that was given up is carried out later."""

    victim, copies = "broker", True

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.set_memory_alarm, True)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.set_memory_alarm, False)


class LedgerGone(Fault):
    """The database stops, and comes back."""

    victim, blinds = "ledger", True
    felt = 8.0  # the longest pause between two tries to reach it, and the first batch

    async def strike(self) -> None:
        assert self.world.postgres is not None
        self.excuses = ALL
        await asyncio.to_thread(self.world.postgres.stop)

    async def mend(self) -> None:
        assert self.world.postgres is not None
        await asyncio.to_thread(self.world.postgres.start)
