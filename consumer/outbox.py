"""Sending what a shop put into an outbox table: each row walks the pipeline as an event would.

The table is left as Neuroon's recipe leaves it: a row that was sent, or had been sent before, is synced; any other has
one attempt more and the reason. A row is tried once in a flush, so that five flushes pass before one is given up.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from consumer.adapters.interruption import sleep_unless, unless
from consumer.adapters.outboxtable import MAX_ATTEMPTS, Claim, Mark, OutboxError, OutboxRow, OutboxTable, RowKey
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
# For so long marks are tried again that could not be written, and so often.
MARK_SECONDS = 60.0
MARK_AGAIN_SECONDS = 1.0
# What marks get after a stop.
LAST_MARK_SECONDS = 5.0
# Rows that a message names.
NAMED = 10

log = structlog.get_logger(__name__)


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
class Outbox:
    """Flushes `table` through `pipeline`. `shop`: of rows that name none.

    `stop` ends a flush: no further row is begun, and nobody waits any longer for the table. `owed`: marks of rows that
    were tried and could not be written yet; the next flush writes them instead of trying the rows again.
    """

    table: OutboxTable
    pipeline: Handler
    shop: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    owed: dict[RowKey, Mark] = field(default_factory=dict)

    async def flush(self, limit: int | None = None) -> Flushed:
        """Try every row that is due, once, the oldest first; `limit` rows at most. Raises OutboxError."""
        result = Flushed()
        if self.shop is not None:
            await unless(self.stop, self.table.adopt(self.shop))
        last: OutboxRow | None = None
        while not self.stop.is_set() and (limit is None or result.rows < limit):
            async with AsyncExitStack() as stack:
                claim = await unless(self.stop, stack.enter_async_context(self.table.claim(last)))
                if claim is None or not claim.rows:
                    break
                last = claim.rows[-1]
                await self._send(claim, result, None if limit is None else limit - result.rows)
        return result

    async def _send(self, claim: Claim, result: Flushed, limit: int | None) -> None:
        window = asyncio.Semaphore(CONCURRENCY)

        async def send(row: OutboxRow) -> Mark | None:
            async with window:
                if self.stop.is_set():
                    return None
                return self.owed.get(row.key) or await self._try(row)

        answers = await asyncio.gather(*map(send, claim.rows[:limit]))
        marks = [mark for mark in answers if mark is not None]
        self.owed.update((mark.row.key, mark) for mark in marks)
        if marks:
            await self._mark(claim, marks)
        for mark in marks:
            del self.owed[mark.row.key]
        failed = sum(mark.error is not None for mark in marks)
        result.rows += len(marks) if self.stop.is_set() else len(answers)  # with those of shops on hold
        result.synced += len(marks) - failed
        result.failed += failed

    async def _mark(self, claim: Claim, marks: Sequence[Mark]) -> None:
        """Write the marks; a table that is away now is tried again for MARK_SECONDS, or until a stop and once more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MARK_SECONDS
        while not self.stop.is_set():
            try:
                await unless(self.stop, claim.mark(marks))
            except OutboxError as error:
                if loop.time() > deadline:
                    raise _unmarked(marks, str(error)) from error
                log.warning("outbox marks not written, trying again", rows=len(marks), why=str(error))
                await sleep_unless(self.stop, MARK_AGAIN_SECONDS)
            else:
                if not self.stop.is_set():
                    return
        try:  # what was cut short by the stop may have been written; a mark that is written twice counts once
            async with asyncio.timeout(LAST_MARK_SECONDS):
                await claim.mark(marks)
        except (OutboxError, TimeoutError) as error:
            raise _unmarked(marks, str(error) or "no answer") from error

    async def _try(self, row: OutboxRow) -> Mark | None:
        """Send one row; None while its shop is on hold, which leaves it as it is."""
        headers: dict[str, object] = {header.ORDER: row.order} if row.order else {}
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


def _unmarked(marks: Sequence[Mark], why: str) -> OutboxError:
    """Names the first of the rows, whose orders were tried."""
    orders = ", ".join(mark.row.order or repr(mark.row.key[0]) for mark in marks[:NAMED])
    more = f" and {len(marks) - NAMED} more" if len(marks) > NAMED else ""
    return OutboxError(f"{why}; rows that were tried and are not marked: {orders}{more}")


def _error(outcome: Outcome) -> str | None:
    """What the recipe writes into last_error; None for what has reached Neuroon."""
    match outcome:
        case Delivered() | Duplicate():
            return None
        case Unattributed():
            return "no product has a searchLogId"
        case Retry(_, _, _, detail, status) | Dead(_, detail, status):
            return detail if status is None or str(status) in detail else f"{status}: {detail}"
