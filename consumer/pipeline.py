"""One message, from its bytes to where it goes: the whole walk on one page.

wait left?        -> back into a delay queue
read              -> Malformed, Refund: Dead; Ignored: Unattributed; Unready: Retry; an array: Split
shop              -> none: Dead, to be replayed once it is configured
attribute         -> nothing came from a search: Unattributed
hold?             -> Retry, while the shops file holds the shop
delivered before? -> Duplicate
deliver           -> Delivered, Duplicate, Retry, Dead; back to the queue untried while the API is down
escalate          -> the wait of a Retry, or Dead past the last rung
settle            -> the queue that this end leads to

A message that costs much is read in its turn, in a thread: see `workload`.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from consumer.adapters.ledger import Known, Ledger, Record
from consumer.core.conversion import Conversion, attribute
from consumer.core.delivery import ATTEMPT, ORDER, SHOP, Delivery, Journey, read_journey
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.outcome import (
    Conflict,
    Dead,
    DeadReason,
    Duplicate,
    Outcome,
    Retry,
    RetryReason,
    Unattributed,
    Untried,
    escalate,
)
from consumer.core.reading import Ignored, Reading, Several, Unready
from consumer.core.settlement import Routes, Settlement, Subject
from consumer.core.shop import Shop, Shops
from consumer.core.value import value
from consumer.workload import LIGHT, Workload

# Bytes that one order of an array is counted with until all of them are published: its body, its frames, its confirm.
PIECE_BYTES = 4096

log = structlog.get_logger(__name__)


class Courier(Protocol):
    """Brings conversions to Neuroon, or knows that it would be in vain."""

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome | Untried:
        """How try number `attempt` ended; `Untried` when it was not made."""


@value
class Report:
    """What is to be told of one settled message: ids and numbers, nothing of the order's content."""

    outcome: Outcome
    subject: Subject
    journey: Journey
    at: float
    milliseconds: float


@value
class Handled:
    """Where a message is to go, and what to tell once it is there; no report for one that only went on waiting."""

    settlement: Settlement
    report: Report | None


@dataclass
class Surroundings:
    """What the outside world lends the pipeline. `draw` gives a random number in [0, 1).

    `clock` gives Unix seconds, and may be set at any time; `timer` gives seconds to measure durations with.
    """

    clock: Callable[[], float]
    draw: Callable[[], float]
    shops: Callable[[], Shops]
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    timer: Callable[[], float] = time.monotonic


@value
class Posting:
    """An order that is ready to be sent; `digest` is the SHA-256 of its payload."""

    shop: Shop
    conversion: Conversion
    digest: bytes


