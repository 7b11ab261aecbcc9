"""Blows at the broker and at the ledger's database."""

import asyncio

import asyncpg

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


class QueueRefuses(Fault):
    """A retry queue or the dead letters have no room left, by a policy that somebody set."""

    # Shares the victim with the faults of the broker: the policy is set and cleared through it.
    victim, longest = "broker", 10.0

    async def strike(self) -> None:
        queues = [*self.world.queues()[1:], f"{self.world.names.queue}.dlq"]
        queue = f"^{queues[self.which % len(queues)].replace('.', '[.]')}$"
        policy = ("set_policy", "chaos", queue, '{"max-length": 1}', "--apply-to", "queues")
        await asyncio.to_thread(self.world.broker.ctl, *policy)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.ctl, "clear_policy", "chaos")


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


class LedgerReadOnly(Fault):
    """The database takes no writes, as after a failover to a standby; sessions that began meanwhile never do."""

    victim, blinds = "ledger", True
    felt = 10.0  # until the sessions are replaced, and the first batch

    async def strike(self) -> None:
        self.excuses = ALL
        await self._execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        await self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
        )

    async def mend(self) -> None:
        await self._execute("ALTER DATABASE postgres RESET default_transaction_read_only")

    async def _execute(self, statement: str) -> None:
        assert self.world.postgres is not None
        connection = await asyncpg.connect(
            self.world.postgres.url, server_settings={"default_transaction_read_only": "off"}
        )
        await connection.execute(statement)
        await connection.close()
