"""Blows at the consumers' processes."""

from tests.chaos.faults.fault import ONE, Fault
from tests.chaos.world import CONSUMERS, EXIT_SECONDS

JUMPS = ("+1h", "-1h", "+1y", "-1y")


class ConsumerKilled(Fault):
    """kill -9; another pod starts later."""

    victim, copies, silences = "consumer", True, True

    async def strike(self) -> None:
        await self.world.workers[self.which].kill()
        self.excuses = ONE

    async def mend(self) -> None:
        await self.world.workers[self.which].start()


class ConsumerTerminated(Fault):
    """SIGTERM, as in a rolling restart: costs no post."""

    victim = "consumer"

    async def strike(self) -> None:
        await self.world.workers[self.which].terminate(EXIT_SECONDS)

    async def mend(self) -> None:
        await self.world.workers[self.which].start()


class ConsumerFrozen(Fault):
    """SIGSTOP: answers arrive while it sleeps, and are too late when it wakes: also its ledger's."""

    victim, felt, blinds, copies = "consumer", 2.0, True, True

    async def strike(self) -> None:
        self.world.workers[self.which].freeze()
        self.excuses = ONE

    async def mend(self) -> None:
        self.world.workers[self.which].thaw()


class ClockSet(Fault):
    """The wall clock jumps, and back: costs nothing. `which` names the consumer and the jump."""

    victim, longest = "clock", 8.0

    @property
    def target(self) -> str:
        return f"clock{self.which % CONSUMERS}"

    async def strike(self) -> None:
        self.world.set_clock(self.which % CONSUMERS, JUMPS[self.which // CONSUMERS])

    async def mend(self) -> None:
        self.world.set_clock(self.which % CONSUMERS, "+0")
