"""The walk of one message, with the endpoint played by a list of answers."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from pydantic import SecretStr

from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core import delivery as header
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery, Properties
from consumer.core.ladder import Ladder, Rung
from consumer.core.order import parse
from consumer.core.outcome import (
    Accepted,
    Dead,
    DeadReason,
    Delivered,
    Duplicate,
    Misconfigured,
    Outcome,
    Refused,
    Reply,
    Retry,
    RetryReason,
    Throttled,
    Unattributed,
    Unavailable,
    judge,
)
from consumer.core.reading import Reading
from consumer.core.settlement import Ack, Move, Queues, Routes
from consumer.core.shop import Shop, Shops
from consumer.pipeline import Handled, Pipeline, Surroundings
from tests.support.eventually import eventually

SHOP = Shop("shop_a", SecretStr("sk_a"), "http://neuroon.test", aliases=("a.example",))
LADDER = Ladder((Rung("5s", 5.0), Rung("30s", 30.0)), hold=Rung("1m", 60.0), max_hold=3600.0)
NOW = 1_800_000_000.0


@dataclass
class Neuroon:
    """Answers each POST with the next reply, the last one for ever."""

    replies: Sequence[Reply]
    posted: list[Conversion] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    hangs: bool = False

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome:
        self.posted.append(conversion)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await asyncio.sleep(3600 if self.hangs else 0)
        self.busy -= 1
        return judge(self.replies[min(len(self.posted), len(self.replies)) - 1], attempt)


@dataclass
class World:
    """A pipeline whose time stands still until it is moved."""

    neuroon: Neuroon
    now: float = NOW
    draw: float = 0.99
    shops: Shops = field(default_factory=lambda: Shops([SHOP]))

    def pipeline(self) -> Pipeline:
        return Pipeline(
            read=lambda delivery: parse(delivery.body, delivery.properties.content_encoding),
            courier=self.neuroon,
            ledger=MemoryLedger(),
            routes=Routes(Queues("q"), LADDER),
            world=Surroundings(lambda: self.now, lambda: self.draw, lambda: self.shops, lambda: "letter-1"),
        )


def event(**changes: object) -> bytes:
    order = {
        "orderId": "ORD-1",
        "orderValue": 10,
        "currency": "EUR",
        "lines": [{"productId": "SKU-1", "quantity": 1, "unitPrice": 10}],
        "neuroonClicks": {"SKU-1": "log_1"},
    }
    return json.dumps(order | changes).encode()


def fresh(body: bytes | None = None, **headers: object) -> Delivery:
    properties = Properties(content_type="application/json", correlation_id="c-1")
    exchange = "" if header.ATTEMPT in headers else "order.paid"
    return Delivery(event() if body is None else body, exchange, "shop.paid", headers, properties, "m-1")


def outcome(handled: Handled) -> Outcome:
    assert handled.report is not None
    return handled.report.outcome


def moved(handled: Handled) -> Move:
    assert isinstance(handled.settlement, Move)
    return handled.settlement


async def handle(world: World, delivery: Delivery) -> Handled:
    return await world.pipeline().handle(delivery)


async def test_a_good_order_is_posted_once_and_acknowledged() -> None:
    """Delivered: one POST, an ack, and nothing published."""
    world = World(Neuroon([Accepted(200)]))
    handled = await handle(world, fresh())
    assert outcome(handled) == Delivered(200)
    assert handled.settlement == Ack()
    assert [each.order_id for each in world.neuroon.posted] == ["ORD-1"]


async def test_the_same_event_gives_the_same_bytes_at_every_try() -> None:
    """A retry posts what the first try posted, byte for byte."""
    world = World(Neuroon([Unavailable("read timeout"), Accepted(200)]))
    pipeline = world.pipeline()
    first = await pipeline.handle(fresh())
    again = moved(first)
    await pipeline.handle(Delivery(again.body, "", "q", again.headers, again.properties))
    one, two = world.neuroon.posted
    assert one.payload == two.payload


async def test_an_order_without_attribution_is_let_go() -> None:
    """Unattributed: acknowledged without a POST."""
    world = World(Neuroon([Accepted(200)]))
    handled = await handle(world, fresh(event(neuroonClicks={})))
    assert (outcome(handled), handled.settlement, world.neuroon.posted) == (Unattributed(), Ack(), [])


async def test_an_order_delivered_before_is_a_duplicate() -> None:
    """The second event for one order is acknowledged without a POST."""
    world = World(Neuroon([Accepted(200)]))
    pipeline = world.pipeline()
    await pipeline.handle(fresh())
    assert outcome(await pipeline.handle(fresh())) == Duplicate()
    assert len(world.neuroon.posted) == 1


async def test_two_deliveries_of_one_order_are_not_posted_at_the_same_time() -> None:
    """Of ten deliveries at once one is posted, and only one at a time when answers fail."""
    world = World(Neuroon([Unavailable("read timeout")] * 3 + [Accepted(200)]))
    pipeline = world.pipeline()
    await asyncio.gather(*(pipeline.handle(fresh()) for _ in range(10)))
    assert world.neuroon.busiest == 1
    assert len(world.neuroon.posted) == 4


async def test_a_failed_try_waits_on_the_next_rung_and_keeps_what_the_message_carried() -> None:
    """5xx: attempt raised, rung by rung, with the foreign headers and properties and without the broker's."""
    world = World(Neuroon([Unavailable("503", 503)]))
    delivery = fresh(None, traceparent="00-abc", **{"x-death": [{"count": 1}], "x-delivery-count": 3, "CC": ["spy"]})
    move = moved(await handle(world, delivery))
    assert move.queue == "q.retry.5s"
    assert move.body == delivery.body
    assert move.properties == delivery.properties
    assert move.headers == {
        "traceparent": "00-abc",
        header.ATTEMPT: 2,
        header.FIRST_SEEN: "2027-01-15T08:00:00.000Z",
        header.EXCHANGE: "order.paid",
        header.ROUTING_KEY: "shop.paid",
        header.MESSAGE_ID: "m-1",
        header.SHOP: "shop_a",
        header.ORDER: "ORD-1",
        header.REASON: "unavailable",
        header.DETAIL: "503",
    }


