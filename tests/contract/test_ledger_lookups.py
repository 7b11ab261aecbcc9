"""Orders in another process's hand, as the ledger before the store waits for them; and its own, let go of in time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from consumer.adapters.ledger import Claimed, Key, Known, LedgerDownError, lookups
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.outcome import Delivered
from tests.support.eventually import eventually
from tests.support.ledger import record

ONE = ("shop_a", "ORD-1")


class Store(MemoryLedger):
    """A store that others share: `others` are in their hands, `ours` in this one's; each call waits for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.others: set[Key] = set()
        self.ours: list[Key] = []
        self.calls: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: Exception | None = None

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        self.calls.append((len(keys), len(done)))
        await self.gate.wait()
        known = await self.delivered(keys)
        for key in done:
            self.ours.remove(key)
        taken = set(keys) - self.others
        self.ours += taken
        return Claimed(known, taken, (self.others & set(keys)) - known.keys())

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        if self.broken is not None:
            raise self.broken
        return await super().delivered(keys)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def ledger(store: Store) -> AsyncIterator[BatchedLedger]:
    ledger = BatchedLedger(store)
    await ledger.open()
    yield ledger
    store.gate.set()
    store.broken = None
    await ledger.close()


async def test_an_order_in_another_hand_is_waited_for_until_it_is_on_record(
    store: Store, ledger: BatchedLedger
) -> None:
    """It is looked at again and again meanwhile, and is a duplicate then."""
    store.others.add(ONE)
    asked = asyncio.create_task(ledger.delivered_before(*ONE))
    await eventually(lambda: len(store.calls) >= 3)
    assert not asked.done()
    await store.write([record("ORD-1", Delivered(200))])
    assert await asked == Known(b"d" * 32)
    assert store.ours == []


async def test_an_order_that_another_lets_go_of_is_ours(store: Store, ledger: BatchedLedger) -> None:
    """Its try failed there: it is posted here, and in our hand until that is on record."""
    store.others.add(ONE)
    asked = asyncio.create_task(ledger.delivered_before(*ONE))
    await eventually(lambda: len(store.calls) >= 2)
    store.others.clear()
    assert await asked is None
    assert store.ours == [ONE]
    await ledger.record(record("ORD-1", Delivered(200)))
    ledger.let_go(*ONE)
    await eventually(lambda: store.ours == [])


async def test_another_who_hangs_is_not_waited_for(
    store: Store, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the bound the order is posted, and what is not ours is not let go of; the ledger counts as good."""
    monkeypatch.setattr(lookups, "ELSEWHERE_SECONDS", 0.1)
    store.others.add(ONE)
    assert await ledger.delivered_before(*ONE) is None
    ledger.let_go(*ONE)
    assert await ledger.delivered_before("shop_a", "ORD-2") is None
    assert ledger.condition.ok
    assert store.calls[-1] == (1, 0)


async def test_who_waits_holds_up_nobody(store: Store, ledger: BatchedLedger) -> None:
    """Other orders are looked up at once, and what is asked again goes along with them."""
    store.others.add(ONE)
    asked = asyncio.create_task(ledger.delivered_before(*ONE))
    async with asyncio.timeout(lookups.ELSEWHERE_SECONDS):
        for number in range(2, 22):
            assert await ledger.delivered_before("shop_a", f"ORD-{number}") is None
    assert not asked.done()
    asked.cancel()


async def test_a_ledger_that_goes_down_ends_the_waiting(store: Store, ledger: BatchedLedger) -> None:
    """The order is posted without, long before the bound; and letting go costs no call."""
    store.others.add(ONE)
    asked = asyncio.create_task(ledger.delivered_before(*ONE))
    await eventually(lambda: len(store.calls) >= 2)
    store.broken = LedgerDownError("gone")
    async with asyncio.timeout(lookups.ELSEWHERE_SECONDS / 2):
        assert await asked is None
    assert not ledger.condition.ok
    calls = len(store.calls)
    for number in range(100):
        assert await ledger.delivered_before("shop_a", f"ORD-{number}") is None
        ledger.let_go("shop_a", f"ORD-{number}")
    assert len(store.calls) == calls


async def test_letting_go_goes_along_with_the_next_look_up(
    store: Store, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy ledger makes no call more for it."""
    monkeypatch.setattr(lookups, "LET_GO_SECONDS", 3600)
    for number in range(20):
        await ledger.delivered_before("shop_a", f"ORD-{number}")
        ledger.let_go("shop_a", f"ORD-{number}")
    assert store.calls == [(1, 0), *[(1, 1)] * 19]


async def test_without_another_look_up_it_is_let_go_of_after_a_while(store: Store, ledger: BatchedLedger) -> None:
    """One call for all that gathered."""
    await asyncio.gather(*(ledger.delivered_before("shop_a", f"ORD-{number}") for number in range(20)))
    looked = len(store.calls)
    for number in range(20):
        ledger.let_go("shop_a", f"ORD-{number}")
    await eventually(lambda: not store.ours)
    assert store.calls[looked:] == [(0, 20)]


async def test_a_known_order_is_in_nobodys_hand(store: Store, ledger: BatchedLedger) -> None:
    """There is nothing to wait for, whether it is let go of or not."""
    await store.write([record("ORD-1", Delivered(200))])
    assert await ledger.delivered_before(*ONE) == Known(b"d" * 32)
    await eventually(lambda: store.ours == [])
    ledger.let_go(*ONE)
    assert await ledger.delivered_before("shop_a", "ORD-2") is None
    assert store.ours == [("shop_a", "ORD-2")]


async def test_an_order_that_is_taken_for_nobody_is_let_go_of(store: Store, ledger: BatchedLedger) -> None:
    """Who asked was cancelled meanwhile."""
    store.gate.clear()
    asked = asyncio.create_task(ledger.delivered_before(*ONE))
    await eventually(lambda: store.calls)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    ledger.let_go(*ONE)
    store.gate.set()
    await eventually(lambda: store.calls[-1] == (0, 1) and store.ours == [])


async def test_an_order_that_is_taken_too_late_is_let_go_of(
    store: Store, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been posted without."""
    monkeypatch.setattr(lookups, "READ_SECONDS", 0.05)
    store.gate.clear()
    assert await ledger.delivered_before(*ONE) is None
    ledger.let_go(*ONE)
    store.gate.set()
    await eventually(lambda: store.calls[-1] == (0, 1) and store.ours == [])


async def test_an_order_taken_twice_is_let_go_of_twice(store: Store, ledger: BatchedLedger) -> None:
    """As a flush of an outbox does, which keeps its records until its rows are marked."""
    await ledger.delivered_before(*ONE)
    await ledger.delivered_before(*ONE)
    assert store.ours == [ONE, ONE]
    ledger.let_go(*ONE)
    ledger.let_go(*ONE)
    ledger.let_go(*ONE)
    await eventually(lambda: store.ours == [])
