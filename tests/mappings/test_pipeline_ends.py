"""What the pipeline makes of readings that are no order."""

from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core import delivery as header
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery, Properties
from consumer.core.ladder import Ladder, Rung
from consumer.core.outcome import Outcome, Retry, RetryReason, Unattributed
from consumer.core.reading import Ignored, Reading, Several, Unready
from consumer.core.settlement import Ack, Move, Queues, Routes, Split
from consumer.core.shop import Shop, Shops
from consumer.pipeline import Pipeline, Surroundings
from consumer.telemetry import describe

SHOPS = Shops([Shop("shop_a", SecretStr("sk_a"), "http://neuroon.test")])
LADDER = Ladder((Rung("5s", 5.0), Rung("30s", 30.0)), hold=Rung("1m", 60.0), max_hold=3600.0)


class Nobody:
    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome:
        raise AssertionError("nothing is to be posted")


def pipeline(read: Callable[[Delivery], Reading | Awaitable[Reading]]) -> Pipeline:
    world = Surroundings(lambda: 1_800_000_000.0, lambda: 0.99, lambda: SHOPS, lambda: "letter-1")
    return Pipeline(read, Nobody(), MemoryLedger(), Routes(Queues("q"), LADDER), world)


async def test_an_ignored_event_is_acknowledged_and_told_as_unattributed_with_its_reason() -> None:
    """Log and metric say `ignored`, so that it can be told from an order without a search."""
    handled = await pipeline(lambda _: Ignored("not ours", "ORD-1", None)).handle(Delivery(b"{}"))
    assert handled.settlement == Ack()
    assert handled.report is not None
    assert handled.report.outcome == Unattributed(ignored="not ours")
    assert handled.report.subject.order == "ORD-1"
    assert describe(handled.report.outcome) == ("unattributed", "ignored", None, "not ours")


async def test_an_event_that_cannot_be_completed_is_tried_again_at_the_cost_of_a_try() -> None:
    """Reason `unavailable`, as when Neuroon does not answer."""

    async def read(_: Delivery) -> Reading:
        return Unready("enrich ours: TimeoutError")

    handled = await pipeline(read).handle(Delivery(b"{}"))
    assert handled.report is not None
    assert isinstance(handled.report.outcome, Retry)
    assert (handled.report.outcome.reason, handled.report.outcome.next_attempt) == (RetryReason.UNAVAILABLE, 2)
    assert isinstance(handled.settlement, Move)
    assert handled.settlement.headers[header.DETAIL] == "enrich ours: TimeoutError"


async def test_the_pieces_of_an_array_begin_their_own_journey() -> None:
    """To the main queue, as they stand, with the array's headers and no attempt; nothing is reported of the array."""
    delivery = Delivery(
        b"...",
        "orders",
        "shop.paid",
        {"traceparent": "00-1", "x-death": []},
        Properties("application/json", content_encoding="gzip", correlation_id="c"),
    )
    handled = await pipeline(lambda _: Several((b"1", b"2"))).handle(delivery)
    assert handled.report is None
    assert isinstance(handled.settlement, Split)
    first, second = handled.settlement.moves
    assert (first.queue, first.body, second.body) == ("q", b"1", b"2")
    assert first.properties == Properties("application/json", correlation_id="c")
    assert header.ATTEMPT not in first.headers
    assert first.headers[header.ROUTING_KEY] == "shop.paid"
    assert set(first.headers) == {"traceparent", header.FIRST_SEEN, header.EXCHANGE, header.ROUTING_KEY}
