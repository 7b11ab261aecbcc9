"""Who pays for a failure: the order, or the API that is about to be called down."""

import asyncio
from decimal import Decimal

from pydantic import SecretStr

from consumer.admission import Admission, Limits
from consumer.core.breaker import FAILING_ORDERS
from consumer.core.conversion import Conversion
from consumer.core.outcome import Accepted, Delivered, Outcome, Reply, Retry, RetryReason, Unavailable, Untried
from consumer.core.shop import Shop
from tests.support.eventually import eventually

SHOP = Shop("shop_a", SecretStr("sk_a"), "https://api.example")
DOWN = Unavailable("answered 503", 503)


class Neuroon:
    """Answers each order when the test says so; other questions at once, as if nothing were wrong."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[Reply]] = {}

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        self.asked[conversion.order_id] = asyncio.get_running_loop().create_future()
        return await self.asked[conversion.order_id]

    async def probe(self, shop: Shop) -> Reply:
        return Accepted(200)


class Clock:
    """A millisecond passes with every look."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


async def all_has_been_said() -> None:
    """Every task that can go on has gone on: none waits for another through more than a few rounds of the loop."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_answer_from_before_an_outage_makes_no_order_pay_for_it() -> None:
    """Orders posted before the API failed are answered after its first failures: these are still nobody's fault."""
    neuroon = Neuroon()
    admission = Admission(neuroon, Clock(), Limits(64, 10.0, 60.0), lambda: {SHOP.api_url})

    async def deliver(name: str) -> Outcome | Untried:
        return await admission.deliver(Conversion(name, b"", Decimal(1), "EUR"), SHOP, 1)

    before = asyncio.create_task(deliver("BEFORE"))
    await eventually(lambda: "BEFORE" in neuroon.asked)
    names = [f"ORD-{number}" for number in range(FAILING_ORDERS)]
    orders = [asyncio.create_task(deliver(name)) for name in names]
    await eventually(lambda: len(neuroon.asked) == 1 + len(names))
    neuroon.asked[names[0]].set_result(DOWN)
    await all_has_been_said()
    neuroon.asked["BEFORE"].set_result(Accepted(200))
    assert await before == Delivered(200)
    await all_has_been_said()
    for name in names[1:]:
        neuroon.asked[name].set_result(DOWN)
    ends = await asyncio.gather(*orders)
    assert {end.next_attempt for end in ends if isinstance(end, Retry)} == {1}
    assert all(isinstance(end, Retry) and end.reason is RetryReason.UNAVAILABLE for end in ends)
    await admission.close()


async def test_an_order_that_fails_while_others_succeed_pays_for_it() -> None:
    """Answers to what was asked after the failure speak for the API."""
    neuroon = Neuroon()
    admission = Admission(neuroon, Clock(), Limits(64, 10.0, 60.0), lambda: {SHOP.api_url})

    async def deliver(name: str) -> Outcome | Untried:
        return await admission.deliver(Conversion(name, b"", Decimal(1), "EUR"), SHOP, 1)

    poison = asyncio.create_task(deliver("POISON"))
    await eventually(lambda: "POISON" in neuroon.asked)
    neuroon.asked["POISON"].set_result(DOWN)
    await all_has_been_said()
    good = asyncio.create_task(deliver("GOOD"))
    await eventually(lambda: "GOOD" in neuroon.asked)
    neuroon.asked["GOOD"].set_result(Accepted(200))
    assert await good == Delivered(200)
    end = await poison
    assert isinstance(end, Retry)
    assert end.next_attempt == 2
    await admission.close()