@dataclass
class Pipeline:
    """`handle` every message. `read` makes an order of a message's body and headers, at once or after some waiting.

    `outbox`: the messages are rows of an outbox table, and come from no queue.
    """

    read: Callable[[Delivery], Reading | Awaitable[Reading]]
    courier: Courier
    ledger: Ledger
    routes: Routes
    world: Surroundings
    outbox: bool = False
    workload: Workload = field(default_factory=Workload)
    _under_way: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict, init=False)

    async def handle(self, delivery: Delivery) -> Handled:
        """Walk one message to its end. Raises nothing but CancelledError, which leaves the message untried."""
        started = self.world.timer()
        journey = read_journey(delivery, self.world.clock())
        if left := self.routes.wait_left(journey):
            return Handled(self.routes.park_again(delivery, left), None)
        subject, step = await self._prepare(delivery, journey)
        if isinstance(step, Several):
            return Handled(self.routes.split(delivery, journey, step.bodies), None)
        if isinstance(step, Posting):
            mine = await self._take_turn(step)
            try:
                outcome = await self._deliver(step, journey)
                if isinstance(outcome, Untried):
                    return Handled(self.routes.hand_back(delivery, journey), None)
                report = self._conclude(subject, journey, outcome, started)
                await self._remember(report, delivery, step.digest)  # before another delivery of it may be posted
            finally:
                self.ledger.let_go(step.shop.id, step.conversion.order_id)
                self._end_turn(step, mine)
        else:
            report = self._conclude(subject, journey, step, started)
            await self._remember(report, delivery, None)
        return Handled(self._settlement(delivery, report), report)

    def hand_back(self, delivery: Delivery) -> Handled:
        """Where a message goes that is not to be tried now; see `Routes.hand_back`."""
        return Handled(self.routes.hand_back(delivery, read_journey(delivery, self.world.clock())), None)

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        """The end of a message on which our own code failed unexpectedly, here or after: it costs a try."""
        started = self.world.clock()
        journey = read_journey(delivery, started)
        report = self._conclude(Subject(), journey, _bug(error, Subject(), journey), started)
        await self._remember(report, delivery, None)
        return Handled(self._settlement(delivery, report), report)

    async def _prepare(self, delivery: Delivery, journey: Journey) -> tuple[Subject, Posting | Several | Outcome]:
        """Everything before the POST: what to send, or the end of a message that nothing is to be sent for."""
        workload = self.workload
        if workload.admits(delivery) or await workload.turn(delivery):
            try:
                reading = self.read(delivery)
                order = await reading if isinstance(reading, Awaitable) else reading
            except Exception as error:  # noqa: BLE001 - see _bug
                return Subject(), _bug(error, Subject(), journey)
            subject, step = self._decide(order, journey)
            if not isinstance(step, Several) and _weight(step) <= LIGHT:
                return subject, step
        return await self._prepare_heavy(delivery, journey)

    async def _prepare_heavy(self, delivery: Delivery, journey: Journey) -> tuple[Subject, Posting | Several | Outcome]:
        """The same of a message that costs much, also of one that looked light: an array, or a payload from few bytes.

        The document is gone before the next one is read.
        """
        async with self.workload.heavy:
            try:
                reading = await asyncio.to_thread(self.read, delivery)
                order = await reading if isinstance(reading, Awaitable) else reading
                subject, step = await asyncio.to_thread(self._decide, order, journey)
            except Exception as error:  # noqa: BLE001 - see _bug
                return Subject(), _bug(error, Subject(), journey)
            await self.workload.keep(_weight(step))
            return subject, step

    def _decide(self, order: Reading, journey: Journey) -> tuple[Subject, Posting | Several | Outcome]:
        """What to do with what has been read."""
        subject = Subject()
        try:
            if isinstance(order, Several):
                return subject, order
            if isinstance(order, Unready):
                return subject, Retry(RetryReason.UNAVAILABLE, journey.attempt + 1, None, order.why)
            shop = self.world.shops().find(order.shop_id)
            event_id = order.event_id if isinstance(order, OrderPaid) else None
            subject = Subject(shop.id if isinstance(shop, Shop) else order.shop_id, order.order_id, event_id)
            match order:
                case Malformed(detail):
                    return subject, Dead(DeadReason.MALFORMED, detail)
                case Refund(detail):
                    return subject, Dead(DeadReason.REFUND, detail)
                case Ignored(why):
                    return subject, Unattributed(ignored=why)
                case OrderPaid():
                    pass
            if isinstance(shop, str):
                return subject, Dead(DeadReason.UNKNOWN_SHOP, shop)
            return subject, _to_send(order, shop, journey)
        except Exception as error:  # noqa: BLE001 - see _bug
            return subject, _bug(error, subject, journey)

    async def _deliver(self, posting: Posting, journey: Journey) -> Outcome | Untried:
        shop, conversion = posting.shop, posting.conversion
        try:
            known = await self.ledger.delivered_before(shop.id, conversion.order_id)
            if known is not None:
                return Duplicate(conflict=_conflict(known, posting.digest))
            return await self.courier.deliver(conversion, shop, journey.attempt)
        except Exception as error:  # noqa: BLE001 - see _bug
            return _bug(error, Subject(shop.id, conversion.order_id), journey)

    def _conclude(self, subject: Subject, journey: Journey, outcome: Outcome, started: float) -> Report:
        """Give a retry its wait."""
        now = self.world.clock()
        if isinstance(outcome, Retry):
            outcome = escalate(outcome, self.routes.ladder, journey.attempt, journey.waited, self.world.draw())
        return Report(outcome, subject, journey, now, (self.world.timer() - started) * 1000)

    async def _remember(self, report: Report, delivery: Delivery, digest: bytes | None) -> None:
        """Put the end of a try on record, and wait until it is there: the message is settled only afterwards."""
        subject, fresh = report.subject, ATTEMPT not in delivery.headers
        await self.ledger.record(
            Record(
                subject.shop,
                subject.order,
                report.journey,
                report.outcome,
                report.at,
                report.milliseconds,
                digest,
                event=subject.event or report.journey.message_id,
                message=delivery.message_id,
                redelivered=delivery.redelivered,
                fresh=fresh,
                outbox=self.outbox,
                formerly=None if fresh or self.outbox else _formerly(delivery, subject),
            )
        )

    def _settlement(self, delivery: Delivery, report: Report) -> Settlement:
        letter_id = self.world.new_id() if isinstance(report.outcome, Dead) else ""
        return self.routes.settle(
            delivery, report.journey, report.subject, report.outcome, now=report.at, letter_id=letter_id
        )

    async def _take_turn(self, posting: Posting) -> asyncio.Event:
        """Let no other delivery of the same order be posted by this process until `_end_turn`.

        Other processes are kept away by the ledger, if they share it.
        """
        key = (posting.shop.id, posting.conversion.order_id)
        while (other := self._under_way.get(key)) is not None:
            await other.wait()
        mine = self._under_way[key] = asyncio.Event()
        return mine

    def _end_turn(self, posting: Posting, mine: asyncio.Event) -> None:
        del self._under_way[posting.shop.id, posting.conversion.order_id]
        mine.set()


def _weight(step: Posting | Several | Outcome) -> int:
    """Bytes that stay in memory until the message is settled, beside its raw body."""
    match step:
        case Posting():
            return len(step.conversion.payload)
        case Several(bodies):
            return sum(map(len, bodies)) + len(bodies) * PIECE_BYTES
        case _:
            return 0


def _to_send(order: OrderPaid, shop: Shop, journey: Journey) -> Posting | Unattributed | Retry:
    """What is to be posted for an order, if anything is, and now."""
    conversion = attribute(order)
    if isinstance(conversion, Unattributed):
        return conversion
    if shop.hold:
        return Retry(RetryReason.HELD, journey.attempt, None, "held by the shops file")
    return Posting(shop, conversion, hashlib.sha256(conversion.payload).digest())


def _formerly(delivery: Delivery, subject: Subject) -> tuple[str, str] | None:
    """The shop and the order under which a message was put away, if it came back as another's."""
    shop, order = (delivery.headers.get(name) for name in (SHOP, ORDER))
    before = (shop if isinstance(shop, str) else "", order if isinstance(order, str) else "")
    return None if before == (subject.shop or "", subject.order or "") else before


def _conflict(known: Known, digest: bytes) -> Conflict | None:
    if known.digest is None or known.digest == digest:
        return None
    return Conflict(known.digest.hex(), digest.hex())


def _bug(error: Exception, subject: Subject, journey: Journey) -> Retry:
    """An error of ours costs a try, so that poison ends in the dead letters and never in a loop."""
    log.error("bug", shop=subject.shop, order=subject.order, attempt=journey.attempt, exc_info=error)
    return Retry(RetryReason.BUG, journey.attempt + 1, None, type(error).__name__)
