"""Blows at the links between consumers and broker."""

from tests.chaos.faults.fault import ONE, Fault


class LinkCut(Fault):
    """All connections reset at once; new ones are taken."""

    victim, copies = "link", True

    async def strike(self) -> None:
        self.world.links[self.which].cut()
        self.excuses = ONE

    async def mend(self) -> None:
        self.world.links[self.which].cut()


class LinkDown(Fault):
    """Connections reset, and new ones refused for a while."""

    victim, copies = "link", True

    async def strike(self) -> None:
        await self.world.links[self.which].refuse()
        self.world.links[self.which].cut()
        self.excuses = ONE

    async def mend(self) -> None:
        await self.world.links[self.which].accept()


class LinkStalled(Fault):
    """Nothing passes and nothing is closed; a heartbeat that is missed for some 9 s ends it."""

    victim, longest, copies = "link", 15.0, True
    felt = 10.0  # missed heartbeats count from before

    async def strike(self) -> None:
        self.world.links[self.which].stall()
        self.excuses = ONE

    async def mend(self) -> None:
        self.world.links[self.which].resume()


class LinkDeaf(LinkStalled):
    """What is sent arrives; answers and confirms do not come back."""

    async def strike(self) -> None:
        self.world.links[self.which].stall(up=False)
        self.excuses = ONE
