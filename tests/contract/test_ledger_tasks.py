"""When one of the ledger's two tasks fails unexpectedly, no order waits for it and no entry is counted twice."""

import asyncio
from collections.abc import Sequence

from consumer.adapters.ledger import Claimed, Key, Known, Note, Record
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.outcome import Delivered
from consumer.supervision import Pauses, Supervisor, TaskName
from tests.support.eventually import eventually
from tests.support.ledger import record

ONE, TWO = ("shop_a", "ORD-1"), ("shop_a", "ORD-2")
DELIVERED = Delivered(200)


class Store(MemoryLedger):
    """A store whose next call leaks the CancelledError of its library, a write after it has been carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks = True
        self.written: list[bool] = []

    def _leak(self) -> None:
        leaks, self.leaks = self.leaks, False
        if leaks:
            raise asyncio.CancelledError

    async def write(self, lines: Sequence[Record | Note]) -> None:
        await super().write(lines)
        self.written += [line.redelivered for line in lines if isinstance(line, Record)]
        self._leak()

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        self._leak()
        return await super().claim(keys, done)


async def test_entries_of_a_write_that_failed_are_written_again_as_such() -> None:
    """Nobody knows whether the first write reached the store; the second one is marked, and counts no order twice."""
    store, counted = Store(), list[TaskName]()
    ledger = BatchedLedger(store, supervisor=Supervisor(counted.append, Pauses(first=0.02)))
    await ledger.record(record("ORD-1", DELIVERED))
    assert not ledger.condition.ok
    await eventually(lambda: ledger.condition.ok and not ledger.condition.pending)
    assert store.written == [False, True]
    assert counted == [TaskName.LEDGER_WRITES]
    await ledger.close()


async def test_no_order_waits_for_look_ups_that_have_failed() -> None:
    """Orders that ask before the restart are posted without a look-up; after it they are looked up again."""
    restart, counted = asyncio.Event(), list[TaskName]()

    async def pause(_: float) -> None:
        await restart.wait()

    store = Store()
    ledger = BatchedLedger(store, supervisor=Supervisor(counted.append, sleep=pause))
    assert await ledger.delivered_before(*ONE) is None
    await eventually(lambda: ledger.condition.ok)  # the task that writes has found that the store works
    await store.write([record("ORD-2", DELIVERED)])
    assert await ledger.delivered_before(*TWO) is None
    assert counted == [TaskName.LEDGER_LOOKUPS]
    restart.set()
    await eventually(lambda: ledger.delivered_before(*TWO))
    assert await ledger.delivered_before(*TWO) == Known(b"d" * 32)
    await ledger.close()