async def test_the_tries_end_in_the_dead_letters() -> None:
    """Rungs + 1 tries, then dead with reason `exhausted` and everything an operator needs."""
    world = World(Neuroon([Unavailable("503", 503)]))
    pipeline = world.pipeline()
    queues = []
    delivery = fresh()
    for _ in range(3):
        move = moved(await pipeline.handle(delivery))
        queues.append(move.queue)
        delivery = Delivery(move.body, "", "q", move.headers, move.properties, "another")
    assert queues == ["q.retry.5s", "q.retry.30s", "q.dlq"]
    assert len(world.neuroon.posted) == 3
    letter = delivery.headers
    assert letter[header.REASON] == "exhausted"
    assert letter[header.STATUS] == 503
    assert letter[header.ID] == "letter-1"
    assert letter[header.ATTEMPT] == 3
    assert letter[header.EXCHANGE] == "order.paid"
    assert letter[header.MESSAGE_ID] == "m-1"
    assert header.WAIT_LEFT not in letter


async def test_the_longest_jitter_never_shortens_a_wait() -> None:
    """A drawn 0 adds a shorter rung: the order waits on after the first one, and is not posted in between."""
    world = World(Neuroon([Unavailable("503", 503)]), draw=0.0)
    pipeline = world.pipeline()
    move = moved(await pipeline.handle(fresh(None, **{header.ATTEMPT: 2})))
    assert move.queue == "q.retry.30s"
    world.now += 30.001
    back = await pipeline.handle(Delivery(move.body, "", "q", move.headers, move.properties))
    assert back.report is None
    assert moved(back).queue == "q.retry.5s"
    assert len(world.neuroon.posted) == 1
    world.now += 5.001
    onward = moved(back)
    await pipeline.handle(Delivery(onward.body, "", "q", onward.headers, onward.properties))
    assert len(world.neuroon.posted) == 2


async def test_retry_after_is_a_floor_and_costs_no_try() -> None:
    """429 with 290 s: through the longest queues again and again, never posted before, the attempt unchanged."""
    world = World(Neuroon([Throttled(429, 290.0), Accepted(200)]))
    pipeline = world.pipeline()
    move = moved(await pipeline.handle(fresh()))
    waits = {"5s": 5.0, "30s": 30.0, "1m": 60.0}
    while True:
        world.now += waits[move.queue.removeprefix("q.retry.")] + 0.01
        back = await pipeline.handle(Delivery(move.body, "", "q", move.headers, move.properties))
        if back.report is not None:
            break
        move = moved(back)
    assert 290 <= world.now - NOW < 310
    assert outcome(back) == Delivered(200)
    assert back.report.journey.attempt == 1


