"""Sending what a shop put into an outbox table: each row walks the pipeline as an event would.

The table is left as Neuroon's recipe leaves it: a row that was sent, or had been sent before, is synced; any other has
one attempt more and the reason. A row is tried once in a flush, so that five flushes pass before one is given up.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consumer.adapters.ledger import Condition, Key, Known, Ledger, Note, Record, Standing
from consumer.adapters.outboxtable import MAX_ATTEMPTS, Claim, Mark, OutboxRow, OutboxTable
from consumer.core import delivery as header
from consumer.core.body import Unreadable, decode_json
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery
from consumer.core.ladder import Ladder, Rung
from consumer.core.order import MAX_LINES, Malformed, OrderPaid, Refund, read
from consumer.core.outcome import Dead, Delivered, Duplicate, Outcome, Reply, Retry, RetryReason, Unattributed, judge
from consumer.core.settlement import Queues, Routes
from consumer.core.shop import Shop
from consumer.pipeline import Handled

# Rows posted at a time by one flush.
CONCURRENCY = 16


class Handler(Protocol):
    """What a row is handed to."""

    async def handle(self, delivery: Delivery) -> Handled:
        """See `Pipeline.handle`."""


@dataclass
class Flushed:
    """How many rows were taken, and what became of them."""

    rows: int = 0
    synced: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        """For --json."""
        return {"rows": self.rows, "synced": self.synced, "failed": self.failed}


class Poster(Protocol):
    """Sends a conversion; every answer and every failure is a Reply."""

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        """Send `conversion` for `shop`."""


@dataclass(frozen=True, slots=True)
class DirectCourier:
    """Posts every row, as the recipe does: a flush is over soon, and an API that is down costs an attempt."""

    neuroon: Poster

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome:
        """See `pipeline.Courier`."""
        return judge(await self.neuroon.post(conversion, shop), attempt)


def outbox_routes(every: float) -> Routes:
    """The routes of rows: no queue, and a wait until the next flush, `every` seconds later, after each failed try."""
    rung = Rung("flush", every)
    return Routes(Queues("outbox"), Ladder((rung,) * (MAX_ATTEMPTS - 1), rung, float("inf")))


def read_row(delivery: Delivery, max_lines: int = MAX_LINES) -> OrderPaid | Malformed | Refund:
    """The order in a row's payload: a conversion, as the recipe stores it, or a canonical event."""
    document = decode_json(delivery.body)
    if isinstance(document, Unreadable):
        return Malformed(document.detail, _text(delivery, header.ORDER), _text(delivery, header.SHOP))
    if isinstance(document, dict):
        document.setdefault("shopId", _text(delivery, header.SHOP))
        if "id" not in document:
            document.setdefault("orderId", _text(delivery, header.ORDER))
        if "lines" not in document and "conversions" in document:
            document["lines"] = document["conversions"]
    return read(document, max_lines)


def _text(delivery: Delivery, name: str) -> str | None:
    value = delivery.headers.get(name)
    return value if isinstance(value, str) else None


@dataclass
class Patient:
    """A ledger whose records are kept until `release`: our own table's rows are locked while they are claimed."""

    ledger: Ledger
    _kept: list[Record] = field(default_factory=list)
    _delivered: dict[Key, Known] = field(default_factory=dict)
    _in_hand: list[Key] = field(default_factory=list)

    @property
    def condition(self) -> Condition:
        """See `Ledger`."""
        return self.ledger.condition

    async def open(self) -> None:
        """See `Ledger`."""
        await self.ledger.open()

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        """See `Ledger`. Of two rows with one order the second finds what is kept of the first."""
        return self._delivered.get((shop, order)) or await self.ledger.delivered_before(shop, order)

    def let_go(self, shop: str, order: str) -> None:
        """See `Ledger`. Only once what is kept is on record: a consumer may have an event of the same order."""
        self._in_hand.append((shop, order))

    async def record(self, record: Record) -> None:
        """Keep it."""
        self._kept.append(record)
        if isinstance(record.outcome, Delivered) and record.shop and record.order:
            self._delivered[record.shop, record.order] = Known(record.digest)

    async def note(self, note: Note) -> None:
        """See `Ledger`."""
        await self.ledger.note(note)

    async def sightings(self, orders: Sequence[Key]) -> Sequence[Standing | None]:
        """See `Ledger`."""
        return await self.ledger.sightings(orders)

    async def release(self) -> None:
        """Record what was kept."""
        kept, self._kept = self._kept, []
        in_hand, self._in_hand = self._in_hand, []
        try:
            await asyncio.gather(*(self.ledger.record(record) for record in kept))
        finally:
            for key in in_hand:
                self.ledger.let_go(*key)
        self._delivered.clear()

    async def close(self) -> None:
        """See `Ledger`."""
        await self.release()
        await self.ledger.close()


@dataclass
class Outbox:
    """Flushes `table` through `pipeline`, whose ledger is `ledger`. `shop`: of rows that name none."""

    table: OutboxTable
    pipeline: Handler
    ledger: Patient
    shop: str | None = None

    async def flush(self, limit: int | None = None, stopped: Callable[[], bool] = lambda: False) -> Flushed:
        """Try every row that is due, once, the oldest first; `limit` rows at most. Raises OutboxError.

        It ends early, between two claims, once `stopped` says so.
        """
        result = Flushed()
        if self.shop is not None:
            await self.table.adopt(self.shop)
        last: OutboxRow | None = None
        while not stopped() and (limit is None or result.rows < limit):
            try:
                async with self.table.claim(last) as claim:
                    if not claim.rows:
                        break
                    last = claim.rows[-1]
                    await self._send(claim, result, None if limit is None else limit - result.rows)
            finally:  # what was posted is known, though the marks may be lost: the next flush posts it no second time
                await self.ledger.release()
        return result

    async def _send(self, claim: Claim, result: Flushed, limit: int | None) -> None:
        window = asyncio.Semaphore(CONCURRENCY)

        async def send(row: OutboxRow) -> Mark | None:
            async with window:
                return await self._try(row)

        marks = await asyncio.gather(*map(send, claim.rows[:limit]))
        tried = [mark for mark in marks if mark is not None]
        await claim.mark(tried)
        failed = sum(mark.error is not None for mark in tried)
        result.rows += len(marks)
        result.synced += len(tried) - failed
        result.failed += failed

    async def _try(self, row: OutboxRow) -> Mark | None:
        """Send one row; None while its shop is on hold, which leaves it as it is."""
        headers: dict[str, object] = {header.ORDER: row.order}
        if row.attempts:
            headers[header.ATTEMPT] = row.attempts + 1
        if (shop := row.shop or self.shop) is not None:
            headers[header.SHOP] = shop
        handled = await self.pipeline.handle(Delivery(row.payload, "outbox", headers=headers))
        if handled.report is None:
            return Mark(row, "Neuroon is not available now")
        outcome = handled.report.outcome
        if isinstance(outcome, Retry) and outcome.reason is RetryReason.HELD and outcome.status is None:
            return None
        return Mark(row, _error(outcome))


def _error(outcome: Outcome) -> str | None:
    """What the recipe writes into last_error; None for what has reached Neuroon."""
    match outcome:
        case Delivered() | Duplicate():
            return None
        case Unattributed():
            return "no product has a searchLogId"
        case Retry(_, _, _, detail, status) | Dead(_, detail, status):
            return detail if status is None or str(status) in detail else f"{status}: {detail}"
