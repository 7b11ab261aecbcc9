"""An order is in hand from its look-up until the end of its try is on record, and not longer, however that comes."""

import asyncio
import json
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from consumer.adapters.ledger import Key, Known, Record
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery
from consumer.core.ladder import Ladder, Rung
from consumer.core.order import parse
from consumer.core.outcome import Dead, DeadReason, Delivered, Duplicate, Outcome, Retry, RetryReason, Untried
from consumer.core.settlement import Queues, Routes
from consumer.core.shop import Shop, Shops
from consumer.pipeline import Pipeline, Surroundings
from tests.support.eventually import eventually

SHOP = Shop("shop_a", SecretStr("sk_a"), "http://neuroon.test")
LADDER = Ladder((Rung("5s", 5.0),), hold=Rung("1m", 60.0), max_hold=3600.0)
ONE = ("shop_a", "ORD-1")
ORDER = {
    "orderId": "ORD-1",
    "orderValue": 10,
    "currency": "EUR",
    "lines": [{"productId": "SKU-1", "quantity": 1, "unitPrice": 10}],
    "neuroonClicks": {"SKU-1": "log_1"},
}


class Hand(MemoryLedger):
    """A ledger that tells what happens to it, and what is in hand."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.in_hand: set[Key] = set()
        self.stuck = False

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        self.in_hand.add((shop, order))
        if self.stuck:
            await asyncio.Event().wait()
        return await super().delivered_before(shop, order)

    async def record(self, record: Record) -> None:
        assert not record.order or (record.shop, record.order) in self.in_hand
        await asyncio.sleep(0)
        await super().record(record)
        self.told.append("record")

    def let_go(self, shop: str, order: str) -> None:
        self.in_hand.remove((shop, order))
        self.told.append("let go")


class Courier:
    """Every try ends as `end` says, and is made with its order in hand."""

    def __init__(self, hand: Hand, end: Callable[[], Outcome | Untried]) -> None:
        self.hand, self.end, self.posting = hand, end, asyncio.Event()

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome | Untried:
        assert (shop.id, conversion.order_id) in self.hand.in_hand
        self.posting.set()
        return self.end()


class Hanging(Courier):
    """No try comes to an end."""

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome | Untried:
        await super().deliver(conversion, shop, attempt)
        await asyncio.Event().wait()
        raise AssertionError


def pipeline(hand: Hand, courier: Courier) -> Pipeline:
    world = Surroundings(lambda: 1_800_000_000.0, lambda: 0.5, lambda: Shops([SHOP]))
    return Pipeline(lambda delivery: parse(delivery.body), courier, hand, Routes(Queues("q"), LADDER), world)


def delivery(**changes: object) -> Delivery:
    return Delivery(json.dumps(ORDER | changes).encode(), "order.paid", "shop.paid")


@pytest.mark.parametrize(
    "end",
    [
        Delivered(200),
        Duplicate(409),
        Retry(RetryReason.UNAVAILABLE, 2, None, "answered 503", 503),
        Dead(DeadReason.REFUSED, "answered 400", 400),
    ],
    ids=lambda end: type(end).__name__,
)
async def test_it_is_let_go_of_once_its_end_is_on_record(end: Outcome) -> None:
    """Whatever the end is; and a repeat that is known is let go of as well."""
    hand = Hand()
    ours = pipeline(hand, Courier(hand, lambda: end))
    for _ in range(2):
        await ours.handle(delivery())
    assert hand.told == ["record", "let go"] * 2
    assert not hand.in_hand


async def test_an_order_untried_is_let_go_of() -> None:
    """The API is down: the message goes back, perhaps to another process."""
    hand = Hand()
    await pipeline(hand, Courier(hand, Untried)).handle(delivery())
    assert hand.told == ["let go"]


async def test_an_error_of_ours_lets_go() -> None:
    """It is on record as a bug before."""
    hand = Hand()

    def broken() -> Outcome:
        raise RuntimeError

    await pipeline(hand, Courier(hand, broken)).handle(delivery())
    assert hand.told == ["record", "let go"]


@pytest.mark.parametrize("place", ["look-up", "post"])
async def test_who_is_cancelled_lets_go(place: str) -> None:
    """In the look-up as well as in the POST."""
    hand = Hand()
    hand.stuck = place == "look-up"
    courier = Hanging(hand, Untried)
    task = asyncio.create_task(pipeline(hand, courier).handle(delivery()))
    await eventually(lambda: hand.in_hand and (hand.stuck or courier.posting.is_set()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not hand.in_hand


async def test_what_is_not_posted_is_in_nobodys_hand() -> None:
    """An order without attribution is neither looked up nor let go of."""
    hand = Hand()
    hand.in_hand.add(ONE)  # its record needs none
    await pipeline(hand, Courier(hand, Untried)).handle(delivery(neuroonClicks={}))
    assert hand.told == ["record"]