@pytest.mark.parametrize(
    "reply", [Throttled(429, 604_800.0), Unavailable("answered 503", 503, 3600.0), Refused(413, "later", 301.0)]
)
async def test_a_floor_of_hours_is_asked_about_from_the_hold_queue(reply: Reply) -> None:
    """Who asks for a wait of hours or a week is asked again a minute later, and tries before its time cost nothing."""
    world = World(Neuroon([reply, reply, Accepted(200)]))
    pipeline = world.pipeline()
    delivery = fresh()
    for _ in range(2):
        move = moved(await pipeline.handle(delivery))
        assert (move.queue, move.headers[header.ATTEMPT]) == ("q.retry.1m", 1)
        assert header.WAIT_LEFT not in move.headers
        world.now += 60.01
        delivery = Delivery(move.body, "", "q", move.headers, move.properties)
    assert outcome(await pipeline.handle(delivery)) == Delivered(200)


async def test_a_wrong_set_up_holds_the_shop_and_kills_nothing() -> None:
    """401: into the hold queue, attempt unchanged, until it waited longer than the longest hold; then `exhausted`."""
    world = World(Neuroon([Misconfigured(401, "key")]))
    pipeline = world.pipeline()
    delivery = fresh()
    for _ in range(61):
        move = moved(await pipeline.handle(delivery))
        assert (move.queue, move.headers[header.ATTEMPT]) == ("q.retry.1m", 1)
        delivery = Delivery(move.body, "", "q", move.headers, move.properties)
        world.now += 60.001
    end = outcome(await pipeline.handle(delivery))
    assert isinstance(end, Dead)
    assert (end.reason, end.status) == (DeadReason.EXHAUSTED, 401)


HOUR, YEAR = 3600.0, 365 * 86400.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR])
async def test_a_clock_that_is_set_makes_no_wait_longer(jump: float) -> None:
    """A wait of two hops, with a jump: the second hop is what was left, and then the order is tried."""
    world = World(Neuroon([Unavailable("503", 503), Accepted(200)]), draw=0.0)
    pipeline = world.pipeline()
    first = moved(await pipeline.handle(fresh(None, **{header.ATTEMPT: 2})))
    world.now += 30 + jump
    second = moved(await pipeline.handle(Delivery(first.body, "", "q", first.headers, first.properties)))
    assert (first.queue, second.queue) == ("q.retry.30s", "q.retry.5s")
    world.now += 5 - jump
    back = await pipeline.handle(Delivery(second.body, "", "q", second.headers, second.properties))
    assert outcome(back) == Delivered(200)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR])
async def test_a_clock_that_is_set_uses_up_no_waiting_time(jump: float) -> None:
    """An order of a held shop waits a minute 61 times, just over the longest hold, wherever the clock goes."""
    world = World(Neuroon([Misconfigured(401, "key")]))
    pipeline = world.pipeline()
    delivery = fresh()
    waits = 0
    while (move := moved(await pipeline.handle(delivery))).queue != "q.dlq":
        waits += 1
        world.now += 60 + (jump if waits % 10 == 5 else 0)
        delivery = Delivery(move.body, "", "q", move.headers, move.properties)
    assert waits == 61


async def test_the_clock_measures_no_duration() -> None:
    """A clock that is set back in the middle gives no negative duration, which would count as a quick one."""
    world = World(Neuroon([Accepted(200)]))
    pipeline = world.pipeline()
    read = pipeline.read

    def set_back(delivery: Delivery) -> Reading | Awaitable[Reading]:
        world.now -= HOUR
        return read(delivery)

    pipeline.read = set_back
    report = (await pipeline.handle(fresh())).report
    assert report is not None
    assert 0 <= report.milliseconds < HOUR


