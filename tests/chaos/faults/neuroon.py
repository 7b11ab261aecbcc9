"""Blows at Neuroon, the way to it, and the shops' keys."""

from typing import ClassVar

from consumer.sandbox import SandboxShop
from tests.chaos.faults.fault import Fault
from tests.chaos.orders import SHOPS, STANDING_FAULTS, key


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
        self.excuses = self.world.api.connections
        await self.world.api.refuse()
        self.world.api.cut()

    async def mend(self) -> None:
        await self.world.api.accept()


class ApiStalled(Fault):
    """Requests arrive and are recorded; no answer comes back."""

    victim = "api"

    async def strike(self) -> None:
        self._before = self._posts() - self.world.api.connections
        self.world.api.stall(up=False)

    async def mend(self) -> None:
        self.world.api.resume()
        self.excuses = self._posts() - self._before

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
