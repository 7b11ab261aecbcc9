"""Everything that breaks in the storm: each fault strikes, lasts a while, and is mended."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from consumer.sandbox import SandboxShop
from tests.chaos.orders import SHOPS, STANDING_FAULTS, key
from tests.chaos.world import CONCURRENCY, CONSUMERS, EXIT_SECONDS, World

# What may be under way, or recorded and not yet acknowledged, at one consumer and at all of them.
ONE, ALL = CONCURRENCY, CONCURRENCY * CONSUMERS


@dataclass
class Fault(ABC):
    """One blow at one `victim`, which is left alone by others meanwhile.

    `excuses` is how many posts too many it may cause, known when it is mended.
    """

    world: World
    which: int = 0
    excuses: int = 0
    victim: ClassVar[str] = ""
    longest: ClassVar[float] = 5.0  # seconds

    @property
    def name(self) -> str:
        """As in the report."""
        return type(self).__name__

    @property
    def target(self) -> str:
        """What is struck."""
        return f"{self.victim}{self.which if self.victim in {'consumer', 'link', 'shop'} else ''}"

    @abstractmethod
    async def strike(self) -> None:
        """Break it."""

    @abstractmethod
    async def mend(self) -> None:
        """Put it right again."""


# Consumers


class ConsumerKilled(Fault):
    """kill -9; another pod starts later."""

    victim = "consumer"

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
    """SIGSTOP: answers arrive while it sleeps, and are too late when it wakes."""

    victim = "consumer"

    async def strike(self) -> None:
        self.world.workers[self.which].freeze()
        self.excuses = ONE

    async def mend(self) -> None:
        self.world.workers[self.which].thaw()


# Links between consumers and broker


class LinkCut(Fault):
    """All connections reset at once; new ones are taken."""

    victim = "link"

    async def strike(self) -> None:
        self.world.links[self.which].cut()
        self.excuses = ONE

    async def mend(self) -> None:
        self.world.links[self.which].cut()


class LinkDown(Fault):
    """Connections reset, and new ones refused for a while."""

    victim = "link"

    async def strike(self) -> None:
        await self.world.links[self.which].refuse()
        self.world.links[self.which].cut()
        self.excuses = ONE

    async def mend(self) -> None:
        await self.world.links[self.which].accept()


class LinkStalled(Fault):
    """Nothing passes and nothing is closed; a heartbeat that is missed for some 9 s ends it."""

    victim, longest = "link", 15.0

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


# The broker


class BrokerStopped(Fault):
    """In good order, and away for a while."""

    victim = "broker"

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

    victim, longest = "broker", 12.0

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.pause)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.resume)


class MemoryAlarm(Fault):
    """Publishers are read no more; a publish that was given up is carried out later."""

    victim = "broker"

    async def strike(self) -> None:
        self.excuses = ALL
        await asyncio.to_thread(self.world.broker.set_memory_alarm, True)

    async def mend(self) -> None:
        await asyncio.to_thread(self.world.broker.set_memory_alarm, False)


# Neuroon


class ApiFault(Fault):
    """What the sandbox does on request. With `records`, an order is recorded though its answer is lost."""

    victim = "api"
    text: ClassVar[str] = ""
    records: ClassVar[bool] = False

    async def strike(self) -> None:
        self.world.sandbox.fail(*STANDING_FAULTS, self.text)

    async def mend(self) -> None:
        armed = self.world.sandbox.faults.armed[-1]
        self.excuses = armed.applied if self.records else 0
        self.world.sandbox.fail(*STANDING_FAULTS)


class Api500(ApiFault):
    text = "500"


class ApiFlaky(ApiFault):
    text = "503:share=0.3,times=2"


class ApiTimeout(ApiFault):
    text, records = "delay=3s:share=0.5,times=1", True


class ApiSlow(ApiFault):
    text = "delay=300ms"


class ApiGarbage(ApiFault):
    text = "garbage"


class ApiGarbageAnd502(ApiFault):
    text = "502:body=garbage,share=0.5,times=2"


class ApiDrop(ApiFault):
    text = "drop:share=0.5,times=2"


class ApiDropAfter(ApiFault):
    text, records = "drop-after:share=0.3,times=1", True


class ApiNoHttp(ApiFault):
    text = "not-http:share=0.5,times=2"


class ApiThrottles(ApiFault):
    text = "429:retry-after=1,shop=shop_b"


class ApiGone(Fault):
    """Connections reset, new ones refused."""

    victim = "api"

    async def strike(self) -> None:
        self.excuses = ALL
        await self.world.api.refuse()
        self.world.api.cut()

    async def mend(self) -> None:
        await self.world.api.accept()


class ApiStalled(Fault):
    """Requests arrive and are recorded; no answer comes back."""

    victim = "api"

    async def strike(self) -> None:
        self._before = self._posts()
        self.world.api.stall(up=False)

    async def mend(self) -> None:
        self.world.api.resume()
        self.excuses = ALL + self._posts() - self._before

    def _posts(self) -> int:
        return self.world.sandbox.book.ends.total()


class KeyRotated(Fault):
    """The old key is dead at once; the shops file learns of the new one later."""

    victim = "shop"

    async def strike(self) -> None:
        shop = SHOPS[self.which]
        self.world.rotations[shop] += 1
        self.world.sandbox.shops.put(SandboxShop(shop, key(shop, self.world.rotations[shop])))

    async def mend(self) -> None:
        self.world.write_shops()


# The ledger


class LedgerGone(Fault):
    """The database stops, and comes back."""

    victim = "ledger"

    async def strike(self) -> None:
        assert self.world.postgres is not None
        self.excuses = ALL
        await asyncio.to_thread(self.world.postgres.stop)

    async def mend(self) -> None:
        assert self.world.postgres is not None
        await asyncio.to_thread(self.world.postgres.start)


Make = Callable[[World, int], Fault]

# Weight in the draw, and how many there are to choose a victim from. A broker's start takes 7 s: seldom.
_DRAW: dict[type[Fault], tuple[int, int]] = {
    ConsumerKilled: (8, CONSUMERS),
    ConsumerTerminated: (8, CONSUMERS),
    ConsumerFrozen: (6, CONSUMERS),
    LinkCut: (10, CONSUMERS),
    LinkDown: (5, CONSUMERS),
    LinkStalled: (4, CONSUMERS),
    LinkDeaf: (4, CONSUMERS),
    BrokerStopped: (2, 1),
    BrokerKilled: (3, 1),
    BrokerFrozen: (3, 1),
    MemoryAlarm: (3, 1),
    Api500: (4, 1),
    ApiFlaky: (4, 1),
    ApiTimeout: (3, 1),
    ApiSlow: (3, 1),
    ApiGarbage: (2, 1),
    ApiGarbageAnd502: (3, 1),
    ApiDrop: (3, 1),
    ApiDropAfter: (4, 1),
    ApiNoHttp: (2, 1),
    ApiThrottles: (3, 1),
    ApiGone: (4, 1),
    ApiStalled: (3, 1),
    KeyRotated: (6, len(SHOPS)),
    LedgerGone: (4, 1),
}


@dataclass(frozen=True, slots=True)
class Draw:
    """A fault to come: `gap` seconds after the one before, for `seconds`."""

    kind: type[Fault]
    which: int
    gap: float
    seconds: float


def draw(rng: Random, count: int, gap: float, *, ledger: bool) -> list[Draw]:
    """`count` faults, `gap` seconds apart on average; the ledger is struck only where there is a server to stop."""
    kinds = [kind for kind in _DRAW if ledger or kind is not LedgerGone]
    weights = [_DRAW[kind][0] for kind in kinds]
    return [
        Draw(kind, rng.randrange(_DRAW[kind][1]), rng.uniform(0, 2 * gap), rng.uniform(0.2, kind.longest))
        for kind in rng.choices(kinds, weights, k=count)
    ]
