"""The ledger that the consumer speaks to: it stands before a store, gathers, and waits no longer than it may.

While one batch is under way the next one gathers, and batches keep a pace. A lone order waits for nobody, and an idle
ledger costs nothing.

A ledger that is down or slow is not waited for. Orders are then posted without asking (Neuroon drops a second
conversion of an order), what is to be written waits in memory within bounds, and one batch after another tries whether
the store is back.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from consumer.adapters.ledger import (
    Condition,
    Key,
    Known,
    LedgerDownError,
    LedgerRefusedError,
    Note,
    Record,
    Standing,
    Store,
)
from consumer.adapters.ledger.health import Health
from consumer.adapters.ledger.lookups import TOO_SLOW, UNFORESEEN, Lookups
from consumer.adapters.pace import Pace
from consumer.core.outcome import Delivered
from consumer.supervision import Supervisor, TaskName

# An end of a try that is not on disk after this time is acknowledged all the same.
WRITE_SECONDS = 1.0
# Beyond some hundreds a batch gets no cheaper per order, only later.
BATCH = 500
# What waits to be written while the store is away: about 15 minutes at 60 orders a second.
PENDING = 50_000
PENDING_BYTES = 64 * 1024 * 1024
# One entry without its texts: the objects that it is made of.
ENTRY_BYTES = 900
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
CLOSE_SECONDS = 5.0
OPEN_SECONDS = 10.0

# Asked for to see whether the store answers.
PROBE: Final[Key] = ("", "")

Line = Record | Note

log = structlog.get_logger(__name__)


class BatchedLedger:
    """See `Ledger`. `on_error` is called for each failure of the store and for each entry that is given up.

    `supervisor` keeps the two tasks running that read and write.
    """

    def __init__(
        self, store: Store, on_error: Callable[[], None] = lambda: None, supervisor: Supervisor | None = None
    ) -> None:
        self.store = store
        self.health = Health(on_error)
        self._supervisor = supervisor or Supervisor()
        self._lookups = Lookups(store, self.health, self._unusable, self._supervisor)
        self._writes = Pace()
        self._pending: deque[tuple[Line, int, asyncio.Future[None] | None]] = deque()
        self._pending_bytes = 0
        self._lost = 0
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def condition(self) -> Condition:
        """See `Ledger`."""
        return Condition(self.health.ok, self.health.message, len(self._pending), self._lost)

    async def open(self) -> None:
        """See `Ledger`. Waits until the store is open, but not long: the first orders are worth a look-up."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self.store.open()
        except (LedgerDownError, LedgerRefusedError) as error:
            self._unusable(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a driver may throw: the consumer starts
            self._unusable(type(error).__name__)

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        """See `Ledger`."""
        return await self._lookups.ask((shop, order))

    def let_go(self, shop: str, order: str) -> None:
        """See `Ledger`."""
        self._lookups.let_go((shop, order))

    async def record(self, record: Record) -> None:
        """See `Ledger`."""
        if isinstance(record.outcome, Delivered) and record.shop and record.order:
            self._lookups.remember((record.shop, record.order), Known(record.digest))
        await self._write(record)

    async def note(self, note: Note) -> None:
        """See `Ledger`."""
        await self._write(note)

    async def sightings(self, orders: Sequence[Key]) -> Sequence[Standing | None]:
        """See `Ledger`."""
        try:
            known = await self.store.standings(orders)
        except LedgerDownError as error:
            self.health.failed(str(error))
            known = {}
        return [known.get(key) for key in orders]

    async def close(self) -> None:
        """See `Ledger`."""
        self._closing.set()
        if self._writing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.shield(self._writing)
        await self._lookups.close()
        if self._writing is not None:
            self._writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
        if self._pending:
            log.error("ledger closed with entries unwritten", entries=len(self._pending))
        with contextlib.suppress(LedgerDownError, LedgerRefusedError):
            await self.store.close()

    async def _write(self, line: Line) -> None:
        size = _size(line)
        if len(self._pending) >= PENDING or self._pending_bytes + size > PENDING_BYTES:
            self._give_up(1, "no room for what waits to be written")
            return
        waiting = asyncio.get_running_loop().create_future() if self.health.ok else None
        self._pending.append((line, size, waiting))
        self._pending_bytes += size
        self._writes.gathered(len(self._pending))
        self._start_writing()
        if waiting is not None:
            await waiting

    def _start_writing(self) -> None:
        if self._writing is None:
            self._writing = self._supervisor.start(
                TaskName.LEDGER_WRITES, self._write_all, self._writing_failed, ends=True
            )

    async def _write_all(self) -> None:
        """Write what is pending, batch by batch; while the store cannot be used, try until it can."""
        failures = 0
        while self._pending or not (self.health.ok or self._closing.is_set()):
            await self._writes.turn()
            batch = [line for line, _, _ in itertools.islice(self._pending, BATCH)]
            slow = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._unusable, TOO_SLOW.format("write"))
            started = time.monotonic()
            try:
                await (self._keep(batch) if batch else self.store.delivered([PROBE]))
            except Exception as error:  # noqa: BLE001 - all but LedgerDownError is a driver's bug; it must not end us
                slow.cancel()  # the pause is no part of the write: it would be called slow, in place of what is wrong
                self._unusable(str(error) if isinstance(error, LedgerDownError) else type(error).__name__)
                self._doubt(len(batch))
                await self._pause(failures)
                failures += 1
                continue
            finally:
                slow.cancel()
            failures = 0
            for _ in batch:
                _, size, waiting = self._pending.popleft()
                self._pending_bytes -= size
                _release(waiting)
            if time.monotonic() - started < WRITE_SECONDS:
                self.health.worked(pending=len(self._pending))
            else:
                await self._pause(0)
        self._writing = None

    def _writing_failed(self) -> None:
        self._doubt(min(BATCH, len(self._pending)))
        self._unusable(UNFORESEEN)

    def _doubt(self, entries: int) -> None:
        """The oldest entries may be in the store though its answer was lost: told so, it does not count them twice."""
        for index in range(entries):
            line, size, waiting = self._pending[index]
            if isinstance(line, Record) and not line.redelivered:
                self._pending[index] = line._replace(redelivered=True), size, waiting

    async def _keep(self, batch: Sequence[Line]) -> None:
        """Write a batch; what the store refuses is found by halving, and given up alone. Raises LedgerDownError."""
        try:
            await self.store.write(batch)
        except LedgerRefusedError as error:
            if len(batch) == 1:
                self._give_up(1, f"refused: {error}")
                return
            middle = len(batch) // 2
            await self._keep(batch[:middle])
            await self._keep(batch[middle:])

    async def _pause(self, failures: int) -> None:
        """Wait before trying again, but not when closing: then there is one last try."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(FIRST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE)):
                await self._closing.wait()
                await asyncio.sleep(FIRST_PAUSE)

    def _unusable(self, why: str) -> None:
        """Let nobody wait any longer, and see to it that somebody looks when the store can be used again."""
        self.health.failed(why, pending=len(self._pending))
        self._lookups.give_up()
        for _, _, waiting in self._pending:
            _release(waiting)
        self._start_writing()

    def _give_up(self, entries: int, why: str) -> None:
        self._lost += entries
        self.health.failed(why, lost=self._lost)


def _release(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _size(line: Line) -> int:
    """About how much memory an entry takes until it is written."""
    detail = line.detail if isinstance(line, Note) else getattr(line.outcome, "detail", "")
    return ENTRY_BYTES + len(line.shop or "") + len(line.order or "") + 2 * len(detail)