async def test_a_shop_on_hold_keeps_its_orders_waiting_untried() -> None:
    """`enabled = "hold"`: into the hold queue without a POST and without costing a try; afterwards they are posted."""
    world = World(Neuroon([Accepted(200)]), shops=Shops([replace(SHOP, hold=True)]))
    pipeline = world.pipeline()
    delivery = fresh()
    for _ in range(3):
        handled = await pipeline.handle(delivery)
        move = moved(handled)
        assert (move.queue, move.headers[header.ATTEMPT], move.headers[header.REASON]) == ("q.retry.1m", 1, "held")
        delivery = Delivery(move.body, "", "q", move.headers, move.properties)
    assert world.neuroon.posted == []
    world.shops = Shops([SHOP])
    assert outcome(await pipeline.handle(delivery)) == Delivered(200)


async def test_what_cannot_be_read_is_dead_at_once_and_whole() -> None:
    """Malformed and refund: no POST; the body is kept byte for byte and the reason names the field."""
    world = World(Neuroon([Accepted(200)]))
    for body, reason, names in (
        (b"\xff\xfe", "malformed", "body"),
        (event(currency=None), "malformed", "currency"),
        (event(orderValue=-1), "refund", "orderValue"),
    ):
        move = moved(await handle(world, fresh(body)))
        assert move.queue == "q.dlq"
        assert move.body == body
        assert move.headers[header.REASON] == reason
        assert names in str(move.headers[header.DETAIL])
    assert world.neuroon.posted == []


async def test_an_unknown_shop_is_dead_until_it_is_configured() -> None:
    """`unknown_shop` needs no change to the event: with the shop configured, the same message is delivered."""
    world = World(Neuroon([Accepted(200)]))
    pipeline = world.pipeline()
    move = moved(await pipeline.handle(fresh(event(shopId="shop_b"))))
    assert move.headers[header.REASON] == "unknown_shop"
    world.shops = Shops([SHOP, Shop("shop_b", SecretStr("k"), "http://neuroon.test")])
    assert outcome(await pipeline.handle(fresh(move.body))) == Delivered(200)


async def test_an_alias_finds_its_shop() -> None:
    """The report carries the shop's own id, whatever name the event used."""
    handled = await handle(World(Neuroon([Accepted(200)])), fresh(event(shopId="a.example")))
    assert handled.report is not None
    assert handled.report.subject.shop == "shop_a"


async def test_a_refusal_is_never_tried_again() -> None:
    """400: dead with the answer's status and problem."""
    end = outcome(await handle(World(Neuroon([Refused(400, "orderValue must be >= 0")])), fresh()))
    assert end == Dead(DeadReason.REFUSED, "orderValue must be >= 0", 400)


async def test_an_error_of_ours_costs_a_try_and_ends_as_bug() -> None:
    """An unforeseen exception climbs the ladder, says nothing of the data, and rests in the dead letters at last."""
    world = World(Neuroon([Accepted(200)]))
    pipeline = world.pipeline()

    def broken(_: Delivery) -> object:
        raise RuntimeError("customer@example.com")

    pipeline.read = broken  # type: ignore[assignment]
    first = outcome(await pipeline.handle(fresh()))
    assert first == Retry(RetryReason.BUG, 2, 5.0, "RuntimeError")
    last = moved(await pipeline.handle(fresh(None, **{header.ATTEMPT: 3})))
    assert last.queue == "q.dlq"
    assert last.headers[header.REASON] == "bug"
    assert "customer" not in str(last.headers)


async def test_forged_headers_do_no_harm() -> None:
    """Headers of ours with nonsense in them count as absent."""
    nonsense = {name: [object()] for name in (header.ATTEMPT, header.FIRST_SEEN, header.WAIT_LEFT, header.MESSAGE_ID)}
    handled = await handle(World(Neuroon([Accepted(200)])), fresh(None, **nonsense))
    assert outcome(handled) == Delivered(200)


async def test_cancelling_leaves_the_order_untried() -> None:
    """CancelledError passes, and another delivery of the order is not locked out."""
    world = World(Neuroon([Accepted(200)]))
    pipeline = world.pipeline()
    world.neuroon.hangs = True
    task = asyncio.create_task(pipeline.handle(fresh()))
    await eventually(lambda: world.neuroon.posted)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    world.neuroon.hangs = False
    assert outcome(await pipeline.handle(fresh())) == Delivered(200)
